"""The part of a convolutional network that captioning keeps: its last feature map, or one vector made of it."""

from hashlib import blake2b

import numpy as np

from nn import BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU, Sequential, SpatialPyramidPool
from nn.layer import Layer, positive
from nn.state import read_state
from vision.classification.squeezenet import SqueezeNet


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


class Encoder(Layer):
    """images (N, 3, H, W) to features (N, out_channels, h, w): a CNN without its classifier.

    kind "small_cnn" has 8 width channels and stride 8; "squeezenet" is SqueezeNet 1.0 up to its last Fire module, 32
    width channels (width 16: 512, the published weights fit) and stride 16; its activations, some tens with those
    weights, are divided by 32.

    fine_tune=False freezes it: forward runs as in inference, backward ends here, nothing is trainable. Then images may
    stand in for by what features(images) gave earlier: forward passes on an x with out_channels channels as it is.
    weights: a file of published weights of SqueezeNet 1.0.
    Raises ValueError for another kind, and for images of neither 3 nor, where it is frozen, out_channels channels.
    """

    def __init__(self, kind: str, width: int, fine_tune: bool, weights: str | None, *, rng: np.random.Generator):
        positive(self, width=width)
        if kind not in ("small_cnn", "squeezenet"):
            raise ValueError(f"Encoder: encoder must be 'small_cnn' or 'squeezenet', got {kind!r}")
        if kind == "small_cnn":
            self.network, self.out_channels, self.scale = small_cnn(width, rng), 8 * width, 1.0
        else:
            self.network, self.out_channels, self.scale = SqueezeNet(1, width, rng=rng).features, 32 * width, 1 / 32
        if weights:
            self._load(kind, weights)
        self.fine_tune = fine_tune
        for parameter in self.parameters().values():
            parameter.trainable = fine_tune

    def _load(self, kind: str, path: str):
        """Take the features of a file of published weights. ValueError where they do not fit."""
        if kind != "squeezenet":
            raise ValueError(f"Encoder: encoder_weights are for encoder='squeezenet', got {kind!r}")
        state = {name: array for name, array in read_state(path).items() if name.startswith("features.")}
        try:
            self.network.load_state_dict({name.removeprefix("features."): array for name, array in state.items()})
        except ValueError as error:
            raise ValueError(f"{path}: {error}; give the weights of SqueezeNet 1.0, and width=16") from error

    def forward(self, x, training=True):
        if x.ndim != 4 or x.shape[1] != 3:
            self._check_features(x)
            return x, None
        y, cache = self.network.forward(x, training and self.fine_tune)
        return y * self.scale, cache

    def backward(self, dy, cache):
        if not self.fine_tune:
            return None  # the CNN is frozen: no gradient goes below its features
        return self.network.backward(dy * self.scale, cache)

    def _check_features(self, x):
        wanted = "(N, 3, H, W)" + ("" if self.fine_tune else f" or features (N, {self.out_channels}, h, w)")
        if self.fine_tune or x.ndim != 4 or x.shape[1] != self.out_channels:
            raise ValueError(f"Encoder: images must have shape {wanted}, got {x.shape}")


class ImageVector(Layer):
    """v = relu(W a + b), a the features after spatial pyramid pooling.    features (N, D, h, w), v (N, size).

    What a CNN has before its softmax: one hidden layer. With levels (4, 2, 1) it sees what is there, by the maxima over
    the whole image, and where, by those over 2 x 2 and 4 x 4 bins; with (1,) only what.
    """

    def __init__(self, in_channels: int, levels: tuple[int, ...], size: int, *, rng: np.random.Generator):
        self.pool = SpatialPyramidPool(tuple(levels))
        self.linear = Linear(in_channels * self.pool.bins, size, rng=rng)
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
    """The features (N, D, h, w) of images by a frozen encoder, those of the last `most` different images kept.

    For data that are read again and again without random changes. Images are told apart by all of their bytes.
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
            self.known[key] = self.encoder(image[None])
        return self.known[key]
