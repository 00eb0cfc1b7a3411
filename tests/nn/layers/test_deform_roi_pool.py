"""Deformable RoI pooling against loops over its points, and against RoIAlign where nothing is moved."""

import numpy as np
import pytest

from nn import DeformRoIPool, RoIAlign
from tests.nn.naive_bilinear import weights


def bilinear(x, row, column):
    return (weights(x.shape, row, column)[0] * x).sum()


def inputs(k=3, bins=(2, 3), seed=0):
    rng = np.random.default_rng(seed)
    low = rng.uniform(-4, 12, (k, 2))
    boxes = np.concatenate([low, low + rng.uniform(4, 20, (k, 2))], axis=1)
    return rng.standard_normal((2, 3, 6, 7)), boxes, rng.integers(0, 2, k), rng.standard_normal((k, 2, *bins))


def test_point_by_point():
    x, boxes, index, offset = inputs()
    y = DeformRoIPool((2, 3), 0.5, 2, 0.1)(x, boxes, index, offset)
    for k, c, i, j in np.ndindex(y.shape):
        x1, y1, x2, y2 = 0.5 * boxes[k]
        h, w = y2 - y1, x2 - x1
        values = [
            bilinear(x[index[k], c], y1 + (i + (a + 0.5) / 2) * h / 2 + 0.1 * offset[k, 0, i, j] * h - 0.5,
                     x1 + (j + (b + 0.5) / 2) * w / 3 + 0.1 * offset[k, 1, i, j] * w - 0.5)
            for a in range(2) for b in range(2)
        ]  # fmt: skip
        assert y[k, c, i, j] == pytest.approx(np.mean(values), abs=1e-12)


def test_without_offsets_it_is_roi_align():
    """But outside of the map, where RoIAlign takes the border's value up to a cell beyond."""
    x, _, index, offset = inputs(bins=(2, 2))
    boxes = np.array([[2.0, 2, 9, 8], [1.5, 3, 12, 10], [4, 1.2, 11, 10.5]])
    wanted = RoIAlign(2, 0.5, 2, aligned=True)(x, boxes, index)
    np.testing.assert_allclose(DeformRoIPool(2, 0.5)(x, boxes, index, 0 * offset), wanted, rtol=1e-12)


def test_a_move_by_a_whole_region_is_the_next_region():
    x, boxes, index, offset = inputs(bins=(2, 2))
    right = np.zeros_like(offset)
    right[:, 1] = 10  # gamma 0.1: one width
    beside = boxes + np.array([1.0, 0, 1, 0]) * (boxes[:, 2:3] - boxes[:, :1])
    pool = DeformRoIPool(2, 0.5)
    np.testing.assert_allclose(pool(x, boxes, index, right), pool(x, beside, index, 0 * offset), rtol=1e-10)


def test_float32_stays():
    x, boxes, index, offset = inputs()
    arrays = (a.astype(np.float32) for a in (x, boxes, offset))
    x, boxes, offset = arrays
    y, cache = DeformRoIPool((2, 3)).forward(x, boxes, index, offset)
    dx, _, _, doffset = DeformRoIPool((2, 3)).backward(y, cache)
    assert y.dtype == dx.dtype == doffset.dtype == np.float32


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda a: DeformRoIPool(0), "output_size must be a whole number >= 1"),
        (lambda a: DeformRoIPool(2, sampling_ratio=0), "sampling_ratio must be a whole number >= 1, got 0"),
        (lambda a: DeformRoIPool(2)(*a), r"offset must have shape \(3, 2, 2, 2\), got \(3, 2, 2, 3\)"),
        (lambda a: DeformRoIPool((2, 3))(a[0], a[1], a[2] + 5, a[3]), "image_index must be in 0 .. 1"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=f"^DeformRoIPool: .*{message}"):
        make(inputs())
