"""What all models that label every pixel share: options, their loss, and the method `segment`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import Softmax, Upsample2d, softmax_cross_entropy
from nn.layer import Layer, positive
from vision.model import Model
from vision.options import ImageOptions
from vision.preprocess import Photograph, Preprocess, open_photograph
from vision.segmentation.cropping import centre
from vision.segmentation.weighted_cross_entropy import weighted_cross_entropy
from vision.task import on_its_device

# The recipe of the small networks: 6,000 steps on scenes that are seen three times each. Fewer scenes teach less.
ON_SHAPES = {
    "epochs": 3, "batch_size": 4, "optimiser": "adam", "lr": 0.003, "weight_decay": 0.0, "schedule": "polynomial",
    "warm_up": 20, "shapes_train": 8000, "shapes_size": [64, 80],
}  # fmt: skip

ClassWeights = Literal["median", "root_median"] | tuple[float, ...] | None


@dataclass(frozen=True)
class PixelOptions(ImageOptions):
    """The options of all pixel classifiers.

    Raises ValueError for border_weights but w0 >= 0 and sigma > 0, a negative tau, and sides below 1.
    """

    short_side: int = 120  # pixels of the shorter side
    max_side: int = 160  # pixels of the longer side at most
    multiple: int = 1  # height and width are padded to a multiple of this
    class_weights: ClassWeights = None  # in the loss; median: counted in the data; root_median: their square roots
    loss_divisor: Literal["weights", "pixels"] = "weights"  # of the sum of losses: weights added up, or counted pixels
    tau: float = 0.0  # of weighted_out: what part of the class weights is taken out of a photograph's probabilities
    test_mirrored: bool = False  # in testing, the mean of the probabilities with those of the mirror image
    test_scales: tuple[int, ...] = ()  # short sides in testing, whose probabilities are averaged; []: short_side alone
    border_weights: tuple[float, float] | None = None  # w0 and sigma of weight_map.py, for data that tell objects apart
    percentiles: tuple[float, float] | None = None  # of an image's values, which become 0 and 255 first of all
    dark_background: bool = False  # images are inverted where most pixels are bright, after that

    def __post_init__(self):
        w0, sigma = self.border_weights or (0, 1)
        if not (0 <= w0 < math.inf and 0 < sigma < math.inf):
            got = list(self.border_weights)
            raise ValueError(f"PixelOptions: border_weights must be w0 >= 0 and sigma > 0 pixels, got {got}")
        if self.tau < 0:
            raise ValueError(f"PixelOptions: tau must be at least 0, got {self.tau}")
        positive("PixelOptions", test_scales=min(self.test_scales, default=1))

    def preprocess(self, **changes) -> Preprocess:
        light = {"percentiles": self.percentiles, "dark_background": self.dark_background}
        return super().preprocess(**{"multiple": self.multiple} | light | changes)


class PixelNetwork(Layer):
    """Base of the networks: images (N, I, H, W) to logits (N, C, oh, ow), the middle of the images or all of them.

    smallest_batch: images that training needs at least.
    """

    smallest_batch: int = 1

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Published weights under this network's names."""
        return arrays


class Cache(NamedTuple):
    """From loss to backward: the network's cache, and the gradient of the loss with respect to its output."""

    network: Any
    dlogits: np.ndarray


