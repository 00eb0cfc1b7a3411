"""Hierarchical grouping: a merge tree worked by hand, a naive loop over all pairs, and what is kept of the regions."""

import numpy as np
import pytest

from vision.proposals.grouping import Regions, group
from vision.proposals.selective_search import describe, histogram_channels, neighbours, region_boxes

# Two red blocks side by side (0, 1), right of them a green one (2) above a blue one (3): 4 x 6 pixels.
LABELS = np.array([[0, 0, 1, 1, 2, 2]] * 2 + [[0, 0, 1, 1, 3, 3]] * 2)
COLOURS = np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])


def test_the_merge_tree_of_a_hand_made_picture():
    regions = describe(LABELS, *histogram_channels(COLOURS[LABELS]))
    assert regions.boxes.tolist() == [[0, 0, 2, 4], [2, 0, 4, 4], [4, 0, 6, 2], [4, 2, 6, 4]]
    assert regions.neighbours == [{1}, {0, 2, 3}, {1, 3}, {1, 2}]
    tree = group(regions, "CSF")
    # (0, 1): C 1, S 1 - 16/24, F 1. (2, 3): C 1/3 (both have no red), S 1 - 8/24, F 1. (1, 2): C 1/3 (no blue),
    # S 1 - 12/24, F 1 - (16 - 12)/24. At last (red, green and blue): C 1/6 + 1/6, S 0, F 1.
    assert tree.children.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert tree.similarities == pytest.approx([7 / 3, 2, 4 / 3], abs=1e-12)
    assert tree.boxes[4:].tolist() == [[0, 0, 4, 4], [4, 0, 6, 4], [0, 0, 6, 4]]


def test_fill_alone_and_size_alone_merge_in_another_order():
    regions = describe(LABELS, *histogram_channels(COLOURS[LABELS]))
    assert group(regions, "S").children.tolist() == [[2, 3], [0, 1], [4, 5]]  # the smallest first: then all are equal
    assert group(regions, "F").children[0].tolist() == [0, 1]  # equal to (2, 3): the lower indices


def naive(labels, colour_bins, texture_bins, measure):
    """Each merge looks at all pixels and all pairs again. Boxes in the order of merging."""
    labels, boxes, following = labels.copy(), [], labels.max() + 1
    while len(ids := np.unique(labels)) > 1:
        best = (-np.inf, 0, 0)
        for i in ids:
            for j in ids[ids > i]:
                a, b = labels == i, labels == j
                grown = np.zeros_like(a)
                grown[1:] |= a[:-1]
                grown[:-1] |= a[1:]
                grown[:, 1:] |= a[:, :-1]
                grown[:, :-1] |= a[:, 1:]
                if (grown & b).any():
                    s = _similarity(a, b, colour_bins, texture_bins, measure)
                    best = max(best, (s, i, j), key=lambda found: found[0] + 1e-9 * (found is best))
        _, i, j = best
        labels[(labels == i) | (labels == j)] = following
        following += 1
        boxes.append(_box(labels == following - 1))
    return boxes


def _box(mask):
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def _similarity(a, b, colour_bins, texture_bins, measure):
    def overlap(bins, count):
        shares = [[np.bincount(bins[m][:, c], minlength=count) / m.sum() for c in range(bins.shape[2])] for m in (a, b)]
        return np.minimum(*np.array(shares)).sum() / bins.shape[2]

    both = a.sum() + b.sum()
    x1, y1, x2, y2 = _box(a | b)
    terms = {"C": overlap(colour_bins, 25), "T": overlap(texture_bins, 10), "S": 1 - both / a.size}
    terms["F"] = 1 - ((x2 - x1) * (y2 - y1) - both) / a.size
    return sum(terms[name] for name in measure)


@pytest.mark.parametrize("measure", ["CTSF", "TSF", "C"])
def test_grouping_equals_the_loop_over_pixels_and_pairs(measure):
    rng = np.random.default_rng(5)
    coarse = rng.permutation(12).reshape(3, 4)
    labels = np.repeat(np.repeat(coarse, 4, axis=0), 3, axis=1)
    labels[2:5, 2:7] = labels[0, 0]
    labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
    bins = histogram_channels(rng.random((*labels.shape, 3)))
    tree = group(describe(labels, *bins), measure)
    assert tree.boxes[labels.max() + 1 :].tolist() == naive(labels, *bins, measure)


def test_histograms_of_merged_regions_are_those_of_their_pixels():
    """Eq. 3: the tree of one region more begins as the tree of the merged labels ends."""
    rng = np.random.default_rng(2)
    bins = histogram_channels(rng.random((4, 6, 3)))
    merged = np.where(LABELS > 1, 1, 0)
    a, b = describe(LABELS, *bins), describe(merged, *bins)
    for of_parts, whole in ((a.colour, b.colour), (a.texture, b.texture)):
        np.testing.assert_allclose((of_parts[0] + of_parts[1]) / 2, whole[0], rtol=0, atol=1e-15)
        np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=0, atol=1e-14)


def test_one_region_is_its_own_tree_and_islands_are_refused():
    labels = np.zeros((3, 5), np.int64)
    one = describe(labels, *histogram_channels(np.zeros((3, 5, 3))))
    assert group(one).boxes.tolist() == [[0, 0, 5, 3]]
    islands = Regions(np.array([1, 1]), np.zeros((2, 4), int), np.ones((2, 1)), np.ones((2, 1)), [set(), set()])
    with pytest.raises(ValueError, match="not all connected"):
        group(islands)


def test_boxes_and_neighbours_of_labels():
    labels = np.array([[0, 0, 1], [2, 0, 1], [2, 2, 2]])
    assert region_boxes(labels).tolist() == [[0, 0, 2, 2], [2, 0, 3, 2], [0, 1, 3, 3]]
    assert neighbours(labels) == [{1, 2}, {0, 2}, {0, 1}]
