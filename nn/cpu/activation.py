"""Elementwise non-linearities for NumPy: in chunks that stay in the cache, shared among threads.

The functions of nn/layers/activation.py. Each chunk is computed in its part of the result, with few other arrays.
"""

import numpy as np

from nn.cpu.chunks import in_chunks
from nn.cpu.chunks import real as takes
from nn.cpu.leaky import leaky_chunk, leaky_chunk_backward

__all__ = [
    "elu", "elu_backward", "leaky_rectify", "rectify", "sigmoid", "sigmoid_backward", "silu", "silu_backward",
    "softplus", "softplus_backward", "takes", "tanh", "tanh_backward",
]  # fmt: skip


def rectify(a, x):
    """a where x > 0, else 0."""
    if a is x:
        return in_chunks(lambda x, out: np.clip(x, 0, np.inf, out=out), x)  # maximum(x, 0), but faster
    return in_chunks(lambda a, x, out: np.multiply(a, x > 0, out=out), a, x)


def leaky_rectify(a, x, slope):
    """a where x > 0, else slope * a."""
    if a is x:
        return in_chunks(lambda x, out: leaky_chunk(x, slope, out), x)
    return in_chunks(lambda a, x, out: leaky_chunk_backward(a, x, slope, out), a, x)


def elu(x, alpha):
    """x where x > 0, else alpha * (exp(x) - 1): max(x, 0) + alpha * (exp(min(x, 0)) - 1), of which one term is 0."""

    def chunk(x, out):
        negative = np.expm1(np.minimum(x, 0))
        negative *= alpha
        np.maximum(x, 0, out=out)
        out += negative

    return in_chunks(chunk, x)


def elu_backward(dy, x, alpha):
    """dy where x > 0, else dy * alpha * exp(x)."""

    def chunk(dy, x, out):
        slope = np.exp(np.minimum(x, 0))
        slope *= alpha
        leaky_chunk_backward(dy, x, slope, out)

    return in_chunks(chunk, dy, x)


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return in_chunks(_sigmoid, x)


def sigmoid_backward(dy, y):
    """dy * y * (1 - y)."""
    return in_chunks(lambda dy, y, out: np.multiply(dy, y * (1 - y), out=out), dy, y)


def tanh(x):
    """tanh(x)."""
    return in_chunks(lambda x, out: np.tanh(x, out=out), x)


def tanh_backward(dy, y):
    """dy * (1 - y^2)."""
    return in_chunks(lambda dy, y, out: np.multiply(dy, 1 - y * y, out=out), dy, y)


def silu(x):
    """x * sigmoid(x)."""

    def chunk(x, out):
        _sigmoid(x, out)
        out *= x

    return in_chunks(chunk, x)


def silu_backward(dy, x):
    """dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""

    def chunk(dy, x, out):
        s = np.empty_like(x)
        _sigmoid(x, s)
        np.subtract(1, s, out=out)
        out *= x
        out += 1
        out *= s
        out *= dy

    return in_chunks(chunk, dy, x)


def softplus(x, beta, threshold):
    """log(1 + exp(beta * x)) / beta; x where beta * x > threshold."""

    def chunk(x, out):
        z = x * beta
        smooth = np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0)  # log(1 + e^z) = log(1 + e^-z) + z
        np.divide(smooth, beta, out=out)
        np.copyto(out, x, where=z > threshold)  # hardly anywhere, and fast then

    return in_chunks(chunk, x)


def softplus_backward(dy, x, beta, threshold):
    """dy * sigmoid(beta * x); dy where beta * x > threshold."""

    def chunk(dy, x, out):
        z = x * beta
        s = np.empty_like(z)
        _sigmoid(z, s)
        np.multiply(dy, s, out=out)
        np.copyto(out, dy, where=z > threshold)

    return in_chunks(chunk, dy, x)


def _sigmoid(x, out):
    """1 / (1 + exp(-x)). Where exp overflows this is 0, as it should be."""
    np.negative(x, out=out)
    with np.errstate(over="ignore"):
        np.exp(out, out=out)
    out += 1
    np.reciprocal(out, out=out)
