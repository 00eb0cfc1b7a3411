"""The CNN of captioning: a feature map of an image, or one vector made of it."""

from hashlib import blake2b

import numpy as np

from nn import BatchNorm2d, Conv2d, GlobalAvgPool2d, Linear, MaxPool2d, ReLU, Sequential, SpatialPyramidPool
from nn.gpu.device import device_of, to_device
from nn.io.state import read_state
from nn.layer import Layer, positive
from vision.classification.squeezenet import SqueezeNet

KINDS = "small_cnn", "squeezenet", "squeezenet_classes"
CONV10 = "13."  # the layer of the class maps, after the 13 of SqueezeNet's features


def small_cnn(width: int, rng: np.random.Generator) -> Sequential:
    """images (N, 3, H, W) to features (N, 8 width, about H / 8, about W / 8), for generated scenes on a CPU.

    Five convolutions with batch normalisation and ReLU: 5x5 with stride 2, then 3x3, two 2x2 poolings between them.
    """
    plan = [(3, 1, 5, 2), (1, 2, 3, 1), "pool", (2, 4, 3, 1), "pool", (4, 8, 3, 1), (8, 8, 3, 1)]
    layers = []
    for step in plan:
        if step == "pool":
            layers.append(MaxPool2d(2))
            continue
        inside, outside, kernel, stride = step
        in_channels = 3 if not layers else inside * width
        layers.append(Conv2d(in_channels, outside * width, kernel, stride, kernel // 2, bias=False, rng=rng))
        layers += [BatchNorm2d(outside * width), ReLU()]
    return Sequential(*layers)


def squeezenet_maps(width: int, classes: bool, rng: np.random.Generator) -> tuple[Sequential, int]:
    """(layers, channels): SqueezeNet 1.0 up to its last Fire module or, with classes, the maps of its 1000 classes."""
    network = SqueezeNet(1000 if classes else 1, width, rng=rng)
    if not classes:
        return network.features, 32 * width
    _, conv10, relu, _ = network.classifier  # without dropout and global average
    return Sequential(*network.features, conv10, relu), 1000


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
        positive(self, width=width)
        if kind not in KINDS:
            raise ValueError(f"Encoder: encoder must be {', '.join(map(repr, KINDS))}, got {kind!r}")
        if kind == "small_cnn":
            self.network, self.out_channels, self.scale = small_cnn(width, rng), 8 * width, 1.0
        else:
            self.network, self.out_channels = squeezenet_maps(width, kind == "squeezenet_classes", rng)
            self.scale = 1 / 32
        self.norm = BatchNorm2d(self.out_channels, affine=False) if standardise else None
        if weights:
            self._load(kind, weights)
        self.fine_tune = fine_tune
        for parameter in self.parameters().values():
            parameter.trainable = fine_tune

    def _load(self, kind: str, path: str):
        """Load the features of a file of published weights. ValueError where they do not fit."""
        if kind == "small_cnn":
            raise ValueError(f"Encoder: encoder_weights are for the encoders of SqueezeNet, got {kind!r}")
        state = {_own_name(name): array for name, array in read_state(path).items()}
        if kind == "squeezenet":
            state = {name: array for name, array in state.items() if not name.startswith(CONV10)}
        try:
            self.network.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{path}: {error}; give the weights of SqueezeNet 1.0, and width=16") from error

    def forward(self, x, training=True):
        y, c_network = self.see(x, training)
        if self.norm is None:
            return y, (c_network, None)
        y, c_norm = self.norm.forward(y, training)
        return y, (c_network, c_norm)

    def backward(self, dy, cache):
        if not self.fine_tune:
            return None  # the CNN is frozen: no gradient goes below its features
        c_network, c_norm = cache
        dy = dy if self.norm is None else self.norm.backward(dy, c_norm)
        return self.network.backward(dy * self.scale, c_network)

    def see(self, x, training=False):
        """(features before they are standardised, cache) of images; an x of features is returned unchanged."""
        if x.ndim != 4 or x.shape[1] != 3:
            self._check_features(x)
            return x, None
        y, cache = self.network.forward(x, training and self.fine_tune)
        return y * self.scale, cache

    def _check_features(self, x):
        wanted = "(N, 3, H, W)" + ("" if self.fine_tune else f" or features (N, {self.out_channels}, h, w)")
        if self.fine_tune or x.ndim != 4 or x.shape[1] != self.out_channels:
            raise ValueError(f"Encoder: images must have shape {wanted}, got {x.shape}")


def _own_name(name):
    """The name in `squeezenet_maps` of a weight of SqueezeNet."""
    return name.removeprefix("features.").replace("classifier.1.", CONV10)


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


class Remembered:
    """The features (N, D, h, w) of images by a frozen encoder; those of the last `most` different images are kept.

    For data that are read again and again without random changes. Images are compared by a hash of all their bytes.
    Images and features are on the CPU, the encoder on any device.
    """

    def __init__(self, encoder: Encoder, most: int = 2000):
        self.encoder, self.most, self.known = encoder, most, {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([self.of(image) for image in images])

    def of(self, image):
        """The features (1, D, h, w) of one image (3, H, W)."""
        key = image.shape, blake2b(image.tobytes(), digest_size=16).digest()
        if key not in self.known:
            if len(self.known) >= self.most:
                self.known.pop(next(iter(self.known)), None)  # the oldest
            features, _ = self.encoder.see(to_device(image[None], device_of(self.encoder)))
            self.known[key] = to_device(features, "cpu")
        return self.known[key]
