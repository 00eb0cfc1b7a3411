"""The 1x1 convolution of small planes against the textbook, and where it is chosen."""

import numpy as np
import pytest

from nn.cpu import chunks, conv_pointwise
from nn.cpu import conv as cpu_conv
from nn.layers import conv
from nn.layers.windows import Geometry

ONE = Geometry((1, 1))


@pytest.mark.parametrize("n, c, o, size", [(2, 3, 5, (4, 3)), (7, 4, 1, (1, 1)), (3, 1, 6, (2, 8))])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_equals_the_textbook(n, c, o, size, dtype, monkeypatch):
    monkeypatch.setattr(conv_pointwise, "in_slices", lambda *a: chunks.in_slices(*a, chunk=1))  # one by one
    rng = np.random.default_rng(n)
    x, weight, dy = (rng.standard_normal(s).astype(dtype) for s in ((n, c, *size), (o, c, 1, 1), (n, o, *size)))
    for bias in (None, rng.standard_normal(o)):
        found, wanted = (ops.conv2d(x, weight, ONE, size, bias) for ops in (conv_pointwise, conv))
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    for bias in (None, rng.standard_normal(c)):
        found, wanted = (ops.conv2d_input_gradient(dy, weight, ONE, size, bias) for ops in (conv_pointwise, conv))
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    found, wanted = (ops.conv2d_weight_gradient(dy, x, weight.shape, ONE) for ops in (conv_pointwise, conv))
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
    assert found.dtype == dtype


@pytest.mark.parametrize("side, images, chosen", [(4, 2, True), (5, 2, False), (4, 1, False)])
def test_where_it_is_chosen(side, images, chosen):
    size = (side, side)
    module = cpu_conv._fastest(np.dtype(np.float32), (8, 6, 1, 1), ONE, images, size, size)
    assert (module is conv_pointwise) == chosen


@pytest.mark.parametrize("c, chosen", [(48, True), (47, False)])  # 48 * 144 / (48 + 144) = 36 positions
def test_where_images_are_brought_together_for_dweight(c, chosen):
    assert conv_pointwise.takes_weight_gradient((144, c, 1, 1), ONE, 2, (6, 6)) == chosen


@pytest.mark.parametrize(
    "g",
    [Geometry((1, 1), stride=(2, 2)), Geometry((1, 1), groups=2), Geometry((1, 3)), Geometry((1, 1), (1, 1), (1, 0))],
)
def test_what_is_no_1x1_convolution(g):
    assert not conv_pointwise.takes(g, 4, (2, 2))
