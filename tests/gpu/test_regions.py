"""RoIPool, RoIAlign and RoIWarp by kernels: the CPU's results on boxes of every kind, the same bits in any order."""

import importlib
from itertools import pairwise

import numpy as np
import pytest

import nn
from nn import RoIAlign, RoIPool, RoIWarp
from nn.gpu.regions import regions_by_image
from nn.gradcheck import check_layer
from tests.cupy_stand_in import kernels, no_transfers

TOLERANCES = {np.float32: 1e-5, np.float64: 1e-12}
SCALE = 0.25
LAYERS = {
    "pool, caffe": lambda size: RoIPool(size, SCALE),
    "pool, split": lambda size: RoIPool(size, SCALE, "split"),
    "align": lambda size: RoIAlign(size, SCALE),
    "align, aligned": lambda size: RoIAlign(size, SCALE, aligned=True),
    "align, 2 samples": lambda size: RoIAlign(size, SCALE, sampling_ratio=2),
    "align, 2 samples, aligned": lambda size: RoIAlign(size, SCALE, sampling_ratio=2, aligned=True),
    "align, max": lambda size: RoIAlign(size, SCALE, reduction="max"),
    "align, max, 3 samples, aligned": lambda size: RoIAlign(size, SCALE, 3, aligned=True, reduction="max"),
    "warp": lambda size: RoIWarp(size, SCALE),
    "warp, aligned": lambda size: RoIWarp(size, SCALE, aligned=True),
}


def every_box(h, w, rng, k=8, huge=False):
    """Boxes inside, across the borders and outside, on whole cells and their halves, a point, inverted, huge."""
    low = rng.uniform(-0.3, 1, (k, 2)) * (w, h)
    boxes = np.concatenate([low, low + rng.uniform(0, 1, (k, 2)) * (w, h)], axis=1)
    special = [
        [0, 0, w, h], [0, 0, w - 1, h - 1], [-0.5, -0.5, w - 0.5, h - 0.5], [-9, -7, w + 5, h + 8],
        [2, 1, 2, 1], [2.5, 1.5, 2.5, 1.5], [0.5, 0.5, 2.5, 1.5], [-1, -1, 0, 0], [w, h, w + 1, h + 1],
        [w + 3, 0, w + 6, 2], [0, -9, 2, -6], [3, 3, 1, 1],
    ]  # fmt: skip
    huge = [[-60, -40, 90, 80], [900, 900, 999, 999]] if huge else []
    return np.array([*boxes, *special, *huge]) / SCALE


def both(layer, device, x, boxes, image_index, dy):
    """(y, dx, dboxes) on the CPU and on the device, copied to the CPU; no transfers in between."""
    results = []
    for where in (np, device):
        inputs = [where.asarray(a) for a in (x, boxes, image_index)]
        with no_transfers():
            y, cache = layer.forward(*inputs)
        own_dy = where.asarray(dy)
        with no_transfers():
            dx, dboxes, none = layer.backward(own_dy, cache)
        assert none is None
        results.append([a if a is None or where is np else device.asnumpy(a) for a in (y, dx, dboxes)])
    return results


def assert_close(got, wanted, tolerance):
    for a, b in zip(got, wanted):
        if b is None:
            assert a is None
            continue
        assert a.shape == b.shape and a.dtype == b.dtype
        assert abs(a - b).max(initial=0) <= tolerance * max(1, abs(b).max(initial=0))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("size, map_size", [((2, 3), (9, 7)), ((7, 7), (12, 10)), ((1, 1), (1, 1)), ((3, 2), (1, 6))])
