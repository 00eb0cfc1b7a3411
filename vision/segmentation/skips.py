"""Scores from several depths of one network, added up from the coarsest to the finest: the skips of FCN.

Reference: Long et al. 2015, arXiv:1411.4038, fig. 3.
"""

from typing import Any, NamedTuple

import numpy as np

from nn import ConvTranspose2d
from nn.init import bilinear_kernel
from nn.layer import Layer, check_shape, pair, positive
from nn.layers.separable import resample
from nn.layers.windows import pad
from vision.segmentation.cropping import cut_to, uncut_to
from vision.segmentation.pixel_classifier import PixelNetwork


class Cache(NamedTuple):
    """The caches of the layers in the order of the forward pass; ups and skips hold the shape that was cut, too."""

    backbone: Any
    classifier: Any
    ups: list
    skips: list
    final: Any
    final_shape: tuple[int, ...]


class SkipNet(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W).

        maps = backbone's, one for each of `taps`;  x = classifier(last map)
        for each skip, from the last map but one upwards:  x = up(x) + skip(map)
        logits = final(x)

    The image gets `around` zeros at each border. Sizes and positions may differ: a skip's scores are added from row and
    column starts[i] on, as far as both maps reach, and the logits are final's output from final_start on.

    A subclass sets backbone, taps (stages of it), classifier, skips, ups, starts (the last three are lists of one
    length), final, final_start and around, and names the parameters in `children`.
    """

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        size, x = x.shape[2:], pad(x, (self.around, self.around))
        maps, c_backbone = self.backbone.forward_stages(x, training, self.taps)
        x, c_classifier = self.classifier.forward(maps[-1], training)
        cache = Cache(c_backbone, c_classifier, [], [], None, ())
        for up, skip, start, finer in zip(self.ups, self.skips, self.starts, maps[-2::-1]):
            x, c = up.forward(x, training)
            scores, c_skip = skip.forward(finer, training)
            both = [min(a, b - start) for a, b in zip(x.shape[2:], scores.shape[2:])]
            cache.ups.append((c, x.shape))
            cache.skips.append((c_skip, scores.shape))
            x = cut_to(x, both) + cut_to(scores, both, start)
        y, c_final = self.final.forward(x, training)
        logits = cut_to(y, size, self.final_start)
        return logits, cache._replace(final=c_final, final_shape=y.shape)

    def backward(self, dy, cache, images=True):
        dx = self.final.backward(uncut_to(dy, cache.final_shape, self.final_start), cache.final)
        dmaps = [None] * len(self.taps)
        for i in reversed(range(len(self.skips))):
            (c, shape), (c_skip, skip_shape) = cache.ups[i], cache.skips[i]
            dmaps[-2 - i] = self.skips[i].backward(uncut_to(dx, skip_shape, self.starts[i]), c_skip)
            dx = self.ups[i].backward(uncut_to(dx, shape), c)
        dmaps[-1] = self.classifier.backward(dx, cache.classifier)
        dx = self.backbone.backward_stages(dmaps, cache.backbone, images)
        if dx is None:  # stages are frozen, or nobody wants it
            return None
        return dx[:, :, self.around : dx.shape[2] - self.around, self.around : dx.shape[3] - self.around]

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)


class BilinearInterpolation(Layer):
    """A transposed convolution with fixed bilinear kernels, channel by channel, as the product with two small matrices.

    x (N, C, H, W), y (N, C, oh, ow) = rows @ x @ cols.T, oh = (H - 1) stride - 2 padding + kernel_size, ow likewise;
    rows[o, i] = f(o + padding - i stride) with f(j) = 1 - |j - (k - 1) / 2| / ceil(k / 2) for 0 <= j < k, else 0.
    FCN-32s' last layer would take 64 x 64 products for every score; here it takes 64 along each axis.

    Reference: Long et al. 2015, arXiv:1411.4038, sec. 3.3 and 4.3.
    """

    def __init__(self, kernel_size: int, stride: int, padding: int = 0):
        positive(self, kernel_size=kernel_size, stride=stride)
        padding, _ = pair(self, "padding", padding, 0)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x, training=True):
        check_shape(self, x=(x, ("N", "C", "H", "W")))
        return resample(x, *(self.matrix(n) for n in x.shape[2:])), x.shape

    def backward(self, dy, cache):
        rows, cols = (self.matrix(n) for n in cache[2:])
        check_shape(self, dy=(dy, (*cache[:2], len(rows), len(cols))))
        return resample(dy, rows.T, cols.T)  # y = rows @ x @ cols.T

    def matrix(self, n: int) -> np.ndarray:
        """(o, n): the weight of each of n inputs in each output."""
        k, outputs = self.kernel_size, (n - 1) * self.stride - 2 * self.padding + self.kernel_size
        if outputs < 1:
            raise ValueError(
                f"BilinearInterpolation: {n} pixels give {outputs} with kernel_size {k}, stride {self.stride} and "
                f"padding {self.padding}"
            )
        j = np.arange(outputs)[:, None] + self.padding - self.stride * np.arange(n)
        return np.where((j >= 0) & (j < k), 1 - abs(j - (k - 1) / 2) / -(-k // 2), 0)


def learned_interpolation(classes: int, kernel_size: int, stride: int, padding: int = 0) -> ConvTranspose2d:
    """A transposed convolution without bias that starts as bilinear interpolation, each channel by itself.

    x (N, classes, H, W), weight (classes, classes, k, k), y (N, classes, oh, ow), oh as BilinearInterpolation's. Raises
    ValueError for sizes that are not integers of at least 1; padding may be 0.
    """
    layer = ConvTranspose2d(classes, classes, kernel_size, stride, padding, bias=False)
    layer.weight.value[...] = bilinear_kernel(layer.weight.value.shape)
    return layer
