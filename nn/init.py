"""Initial weights: random ones, scaled so that signals keep their size from layer to layer, and a few fixed ones.

A sum over fan_in inputs of variance 1 with weights of variance 1 / fan_in has variance 1 again; going backward, the
gradient is a sum over fan_out. He's rule multiplies by 2, since a ReLU sets half of the signal to 0; Xavier's averages
the two fans.

Weights are drawn in float64 and then converted, so that a float32 and a float64 model made from the same seed have the
same weights up to rounding.
"""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

import math

import numpy as np

from nn.dispatch import limit_blas
from nn.layer import Layer, Parameter


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of weights of shape (O, I) or (out, in / groups, kh, kw): the channels times the window's area.

    fan_out counts all output channels, also of grouped convolutions, as in PyTorch. For the weights of a transposed
    convolution, (in, out / groups, kh, kw), the two are exchanged. Raises ValueError for fewer than 2 axes or a size of
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


def orthogonal(shape: tuple[int, ...], rng: np.random.Generator, dtype=np.float32, gain: float = 1.0) -> np.ndarray:
    """Random weights whose rows, or columns where these are fewer, are orthogonal to each other and of length `gain`.

    W = gain * Q of the QR decomposition of a normal matrix, with the signs that make the diagonal of R positive: so Q
    is uniform over all orthogonal matrices

    shape (O, I), or (out, in / groups, kh, kw) as a matrix of `out` rows. A product of many such matrices, as in a deep
    or recurrent net, neither grows nor shrinks a signal. For stacked gates (4 * H, H) make one (H, H) a gate.
    Reference: Saxe et al. 2014, arXiv:1312.6120, sec. 3.
    """
    rows, columns = shape[0] if shape else 0, fans(shape)[0]
    normal = _generator("orthogonal", rng).standard_normal((max(rows, columns), min(rows, columns)))
    limit_blas()  # its threads would change the bits
    q, r = np.linalg.qr(normal)
    q *= np.where(np.diag(r) < 0, -1, 1)
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(dtype)


def bilinear_kernel(shape: tuple[int, int, int, int], dtype=np.float32) -> np.ndarray:
    """Weights with which a transposed convolution interpolates bilinearly, each channel for itself.

    weight[c, c or 0, i, j] = f(i, kh) * f(j, kw)
    f(i, k) = 1 - |i - (k - 1) / 2| / ceil(k / 2)       a triangle around the middle of the kernel

    shape (C, 1, kh, kw) for groups=C, or (C, C, kh, kw), which is 0 off the diagonal. To enlarge s times take
    kernel_size = 2 * s - s % 2, stride = s, padding = (s - 1) // 2 (s odd) or s // 2 (s even): inside the image this is
    bilinear interpolation with align_corners=False; at its border it fades towards 0.
    Raises ValueError for any other shape. Reference: Long et al. 2015, arXiv:1411.4038, sec. 3.3.
    """
    if len(shape) != 4 or min(shape) < 1 or shape[1] not in (1, shape[0]):
        raise ValueError(f"bilinear_kernel: shape must be (C, 1, kh, kw) or (C, C, kh, kw), got {tuple(shape)}")
    vertical, horizontal = (1 - abs(np.arange(k) - (k - 1) / 2) / -(-k // 2) for k in shape[2:])
    kernel = vertical[:, None] * horizontal
    diagonal = np.ones((shape[0], 1)) if shape[1] == 1 else np.eye(shape[0])
    return (diagonal[:, :, None, None] * kernel).astype(dtype)


def identity_affine(layer: Layer) -> Layer:
    """Set the last layer of a localisation net so that its spatial transformer begins as the identity; returns it.

    weight = 0, bias = (1, 0, 0, 0, 1, 0): theta = [[1, 0, 0], [0, 1, 0]], x' = x and y' = y, for every input

    layer: anything with a weight (6, ...) and a bias (6,), such as Linear(in_features, 6), whose output is reshaped to
    theta (N, 2, 3). Written in place. Raises ValueError for other shapes or no bias.
    Reference: Jaderberg et al. 2015, arXiv:1506.02025, sec. 3.2 (theta) and appendix A (the initial weights).
    """
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if not isinstance(weight, Parameter) or not isinstance(bias, Parameter) or bias.value.shape != (6,):
        got = f"weight {weight!r} and bias {bias!r}"
        raise ValueError(f"identity_affine: layer must have a weight and a bias of 6 outputs, got {got}")
    weight.value[...] = 0
    bias.value[...] = 0
    bias.value[0] = bias.value[4] = 1
    return layer


def lstm_forget_bias(bias: Parameter, value: float = 1.0) -> Parameter:
    """Set the forget gate's part of an LSTM's bias, so that its cells begin by remembering; returns the bias.

    bias (4 * H,), the gates stacked i, f, o, g: bias[H : 2 * H] = value, the rest stays. Where two biases are added up,
    as in PyTorch, do it to one of them. Written in place. Raises ValueError for another shape.
    Reference: Gers et al. 2000, Learning to forget: continual prediction with LSTM; Jozefowicz et al. 2015, An
    empirical exploration of recurrent network architectures (value = 1).
    """
    if not isinstance(bias, Parameter):
        raise TypeError(f"lstm_forget_bias: bias must be a Parameter, got {type(bias).__name__}")
    if bias.value.ndim != 1 or bias.value.size % 4 or not bias.value.size:
        raise ValueError(f"lstm_forget_bias: bias must have shape (4 * H,), got {bias.value.shape}")
    hidden = bias.value.size // 4
    bias.value[hidden : 2 * hidden] = value
    return bias


def _he_variance(owner, shape, mode, negative_slope):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'{owner}: mode must be "fan_in" or "fan_out", got {mode!r}')
    fan = fans(shape)[mode == "fan_out"]
    return 2 / ((1 + negative_slope**2) * fan)


def _normal(owner, shape, variance, rng, dtype):
    return (math.sqrt(variance) * _generator(owner, rng).standard_normal(shape)).astype(dtype)


def _uniform(owner, shape, variance, rng, dtype):
    limit = math.sqrt(3 * variance)  # the variance of a uniform value in (-limit, limit) is limit^2 / 3
    return _generator(owner, rng).uniform(-limit, limit, shape).astype(dtype)


def _generator(owner, rng):
    if not isinstance(rng, np.random.Generator):
        got = type(rng).__name__
        raise TypeError(f"{owner}: rng must be a np.random.Generator, got {got}: pass np.random.default_rng(seed)")
    return rng
