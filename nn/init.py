"""Random initial weights, scaled so that signals keep their size from layer to layer.

A sum over fan_in inputs of variance 1 with weights of variance 1 / fan_in has variance 1 again; going backward, the
gradient is a sum over fan_out. He's rule multiplies by 2 for the half that a ReLU cuts off; Xavier's averages the two
fans.

The numbers are drawn as float64 and then converted, so that a float32 and a float64 model made from the same seed
have the same weights up to rounding.
"""

import math

import numpy as np


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of weights of shape (O, I) or (out, in / groups, kh, kw): the channels times the window's area.

    fan_out counts all output channels, also of grouped convolutions, as in PyTorch. For the weights of a transposed
    convolution, (in, out / groups, kh, kw), the two change places. Raises ValueError for fewer than 2 axes or a size of
    0.
    """
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"fans: shape must be (out, in, ...) with every size at least 1, got {tuple(shape)}")
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


def he_normal(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    dtype=np.float32,
    mode: str = "fan_in",
    negative_slope: float = 0.0,
) -> np.ndarray:
    """Normal weights for layers before a ReLU, or a LeakyReLU of the given negative_slope.

    variance = 2 / ((1 + negative_slope^2) * fan),   fan = fan_in or fan_out as `mode` says

    mode="fan_in" keeps the size of the signal going forward, "fan_out" that of the gradient going backward.
    Reference: He et al. 2015, arXiv:1502.01852, sec. 2.2.
    """
    return _normal("he_normal", shape, _he_variance("he_normal", shape, mode, negative_slope), rng, dtype)


def he_uniform(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    dtype=np.float32,
    mode: str = "fan_in",
    negative_slope: float = 0.0,
) -> np.ndarray:
    """As he_normal, the same variance, but uniform in (-limit, limit): limit = sqrt(3 * variance)."""
    return _uniform("he_uniform", shape, _he_variance("he_uniform", shape, mode, negative_slope), rng, dtype)


def xavier_normal(shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32, gain: float = 1.0) -> np.ndarray:
    """Normal weights for layers before tanh, sigmoid, softmax or nothing.

    variance = gain^2 * 2 / (fan_in + fan_out)

    Reference: Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, eq.
    12.
    """
    return _normal("xavier_normal", shape, gain**2 * 2 / sum(fans(shape)), rng, dtype)


def xavier_uniform(shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32, gain: float = 1.0) -> np.ndarray:
    """As xavier_normal, but uniform: limit = gain * sqrt(6 / (fan_in + fan_out)).    Reference: eq. 16."""
    return _uniform("xavier_uniform", shape, gain**2 * 2 / sum(fans(shape)), rng, dtype)


def _he_variance(owner, shape, mode, negative_slope):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'{owner}: mode must be "fan_in" or "fan_out", got {mode!r}')
    fan = fans(shape)[mode == "fan_out"]
    return 2 / ((1 + negative_slope**2) * fan)


def _normal(owner, shape, variance, rng, dtype):
    return (math.sqrt(variance) * _generator(owner, rng).standard_normal(shape)).astype(dtype)


def _uniform(owner, shape, variance, rng, dtype):
    limit = math.sqrt(3 * variance)  # the variance of a uniform number in (-limit, limit) is limit^2 / 3
    return _generator(owner, rng).uniform(-limit, limit, shape).astype(dtype)


def _generator(owner, rng):
    if not isinstance(rng, np.random.Generator):
        got = type(rng).__name__
        raise TypeError(f"{owner}: rng must be a np.random.Generator, got {got}: pass np.random.default_rng(seed)")
    return rng
