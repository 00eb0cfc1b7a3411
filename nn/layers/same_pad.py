"""Padding as TensorFlow's "SAME" has it: as many zeros as the output size wants, the odd one after the image."""

from nn.dispatch import array_module, functions
from nn.layer import Layer, check_shape, pair


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """(before, after): zeros along an axis of `size` elements, so that ceil(size / stride) windows fit.

    The windows reach over (ceil(size / stride) - 1) stride + dilation (kernel - 1) + 1 elements. An odd number of
    zeros has one more after the image.
    """
    out = -(-size // stride)
    total = max((out - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def pad(x, rows, columns):
    """y (N, C, H + top + bottom, W + left + right): x (N, C, H, W) between zeros. rows, columns: (before, after)."""
    return array_module(x).pad(x, ((0, 0), (0, 0), rows, columns))


class SamePad2d(Layer):
    """y = x between zeros, so that a convolution without padding then gives ceil(H / stride) x ceil(W / stride).

    x (N, C, H, W), y (N, C, H + top + bottom, W + left + right). kernel_size, stride and dilation are those of the
    convolution that follows: integers or (vertical, horizontal) pairs. With stride 1 and an odd kernel the zeros
    are the same on both sides, as with Conv2d's padding. With stride 2 they depend on the image: one of even size gets,
    for a 3x3 kernel, a row and a column at the bottom and the right alone, where padding=1 has them on all sides.

    Raises ValueError for an image without pixels.

    Reference: TensorFlow's documentation of tf.nn, "Notes on padding"; Tan and Le 2019, arXiv:1905.11946 (the use).
    """

    def __init__(self, kernel_size, stride=1, dilation=1):
        self.kernel_size = pair(self, "kernel_size", kernel_size, 1)
        self.stride, self.dilation = pair(self, "stride", stride, 1), pair(self, "dilation", dilation, 1)

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")))
        if 0 in x.shape[2:]:
            raise ValueError(f"SamePad2d: x must have at least one row and one column, got {x.shape}")
        rows, columns = map(same_padding, x.shape[2:], self.kernel_size, self.stride, self.dilation)
        return functions(__name__, x).pad(x, rows, columns), x.shape

    def backward(self, dy, cache):
        n, c, h, w = cache
        (top, bottom), (left, right) = map(same_padding, (h, w), self.kernel_size, self.stride, self.dilation)
        check_shape(self, dy=(dy, (n, c, top + h + bottom, left + w + right)))
        return dy[:, :, top : top + h, left : left + w]  # the zeros are constants
