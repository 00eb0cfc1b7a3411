"""Superpixels: means, boundaries and the tree pixel by pixel, the optimal cover by enumeration, options."""

import sys

import numpy as np
import pytest

from tests.vision.segmentation.systems import small
from vision.segmentation.dense_crf import dense_crf
from vision.segmentation.segment_tree import (
    boundary_strengths,
    cover,
    majority,
    merge_tree,
    segment_means,
    superpixels,
)

LABELS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 3, 2, 1]])


def random_probabilities(c, h, w, seed=1):
    p = np.random.default_rng(seed).random((c, h, w)) + 0.1
    return p / p.sum(axis=0)


def halves(h=20, w=24):
    """(picture, half of each pixel): two colours with a little noise."""
    image = np.random.default_rng(0).integers(0, 20, (h, w, 3)).astype(np.uint8)
    image[:, w // 2 :] += 150
    return image, np.broadcast_to(np.arange(w) >= w // 2, (h, w)).astype(int)


def test_means_by_hand():
    p = random_probabilities(3, 3, 4)
    means = segment_means(LABELS, p)
    for k in range(4):
        np.testing.assert_allclose(means[k], p[:, LABELS == k].mean(axis=1))
    np.testing.assert_allclose(majority(None, LABELS, p)[:, 1, 2], means[2])


def test_boundaries_by_hand():
    image = np.random.default_rng(0).integers(0, 255, (3, 4, 3)).astype(np.uint8)
    found = {}
    for r in range(3):
        for c in range(4):
            for dr, dc in ((0, 1), (1, 0)):
                if r + dr < 3 and c + dc < 4 and LABELS[r, c] != LABELS[r + dr, c + dc]:
                    pair = tuple(sorted((LABELS[r, c], LABELS[r + dr, c + dc])))
                    distance = np.linalg.norm(image[r, c].astype(float) - image[r + dr, c + dc])
                    found.setdefault(pair, []).append(distance)
    pairs, strengths = boundary_strengths(image, LABELS)
    assert [*map(tuple, pairs.tolist())] == sorted(found)
    np.testing.assert_allclose(strengths, [np.mean(found[pair]) for pair in sorted(found)])


def test_tree_of_an_example():
    """1-2 merge first (node 4), then 0-3 (node 5), then both by the boundary 0-1; 2-3 is no longer needed."""
    pairs = np.array([[0, 1], [0, 3], [1, 2], [2, 3]])
    parents = merge_tree(4, pairs, np.array([3.0, 2.0, 1.0, 4.0]))
    assert parents.tolist() == [5, 4, 4, 5, 6, 6, 6]
    assert merge_tree(1, np.zeros((0, 2), int), np.zeros(0)).tolist() == [0]
    with pytest.raises(ValueError, match="merge_tree: the 3 segments are not all connected"):
        merge_tree(3, np.array([[0, 1]]), np.ones(1))


def test_tree_is_the_minimum_spanning_tree_s():
    """Two leaves meet at a node whose rank is that of the strongest boundary on the weakest path."""
    rng = np.random.default_rng(0)
    n = 9
    pairs = np.array([(a, b) for a in range(n) for b in range(a + 1, n)])
    strengths = rng.permutation(len(pairs)).astype(float)
    parents = merge_tree(n, pairs, strengths)
    path = np.full((n, n), np.inf)
    path[tuple(pairs.T)] = path[tuple(pairs.T[::-1])] = strengths
    for k in range(n):  # Floyd and Warshall's algorithm for the bottleneck
        path = np.minimum(path, np.maximum(path[:, k : k + 1], path[k]))
    meet = np.array([[_meeting(parents, a, b) for b in range(n)] for a in range(n)])
    a, b = np.triu_indices(n, 1)
    assert (np.argsort(meet[a, b], kind="stable") == np.argsort(path[a, b], kind="stable")).all()


def _ancestors(parents, node):
    found = [node]
    while parents[found[-1]] != found[-1]:
        found.append(parents[found[-1]])
    return found


def _meeting(parents, a, b):
    above = _ancestors(parents, a)
    return next(node for node in _ancestors(parents, b) if node in above)


def test_cover_is_the_purest_node_above_each_leaf():
    rng = np.random.default_rng(2)
    pairs = np.array([(a, b) for a in range(8) for b in range(a + 1, 8)])
    parents = merge_tree(8, pairs, rng.random(len(pairs)))
    histograms = rng.dirichlet(np.full(3, 0.5), len(parents))
    entropy = -(histograms * np.log(histograms)).sum(axis=1)
    best = [min(_ancestors(parents, leaf), key=lambda node: entropy[node]) for leaf in range(8)]
    assert cover(parents, histograms).tolist() == best
    assert (cover(parents, np.full((15, 3), 1 / 3)) == 14).all()  # all equally pure: the root


def test_superpixels_are_scikit_image_s():
    """With a smoothing of 0.8 pixels and their size for scale and for the least number of pixels."""
    skimage = pytest.importorskip("skimage.segmentation")
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    wanted = skimage.felzenszwalb(image, scale=20, sigma=0.8, min_size=20)
    assert wanted.max() > 5
    np.testing.assert_array_equal(superpixels(image, 20), wanted)


def test_superpixels_follow_the_picture():
    pytest.importorskip("skimage")
    image, truth = halves()
    labels = superpixels(image, 40)
    assert labels.shape == (20, 24) and set(np.unique(labels)) == set(range(labels.max() + 1))
    assert np.bincount(labels.ravel()).min() >= 40
    assert abs(segment_means(labels, truth[None]) - 0.5).min() > 0.3


@pytest.mark.parametrize("options", [{"superpixels": "majority"}, {"crf": True}])
def test_options_of_a_model(options):
    model = small("multiscale_small", **{"width": 1, "superpixel_size": 40} | options)
    image, p = halves()[0], random_probabilities(3, 20, 24)
    if options.get("crf"):
        wanted = dense_crf(image, p)
    else:
        pytest.importorskip("skimage")
        wanted = majority(image, superpixels(image, 40), p)
    np.testing.assert_array_equal(model.refine(image, p), wanted)
    assert small("multiscale_small", width=1).refine(image, p) is p


def test_mistakes_are_named(monkeypatch):
    with pytest.raises(ValueError, match="superpixels must be 'majority' or 'cover' or none, got 'slic'"):
        small("multiscale_small", superpixels="slic")
    with pytest.raises(ValueError, match=r"crf_bilateral must be a list of 3 numbers, got \[4, 40\]"):
        small("multiscale_small", crf_bilateral=[4, 40])  # before training, not after it
    with pytest.raises(ValueError, match=r"dense_crf: bilateral must be a weight >= 0 and 2 .* > 0, got \(4, 0, 3\)"):
        small("multiscale_small", crf_bilateral=[4, 0, 3])
    with pytest.raises(ValueError, match="Options: superpixel_size must be a whole number >= 1, got 0"):
        small("multiscale_small", superpixel_size=0)
    with pytest.raises(ValueError, match=r"segment_means: probabilities must have shape \(C, 3, 4\), got \(2, 3, 3\)"):
        segment_means(LABELS, np.ones((2, 3, 3)))
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(ValueError, match="superpixels need scikit-image: pip install scikit-image"):
        superpixels(halves()[0])
