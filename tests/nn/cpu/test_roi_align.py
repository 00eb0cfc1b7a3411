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
