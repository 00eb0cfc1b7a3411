"""OverFeat's network: a classifier and a box regressor of windows, and both at all windows of an image at once.

A fully connected layer on a k x k map is a k x k convolution: on a larger map it gives the outputs of all windows, and
what windows share is computed once (sec. 3.5). Its stride would be that of all layers together. The last max pooling,
3x3 without overlap, is therefore done nine times, shifted by 0 to 2 positions each way, and the nine outputs are
interleaved: the stride is a third (sec. 3.3, fig. 3). The convolutions have no padding, so that a window's outputs do
not depend on what is around it: dense evaluation and evaluation crop by crop agree.

Reference: Sermanet et al. 2014, OverFeat: integrated recognition, localization and detection using convolutional
networks, arXiv:1312.6229.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from nn import BatchNorm2d, Conv2d, MaxPool2d, ReLU, Sequential
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive
from vision.backbones import AlexNet, Backbone, FeatureMap
from vision.boxes.rpn import gaussian

OFFSETS = 3  # the last pooling: its kernel, its stride, and the shifts 0 .. 2


class Dense(NamedTuple):
    """Outputs of all windows: logits (N, classes, R, C) and deltas (N, 4 boxes, R, C). Window (r, c) has its upper left
    corner at pixel stride * (r, c)."""

    logits: np.ndarray
    deltas: np.ndarray


class OverFeatNet(Layer):
    """windows (N, 3, S, S) to logits (N, classes) and deltas (N, boxes, 4), S = `window` pixels.

    features: convolutions without padding, up to the last pooling. cells: k, the side of the map behind it. boxes: 4
    deltas for each class, of which the background has none. window, stride: pixels.
    """

    def __init__(self, features: Backbone, classes: int, boxes: int, cells: int, hidden: int, *, rng):
        positive(self, classes=classes, boxes=boxes, cells=cells, hidden=hidden)
        self.features, self.pool, self.boxes = features, MaxPool2d(OFFSETS, stride=OFFSETS), boxes
        self.stride, self.cells, channels = features.stride, cells, features.out_channels

        def fully_connected(outputs, *further):
            first = Conv2d(channels, hidden, cells, bias=False, rng=rng), BatchNorm2d(hidden), ReLU()
            last = Conv2d(hidden, outputs, 1, rng=rng)
            last.weight.value[...] = gaussian(last.weight.value.shape, 0.01, rng)
            return Sequential(*first, *further, last)

        second = Conv2d(hidden, hidden, 1, bias=False, rng=rng), BatchNorm2d(hidden), ReLU()
        self.classifier = fully_connected(classes, *second)
        self.regressor = fully_connected(4 * boxes)
        self.window = OFFSETS * cells
        for layer in reversed(list(features.body)):
            if hasattr(layer, "geometry"):  # n outputs of a kernel k with stride s see (n - 1) s + k inputs
                self.window = (self.window - 1) * layer.geometry.stride[0] + layer.geometry.kernel[0]

    def forward(self, x, training=True):
        check_shape(self, windows=(x, ("N", 3, self.window, self.window)))
        y, c_features = self.features.forward(x, training)
        y, c_pool = self.pool.forward(y, training)
        logits, c_classifier = self.classifier.forward(y, training)
        deltas, c_regressor = self.regressor.forward(y, training)
        n = len(x)
        outputs = logits.reshape(n, logits.shape[1]), deltas.reshape(n, self.boxes, 4)  # from (N, outputs, 1, 1)
        return outputs, (c_features, c_pool, c_classifier, c_regressor)

    def backward(self, dy, cache):
        (dlogits, ddeltas), (c_features, c_pool, c_classifier, c_regressor) = dy, cache
        dy = self.classifier.backward(dlogits[:, :, None, None], c_classifier)
        dy = dy + self.regressor.backward(ddeltas.reshape(len(ddeltas), 4 * self.boxes, 1, 1), c_regressor)
        self.features.backward_parameters(self.pool.backward(dy, c_pool), c_features)  # none of images

    def dense(self, images) -> Dense:
        """The outputs of all windows of images (N, 3, H, W), at least `window` pixels high and wide, in inference."""
        if min(images.shape[2:]) < self.window:
            raise ValueError(f"OverFeat: images must be at least {self.window} pixels, got {images.shape[2:]}")
        xp, maps, k = array_module(images), self.features(images), OFFSETS
        rows, columns = (size - k * self.cells + 1 for size in maps.shape[2:])
        found = None
        for dy, dx in product(range(min(k, rows)), range(min(k, columns))):
            pooled = self.pool(maps[:, :, dy:, dx:])
            outputs = self.classifier(pooled), self.regressor(pooled)
            if found is None:
                found = Dense(*(xp.zeros((*y.shape[:2], rows, columns), y.dtype) for y in outputs))
            for into, y in zip(found, outputs):
                into[:, :, dy::k, dx::k] = y
        return found


def small_features(width: int, *, rng: np.random.Generator) -> Backbone:
    """Four convolutions without padding, with batch normalisation, and two poolings: stride 4. For small pictures."""
    positive("small_features", width=width)

    def conv(inputs, outputs, size):
        return Conv2d(inputs, outputs, size, bias=False, rng=rng), BatchNorm2d(outputs), ReLU()

    w = width
    layers = [
        *conv(3, w, 5), MaxPool2d(2), *conv(w, 2 * w, 3), MaxPool2d(2), *conv(2 * w, 4 * w, 3), *conv(4 * w, 4 * w, 3),
    ]  # fmt: skip
    return Backbone({str(i): layer for i, layer in enumerate(layers)}, {"conv4": FeatureMap(len(layers), 4 * w, 4)})


def alexnet_features(width: int, *, rng: np.random.Generator) -> Backbone:
    """AlexNet up to conv5, its paddings taken away: the same weights, seen without a border. Stride 16.

    OverFeat's fast model is this network with more channels (table 1).
    """
    features = AlexNet(columns=1, width=width, rng=rng).up_to("conv5")
    for layer in features.body:
        if isinstance(layer, Conv2d):
            layer.geometry = layer.geometry._replace(padding=(0, 0))
    return features


FEATURES = {"small": small_features, "alexnet": alexnet_features}
