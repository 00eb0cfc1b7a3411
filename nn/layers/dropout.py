"""Dropout: of single numbers, of whole channels, of whole branches."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels
from nn.layer import Layer, check_shape
from nn.random import uniform


class Dropout(Layer):
    """Training: y = x * mask / (1 - p), mask 0 with probability p, else 1; inference: y = x.    Any shape.

    `rng` draws the masks (default: a fixed seed, 0); it belongs to the layer, and its state to a checkpoint.

    Reference: Srivastava et al. 2014, Dropout, in the "inverted" form, whose inference needs no scaling.
    """

    def __init__(self, p: float = 0.5, *, rng=None):
        if not 0 <= p < 1:
            raise ValueError(f"{type(self).__name__}: p must be in [0, 1), got {p}")
        self.p = p
        self.rng = rng or np.random.default_rng(0)

    def forward(self, x, training=True):
        check_shape(self, x=(x, self._wanted_shape(x)))
        if not training or self.p == 0:
            return x, (None, x.shape)
        drawn = uniform(self.rng, self._mask_shape(x), np.float32, array_module(x))
        if use_kernels(x) and x.dtype == drawn.dtype and x.shape == drawn.shape:
            return self._by_kernel(x, drawn)
        keep = drawn >= self.p
        scaled_mask = keep * x.real.dtype.type(1 / (1 - self.p))
        return x * scaled_mask, (scaled_mask, x.shape)

    def backward(self, dy, cache):
        scaled_mask, shape = cache
        check_shape(self, dy=(dy, shape))
        return dy if scaled_mask is None else dy * scaled_mask  # y = x * scaled_mask

    def _by_kernel(self, x, drawn):
        """forward on a GPU in one launch: the drawn numbers become the mask."""
        x, y = array_module(x).ascontiguousarray(x), array_module(x).empty(x.shape, x.dtype)
        numbers = float(self.p), 1 / (1 - self.p)
        launch("dropout", "dropout_forward", x.size, x.dtype, x, drawn, y, *numbers, x.size)
        return y, (drawn, x.shape)

    def _wanted_shape(self, x):
        return (None,) * np.ndim(x)

    def _mask_shape(self, x):
        """One number of the mask for each x here; 1 along the axes that fall out together."""
        return x.shape


class Dropout2d(Dropout):
    """As Dropout, but whole channels fall out: one number of the mask for each image and channel.    x (N, C, ...).

    Neighbouring pixels say nearly the same, so dropping them one by one would hardly regularise a convolution. Unlike
    PyTorch's, an image without its batch axis, (C, H, W), is not taken for one: its axis 0 counts as N.

    Reference: Tompson et al. 2015, arXiv:1411.4280, sec. 3.2 (SpatialDropout).
    """

    def _wanted_shape(self, x):
        return ("N", "C") + (None,) * (np.ndim(x) - 2)

    def _mask_shape(self, x):
        return (*x.shape[:2], *(1,) * (x.ndim - 2))


class DropPath(Dropout):
    """Stochastic depth: y = x * mask / (1 - p), but whole samples fall out.    x, y (N, ...).

    For residual blocks, y = x + drop_path(body(x)), which then are the identity. mode="row": one number of the mask for
    each sample of the batch. mode="batch": one for all of them. In training what stays is divided by 1 - p, as in
    torchvision's StochasticDepth (which is another name of this class) and timm's DropPath; the paper instead
    multiplies by 1 - p in inference. Its rule for p: from 0 in the first block linearly to 0.5 in the last.

    Raises ValueError for a p outside [0, 1) or another mode.

    Reference: Huang et al. 2016, arXiv:1603.09382, sec. 3 (its b_l is the mask, its p_l the 1 - p here).
    """

    def __init__(self, p: float, mode: str = "row", *, rng=None):
        super().__init__(p, rng=rng)
        if mode not in ("row", "batch"):
            raise ValueError(f"{type(self).__name__}: mode must be 'row' or 'batch', got {mode!r}")
        self.mode = mode

    def _wanted_shape(self, x):
        return ("N",) + (None,) * (np.ndim(x) - 1)

    def _mask_shape(self, x):
        return (len(x) if self.mode == "row" else 1, *(1,) * (x.ndim - 1))


StochasticDepth = DropPath
