"""Upsampling by two, as decoders do it where their encoder pooled: by one of four rules, or by learned kernels."""

from typing import Literal, get_args

from nn import ConvTranspose2d, MaxUnpool2d, Upsample2d
from nn.init import bilinear_kernel
from nn.layer import Layer
from vision.segmentation.cropping import cut_to, uncut_to

Mode = Literal["max", "nearest", "bed_of_nails", "bilinear"]
MODES = get_args(Mode)


class Unpool2d(Layer):
    """y: x in the size it had before a 2x2 pooling.    x, indices (N, C, H, W), y (N, C, *output_size).

    The modes, all without parameters:

    - "max": each value goes to the position its maximum came from, zeros elsewhere. indices are MaxPool2d's;
    - "bed_of_nails": to the top left of its window, zeros elsewhere;
    - "nearest": to all four positions of its window;
    - "bilinear": to the centre of its window, linear between two centres.

    output_size: (h, w), 2H or 2H - 1 and so for W: the size before pooling in ceil_mode. Default: (2H, 2W). Only mode
    "max" uses the indices. backward returns (dx, None). Raises ValueError for an unknown mode or another size.

    Reference: Zeiler and Fergus 2013, arXiv:1311.2901, sec. 2.1 ("max"); Dosovitskiy et al. 2015, arXiv:1411.5928,
    sec. 3.2 ("bed_of_nails").
    """

    def __init__(self, mode: Mode = "max"):
        if mode not in MODES:
            raise ValueError(f"Unpool2d: mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.mode = mode
        self.unpool = MaxUnpool2d(2) if mode == "max" else Upsample2d(scale_factor=2, mode=mode)

    def forward(self, x, indices, output_size=None, training=True):
        if self.mode == "max":
            return self.unpool.forward(x, indices, output_size, training)
        y, cache = self.unpool.forward(x, training)
        return cut_to(y, _twice(self, x, output_size)), (cache, y.shape)

    def backward(self, dy, cache):
        if self.mode == "max":
            return self.unpool.backward(dy, cache)
        cache, shape = cache
        return self.unpool.backward(uncut_to(dy, shape), cache), None


class BilinearDeconv2d(ConvTranspose2d):
    """y: x transposed-convolved with stride 2 to twice its size; it starts as interpolation and learns.

    x (N, C, H, W), weight (C, C, k, k), y (N, C, *output_size), no bias. It is called as Unpool2d is. kernel_size:
    even. Each channel starts as a triangle along both axes, k wide, divided by (k / 4)^2, so that a constant stays the
    same far from the border; the channels are separate at the start. For k = 4 this is bilinear interpolation; for
    k = 8, as in Badrinarayanan et al. 2017, sec. 3.1, it is smoother.

    Reference: Long et al. 2015, arXiv:1411.4038, sec. 3.3.
    """

    def __init__(self, channels: int, kernel_size: int = 4):
        if kernel_size < 2 or kernel_size % 2:
            raise ValueError(f"BilinearDeconv2d: kernel_size must be even and at least 2, got {kernel_size}")
        super().__init__(channels, channels, kernel_size, 2, kernel_size // 2 - 1, bias=False)
        self.weight.value[...] = bilinear_kernel(self.weight.value.shape) / (kernel_size / 4) ** 2

    def forward(self, x, indices=None, output_size=None, training=True):
        y, cache = super().forward(x, training)
        return cut_to(y, _twice(self, x, output_size)), (cache, y.shape)

    def backward(self, dy, cache):
        cache, shape = cache
        return super().backward(uncut_to(dy, shape), cache), None


def _twice(owner, x, wanted):
    """The output size for x, checked."""
    full = [2 * n for n in x.shape[2:]]
    if wanted is None or all(n - 1 <= want <= n for n, want in zip(full, wanted)):
        return tuple(wanted or full)
    raise ValueError(
        f"{type(owner).__name__}: output_size must be in {tuple(n - 1 for n in full)} .. {tuple(full)} for input "
        f"{x.shape[2:]}, got {tuple(wanted)}"
    )
