"""The depthwise convolution against the textbook, and its gradients."""

import numpy as np
import pytest

from nn import Conv2d, ConvTranspose2d
from nn.cpu import conv_depthwise, conv_depthwise_small
from nn.gradcheck import check_layer
from nn.layers import conv
from nn.layers.windows import Geometry


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("fast", [conv_depthwise, conv_depthwise_small])
def test_equals_the_textbook(fast, seed, monkeypatch):
    rng = np.random.default_rng([85, seed])
    monkeypatch.setattr(conv_depthwise, "CHUNK", [1 << 18, 1, 100][seed % 3])
    monkeypatch.setattr(conv_depthwise_small, "TOGETHER", [1 << 17, 1, 100][seed % 3])
    kernel, dilation, padding = (tuple(map(int, rng.integers(low, high, 2))) for low, high in ((1, 5), (1, 4), (0, 5)))
    n, c = (int(k) for k in rng.integers(1, 4, 2))
    h, w = (int(rng.integers(1, 12)) + max(0, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding))
    stride = (1, 1) if fast is conv_depthwise else tuple(map(int, rng.integers(1, 4, 2)))
    g = Geometry(kernel, stride, padding, dilation, c + 1)
    out_size = g.output_size("", h, w)
    shapes = (n, c + 1, h, w), (c + 1, 1, *kernel), (n, c + 1, *out_size), (c + 1,)
    x, weight, dy, bias = (rng.standard_normal(shape) for shape in shapes)
    assert fast is conv_depthwise_small or fast.takes(weight.shape, g)
    results = [
        (
            ops.conv2d(x, weight, g, out_size, bias),
            ops.conv2d_input_gradient(dy, weight, g, (h, w), bias),
            ops.conv2d_weight_gradient(dy, x, weight.shape, g),
        )
        for ops in (fast, conv)
    ]
    for name, found, wanted in zip(("y", "dx", "dw"), *results):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * max(1, abs(wanted).max()), err_msg=name)


@pytest.mark.parametrize("side, images, small", [(4, 32, True), (8, 32, True), (32, 32, False), (4, 1, False)])
def test_small_planes_are_matrices(side, images, small):
    """Where most of a matrix is zeros, or it is made for one image, the taps are faster."""
    g = Geometry((3, 3), (1, 1), (1, 1), (1, 1), 6)
    assert conv_depthwise_small.takes((6, 1, 3, 3), g, (side, side), images) == small
    assert not conv_depthwise_small.takes((6, 2, 3, 3), g._replace(groups=3), (side, side), images)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("build", [Conv2d, ConvTranspose2d])
def test_no_images_are_no_images_after_it(build, groups):
    """As of a region head where no region is left, whatever the algorithm; the weights get no gradient."""
    layer = build(4, 4, 3, padding=1, groups=groups)
    y, cache = layer.forward(np.empty((0, 4, 5, 6), np.float32))
    assert y.shape == layer.backward(y, cache).shape == (0, 4, 5, 6)
    assert not layer.weight.grad.any() and not layer.bias.grad.any()


def test_gradients_by_the_complex_step():
    layer = Conv2d(3, 3, (2, 3), padding=1, groups=3, rng=np.random.default_rng(86)).astype(np.float64)
    x = np.random.default_rng(87).standard_normal((2, 3, 4, 5))
    check_layer(layer, x, complex_step=True, tolerance=1e-12)
