"""Elementwise non-linearities made of two straight lines."""

import math

import numpy as np

from nn.cpu.chunks import empty_output, in_pieces, in_slices
from nn.dispatch import array_module
from nn.gpu.kernels import TYPES, launch, use_kernels
from nn.layer import Layer, Parameter, check_shape, positive


class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x.    x and y of the same, any shape (...).

    Reference: Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models.
    """

    def __init__(self, negative_slope: float = 0.01):
        if not 0 <= negative_slope < 1:
            raise ValueError(f"LeakyReLU: negative_slope must be in [0, 1), got {negative_slope}")
        self.negative_slope = negative_slope

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))
        y = in_pieces(lambda x, out: rectify(x, self.negative_slope, out), x, kernel=("LeakyReLU", self.negative_slope))
        return y, x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))

        def differentiate(dy, x, out):  # y = x, or negative_slope * x
            rectify_backward(dy, x, self.negative_slope, out)

        return in_pieces(differentiate, dy, x, kernel=("LeakyReLU", self.negative_slope))


class ReLU(Layer):
    """y = max(x, 0).    Any shape. The gradient at exactly 0 is taken as 0; NaN stays NaN.

    Reference: Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines.
    """

    def forward(self, x, training=True):
        check_shape(self, x=(x, (None,) * np.ndim(x)))

        def relu(x, out):
            array_module(x).clip(x, 0, np.inf, out=out)  # maximum(x, 0), but faster

        y = in_pieces(relu, x, kernel=("ReLU",))
        return y, y

    def backward(self, dy, cache):
        y = cache
        check_shape(self, dy=(dy, y.shape))

        def differentiate(dy, y, out):  # y = max(x, 0): where x did not get through, dy does not
            array_module(dy).multiply(dy, y > 0, out=out)

        return in_pieces(differentiate, dy, y, kernel=("ReLU",))


class PReLU(Layer):
    """y = x where x > 0, else weight * x, the slope learned.    weight (num_parameters,).

    num_parameters=1: one slope for all of x, of any shape. num_parameters=C: one a channel, x (N, C, ...). Slopes start
    at `init`. Do not let a weight decay pull them to 0 (the paper's advice): that would make it a ReLU.

    Raises ValueError where x has not num_parameters channels.

    Reference: He et al. 2015, arXiv:1502.01852, eq. 1 and, for the gradients, 2 and 3.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        positive(self, num_parameters=num_parameters)
        if not math.isfinite(init):
            raise ValueError(f"PReLU: init must be a finite number, got {init}")
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x, training=True):
        channels = () if self.num_parameters == 1 else ("N", self.num_parameters)
        check_shape(self, x=(x, channels + (None,) * (np.ndim(x) - len(channels))))
        if self._by_kernel(x):
            y = array_module(x).empty(x.shape, x.dtype)
            self._launch("prelu_forward", [x], y)
            return y, x
        y = empty_output(x.shape, x, self.weight)

        def apply(n):
            rectify(x[n], self._slope(x), y[n])

        self._over_images(apply, x)
        return y, x

    def backward(self, dy, cache):
        x = cache
        check_shape(self, dy=(dy, x.shape))
        dx = array_module(dy).empty(dy.shape, dy.dtype)
        if self._by_kernel(x) and dy.dtype == x.dtype:
            flow = array_module(dy).empty(x.shape, x.dtype)
            self._launch("prelu_backward", [dy, x], dx, flow)
            self.weight.grad += flow.sum(axis=self._shared_axes(x))
            return dx

        def differentiate(n):  # y = max(x, 0) + weight * min(x, 0)
            rectify_backward(dy[n], x[n], self._slope(x), dx[n])
            flow = dy[n] * array_module(x).minimum(x[n], 0)
            return flow.sum(axis=self._shared_axes(x)).reshape(-1)  # the slope is shared: its gradients add up

        for dweight in self._over_images(differentiate, x):
            self.weight.grad += dweight
        return dx

    def _slope(self, x):
        """weight in a shape that lies over x (N, C, ...)."""
        return self.weight.value.reshape(-1, *(1,) * (x.ndim - 2)) if self.num_parameters > 1 else self.weight.value[0]

    def _shared_axes(self, x):
        return (0, *range(2, x.ndim)) if self.num_parameters > 1 else None

    def _by_kernel(self, x):
        return use_kernels(x) and x.dtype.name in TYPES and self.weight.value.dtype == x.dtype

    def _launch(self, kernel, inputs, *outputs):
        """A kernel of nn/gpu/activation.cu on arrays (N, C, L), C being num_parameters."""
        x = inputs[-1]
        length = math.prod(x.shape[2:]) if self.num_parameters > 1 else max(x.size, 1)
        arrays = *(array_module(x).ascontiguousarray(a) for a in inputs), self.weight.value, *outputs
        launch("activation", kernel, x.size, x.dtype, *arrays, x.size, self.num_parameters, length)

    @staticmethod
    def _over_images(task, x):
        """in_slices over axis 0; a 0-d array is one task."""
        return in_slices(task, len(x), x.size, array_module(x)) if x.ndim else [task(...)]


def rectify(x, slope, out):
    """out = x where x > 0, else slope * x, as a sum of which one term is 0: array code dislikes branches."""
    xp = array_module(x)
    xp.minimum(x, 0, out=out)
    out *= slope
    out += xp.maximum(x, 0)


def rectify_backward(dy, x, slope, out):
    """out = dy where x > 0, else slope * dy."""
    positive = x > 0
    array_module(x).multiply(slope, ~positive, out=out, dtype=out.dtype)
    out += positive
    out *= dy
