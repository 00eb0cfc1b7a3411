"""Dropout: of single elements, of whole channels, of whole branches."""

import numpy as np

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape
from nn.random import spawn


def dropout(x, p, mask_shape, rng):
    """y = x * mask, and mask: 0 with probability p, else 1 / (1 - p).    x any shape, to which mask broadcasts."""
    kept = array_module(x).asarray(rng.random(mask_shape, np.float32) >= p)
    mask = kept * x.real.dtype.type(1 / (1 - p))
    return x * mask, mask


class Dropout(Layer):
    """Training: y = x * mask / (1 - p), mask 0 with probability p, else 1; inference: y = x.    Any shape.

    `rng` draws the masks (default: a generator of its own, which nn.seed repeats); it belongs to the layer, and its
    state to a checkpoint.

    Reference: Srivastava et al. 2014, Dropout, in the "inverted" form, whose inference needs no scaling.
    """

    def __init__(self, p: float = 0.5, *, rng=None):
        if not 0 <= p < 1:
            raise ValueError(f"{type(self).__name__}: p must be in [0, 1), got {p}")
        self.p = p
        self.rng = rng or spawn()

    def forward(self, x, training=True):
        check_shape(self, x=(x, self._wanted_shape(x)))
        if not training or self.p == 0:
            return x, (None, x.shape)
        y, mask = functions(__name__, x).dropout(x, self.p, self._mask_shape(x), self.rng)
        return y, (mask, x.shape)

    def backward(self, dy, cache):
        mask, shape = cache
        check_shape(self, dy=(dy, shape))
        return dy if mask is None else dy * mask  # y = x * mask

    def _wanted_shape(self, x):
        return (None,) * np.ndim(x)

    def _mask_shape(self, x):
        """The shape of the mask: 1 along the axes that are dropped together."""
        return x.shape


class Dropout2d(Dropout):
    """As Dropout, but whole channels are dropped: one element of the mask for each image and channel.    x (N, C, ...).

    Neighbouring pixels say nearly the same, so dropping them one by one would hardly regularise a convolution. Unlike
    in PyTorch, axis 0 is always N: an image alone is (1, C, H, W).

    Reference: Tompson et al. 2015, arXiv:1411.4280, sec. 3.2 (SpatialDropout).
    """

    def _wanted_shape(self, x):
        return ("N", "C") + (None,) * (np.ndim(x) - 2)

    def _mask_shape(self, x):
        return (*x.shape[:2], *(1,) * (x.ndim - 2))


class DropPath(Dropout):
    """Stochastic depth: y = x * mask / (1 - p), but whole samples are dropped.    x, y (N, ...).

    For residual blocks, y = x + drop_path(body(x)), which then are the identity. mode="row": one element of the mask
    for each sample of the batch. mode="batch": one for all of them. In training what is kept is divided by 1 - p, as in
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
