"""The fast RoI pooling of NumPy gives the bits of the textbook, and the caches of both are of one kind."""

import numpy as np
import pytest

from nn.cpu import roi_pool as fast
from nn.layers import roi_pool as textbook


def regions(output_size=(3, 2), rounding="caffe", dtype=np.float64):
    """A map with many ties, and boxes inside, across its borders and outside."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(-4, 16, (40, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes[5] = boxes[5, [2, 3, 0, 1]]  # of negative size
    x = rng.integers(-9, 9, (3, 5, 9, 12)).astype(dtype)
    x[1, :, 3, 4:6] = np.nan
    return x, textbook.Regions(boxes, rng.integers(0, 3, 40), output_size, 0.8, rounding), rng


@pytest.mark.parametrize("rounding", ["caffe", "split"])
@pytest.mark.parametrize("together", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bits_of_the_textbook_however_the_regions_are_divided(dtype, together, rounding, monkeypatch):
    monkeypatch.setattr(fast, "ROIS_TOGETHER", together)
    x, r, rng = regions(rounding=rounding, dtype=dtype)
    (y, source), (wanted, wanted_source) = (module.roi_pool(x, r) for module in (fast, textbook))
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(source, wanted_source)
    assert (source == -1).any() and np.isnan(y).any() and y.dtype == dtype and source.dtype == np.int32
    dy = rng.standard_normal(y.shape).astype(dtype)
    dy[source == -1] = np.nan  # goes nowhere
    for kept in (source, wanted_source):  # either cache
        dx, wanted = (module.roi_pool_backward(dy, kept, r, x.shape) for module in (fast, textbook))
        np.testing.assert_array_equal(dx, wanted)
        assert dx.dtype == dtype and np.isfinite(dx).all()


def test_which_arrays_it_takes():
    boxes = np.zeros((1, 4))
    assert fast.takes(np.zeros(1, np.float32), boxes) and not fast.takes(np.zeros(1, complex), boxes)
