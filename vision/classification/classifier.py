"""What all image classifiers share: softmax cross-entropy in training, probabilities in prediction."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nn import Sequential, softmax_cross_entropy
from nn.containers import backward_chain
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from vision.backbones import Backbone
from vision.model import Model
from vision.options import ImageOptions
from vision.preprocess import Photograph, Preprocess, open_photograph
from vision.task import on_its_device

NAMED = 5  # classes named in a prediction at most


class Cache(NamedTuple):
    """From loss to backward: the network's cache, and the gradient of the loss with respect to its output."""

    network: Any
    dlogits: np.ndarray


class ImageClassifier(Model):
    """A model that gives a whole photograph one class.

    loss((images, labels), rng): images normalised as `preprocess` says, labels (N,) int, 0 for `classes[0]`; -1 does
    not count. predict(images): (N, classes), the probability of each class.
    """

    def classify(self, photograph: Photograph) -> dict:
        """The most probable classes: labels (K,), 0 for the first class, scores (K,) and names [K], best first.

        photograph: a path, a PIL image, or (H, W, 3) uint8. Raises ValueError for anything else.
        """
        return self.ranked(self.probabilities([open_photograph(photograph)])[0])

    def ranked(self, scores: np.ndarray) -> dict:
        """labels, scores and names of the most probable classes, for scores (classes,)."""
        best = np.argsort(-scores, kind="stable")[:NAMED]
        return {"labels": best, "scores": scores[best], "names": [self.classes[label] for label in best]}

    def probabilities(self, photographs: Sequence[np.ndarray]) -> np.ndarray:
        """(N, classes) for photographs (H, W, 3) uint8; one batch if all have one size, else one by one, unpadded."""
        scaled = [self.preprocess.scaled(photograph) for photograph in photographs]
        one_size = len({image.shape for image in scaled}) == 1
        batches = [scaled] if one_size else [[image] for image in scaled]
        return np.concatenate([on_its_device(self, self.predict, self.preprocess.batch(batch)) for batch in batches])


class ClassificationNetwork(Layer):
    """logits (N, classes) = head(backbone(images)).    images (N, 3, H, W).

    head: {name: layer}, one after another. Parameters have the names of the backbone's layers and of the head's.
    """

    def __init__(self, backbone: Backbone, head: Mapping[str, Layer]):
        self.backbone, self.head_names, self.head = backbone, tuple(head), Sequential(*head.values())

    def children(self):
        """The layers of the backbone, and those of the head."""
        yield from self.backbone.children()
        yield from zip(self.head_names, self.head)

    def forward(self, x, training=True):
        features, c_backbone = self.backbone.forward(x, training)
        logits, c_head = self.head.forward(features, training)
        return logits, (c_backbone, c_head)

    def backward(self, dy, cache):
        c_backbone, c_head = cache
        return self.backbone.backward(self.head.backward(dy, c_head), c_backbone)

    def backward_parameters(self, dy, cache):
        backward_chain((self.backbone, self.head), cache, dy)


class Classifier(ImageClassifier):
    """A network, images (N, 3, H, W) to logits (N, classes), with its loss and its predictions.

    Its parameters have the names of the network's, so that published weights of the network fit.
    """

    def __init__(
        self, network: Layer, classes: Sequence[str], options: ImageOptions, preprocess: Preprocess | None = None
    ):
        super().__init__(classes, options, preprocess or options.preprocess())
        self.network = network

    def children(self):
        """Those of the network."""
        return self.network.children()

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        return self.network.forward(x, training)

    def loss(self, batch, rng: np.random.Generator, sampled: None = None):
        """({cls}, cache): the mean of -log p(label) over the images."""
        images, labels = batch
        logits, c_network = self.forward(images)
        cls, dlogits = softmax_cross_entropy(logits, labels)
        return {"cls": cls}, Cache(c_network, dlogits)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters; that of the images is network.backward's."""
        self.network.backward_parameters(cache.dlogits, cache.network)

    def predict(self, images) -> np.ndarray:
        """(N, classes): the probability of each class."""
        logits = self(images)
        e = array_module(logits).exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
