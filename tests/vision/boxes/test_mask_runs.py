"""Masks as runs: against their pixels."""

import numpy as np

from vision.boxes.mask_runs import mask_runs, run_areas, run_intersections, run_iou


def test_edges():
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 1]], bool)
    assert mask_runs(mask[None])[0].tolist() == [0, 2, 7, 9, 11, 12]
    assert [len(edges) for edges in mask_runs(np.stack([0 * mask, mask, ~mask]))] == [0, 6, 4]
    assert mask_runs(np.zeros((0, 3, 4), bool)) == []


def test_areas_and_overlaps_are_those_of_the_pixels():
    rng = np.random.default_rng(0)
    a, b = rng.random((6, 13, 17)) < rng.random((6, 1, 1)), rng.random((5, 13, 17)) < rng.random((5, 1, 1))
    a[0], a[1], b[0], b[1] = False, True, False, True
    shared = (a[:, None] & b).sum(axis=(2, 3))
    union = (a[:, None] | b).sum(axis=(2, 3))
    np.testing.assert_array_equal(run_areas(mask_runs(a)), a.sum(axis=(1, 2)))
    np.testing.assert_array_equal(run_intersections(mask_runs(a), mask_runs(b)), shared)
    np.testing.assert_array_equal(run_iou(mask_runs(a), mask_runs(b)), shared / np.maximum(union, 1))
    assert run_iou([], mask_runs(b)).shape == (0, 5) and run_iou(mask_runs(a), []).shape == (6, 0)
