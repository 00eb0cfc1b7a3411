"""Windows sliding over an image: the geometry that convolution and pooling share."""

from typing import NamedTuple

from nn.dispatch import array_module
from nn.layer import pair, positive


class Geometry(NamedTuple):
    """How windows lie on an image: (vertical, horizontal) pairs, and into how many groups the channels fall."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_size(self, owner, height: int, width: int) -> tuple[int, int]:
        """floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1; ValueError if that is not positive."""
        size = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip((height, width), self.kernel, self.stride, self.padding, self.dilation)
        )
        if min(size) <= 0:
            raise ValueError(
                f"{type(owner).__name__}: output size {size} for input ({height}, {width}), kernel {self.kernel}, "
                f"stride {self.stride}, padding {self.padding}, dilation {self.dilation}: the input is too small"
            )
        return size


def conv_geometry(owner, in_channels, out_channels, kernel_size, stride, padding, dilation, groups) -> Geometry:
    """The Geometry of a convolution's constructor arguments; ValueError naming the layer where one is out of range."""
    positive(owner, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        channels = f"in_channels={in_channels}, out_channels={out_channels}"
        raise ValueError(f"{type(owner).__name__}: groups={groups} must divide {channels}")
    return Geometry(
        pair(owner, "kernel_size", kernel_size, 1),
        pair(owner, "stride", stride, 1),
        pair(owner, "padding", padding, 0),
        pair(owner, "dilation", dilation, 1),
        groups,
    )


def tap(g: Geometry, i: int, j: int, out_size) -> tuple:
    """The index of all that tap (i, j) of the window reads: padded_x[tap(g, i, j, (oh, ow))] is (N, C, oh, ow).

    For the output at (r, c), tap (i, j) reads padded_x[:, :, r*s + i*d, c*s + j*d] with stride s and dilation d.
    """
    (sh, sw), (dh, dw), (out_h, out_w) = g.stride, g.dilation, out_size
    rows = slice(i * dh, i * dh + sh * (out_h - 1) + 1, sh)
    columns = slice(j * dw, j * dw + sw * (out_w - 1) + 1, sw)
    return ..., rows, columns


def pad(x, padding):
    """x (N, C, H, W) with (rows, columns) of zeros on each side: (N, C, H + 2 ph, W + 2 pw)."""
    ph, pw = padding
    return array_module(x).pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))) if ph or pw else x
