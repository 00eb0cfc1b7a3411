"""Location-specific classifiers: weights by hand, one classifier is the usual cross-entropy, the gradient."""

import numpy as np
import pytest

from nn import binary_cross_entropy_with_logits
from nn.gradcheck import check_loss
from vision.instances.grid_picture import SIDE, draw_grid
from vision.instances.location_grid import grid_cross_entropy, grid_weights, interpolated


def test_weights_by_hand():
    """K = 2 on 4 pixels: centres of pixels at 0.5 .. 3.5, of cells at 1 and 3."""
    along = np.array([[1, 0.75, 0.25, 0], [0, 0.25, 0.75, 1]])
    alpha = grid_weights(4, 2)
    for cell, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        np.testing.assert_allclose(alpha[cell], np.outer(along[i], along[j]))
    for size, k in ((50, 10), (50, 5), (7, 3), (3, 5)):
        weights = grid_weights(size, k)
        np.testing.assert_allclose(weights.sum(axis=0), 1)
        assert (np.count_nonzero(weights, axis=0) <= 4).all()
    assert (grid_weights(6, 1) == 1).all()


def test_a_pixel_between_two_classifiers():
    """Three quarters of the way to a classifier that is sure, from one that is sure of the opposite."""
    scores = np.full((1, 4, 4, 4), -100.0)
    scores[0, [1, 3]] = 100  # the right half of the grid
    np.testing.assert_allclose(
        interpolated(scores, grid_weights(4, 2))[0], np.tile([0, 0.25, 0.75, 1], (4, 1)), atol=1e-9
    )


def test_one_classifier_is_the_cross_entropy_of_its_logits():
    rng = np.random.default_rng(0)
    scores, targets = 9 * rng.normal(size=(3, 1, 5, 5)), (rng.random((3, 5, 5)) < 0.5).astype(float)
    value, dscores = grid_cross_entropy(scores, grid_weights(5, 1), targets)
    wanted, dwanted = binary_cross_entropy_with_logits(scores[:, 0], targets)
    assert value == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(dscores[:, 0], dwanted, atol=1e-14)


def test_gradient():
    rng = np.random.default_rng(1)
    scores, targets = rng.normal(size=(2, 9, 4, 4)), (rng.random((2, 4, 4)) < 0.5).astype(float)
    check_loss(lambda z: grid_cross_entropy(z, grid_weights(4, 3), targets), scores, tolerance=1e-7)


def test_large_scores_and_no_objects():
    scores = np.array([-200.0, 200], np.float32).reshape(2, 1, 1, 1)
    value, dscores = grid_cross_entropy(scores, grid_weights(1, 1), np.array([0, 1], np.float32).reshape(2, 1, 1))
    assert value == pytest.approx(0, abs=1e-6) and np.isfinite(dscores).all()
    wrong, dwrong = grid_cross_entropy(scores, grid_weights(1, 1), np.array([1, 0], np.float32).reshape(2, 1, 1))
    assert np.isfinite(wrong) and wrong > 80 and np.isfinite(dwrong).all()
    assert grid_cross_entropy(scores[:0], grid_weights(1, 1), np.zeros((0, 1, 1), np.float32))[0] == 0


def test_picture():
    scores, image = np.zeros((9, 12, 12)), np.full((40, 60, 3), 120, np.uint8)
    scores[4] = 100
    picture = draw_grid(image, np.array([10.0, 5, 30, 25]), scores, grid_weights(12, 3))
    assert picture.shape == (4 * (SIDE + 4), 3 * (SIDE + 4), 3)
    middle = picture[2 * (SIDE + 4) + SIDE // 2, SIDE + 4 + SIDE // 2]
    assert middle.tolist() == [255] * 3 and picture[SIDE // 2, SIDE // 2].tolist() == [120] * 3
