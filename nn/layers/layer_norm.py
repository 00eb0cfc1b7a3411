"""Layer normalisation: its formulas for rows x (R, D), and the layer."""

import math

import numpy as np

from nn.dispatch import functions
from nn.layer import Layer, Parameter, check_shape


def layer_norm(x, weight, bias, eps):
    """y (R, D) of x (R, D), each row normalised; and mean, inv_std (R, 1).

    mean = sum(x) / D,  var = sum((x - mean)^2) / D,  inv_std = 1 / sqrt(var + eps)     sums over D
    y = weight x_hat + bias,  x_hat = (x - mean) inv_std

    weight, bias (D,), or None for 1 and 0.
    """
    mean = x.mean(axis=1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=1, keepdims=True)
    inv_std = (var + eps) ** -0.5
    y = (x - mean) * inv_std
    if weight is not None:
        y = weight * y
    if bias is not None:
        y = y + bias
    return y, mean, inv_std


def layer_norm_backward(dy, x, mean, inv_std, weight):
    """dx (R, D), dweight, dbias (D,) of layer_norm; these two are None where weight is.

    dx = inv_std (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)),  dx_hat = weight dy     means over D
    """
    x_hat = (x - mean) * inv_std
    dx_hat, dweight, dbias = dy, None, None
    if weight is not None:  # y = weight x_hat + bias, the same weight and bias for all rows
        dx_hat = weight * dy
        dweight, dbias = (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    # x_hat = (x - mean) inv_std
    dx = dx_hat - dx_hat.mean(axis=1, keepdims=True)  # term 1, through mean = sum(x) / D
    dx = dx - x_hat * (dx_hat * x_hat).mean(axis=1, keepdims=True)  # term 2, through var = sum((x - mean)^2) / D
    return dx * inv_std, dweight, dbias


class LayerNorm(Layer):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, for each sample.    x, y (..., *normalized_shape).

    mean and var (biased) are over the last axes, those of normalized_shape: an integer D for x (..., D), or a tuple
    such as (C, H, W) for x (N, C, H, W). weight and bias have that shape too, one element for each position, unlike
    those of BatchNorm2d. elementwise_affine=False: neither of them; bias=False: weight alone. Training and inference
    are the same: no running statistics.

    Raises ValueError where x does not end in normalized_shape.

    Reference: Ba et al. 2016, arXiv:1607.06450, eq. 3 and 4.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ):
        shape = (normalized_shape,) if np.ndim(normalized_shape) == 0 else tuple(normalized_shape)
        whole = all(isinstance(size, (int, np.integer)) and not isinstance(size, bool) for size in shape)
        if not shape or not whole or min(shape) < 1:
            raise ValueError(
                f"LayerNorm: normalized_shape must be a whole number >= 1 or a tuple of them, got {normalized_shape!r}"
            )
        if not eps > 0:
            raise ValueError(f"LayerNorm: eps must be > 0, got {eps}")
        self.normalized_shape, self.eps = tuple(map(int, shape)), eps
        self.weight = Parameter(np.ones(shape, np.float32)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(shape, np.float32)) if elementwise_affine and bias else None

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        if x.shape[-len(self.normalized_shape) :] != self.normalized_shape:
            wanted = ", ".join(map(str, self.normalized_shape))
            raise ValueError(f"LayerNorm: x must have shape (..., {wanted}), got {x.shape}")
        weight, bias = self._flat(self.weight), self._flat(self.bias)
        rows = x.reshape(-1, math.prod(self.normalized_shape))  # (R, D)
        y, mean, inv_std = functions(__name__, x, weight, bias).layer_norm(rows, weight, bias, self.eps)
        return y.reshape(x.shape), (x, mean, inv_std)

    def backward(self, dy, cache):
        x, mean, inv_std = cache
        check_shape(self, dy=(dy, x.shape))
        weight, rows_shape = self._flat(self.weight), (-1, math.prod(self.normalized_shape))  # (R, D)
        ops = functions(__name__, dy, x, weight, mean)
        dx, dweight, dbias = ops.layer_norm_backward(
            dy.reshape(rows_shape), x.reshape(rows_shape), mean, inv_std, weight
        )
        if self.weight is not None:
            self.weight.grad += dweight.reshape(self.normalized_shape)
        if self.bias is not None:
            self.bias.grad += dbias.reshape(self.normalized_shape)
        return dx.reshape(x.shape)

    def _flat(self, parameter):
        """Its value as (D,), or None."""
        return None if parameter is None else parameter.value.reshape(-1)
