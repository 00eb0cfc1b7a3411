"""Regions of Selective Search: masks and overlaps against loops over pixels, the tree's leaves by hand."""

import numpy as np
import pytest

from datasets import Shapes
from vision.proposals.grouping import Tree
from vision.proposals.segments import Segments, block_segments, kept_segments, leaves, propose_segments
from vision.proposals.selective_search import FastOptions


def test_leaves_of_a_tree_by_hand():
    tree = Tree(np.zeros((7, 4)), np.array([[1, 2], [0, 4], [3, 5]]), np.zeros(3))  # ((1 2) 0) 3
    wanted = ["1000", "0100", "0010", "0001", "0110", "1110", "1111"]
    assert ["".join(map(str, row)) for row in leaves(tree).astype(int)] == wanted


def test_boxes_shares_and_overlaps_against_loops():
    rng = np.random.default_rng(0)
    segments = Segments(np.append(rng.integers(0, 6, 50), np.arange(6)).reshape(7, 8), rng.random((5, 6)) < 0.5)
    segments.members[:, 2] = True  # none is empty
    objects, soft = rng.random((3, 7, 8)) < 0.4, rng.random((2, 7, 8))
    for k, mask in enumerate(segments.masks()):
        np.testing.assert_array_equal(mask, [[segments.members[k, s] for s in row] for row in segments.superpixels])
        rows, columns = np.nonzero(mask)
        wanted = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert segments.boxes()[k].tolist() == list(wanted)
        for g, other in enumerate(objects):
            assert segments.iou(objects)[k, g] == pytest.approx((mask & other).sum() / (mask | other).sum())
    for s in range(6):
        np.testing.assert_allclose(segments.share(soft)[:, s], soft[:, segments.superpixels == s].mean(axis=1))
    assert segments.iou(objects[:0]).shape == (5, 0)


def test_blocks_are_all_rectangles():
    segments = block_segments(np.zeros((20, 30, 3), np.uint8), 10)
    assert segments.members.shape == (3 * 6, 6)
    assert [0, 10, 20, 20] in segments.boxes().tolist()


def test_generated_objects_are_among_the_regions(tmp_path):
    pytest.importorskip("skimage")
    sample, options = Shapes(1, (64, 80), seed=6)[0], FastOptions(min_side=6, count=60, scales=(30,))
    segments = propose_segments(sample["image"], options)
    assert segments.iou(sample["masks"]).max(axis=0).min() > 0.7
    assert len(np.unique(segments.members, axis=0)) == len(segments.members) <= 60
    boxes = segments.boxes()
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 6
    for damage in (False, False, True):  # made, read, and made again
        if damage:
            (file,) = (tmp_path / "kept").iterdir()
            file.write_bytes(file.read_bytes()[:-100])
        kept = kept_segments(sample["image"], options, tmp_path / "kept")
        np.testing.assert_array_equal(kept.members, segments.members)
    assert len(list((tmp_path / "kept").iterdir())) == 1