@pytest.mark.parametrize("name", LAYERS)
def test_equals_the_cpu_on_boxes_of_every_kind(name, size, map_size, dtype, device):
    rng = np.random.default_rng(4)
    boxes = every_box(*map_size, rng, huge="warp" not in name).astype(dtype)
    x = rng.standard_normal((3, 2, *map_size)).astype(dtype)
    image_index = rng.integers(0, 3, len(boxes))
    dy = rng.standard_normal((len(boxes), 2, *size)).astype(dtype)
    wanted, got = both(LAYERS[name](size), device, x, boxes, image_index, dy)
    assert_close(got, wanted, TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("rounding", ["caffe", "split"])
def test_rounds_halves_as_the_cpu(rounding, dtype, device):
    """Coordinates such that v * scale + 0.5 is an integer, just below, or just above one, before rounding."""
    scale, rng = 0.1, np.random.default_rng(5)
    halves = (np.arange(40) - 4.5) / dtype(scale)
    corners = np.concatenate([np.nextafter(halves, -np.inf, dtype=dtype), halves, np.nextafter(halves, np.inf)])
    boxes = np.stack([corners, corners, corners + 55, corners + 35], axis=1).astype(dtype)
    x, image_index = rng.standard_normal((1, 2, 30, 40)).astype(dtype), np.zeros(len(boxes), np.int64)
    y = RoIPool(3, scale, rounding)(device.asarray(x), device.asarray(boxes), device.asarray(image_index))
    np.testing.assert_array_equal(device.asnumpy(y), RoIPool(3, scale, rounding)(x, boxes, image_index))


@pytest.mark.parametrize("name", [name for name in LAYERS if "pool" in name or "max" in name])
def test_the_first_of_equal_values_gets_the_gradient(name, device):
    rng = np.random.default_rng(6)
    x = rng.integers(0, 2, (2, 3, 8, 9)).astype(np.float64)  # nearly all ties
    x[1, 2] = 1
    boxes = every_box(8, 9, rng)
    dy = rng.standard_normal((len(boxes), 3, 2, 3))
    wanted, got = both(LAYERS[name]((2, 3)), device, x, boxes, rng.integers(0, 2, len(boxes)), dy)
    assert_close(got, wanted, 1e-12)


@pytest.mark.parametrize("name", [name for name in LAYERS if "pool" in name or "max" in name])
def test_a_nan_wins_as_on_the_cpu(name, device):
    x, layer = np.random.default_rng(7).standard_normal((1, 1, 8, 8)), LAYERS[name](2)
    x[0, 0, 3, 3] = np.nan
    boxes, image_index = np.array([[0.0, 0, 30, 30], [1, 1, 9, 9]]), np.zeros(2, np.int64)
    y = layer(*map(device.asarray, (x, boxes, image_index)))
    np.testing.assert_allclose(device.asnumpy(y), layer(x, boxes, image_index), rtol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_no_regions_and_regions_of_one_image_only(name, device):
    rng, layer = np.random.default_rng(8), LAYERS[name]((2, 3))
    x = rng.standard_normal((2, 3, 5, 4))
    for k in (0, 3):
        boxes, image_index = every_box(5, 4, rng)[:k], np.ones(k, np.int32)
        wanted, got = both(layer, device, x, boxes, image_index, rng.standard_normal((k, 3, 2, 3)))
        assert_close(got, wanted, 1e-12)
        assert not got[1][0].any() and got[1][1].any() == (k > 0)


@pytest.mark.parametrize("name", LAYERS)
def test_views(name, device):
    rng, layer = np.random.default_rng(9), LAYERS[name]((2, 3))
    x, boxes = rng.standard_normal((4, 6, 5, 2)), every_box(6, 4, rng)
    image_index, dy = rng.integers(0, 2, 2 * len(boxes)), rng.standard_normal((len(boxes), 3, 2, 5))
    wide = np.repeat(boxes, 2, axis=1)

    def views(a):
        return a(x).transpose(3, 2, 1, 0), a(wide)[:, ::2], a(image_index)[::2], a(dy).transpose(0, 3, 2, 1)

    got, wanted = [], []
    for to, results in ((device.asarray, got), (np.copy, wanted)):
        *inputs, own_dy = views(to)
        y, cache = layer.forward(*inputs)
        results += [y, *layer.backward(own_dy, cache)[:2]]
    assert_close([a if a is None else device.asnumpy(a) for a in got], wanted, 1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_any_order_of_the_threads_gives_the_same_bits(name, device, monkeypatch):
    rng, layer, results = np.random.default_rng(10), LAYERS[name]((3, 2)), []
    x, boxes = rng.standard_normal((2, 3, 6, 7)).astype(np.float32), every_box(6, 7, rng).astype(np.float32)
    image_index, dy = rng.integers(0, 2, len(boxes)), rng.standard_normal((len(boxes), 3, 3, 2)).astype(np.float32)
    for backwards in (False, True):
        monkeypatch.setattr(kernels, "reversed_threads", backwards)
        results.append([a for a in both(layer, device, x, boxes, image_index, dy)[1] if a is not None])
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", LAYERS)
def test_bad_regions_give_nan_and_no_gradient(name, device):
    x, layer = np.ones((2, 3, 5, 4)), LAYERS[name](2)
    boxes = np.array([[0.0, 0, 9, 9], [0, np.nan, 9, 9], [0, 0, np.inf, 9], [0, 0, 9, 9], [0, 0, 9, 9]])
    image_index = np.array([0, 0, 1, 2, -1])
    y, cache = layer.forward(*map(device.asarray, (x, boxes, image_index)))
    y, dx = device.asnumpy(y), device.asnumpy(layer.backward(device.asarray(np.ones(y.shape)), cache)[0])
    assert np.isfinite(y[0]).all() and np.isnan(y[1]).any() and np.isnan(y[2]).any() and np.isnan(y[3:]).all()
    alone = layer.forward(x, boxes[:1], image_index[:1])[1]
    np.testing.assert_allclose(dx, layer.backward(np.ones((1, 3, 2, 2)), alone)[0], atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_array_code_where_kernels_do_not_apply(name, device, monkeypatch):
    """float64 boxes on float32 maps, and config.plain."""
    rng, layer = np.random.default_rng(11), LAYERS[name]((2, 3))
    x, boxes = rng.standard_normal((2, 3, 6, 7)).astype(np.float32), every_box(6, 7, rng)[:12]
    image_index = rng.integers(0, 2, len(boxes))
    for plain in (False, True):
        monkeypatch.setattr(nn.config, "plain", plain)
        y = layer(*map(device.asarray, (x, boxes, image_index)))
        assert abs(device.asnumpy(y) - layer(x, boxes, image_index)).max() < 1e-5


@pytest.mark.parametrize("name", [name for name in LAYERS if "warp" in name or "samples" in name])
def test_gradients_on_the_device(name, device):
    rng = np.random.default_rng(12)
    x, boxes = rng.standard_normal((2, 2, 4, 5)), np.array([[1.3, 2.2, 15.1, 11.9], [-3.1, 0.6, 9.3, 17.7]])
    constants = () if "warp" in name else (1,)
    check_layer(LAYERS[name]((2, 3)), x, boxes, np.array([1, 0]), constants=constants, device="gpu")


def test_shapes_are_checked_on_the_device(device):
    x, boxes = device.asarray(np.ones((1, 2, 4, 5))), device.asarray(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"RoIAlign: image_index must be whole numbers of shape \(2,\), got \(1,\)"):
        RoIAlign(2)(x, boxes, device.asarray(np.array([0])))
    y, cache = RoIPool(2, 1.0).forward(x, boxes, device.asarray(np.array([0, 0])))
    with pytest.raises(ValueError, match=r"RoIPool: dy must have shape \(2, 2, 2, 2\)"):
        RoIPool(2, 1.0).backward(y[:1], cache)


def test_the_regions_of_each_image(device):
    """In their order; those of images that are not there are nobody's."""
    image_index = device.asarray(np.array([2, 0, 2, -1, 5, 0, 3]))
    order, starts = (device.asnumpy(a).tolist() for a in regions_by_image(image_index, 4))
    assert [order[a:b] for a, b in pairwise(starts)] == [[1, 5], [], [0, 2], [6]]


@pytest.mark.parametrize("layer", [RoIPool(2, 1.0), RoIAlign(2), RoIAlign(2, reduction="max")])
def test_regions_of_other_images_are_not_read(layer, device, monkeypatch):
    """The order of all regions of the first image, given to the kernel as those of the second."""
    module = importlib.import_module("nn.gpu.roi_pool" if type(layer) is RoIPool else "nn.gpu.roi_align")
    x, boxes = device.asarray(np.random.default_rng(0).random((2, 1, 5, 6))), np.array([[0, 0, 3, 3.0]] * 3)
    y, cache = layer.forward(x, device.asarray(boxes), device.asarray(np.array([1, 0, 0])))
    right = device.asnumpy(layer.backward(y, cache)[0])
    assert right.any(axis=(1, 2, 3)).all()
    swapped = lambda index, n: (device.asarray(np.array([0, 1, 2])), device.asarray(np.array([0, 0, 1], np.int32)))  # noqa: E731
    monkeypatch.setattr(module, "regions_by_image", swapped)
    wrong = device.asnumpy(layer.backward(y, cache)[0])
    assert not wrong[0].any() and np.array_equal(wrong[1], right[1])


@pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda t: t.__name__)
@pytest.mark.parametrize("sampling_ratio", [-1, 3])
@pytest.mark.parametrize("aligned", [False, True])
def test_a_maximum_over_regions_far_larger_than_the_map(sampling_ratio, aligned, dtype, device):
    """A million cells wide, and so more samples than 32 bits count: only those near the map are taken."""
    layer, rng = RoIAlign(2, 1.0, sampling_ratio, aligned, "max"), np.random.default_rng(0)
    boxes = np.array([[-5e5, -4e5, 5e5, 6e5], [1.25, -9e5, 4, 3], [-1e6, 2, -9e5, 3], [3, 2, 1e6, 1e6]], dtype)
    x = rng.standard_normal((1, 2, 5, 6)).astype(dtype) - 0.5  # also the 0 outside may win
    dy = rng.standard_normal((4, 2, 2, 2)).astype(dtype)
    wanted, got = both(layer, device, x, boxes, np.zeros(4, int), dy)
    assert_close(got, wanted, TOLERANCES[dtype])
    assert (wanted[0] == 0).any() and (sampling_ratio > 0 or ((wanted[0] > 0).any() and wanted[1].any()))
