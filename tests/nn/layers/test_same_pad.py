"""SamePad2d against windows counted one by one, and TensorFlow's documented example."""

import numpy as np
import pytest

from nn import Conv2d, SamePad2d
from nn.layers.same_pad import same_padding


def counted(size, kernel, stride, dilation):
    """The zeros that ceil(size / stride) windows need, placed one by one: one more after than before if odd."""
    reach, before, after = dilation * (kernel - 1) + 1, 0, 0
    while (size + before + after - reach) // stride + 1 < -(-size // stride) or size + before + after < reach:
        before, after = (before, after + 1) if after == before else (before + 1, after)
    return before, after


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_as_many_zeros_as_the_windows_need(kernel, stride, dilation):
    for size in range(1, 12):
        assert same_padding(size, kernel, stride, dilation) == counted(size, kernel, stride, dilation), size


def test_the_example_of_tensorflow_s_documentation():
    """Width 13, filter 6, stride 5: pad_along_width is 3, one left and two right."""
    assert same_padding(13, 6, 5) == (1, 2)


def test_a_convolution_then_has_the_size_of_the_image_over_the_stride():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 11))
    conv = Conv2d(3, 4, 3, stride=2).astype(np.float64)
    y = conv(SamePad2d(3, 2)(x))
    assert y.shape == (2, 4, 4, 6)
    # rows are even: the first window begins at row 0; columns are odd: it begins one before the image
    window = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 0)))[:, :, :3, :3]
    np.testing.assert_allclose(y[:, :, 0, 0], np.einsum("nchw,ochw->no", window, conv.weight.value))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SamePad2d(0), "SamePad2d: kernel_size must be a whole number >= 1"),
        (lambda: SamePad2d(3, stride=(1, 0)), "SamePad2d: stride must be a whole number >= 1"),
        (lambda: SamePad2d(3, dilation=1.5), "SamePad2d: dilation must be a whole number >= 1"),
        (lambda: SamePad2d(3)(np.zeros((2, 3, 4))), r"SamePad2d: x must have shape \(N, C, H, W\), got \(2, 3, 4\)"),
        (lambda: SamePad2d(3)(np.zeros((2, 3, 0, 4))), "SamePad2d: x must have at least one row"),
        (
            lambda: SamePad2d(3, 2).backward(np.zeros((1, 1, 4, 4)), (1, 1, 4, 4)),
            r"SamePad2d: dy must have shape \(1, 1, 5, 5\), got \(1, 1, 4, 4\)",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
