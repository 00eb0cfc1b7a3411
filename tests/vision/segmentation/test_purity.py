"""Purity: shares and maxima segment by segment, the divergence, a leaf that its doubtful votes would lose, training."""

import numpy as np
import pytest

from nn import Adam, Linear, Sequential, Softmax, Tanh
from nn.gradcheck import check_loss, check_model
from tests.vision.segmentation.systems import CLASSES, normal, small
from vision.segmentation.purity import Tree, class_counts, divergence, grid_maxima, optimal_cover, segments
from vision.segmentation.purity_classifier import as_picture
from vision.segmentation.segment_tree import cover

LABELS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 3, 2, 1]])
TREE = Tree(LABELS, np.array([5, 4, 4, 5, 6, 6, 6]))  # 1 and 2 make 4, 0 and 3 make 5, both of them 6
LEAVES = {0: [0], 1: [1], 2: [2], 3: [3], 4: [1, 2], 5: [0, 3], 6: [0, 1, 2, 3]}


def test_counts_pixel_by_pixel():
    truth = np.random.default_rng(0).integers(-1, 3, (3, 4))
    counts = class_counts(TREE, truth, 3)
    for node, leaves in LEAVES.items():
        inside = truth[np.isin(LABELS, leaves)]
        assert counts[node].tolist() == [(inside == c).sum() for c in range(3)]


