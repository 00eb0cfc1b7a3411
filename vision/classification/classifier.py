"""What all image classifiers share: options, softmax cross-entropy in training, probabilities in prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import Sequential, softmax
from nn.containers import backward_chain
from nn.layer import Layer, check_shape
from vision.backbones import Backbone
from vision.classification.mixup import Mix, draw_mix, mixed, mixed_cross_entropy
from vision.classification.views import views
from vision.model import Model
from vision.options import ImageOptions, check_least
from vision.preprocess import Photograph, Preprocess, open_photograph
from vision.task import on_its_device

NAMED = 5  # classes named in a prediction at most


@dataclass(frozen=True)
class ClassifierOptions(ImageOptions):
    """How any classifier is trained and tested."""

    label_smoothing: float = 0.0  # share of a label's probability that is spread over all classes
    mixup: float = 0.0  # alpha of the Beta distribution by which two images are mixed; 0: none
    test_crops: int = 0  # side of ten crops in testing, whose probabilities are averaged; 0: the whole image
    test_mirrored: bool = False  # in testing, the mean with the mirror image's probabilities, as ten crops have anyway
    test_scales: tuple[int, ...] = ()  # short sides in testing, whose probabilities are averaged; []: short_side alone

    def __post_init__(self):
        check_least("a classifier", self, 0, "label_smoothing", "mixup", "test_crops")
        check_least("a classifier", self, 1, "test_scales")
        if self.label_smoothing > 1:
            raise ValueError(f"a classifier: label_smoothing must be at most 1, got {self.label_smoothing}")


class Cache(NamedTuple):
    """From loss to backward: the network's cache, and the gradient of the loss with respect to its output.

    sampled: what is drawn for a batch, reused by a gradient check.
    """

    network: Any
    dlogits: np.ndarray
    sampled: Any = None


class ImageClassifier(Model):
    """A model that gives a whole photograph one class.

    loss((images, labels), rng): images normalised as `preprocess` says, labels (N,) int, 0 for `classes[0]`; -1 does
    not count. predict(images): (N, classes), the probability of each class.
    """

    @property
    def common(self) -> ClassifierOptions:
        """The options that all classifiers share: the defaults for a model without them."""
        return self.options if isinstance(self.options, ClassifierOptions) else ClassifierOptions()

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
        """(N, classes) for photographs (H, W, 3) uint8: means over the views that test_crops and test_scales ask for.

        Views of one size make one batch, none is padded. With per_image they are normalised by their whole photograph.
        """
        o, found = self.common, {}
        how = o.test_crops, o.test_scales, o.test_mirrored
        seen = [views(photograph, self.preprocess, *how) for photograph in photographs]
        p = self.preprocess
        whole = [p.light(p.lit(each)) if p.per_image else None for each in photographs]
        images = [image for each in seen for image in each]
        lights = [light for each, light in zip(seen, whole) for _ in each]
        for size in dict.fromkeys(image.shape for image in images):
            indices = [i for i, image in enumerate(images) if image.shape == size]
            batch = self.preprocess.batch([images[i] for i in indices], [lights[i] for i in indices])
            found |= dict(zip(indices, on_its_device(self, self.predict, batch)))
        probabilities = np.stack([found[i] for i in range(len(images))])
        return probabilities.reshape(len(photographs), -1, probabilities.shape[1]).mean(axis=1)


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

    def loss(self, batch, rng: np.random.Generator, sampled: Mix | None = None):
        """({cls}, cache): the mean of -log p(label) over the images, which the options may mix and smooth."""
        images, labels = batch
        mix = sampled or draw_mix(len(labels), self.common.mixup, rng)
        logits, c_network = self.forward(mixed(images, mix))
        cls, dlogits = mixed_cross_entropy(logits, labels, mix, self.common.label_smoothing)
        return {"cls": cls}, Cache(c_network, dlogits, mix)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters; that of the images is network.backward's."""
        self.network.backward_parameters(cache.dlogits, cache.network)

    def predict(self, images) -> np.ndarray:
        """(N, classes): the probability of each class."""
        return softmax(self(images), axis=1)
