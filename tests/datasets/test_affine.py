"""Affine distortion: where a spot goes, how often each part is applied, and bad input."""

import numpy as np
import pytest

from datasets import affine, affine_distortion


def sample(h=40, w=60, spot=(10, 45)):
    image = np.zeros((h, w, 3), np.uint8)
    image[spot[0] - 2 : spot[0] + 3, spot[1] - 2 : spot[1] + 3] = 255
    return {"image": image, "label": 3, "id": "a"}


def centre(image):
    weights = image[..., 0].astype(float)
    rows, columns = np.indices(weights.shape) + 0.5
    return (weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()


@pytest.mark.parametrize("seed", range(6))
def test_a_spot_goes_where_the_map_says(seed):
    given, rng = sample(), np.random.default_rng(seed)
    moved = affine_distortion(given, np.random.default_rng(seed), fill=(0, 0, 0))
    matrix, shift = affine.draw_affine(rng, 1.0)
    x, y = centre(given["image"])
    wanted = matrix @ (np.array([x, y]) - (30, 20)) + (30, 20) + shift * (60, 40)
    np.testing.assert_allclose(centre(moved["image"]), wanted, atol=0.3)
    assert moved["label"] == 3 and moved["image"].shape == (40, 60, 3)


def test_each_part_comes_half_of_the_time():
    drawn = [affine.draw_affine(np.random.default_rng(i), 1.0) for i in range(2000)]
    shifted = np.mean([shift[0] != 0 for _, shift in drawn])
    assert shifted == pytest.approx(0.5, abs=0.05)
    assert abs(np.array([shift for _, shift in drawn])).max() <= 2 / 105
    assert np.mean([np.allclose(matrix, np.eye(2)) for matrix, _ in drawn]) == pytest.approx(1 / 32, abs=0.02)
    np.testing.assert_array_equal(affine.draw_affine(np.random.default_rng(0), 0.0)[0], np.eye(2))


def test_the_border_has_the_colour_of_fill():
    white = {"image": np.zeros((30, 30, 3), np.uint8)}
    moved = affine_distortion(white, np.random.default_rng(1), strength=3.0, fill=(9, 99, 199))["image"]
    assert (moved.reshape(-1, 3) == (9, 99, 199)).all(axis=1).any()
    assert not white["image"].any()


def test_bad_input():
    with pytest.raises(ValueError, match="affine_distortion: strength must be 0 to 3, got 4"):
        affine_distortion(sample(), np.random.default_rng(0), strength=4)
    with pytest.raises(ValueError, match="affine_distortion: cannot move the boxes of a sample"):
        affine_distortion(sample() | {"boxes": np.zeros((1, 4))}, np.random.default_rng(0))
