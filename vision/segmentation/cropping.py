"""Parts of maps, and their transposes: the gradient of a part is the whole with zeros around."""

import numpy as np

from nn import Conv2d
from nn.dispatch import array_module
from nn.layer import check_shape


def centre(x, size: tuple[int, int]):
    """The middle (..., h, w) of an array (..., H, W), a view. Of an odd difference the greater part is cut at the end.

    Raises ValueError where h > H or w > W.
    """
    (h, w), (height, width) = size, x.shape[-2:]
    if h > height or w > width:
        raise ValueError(f"centre: {size} cannot be cut out of {x.shape}: give labels in the size of the images")
    top, left = (height - h) // 2, (width - w) // 2
    return x[..., top : top + h, left : left + w]


def uncut(dy, shape: tuple[int, ...]):
    """The gradient of centre's x, of this shape."""
    if dy.shape == shape:
        return dy
    dx = array_module(dy).zeros(shape, dy.dtype)
    centre(dx, dy.shape[2:])[...] = dy  # y = centre(x)
    return dx


def cut_to(x, size: tuple[int, int], start: int = 0):
    """The part (..., h, w) of an array (..., H, W) whose top left corner is at (start, start), a view.

    Raises ValueError where it reaches over the array's end.
    """
    (h, w), (height, width) = size, x.shape[-2:]
    if start + h > height or start + w > width:
        raise ValueError(f"cut_to: {tuple(size)} from ({start}, {start}) on cannot be cut out of {x.shape}")
    return x[..., start : start + h, start : start + w]


def uncut_to(dy, shape: tuple[int, ...], start: int = 0):
    """The gradient of cut_to's x, of this shape."""
    check_shape("uncut_to", dy=(dy, (*shape[:-2], None, None)))
    if dy.shape == tuple(shape):
        return dy
    dx = array_module(dy).zeros(shape, dy.dtype)
    cut_to(dx, dy.shape[-2:], start)[...] = dy  # y = cut_to(x)
    return dx


class SameConv2d(Conv2d):
    """A Conv2d, x (N, C, H, W) to y (N, O, H, W); an even kernel sees one more pixel above and to the left."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, rng: np.random.Generator):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, rng=rng)

    def forward(self, x, training=True):
        y, cache = super().forward(x, training)
        return cut_to(y, x.shape[2:]), (cache, y.shape)

    def backward(self, dy, cache):
        cache, shape = cache
        return super().backward(uncut_to(dy, shape), cache)

    def backward_parameters(self, dy, cache):
        cache, shape = cache
        super().backward_parameters(uncut_to(dy, shape), cache)
