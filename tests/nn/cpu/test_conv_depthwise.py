"""The depthwise convolution against the textbook, and its gradients."""

import numpy as np
import pytest

from nn import Conv2d
from nn.cpu import conv_depthwise
from nn.gradcheck import check_layer
from nn.layers import conv
from nn.layers.windows import Geometry


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_textbook(seed, monkeypatch):
    rng = np.random.default_rng([85, seed])
    monkeypatch.setattr(conv_depthwise, "CHUNK", [1 << 18, 1, 100][seed % 3])
    kernel, dilation, padding = (tuple(map(int, rng.integers(low, high, 2))) for low, high in ((1, 5), (1, 4), (0, 5)))
    n, c = (int(k) for k in rng.integers(1, 4, 2))
    h, w = (int(rng.integers(1, 12)) + max(0, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding))
    g = Geometry(kernel, (1, 1), padding, dilation, c + 1)
    out_size = g.output_size("", h, w)
    shapes = (n, c + 1, h, w), (c + 1, 1, *kernel), (n, c + 1, *out_size), (c + 1,)
    x, weight, dy, bias = (rng.standard_normal(shape) for shape in shapes)
    assert conv_depthwise.takes(weight.shape, g)
    results = [
        (
            ops.conv2d(x, weight, g, out_size, bias),
            ops.conv2d_input_gradient(dy, weight, g, (h, w), bias),
            ops.conv2d_weight_gradient(dy, x, weight.shape, g),
        )
        for ops in (conv_depthwise, conv)
    ]
    for name, found, wanted in zip(("y", "dx", "dw"), *results):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * max(1, abs(wanted).max()), err_msg=name)


def test_gradients_by_the_complex_step():
    layer = Conv2d(3, 3, (2, 3), padding=1, groups=3, rng=np.random.default_rng(86)).astype(np.float64)
    x = np.random.default_rng(87).standard_normal((2, 3, 4, 5))
    check_layer(layer, x, complex_step=True, tolerance=1e-12)
