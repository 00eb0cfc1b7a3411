"""Layer normalisation."""

import numpy as np

from nn.cpu.chunks import as_rows, empty_output, in_slices
from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, launch, use_kernels
from nn.layer import Layer, Parameter, check_shape

ROWS_TOGETHER = 64  # on a GPU a thread adds up so many rows of one column


class LayerNorm(Layer):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, for each sample.    x, y (..., *normalized_shape).

    mean and var (biased) are over the last axes, those of normalized_shape: a whole number D for x (..., D), or a tuple
    such as (C, H, W) for x (N, C, H, W). weight and bias have that shape too, a number for each place, unlike those of
    BatchNorm2d. elementwise_affine=False: neither of them; bias=False: weight alone. Training and inference are the
    same: no running statistics.

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
        self._check(x)
        xp, axes = array_module(x), len(self.normalized_shape)
        rows = as_rows(x, axes)
        if self._by_kernel(x):
            return self._forward_by_kernel(rows, x)
        y = empty_output(rows.shape, x, self.weight)
        one = xp.ones(rows.shape[1], x.dtype)
        mean, inv_std = xp.empty((len(rows), 1), y.dtype), xp.empty((len(rows), 1), y.dtype)

        def normalise(m):
            mean[m] = row_dots(rows[m], one) / len(one)
            centred = xp.subtract(rows[m], mean[m], out=y[m])
            inv_std[m] = 1 / xp.sqrt(row_dots(centred, centred) / len(one) + self.eps)
            y[m] *= inv_std[m]
            if self.weight is not None:
                y[m] *= self.weight.value.reshape(-1)
            if self.bias is not None:
                y[m] += self.bias.value.reshape(-1)

        in_slices(normalise, len(rows), x.size, xp)
        return y.reshape(x.shape), (x, mean, inv_std)

    def backward(self, dy, cache):
        x, mean, inv_std = cache
        check_shape(self, dy=(dy, x.shape))
        axes = len(self.normalized_shape)
        rows, dy_rows = as_rows(x, axes), as_rows(dy, axes)
        if self._by_kernel(x):
            return self._backward_by_kernel(dy_rows, rows, mean, inv_std).reshape(x.shape)
        xp, one = array_module(dy), array_module(dy).ones(rows.shape[1], dy.dtype)
        dx = xp.empty(rows.shape, dy.dtype)

        def differentiate(m):
            # y = weight * x_hat + bias, x_hat = (x - mean) * inv_std
            x_hat = rows[m] - mean[m]
            x_hat *= inv_std[m]
            dx_hat, dweight, dbias = dy_rows[m], None, None
            if self.weight is not None:
                dweight, dbias = (dx_hat * x_hat).sum(axis=0), dx_hat.sum(axis=0)  # a place of weight serves all rows
                dx_hat = dx_hat * self.weight.value.reshape(-1)
            # mean and var are functions of x as well: what dx_hat has of a constant and of x_hat does not get through
            x_hat *= row_dots(dx_hat, x_hat) / len(one)
            x_hat += row_dots(dx_hat, one) / len(one)
            xp.subtract(dx_hat, x_hat, out=dx[m])
            dx[m] *= inv_std[m]
            return dweight, dbias

        for dweight, dbias in in_slices(differentiate, len(rows), x.size, xp):
            if self.weight is not None:
                self.weight.grad += dweight.reshape(self.normalized_shape)
            if self.bias is not None:
                self.bias.grad += dbias.reshape(self.normalized_shape)
        return dx.reshape(x.shape)

    def _by_kernel(self, x):
        weights = [x if p is None else p.value for p in (self.weight, self.bias)]
        return use_kernels(x) and x.dtype.name in TYPES and all(w.dtype == x.dtype for w in weights)

    def _forward_by_kernel(self, rows, x):
        """forward on a GPU, in one launch."""
        (m, width), xp, weights = rows.shape, array_module(x), [p and p.value for p in (self.weight, self.bias)]
        rows, y = xp.ascontiguousarray(rows), xp.empty(rows.shape, x.dtype)
        mean, inv_std, block = xp.empty((m, 1), x.dtype), xp.empty((m, 1), x.dtype), _threads(width)
        arrays = rows, *weights, y, mean, inv_std
        launch("layer_norm", "layer_norm_forward", m * block, x.dtype, *arrays, float(self.eps), width, block=block)
        return y.reshape(x.shape), (x, mean, inv_std)

    def _backward_by_kernel(self, dy, rows, mean, inv_std):
        """backward on a GPU, in two launches and the sums of what the slices of rows give for weight and bias."""
        (m, width), xp, dtype, weight = rows.shape, array_module(rows), rows.dtype, self.weight and self.weight.value
        arrays = xp.ascontiguousarray(dy, dtype), xp.ascontiguousarray(rows), mean, inv_std
        dx, block = xp.empty(rows.shape, dtype), _threads(width)
        launch("layer_norm", "layer_norm_backward", m * block, dtype, *arrays, weight, dx, width, block=block)
        if self.weight is not None:
            slices = -(-m // ROWS_TOGETHER)
            partial, sizes = xp.empty((2, slices, width), dtype), (m, width, ROWS_TOGETHER, slices)
            launch("layer_norm", "layer_norm_weights", slices * width, dtype, *arrays, partial, *sizes)
            dweight, dbias = partial.sum(axis=1)
            self.weight.grad += dweight.reshape(self.normalized_shape)
            if self.bias is not None:
                self.bias.grad += dbias.reshape(self.normalized_shape)
        return dx

    def _check(self, x):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        if x.shape[-len(self.normalized_shape) :] != self.normalized_shape:
            wanted = ", ".join(map(str, self.normalized_shape))
            raise ValueError(f"LayerNorm: x must have shape (..., {wanted}), got {x.shape}")


def _threads(width):
    """Threads of a block that shares a row: a power of two."""
    return min(256, max(32, 1 << (width - 1).bit_length()))


def row_dots(a, b):
    """(M, 1): row by row the product of a (M, D) with b (M, D) or (D,), as matrix products, faster than sums."""
    return (a[:, None] @ b[..., None])[:, 0]
