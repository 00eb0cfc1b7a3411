"""Labels for every pixel of an image of any size, from a network that loses the border of what it sees.

Reference: Ronneberger et al. 2015, arXiv:1505.04597, sec. 2, fig. 2: the overlap-tile strategy.
"""

from __future__ import annotations  # UNet only annotates: its file imports this one

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.layer import check_shape, positive
from vision.segmentation.pixel_classifier import PixelNetwork

if TYPE_CHECKING:
    from vision.segmentation.unet import UNet


class Cache(NamedTuple):
    """The network's cache, the rows and columns of x that it has seen, and the shapes of x and of its output."""

    network: Any
    rows: np.ndarray
    columns: np.ndarray
    x: tuple[int, ...]
    output: tuple[int, ...]


class OverlapTile(PixelNetwork):
    """images (N, I, H, W) to logits (N, C, H, W): beyond its borders, an image goes on as in a mirror.

    Training takes the whole image at once. Inference goes tile by tile if the output is larger than `tile`, so that
    memory does not grow with the image: each tile's input overlaps its neighbours' by the border that the network
    loses. Tiles begin where the network's poolings begin, so together they equal the logits of the whole image at once.
    Parameters have the network's names. Raises ValueError for a network that pads: its tiles would not fit together.
    """

    def __init__(self, network: UNet, tile: int = 388):
        positive(self, tile=tile)
        if network.padding != "valid":
            raise ValueError(f"OverlapTile: the network's padding must be 'valid', got {network.padding!r}")
        self.network, pooled = network, 2**network.depth
        self.input = network.input_size(max(tile, pooled), 1)[0]
        self.tile = network.output_size(self.input, self.input)[0]
        self.border = (self.input - self.tile) // 2
        self.step = self.tile // pooled * pooled

    def children(self):
        """Those of the network."""
        return self.network.children()

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", self.network.in_channels, "H", "W")))
        h, w = x.shape[2:]
        if not training and max(h, w) > self.tile:
            return self._by_tiles(x), None
        sizes = self.network.input_size(h, w)
        rows, columns = (mirrored(-self.border, size, n, array_module(x)) for size, n in zip(sizes, (h, w)))
        y, c = self.network.forward(x[:, :, rows[:, None], columns], training)
        return y[:, :, :h, :w], Cache(c, rows, columns, x.shape, y.shape)

    def backward(self, dy, cache, images=True):
        h, w = cache.x[2:]
        xp = array_module(dy)
        doutput = xp.zeros(cache.output, dy.dtype)
        doutput[:, :, :h, :w] = dy  # y = output[:, :, :h, :w]
        dshown = self.network.backward(doutput, cache.network, images)
        if not images:
            return None
        # shown = x[rows, columns], that is R x C.T with a single one in each row of R and C
        of_rows, of_columns = (
            (indices[:, None] == xp.arange(n)).astype(dy.dtype) for indices, n in ((cache.rows, h), (cache.columns, w))
        )
        return of_rows.T @ dshown @ of_columns

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)

    def _by_tiles(self, x):
        """The logits of x, tile by tile; the last few pixels of a tile are the first of the next one."""
        (h, w), y, xp = x.shape[2:], None, array_module(x)
        for top in range(0, h, self.step):
            rows = mirrored(top - self.border, self.input, h, xp)
            for left in range(0, w, self.step):
                columns = mirrored(left - self.border, self.input, w, xp)
                part = self.network(x[:, :, rows[:, None], columns])
                if y is None:
                    y = xp.empty((len(x), part.shape[1], h, w), part.dtype)
                y[:, :, top : top + self.tile, left : left + self.tile] = part[:, :, : h - top, : w - left]
        return y


def mirrored(start: int, size: int, n: int, xp=np) -> np.ndarray:
    """(size,): the indices start, start + 1, ... in a row of n pixels that is mirrored at its first and last pixel."""
    period = max(2 * (n - 1), 1)
    return abs((xp.arange(start, start + size) + n - 1) % period - (n - 1))
