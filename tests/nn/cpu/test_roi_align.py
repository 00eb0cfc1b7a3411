"""The fast RoIAlign of NumPy gives what the textbook gives, however the regions are divided."""

import numpy as np
import pytest

from nn.cpu import roi_align as fast
from nn.layers import roi_align as textbook


@pytest.mark.parametrize("reduction", ["average", "max"])
def test_tasks_and_batches_divide_the_regions_anywhere(reduction, monkeypatch):
    rng = np.random.default_rng(1)
    low = rng.uniform(-3, 8, (30, 2))
    boxes = np.concatenate([low, low + rng.uniform(-1, 9, (30, 2))], axis=1)
    x, image_index = rng.normal(size=(2, 5, 9, 12)), rng.integers(0, 2, 30)
    regions = textbook.Regions(boxes, image_index, (2, 3), 1.0, -1, True, reduction)
    y, winner = textbook.roi_align(x, regions)
    dy = rng.normal(size=y.shape)
    dx = textbook.roi_align_backward(dy, winner, regions, x.shape)
    for together in (1, 7, 1000):
        monkeypatch.setattr(fast, "ROIS_TOGETHER", together)
        own, own_winner = fast.roi_align(x, regions)
        np.testing.assert_allclose(own, y, rtol=1e-12, atol=1e-12)
        assert own_winner is winner is None or np.array_equal(own_winner, winner)
    for together in (1, 1000, 5000):
        monkeypatch.setattr(fast, "ELEMENTS_TOGETHER", together)
        own = fast.roi_align_backward(dy, winner, regions, x.shape)
        np.testing.assert_allclose(own, dx, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("aligned", [False, True])
def test_taps_of_huge_regions_are_clipped_to_the_map(aligned, monkeypatch):
    rng = np.random.default_rng(0)
    low = rng.uniform(-900, 5, (12, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 2000, (12, 2))], axis=1)
    b = fast.bins(textbook.Regions(boxes, None, (3, 2), 1.0, -1, aligned, "average"))[0]
    taps = {u: (has, at) for u, has, at in fast._taps(b, 3, 7, only_inside=True)}
    with monkeypatch.context() as patch:
        patch.setattr(fast, "_near_the_map", lambda b, count, extent: range(int(b.samples.max())))
        everything = fast._taps(b, 3, 7)
    assert len(everything) == b.samples.max() > 500
    for u, _, at in everything:
        inside = (b.samples > u) & (at != fast.OUTSIDE).any(axis=1)
        assert inside.any() == (u in taps) and (not inside.any() or (taps[u][0] == inside).all())
    huge, calls = np.array([[-3e5, 2, 1e6, 9]], np.float32), fast._near_the_map
    wide = fast.bins(textbook.Regions(huge, None, (7, 7), 1.0, -1, aligned, "average"))[1]
    assert len(calls(wide, 7, 20)) < 100


@pytest.mark.parametrize("aligned", [False, True])
def test_the_maximum_over_huge_regions_is_the_textbooks(aligned):
    """Also which sample has won, where it is one outside, a 0: the first of them in reading order."""
    rng = np.random.default_rng(0)
    low = rng.uniform(-90, 5, (12, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 180, (12, 2))], axis=1)
    boxes = np.concatenate([boxes, [[0, 0, 90, 2], [-60, 0, 3, 4], [1, -60, 2, 3], [-9, -9, 150, 150]]])
    x, image_index = rng.normal(size=(1, 2, 5, 6)), np.zeros(len(boxes), int)
    x[0, 1] = -abs(x[0, 1])  # 0 wins
    regions = textbook.Regions(boxes, image_index, (2, 3), 1.0, -1, aligned, "max")
    (y, winner), (own, own_winner) = (room.roi_align(x, regions) for room in (textbook, fast))
    np.testing.assert_allclose(own, y, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(own_winner, winner)
    assert ((y == 0) & (winner > 0)).any() and ((y == 0) & (winner == 0)).any() and (y > 0).any()
    dy = rng.normal(size=y.shape)
    dx, own_dx = (room.roi_align_backward(dy, winner, regions, x.shape) for room in (textbook, fast))
    np.testing.assert_allclose(own_dx, dx, rtol=1e-12, atol=1e-12)


def test_the_maximum_over_regions_a_million_cells_wide():
    """Of 2 * 10^10 samples a bin some tens are looked at."""
    x = np.random.default_rng(0).normal(size=(1, 3, 5, 6)).astype(np.float32)
    boxes, dy = np.array([[-5e5, -5e5, 5e5, 5e5]], np.float32), np.ones((1, 3, 7, 7), np.float32)
    regions = textbook.Regions(boxes, np.array([0]), (7, 7), 1.0, -1, False, "max")
    taps = fast._taps(fast.bins(regions)[0], 7, 5)
    assert len(taps) < 100
    y, winner = fast.roi_align(x, regions)
    assert (y[0, :, 3, 3] > 0).all() and (y == 0).sum() == y.size - 3 and winner.max() > 2**31
    assert fast.roi_align_backward(dy, winner, regions, x.shape).any()
