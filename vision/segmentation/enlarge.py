"""Coarse maps enlarged to the size of the image: bilinear interpolation that knows at which pixel each cell lies."""

from nn import Upsample2d
from nn.layer import Layer, positive
from vision.segmentation.cropping import cut_to, uncut_to


class Enlarge(Layer):
    """y: x, a map of one cell for every stride x stride pixels, interpolated at each pixel of an image.

    x (N, C, h, w), y (N, C, *size): `y, cache = forward(x, size)`. Raises ValueError for a size that the cells do not
    cover.

    cells: where cell i lies. "blocks": it covers the pixels stride i .. stride (i + 1) - 1 and lies at their centre, as
    after 2x2 poolings without padding. "points": it lies at pixel stride i, as after 3x3 poolings with padding 1 and
    stride 2; the last cell is the last pixel covered.
    """

    def __init__(self, stride: int, cells: str = "blocks"):
        positive(self, stride=stride)
        if cells not in ("blocks", "points"):
            raise ValueError(f"Enlarge: cells must be 'blocks' or 'points', got {cells!r}")
        self.stride, self.points = stride, cells == "points"

    def forward(self, x, size, training=True):
        last = self.stride - 1 if self.points else 0  # pixels that the last cell does not cover
        covered = [self.stride * n - last for n in x.shape[2:]]
        if any(want > n for want, n in zip(size, covered)):
            raise ValueError(f"Enlarge: {x.shape[2:]} cells of {self.stride} pixels do not cover {tuple(size)}")
        up = Upsample2d(covered, mode="bilinear", align_corners=self.points)
        y, cache = up.forward(x, training)
        return cut_to(y, size), (up, cache, y.shape)

    def backward(self, dy, cache):
        up, cache, shape = cache
        return up.backward(uncut_to(dy, shape), cache)
