"""Unpooling by four rules and by learned kernels, against loops over pixels and examples by hand."""

import numpy as np
import pytest

from nn import MaxPool2d
from nn.gradcheck import check_contract, check_layer
from tests.vision.segmentation.systems import check_gradients, normal, small
from vision.segmentation.unpooling import MODES, BilinearDeconv2d, Unpool2d

X = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])


def pooled(*shape):
    """(x, indices) of pooling in ceil_mode, and the size before it."""
    before = np.random.default_rng(3).permutation(int(np.prod(shape))).reshape(shape).astype(float)
    return *MaxPool2d(2, ceil_mode=True, return_indices=True)(before), before


def test_the_figure():
    """A 2x2 map by each rule; the maxima were at (0, 1), (1, 2), (2, 0) and (3, 3)."""
    indices = np.array([[[[1, 6], [8, 15]]]])
    wanted = {
        "max": [[0, 1, 0, 0], [0, 0, 2, 0], [3, 0, 0, 0], [0, 0, 0, 4]],
        "bed_of_nails": [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]],
        "nearest": [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]],
        "bilinear": [[1, 1.25, 1.75, 2], [1.5, 1.75, 2.25, 2.5], [2.5, 2.75, 3.25, 3.5], [3, 3.25, 3.75, 4]],
    }
    assert tuple(wanted) == ("max", "bed_of_nails", "nearest", "bilinear") and set(wanted) == set(MODES)
    for mode, rows in wanted.items():
        np.testing.assert_array_equal(Unpool2d(mode)(X, indices)[0, 0], rows, err_msg=mode)


@pytest.mark.parametrize("h, w", [(6, 8), (5, 8), (6, 7), (5, 7)])
def test_maxima_go_back_to_their_positions(h, w):
    """Every window has its maximum at its position and 0 elsewhere; also for odd sizes."""
    x, indices, before = pooled(2, 3, h, w)
    assert x.shape[2:] == (-(-h // 2), -(-w // 2))
    y = Unpool2d("max")(x, indices, (h, w))
    for n, c, r, k in np.ndindex(before.shape):
        window = before[n, c, r // 2 * 2 : r // 2 * 2 + 2, k // 2 * 2 : k // 2 * 2 + 2]
        assert y[n, c, r, k] == (before[n, c, r, k] if before[n, c, r, k] == window.max() else 0)
    for mode in ("nearest", "bed_of_nails", "bilinear"):
        full = Unpool2d(mode)(x, indices)
        np.testing.assert_array_equal(Unpool2d(mode)(x, indices, (h, w)), full[:, :, :h, :w])


class Fixed(Unpool2d):
    """An Unpool2d of one input, for the checks."""

    def __init__(self, mode, indices, size):
        super().__init__(mode)
        self.indices, self.size = indices, size

    def forward(self, x, training=True):
        return super().forward(x, self.indices[: len(x)], self.size, training)

    def backward(self, dy, cache):
        return super().backward(dy, cache)[0]


@pytest.mark.parametrize("mode", MODES)
def test_gradients(mode):
    x, indices, _ = pooled(2, 3, 5, 8)
    layer = Fixed(mode, indices, (5, 8))
    check_layer(layer, x)
    check_layer(layer, x, complex_step=True, tolerance=1e-12)
    check_contract(layer, (x,), (x[:1],))


@pytest.mark.parametrize("kernel_size", [2, 4, 8])
def test_learned_upsampling_starts_as_interpolation(kernel_size):
    """Every output is a mean, weighted by a triangle as wide as the kernel, of the inputs around it, by a loop."""
    layer, x = BilinearDeconv2d(2, kernel_size), normal(1, 2, 7, 9)
    y = layer(x)
    assert y.shape == (1, 2, 14, 18)
    half = kernel_size / 2
    for r, c in [(6, 8), (7, 9), (6, 9)]:  # far from the border
        wanted = np.zeros(2)
        for i, j in np.ndindex(7, 9):  # pixel i of x is at 2 i + 1/2 of y
            far = abs(r - 2 * i - 0.5) / half, abs(c - 2 * j - 0.5) / half
            wanted += max(0, 1 - far[0]) * max(0, 1 - far[1]) * x[0, :, i, j] / half**2 * 4
        np.testing.assert_allclose(y[0, :, r, c], wanted, rtol=1e-6)
    constant = layer(np.ones((1, 2, 9, 9)))[0, :, 6:12, 6:12]
    np.testing.assert_allclose(constant, 1, rtol=1e-6)


def test_kernel_of_4_is_bilinear_interpolation():
    """1/16 [1 3 3 1]^T [1 3 3 1] / ... : weights 9, 3, 3 and 1 sixteenths (Long et al. 2015, sec. 3.3)."""
    row = np.array([1, 3, 3, 1]) / 4
    layer = BilinearDeconv2d(2)
    np.testing.assert_allclose(layer.weight.value[0, 0], row[:, None] * row)
    assert (layer.weight.value[[0, 1], [1, 0]] == 0).all()
    x = normal(1, 2, 5, 6)
    np.testing.assert_allclose(layer(x)[:, :, 1:-1, 1:-1], Unpool2d("bilinear")(x, None)[:, :, 1:-1, 1:-1], rtol=1e-6)


def test_gradients_of_learned_upsampling():
    class OddSize(BilinearDeconv2d):
        def forward(self, x, training=True):
            return super().forward(x, None, (2 * x.shape[2] - 1, 2 * x.shape[3]), training)

        def backward(self, dy, cache):
            return super().backward(dy, cache)[0]

    layer, x = OddSize(2, 8), normal(2, 2, 3, 4)
    check_layer(layer, x, complex_step=True, tolerance=1e-12)
    check_layer(layer, x)
    check_contract(layer, (x,), (x[:1, :, :2],))


@pytest.mark.parametrize("mode", MODES)
def test_selectable_in_one_net(mode):
    """The same network by each rule: equal parameters, gradients checked whole; other outputs."""
    model = small("segnet_small", width=2, depth=2, unpool=mode)
    reference = small("segnet_small", width=2, depth=2)
    assert {n: p.value.shape for n, p in model.parameters().items()} == {
        n: p.value.shape for n, p in reference.parameters().items()
    }
    check_gradients(model, (9, 14))
    x = normal(1, 3, 9, 14).astype(np.float32)
    assert (mode == "max") == np.array_equal(model(x), reference(x))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Unpool2d("mean"), "Unpool2d: mode must be one of max, nearest, bed_of_nails, bilinear, got 'mean'"),
        (
            lambda: Unpool2d("nearest")(X, None, (5, 4)),
            r"output_size must be in \(3, 3\) .. \(4, 4\) for input \(2, 2\)",
        ),
        (lambda: Unpool2d("max")(X, np.zeros((1, 1, 2, 2), int), (2, 4)), r"MaxUnpool2d: output size \(2, 4\)"),
        (lambda: BilinearDeconv2d(2, 5), "BilinearDeconv2d: kernel_size must be even and at least 2, got 5"),
        (lambda: BilinearDeconv2d(1)(X, None, (4, 2)), r"BilinearDeconv2d: output_size must be in .* got \(4, 2\)"),
        (lambda: small("segnet_small", unpool="mean"), "segnet_small: unpool must be 'max' or 'nearest' or "),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
