"""Elementwise non-linearities in chunks against the textbook: large arrays, strides, arrays of no axes or elements."""

import numpy as np
import pytest

from nn.cpu import activation as fast
from nn.layers import activation as textbook

OPTIONS = {
    "rectify": (), "leaky_rectify": (0.3,), "elu": (1.7,), "sigmoid": (), "tanh": (), "silu": (),
    "softplus": (1.5, 2.0),
}  # fmt: skip


def forward_and_backward(version, name, dy, x):
    """(y, dx) of one of the non-linearities."""
    options, forward = OPTIONS[name], getattr(version, name)
    if name.endswith("rectify"):
        return forward(x, x, *options), forward(dy, x, *options)
    y = forward(x, *options)
    return y, getattr(version, f"{name}_backward")(dy, y if name in ("sigmoid", "tanh") else x, *options)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("shape", [(3, 1, 100_000), (2, 5), (4,), (), (0, 3)])
@pytest.mark.parametrize("name", OPTIONS)
def test_equals_the_textbook(name, shape, step):
    x, dy = (
        np.asarray(a)[..., ::step] if shape else np.asarray(a)
        for a in np.random.default_rng(164).normal(size=(2, *shape))
    )
    before = x.copy(), dy.copy()
    for got, wanted in zip(forward_and_backward(fast, name, dy, x), forward_and_backward(textbook, name, dy, x)):
        np.testing.assert_allclose(got, wanted, rtol=1e-14, atol=1e-15)
        assert isinstance(got, np.ndarray) and not np.shares_memory(got, x) and not np.shares_memory(got, dy)
    assert np.array_equal(x, before[0]) and np.array_equal(dy, before[1])