class PixelClassifier(Model):
    """A network, images to logits, with the loss it is trained by and its predictions.

    loss((images, labels), rng) or loss((images, labels, weights), rng): labels (N, H, W) int, -1 does not count;
    weights (N, H, W) of the pixels. If the network's output (N, C, oh, ow) is smaller than the images, it is their
    middle: labels and weights are cut to it, or may come in its size. Parameters have the network's names.

    classes: all names. The first one is a class like any other, such as "background" or "sky". Raises ValueError for
    class_weights of another length, negative or not finite.
    """

    constants = ("class_weights",)

    def __init__(self, network: PixelNetwork, classes: Sequence[str] = (), options: PixelOptions | None = None):
        options = options or PixelOptions()
        super().__init__(classes, options, options.preprocess())
        self.network, self.smallest_batch = network, network.smallest_batch
        self.class_weights = _weights(options.class_weights, self.classes)

    def children(self):
        """Those of the network."""
        return self.network.children()

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return self.network.pretrained_names(arrays)

    def forward(self, x, training=True):
        return self.network.forward(x, training)

    def loss(self, batch, rng: np.random.Generator, sampled=None):
        """({pixels}, cache): the mean of -log p(label) over the pixels, weighted if weights are given."""
        images, labels, *weights = batch
        logits, c_network = self.forward(images)
        pixels, dlogits = self.pixel_loss(logits, labels, *weights)
        return {"pixels": pixels}, Cache(c_network, dlogits)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters."""
        self.network.backward_parameters(cache.dlogits, cache.network)

    def target(self, sample: dict) -> tuple[np.ndarray | None, np.ndarray | None]:
        """What training compares with: labels (H, W), -1 does not count; and objects (H, W) int, 0 for the background.

        The border weights lie between these objects. None where the sample has none.
        """
        objects = sample.get("instances")
        return sample.get("segmentation"), None if objects is None else np.maximum(objects, 0)

    def pixel_loss(self, logits, labels, weights=None):
        """(value, dlogits) of softmax cross-entropy with the class weights and, where given, the pixels' own.

        The sum over the pixels is divided by that of their weights or, by the option loss_divisor, by how many have a
        label, as in Caffe. logits (N, C, h, w); labels and weights (N, H, W), of which the middle h x w counts. Raises
        ValueError for labels outside -1 .. C - 1 or smaller than h x w, and for class weights that are not counted yet.
        """
        if isinstance(self.class_weights, str):
            raise ValueError(
                f"PixelClassifier: class_weights {self.class_weights!r} come from training data: scripts.train counts "
                "them; elsewhere give those of vision.segmentation.median_frequency, as a list"
            )
        labels, of_classes = centre(labels, logits.shape[2:]), self.class_weights
        normaliser = max(int((labels >= 0).sum()), 1) if self.options.loss_divisor == "pixels" else None
        if weights is None:
            return softmax_cross_entropy(logits, labels, class_weights=of_classes, normaliser=normaliser)
        return weighted_cross_entropy(logits, labels, centre(weights, logits.shape[2:]), of_classes, normaliser)

    def segment(self, photograph: Photograph) -> dict[str, Any]:
        """Labels of a photograph: a path, a PIL image or an array (H, W, 3) uint8; all in its own pixels.

        labels (H, W) int64: the best class at each pixel. scores (H, W): its probability. names: name by label.
        """
        image = open_photograph(photograph)
        p = self.refine(image, self.averaged(image))
        return {"labels": p.argmax(axis=0), "scores": p.max(axis=0), "names": self.classes}

    def averaged(self, image: np.ndarray) -> np.ndarray:
        """(C, H, W): the probabilities of a photograph (H, W, 3) uint8, the mean of its views, tau taken out."""
        p = np.mean([self.view(image, *how) for how in self.views()], axis=0)
        return weighted_out(p, self.class_weights, self.options.tau)

    def views(self) -> list[tuple[int, bool]]:
        """(short side, whether mirrored) of each view that test_scales and test_mirrored ask for."""
        o = self.options
        return [(side, m) for side in o.test_scales or (o.short_side,) for m in (False, True)[: 1 + o.test_mirrored]]

    def view(self, image: np.ndarray, short_side: int, mirrored: bool) -> np.ndarray:
        """(C, H, W): the probabilities of a photograph (H, W, 3) uint8 as it is seen in a view, in its own pixels."""
        how, size = self.preprocess, image.shape[:2]
        if short_side != how.short_side:
            how = replace(how, short_side=short_side, max_side=round(short_side * how.max_side / how.short_side))
        scaled = how.scaled(image)
        h, w = scaled.shape[:2]
        seen = scaled[:, ::-1] if mirrored else scaled
        p = on_its_device(self, self.predict, how.batch([seen]))[:, :, :h, :w]
        p = p[..., ::-1] if mirrored else p
        return p[0] if (h, w) == size else Upsample2d(size, mode="bilinear", align_corners=False)(p)[0]

    def predict(self, images) -> np.ndarray:
        """(N, C, oh, ow): the probability of each class at each pixel of the output."""
        return probabilities(self(images))

    def refine(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (C, H, W) after a second look at the photograph (H, W, 3) uint8: here there is none."""
        return probabilities


def probabilities(logits):
    """Softmax over the classes: logits (N, C, ...)."""
    return Softmax(axis=1)(logits)


def weighted_out(p, class_weights, tau: float):
    """q_c = p_c w_c^-tau / sum_k p_k w_k^-tau: the largest log p - tau log w has the largest q.    p, q (C, H, W)

    A network that learned with the weights w gives p proportional to w_c p(c | image): rare classes, of large weights,
    are found too often. tau = 1 takes the weights out, between 0 and 1 a part of them; it is chosen on validation data.
    class_weights (C,), None for none; a class of weight 0 was not learned, and its p stays.

    Reference: Menon et al. 2021, Long-tail learning via logit adjustment, arXiv:2007.07314, sec. 4.1 (post-hoc).
    """
    if tau == 0 or class_weights is None:
        return p
    q = p * (np.where(class_weights > 0, class_weights, 1) ** -tau).astype(p.dtype)[:, None, None]
    return q / q.sum(axis=0)


def _weights(class_weights, classes):
    """class_weights as None, the word for those that are not counted yet, or (C,) float32."""
    if class_weights is None or isinstance(class_weights, str):
        return class_weights
    weights = np.array(class_weights, np.float32)
    if weights.shape != (len(classes),) or not (np.isfinite(weights) & (weights >= 0)).all():
        wanted = f"{len(classes)} values of at least 0, one for each class"
        raise ValueError(f"PixelClassifier: class_weights must be {wanted}, got {class_weights!r}")
    return weights


def whole_numbers(owner, **lists):
    """Raise ValueError unless each of the constructor arguments is a list of integers >= 1; it may be empty."""
    for name, values in lists.items():
        whole = isinstance(values, (list, tuple)) and all(isinstance(v, (int, np.integer)) for v in values)
        if not whole or min(values, default=1) < 1:
            raise ValueError(f"{type(owner).__name__}: {name} must be a list of whole numbers >= 1, got {values!r}")