@pytest.mark.parametrize("size", [(3, 4), (2, 2), (6, 5)])
def test_maxima_cell_by_cell(size):
    """Of the cells with a pixel of the segment, over a 3x3 grid in their box; 0 in its empty parts."""
    labels, features = LABELS.repeat(2, axis=0).repeat(2, axis=1), normal(2, *size)
    found = grid_maxima(Tree(labels, TREE.parents), features).reshape(7, 2, 3, 3)
    for node, leaves in LEAVES.items():
        pixels = zip(*np.nonzero(np.isin(labels, leaves)))
        cells = {(y * size[0] // 6, x * size[1] // 8) for y, x in pixels}
        (top, left), (bottom, right) = (tuple(f(at) for at in zip(*cells)) for f in (min, max))
        wanted = np.full((2, 3, 3), -np.inf)
        for y, x in cells:
            i, j = (y - top) * 3 // (bottom - top + 1), (x - left) * 3 // (right - left + 1)
            wanted[:, i, j] = np.maximum(wanted[:, i, j], features[:, y, x])
        np.testing.assert_array_equal(found[node], np.where(np.isinf(wanted), 0, wanted))


def test_divergence_is_its_formula():
    logits, shares = normal(4, 3), np.random.default_rng(2).dirichlet(np.ones(3), 4)
    shares[1] = (0, 1, 0)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wanted = sum(d * np.log(d / q) for row, at in zip(shares, p) for d, q in zip(row, at) if d) / 4
    assert divergence(logits, shares)[0] == pytest.approx(wanted, rel=1e-10)
    assert divergence(np.log(shares + 1e-300), shares)[0] == pytest.approx(0, abs=1e-10)
    assert divergence(np.zeros((0, 3)), np.zeros((0, 3)))[0] == 0
    check_loss(lambda z: divergence(z, shares), logits, complex_step=True, tolerance=1e-12)


def test_a_leaf_that_its_doubtful_votes_would_lose():
    """An object of 40 among 1240 pixels. The network labels 70 % of its pixels right: a vote's entropy is less in the
    whole image, 97 % background. A predictor that learned the true shares from features finds the object pure.
    """
    labels = np.zeros((31, 40), int)
    labels[10:15, 10:18] = 1
    labels[:, 20:] = 2
    tree, truth = Tree(labels, np.array([3, 3, 4, 4, 4])), (labels == 1).astype(int)
    votes = truth.copy()
    votes[10:13, 14:18] = 0  # 12 of the object's 40 pixels
    counts = class_counts(tree, votes, 2)
    by_votes = cover(tree.parents, counts / counts.sum(axis=1, keepdims=True))
    assert counts[1].tolist() == [12, 28] and by_votes[1] == 4  # the root

    maxima = grid_maxima(tree, np.stack([truth == 0, truth == 1]).astype(float))
    shares = class_counts(tree, truth, 2)
    shares /= shares.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    predictor = Sequential(Linear(18, 8, rng=rng), Tanh(), Linear(8, 2, rng=rng)).astype(np.float64)
    optimiser = Adam(predictor.parameters(), lr=0.05)
    for _ in range(150):
        predictor.zero_grad()
        logits, cache = predictor.forward(maxima)
        predictor.backward(divergence(logits, shares)[1], cache)
        optimiser.step()
    predicted = Softmax(axis=1)(predictor(maxima))
    np.testing.assert_allclose(predicted, shares, atol=0.02)
    assert (optimal_cover(tree, predicted).argmax(axis=0) == truth).all()


def model_of(**options):
    pytest.importorskip("skimage")
    sizes = {"width": 2, "hidden": 3, "kernel_size": 3, "superpixel_size": 30, "short_side": 24, "max_side": 32}
    return small("multiscale_small", **sizes | {"purity": 4, "superpixels": "cover"} | options)


def scenes():
    """(images (2, 3, 24, 32), labels): halves of two colours."""
    images = normal(2, 3, 24, 32)
    images[..., 16:] += 2
    labels = np.zeros((2, 24, 32), int)
    labels[..., 16:] = 1
    labels[1, :5] = -1
    return images, labels


def test_gradients_of_the_second_stage_and_what_it_moves():
    model = model_of()
    pixels, purity = model.stages()
    assert not pixels.evaluated and purity.trains == ("purity",)
    assert not any(name.startswith(pixels.trains) for name in model.parameters() if name.startswith("purity"))
    assert all(name.startswith(pixels.trains) for name in model.parameters() if not name.startswith("purity"))
    for name, parameter in model.parameters().items():
        parameter.trainable = name.startswith(purity.trains)
    errors = check_model(model, scenes(), loss=purity.loss, backward=purity.backward, tolerance=1e-9)
    assert set(errors) == {"purity.0.weight", "purity.0.bias", "purity.2.weight", "purity.2.bias"}


def test_labels_are_those_of_the_cover():
    """Of the picture's own superpixels and the features of the picture as the network sees it."""
    model, p = model_of(), np.full((3, 24, 32), 1 / 3)
    picture = as_picture(scenes()[0][0], model.options.mean, model.options.std)
    tree = segments(picture, 30)
    features, _ = model.network.features(model.preprocess.batch([picture]), training=False)
    shares = Softmax(axis=1)(model.purity(grid_maxima(tree, features[0])))
    np.testing.assert_allclose(model.refine(picture, p), optimal_cover(tree, shares), rtol=1e-6)
    assert len(tree.parents) > 9
    maxima, targets = model.described(model.preprocess.batch([picture]), scenes()[1][:1])
    np.testing.assert_allclose(maxima, grid_maxima(tree, features[0]), rtol=1e-6)
    counts = class_counts(tree, scenes()[1][0], 3)
    np.testing.assert_allclose(targets, counts / counts.sum(axis=1, keepdims=True), rtol=1e-6)
    plain = model_of(superpixels=None)
    plain.load_state_dict(model.state_dict())  # the cover can be left out of a trained model
    assert plain.refine(picture, p) is p


def test_a_picture_comes_back_from_its_normalised_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    model = small("multiscale_small", width=1)
    normalised = model.preprocess.batch([picture])[0][:, :5, :6]
    o = model.options
    np.testing.assert_array_equal(as_picture(normalised, o.mean, o.std), picture)


def test_a_cover_without_a_predictor_is_refused():
    with pytest.raises(ValueError, match="superpixels='cover' needs purity"):
        small("multiscale_small", width=1, superpixels="cover")
    assert len(CLASSES) == 3 and small("multiscale_small", width=1).stages()[0].name == "train"
    with pytest.raises(ValueError, match="PurityClassifier: purity needs per_image=false"):
        small("multiscale_small", width=1, purity=3, per_image=True)
    with pytest.raises(ValueError, match="superpixels must be 'majority' or none, got 'cover'"):
        small("deeplab_v1_small", superpixels="cover")
