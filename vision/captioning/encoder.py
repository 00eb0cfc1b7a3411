"""The CNN of captioning: a feature map of an image, or one vector made of it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nn import BatchNorm2d, Dropout, GlobalAvgPool2d, Linear, ReLU, Sequential, SpatialPyramidPool
from nn.io.state import load_state
from nn.layer import Layer
from vision.backbones import VGG, Backbone, EfficientNet, SmallCNN, SqueezeNet, vgg16_plan
from vision.preprocess import IMAGENET_MEAN, IMAGENET_STD

HEADS = tuple(f"unexpected {head}." for head in ("classifier", "_fc", "lpips"))  # beside the CNN in published files


class Kind(NamedTuple):
    """A CNN, what its published weights are called, and what they want: (pixel - mean) / std, values of 0..255."""

    build: Callable[..., Backbone]
    published: str
    mean: float | tuple[float, float, float]
    std: float | tuple[float, float, float]
    scale: float = 1.0  # of the activations


def _fire9(width, rng):
    return SqueezeNet(1, width, dropout=0.0, rng=rng).up_to("fire9")


def _class_maps(width, rng):
    return SqueezeNet(1000, width, dropout=0.0, rng=rng)


def _vgg16(width, rng):
    return VGG(vgg16_plan(4 * width), rng=rng).up_to("conv5")


def _lite0(width, rng):
    return EfficientNet(lite=True, drop_connect=0.0, rng=rng)


CAFFE_MEAN = 123.0, 117.0, 104.0
KINDS = {
    "small_cnn": Kind(SmallCNN, "", CAFFE_MEAN, 64.0),
    "squeezenet": Kind(_fire9, "SqueezeNet 1.0, and width=16", CAFFE_MEAN, 1.0, 1 / 32),
    "squeezenet_classes": Kind(_class_maps, "SqueezeNet 1.0, and width=16", CAFFE_MEAN, 1.0, 1 / 32),
    "vgg16": Kind(_vgg16, "VGG-16, and width=16", IMAGENET_MEAN, IMAGENET_STD),
    "efficientnet_lite0": Kind(_lite0, "EfficientNet-Lite0", 127.0, 128.0),
}


class Encoder(Layer):
    """images (N, 3, H, W) to features (N, out_channels, h, w): a CNN without its classifier.

    kind "small_cnn" has 8 width channels and stride 8. The others have published weights, at width 16. SqueezeNet 1.0,
    stride 16: "squeezenet" up to the last Fire module, 32 width channels; "squeezenet_classes" up to the maps of its
    1000 classes, whose means it gives to softmax. Their activations, some tens with those weights, are divided by 32.
    "vgg16": VGG-16 up to conv5_3, stride 16, 32 width channels, the parts that Xu et al. attend to (sec. 4.3, there of
    VGG-19). "efficientnet_lite0": up to its last convolution, stride 32, 1280 channels at any width. standardise: each
    channel gets mean 0 and variance 1 (BatchNorm2d without weight and bias). Without it, the large common part of
    rectified features hides the differences between images.

    fine_tune=False freezes it: forward is inference, backward ends here, nothing is trainable. Then x may also be
    features computed earlier by `see`: they are only standardised.
    weights: a file of published weights.
    Raises ValueError for another kind, and for an x with neither 3 nor, where it is frozen, out_channels channels.
    """

    def __init__(
        self,
        kind: str,
        width: int,
        fine_tune: bool,
        weights: str | None,
        standardise: bool = False,
        *,
        rng: np.random.Generator,
    ):
        if kind not in KINDS:
            raise ValueError(f"Encoder: encoder must be {', '.join(map(repr, KINDS))}, got {kind!r}")
        self.backbone, self.scale = KINDS[kind].build(width, rng=rng), KINDS[kind].scale
        self.out_channels = self.backbone.out_channels
        self.norm = BatchNorm2d(self.out_channels, affine=False) if standardise else None
        if weights:
            self._load(kind, weights)
        self.fine_tune = fine_tune
        if not fine_tune:
            self.backbone.freeze(self.backbone.names[-1])

    def children(self):
        """network, the CNN's layers by index, in which dropout does not count; and norm, if there is one."""
        yield "network", Sequential(*(layer for layer in self.backbone.body if not isinstance(layer, Dropout)))
        if self.norm is not None:
            yield "norm", self.norm

    def _load(self, kind: str, path: str):
        """Load the CNN's part of a file of published weights. ValueError where they do not fit."""
        if not KINDS[kind].published:
            raise ValueError(f"Encoder: encoder_weights are for encoders with published weights, got {kind!r}")
        problems = [line for line in load_state(self.backbone, path, strict=False) if not line.startswith(HEADS)]
        if problems:
            what = "; ".join(problems[:3]) + "; ..." * (len(problems) > 3)
            raise ValueError(f"{path}: does not fit {kind}: {what}; give the weights of {KINDS[kind].published}")

    def forward(self, x, training=True):
        y, c_backbone = self.see(x, training)
        if self.norm is None:
            return y, (c_backbone, None)
        y, c_norm = self.norm.forward(y, training)
        return y, (c_backbone, c_norm)

    def backward(self, dy, cache):
        if not self.fine_tune:
            return None  # the CNN is frozen: no gradient goes below its features
        c_backbone, c_norm = cache
        return self.backbone.backward(self._unscaled(dy, c_norm), c_backbone)

    def backward_parameters(self, dy, cache):
        if self.fine_tune:
            c_backbone, c_norm = cache
            self.backbone.backward_parameters(self._unscaled(dy, c_norm), c_backbone)

    def _unscaled(self, dy, c_norm):
        """The gradient of the CNN's output."""
        return (dy if self.norm is None else self.norm.backward(dy, c_norm)) * self.scale

    def see(self, x, training=False):
        """(features before they are standardised, cache) of images; an x of features is returned unchanged."""
        if x.ndim != 4 or x.shape[1] != 3:
            self._check_features(x)
            return x, None
        y, cache = self.backbone.forward(x, training)
        return y * self.scale, cache

    def _check_features(self, x):
        wanted = "(N, 3, H, W)" + ("" if self.fine_tune else f" or features (N, {self.out_channels}, h, w)")
        if self.fine_tune or x.ndim != 4 or x.shape[1] != self.out_channels:
            raise ValueError(f"Encoder: images must have shape {wanted}, got {x.shape}")


class ImageVector(Layer):
    """v = relu(W a + b), a the features after spatial pyramid pooling.    features (N, D, h, w), v (N, size).

    One hidden layer, as a CNN has before its softmax. With levels (4, 2, 1) pooling takes maxima over the whole image
    and over 2 x 2 and 4 x 4 bins, which tell where things are; with (1,) over the whole image only; with None means
    over the whole image, as in SqueezeNet.
    """

    def __init__(self, in_channels: int, levels: tuple[int, ...] | None, size: int, *, rng: np.random.Generator):
        self.pool = SpatialPyramidPool(tuple(levels)) if levels else GlobalAvgPool2d()
        self.linear = Linear(in_channels * (self.pool.bins if levels else 1), size, rng=rng)
        self.relu = ReLU()

    def forward(self, x, training=True):
        pooled, c_pool = self.pool.forward(x, training)
        hidden, c_linear = self.linear.forward(pooled, training)
        v, c_relu = self.relu.forward(hidden, training)
        return v, (c_pool, c_linear, c_relu)

    def backward(self, dy, cache):
        c_pool, c_linear, c_relu = cache
        return self.pool.backward(self.linear.backward(self.relu.backward(dy, c_relu), c_linear), c_pool)
