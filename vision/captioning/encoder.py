"""The CNN of captioning: a feature map of an image, or one vector made of it."""

import numpy as np

from nn import BatchNorm2d, Dropout, GlobalAvgPool2d, Linear, ReLU, Sequential, SpatialPyramidPool
from nn.io.state import read_state
from nn.layer import Layer
from vision.backbones import SmallCNN, SqueezeNet

KINDS = "small_cnn", "squeezenet", "squeezenet_classes"


class Encoder(Layer):
    """images (N, 3, H, W) to features (N, out_channels, h, w): a CNN without its classifier.

    kind "small_cnn" has 8 width channels and stride 8. The others are SqueezeNet 1.0, stride 16: "squeezenet" up to the
    last Fire module, 32 width channels (width 16: 512, the published weights fit); "squeezenet_classes" up to the maps
    of its 1000 classes, whose means it gives to softmax. Their activations, some tens with those weights, are divided
    by 32. standardise: each channel gets mean 0 and variance 1 (BatchNorm2d without weight and bias). Without it, the
    large common part of rectified features hides the differences between images.

    fine_tune=False freezes it: forward is inference, backward ends here, nothing is trainable. Then x may also be
    features computed earlier by `see`: they are only standardised.
    weights: a file of published weights of SqueezeNet 1.0.
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
        if kind == "small_cnn":
            self.backbone = SmallCNN(width, rng=rng)
        elif kind == "squeezenet":
            self.backbone = SqueezeNet(1, width, dropout=0.0, rng=rng).up_to("fire9")
        elif kind == "squeezenet_classes":
            self.backbone = SqueezeNet(1000, width, dropout=0.0, rng=rng)
        else:
            raise ValueError(f"Encoder: encoder must be {', '.join(map(repr, KINDS))}, got {kind!r}")
        self.out_channels, self.scale = self.backbone.out_channels, 1.0 if kind == "small_cnn" else 1 / 32
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
        if kind == "small_cnn":
            raise ValueError(f"Encoder: encoder_weights are for the encoders of SqueezeNet, got {kind!r}")
        state = read_state(path)
        if kind == "squeezenet":
            state = {name: array for name, array in state.items() if not name.startswith("classifier.")}
        try:
            self.backbone.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{path}: {error}; give the weights of SqueezeNet 1.0, and width=16") from error

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
