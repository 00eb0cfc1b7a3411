"""What networks that classify every pixel share: softmax cross-entropy, weighted where wanted, and probabilities."""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nn import LogSoftmax, softmax_cross_entropy
from nn.dispatch import array_module
from nn.layer import Layer, check_shape, positive

# Mean and std of ImageNet. class_weights: None, "median" (of the training set: class_weights.py) or a number per class.
OPTIONS = {
    "short_side": 120, "max_side": 160, "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375),
    "multiple": 1, "class_weights": None, "border_weights": None,
}  # fmt: skip
# The recipe of the small nets: 6,000 steps on scenes seen three times each. Of fewer scenes they learn less.
ON_SHAPES = {
    "epochs": 3, "batch_size": 4, "optimiser": "adam", "lr": 0.003, "weight_decay": 0.0, "schedule": "polynomial",
    "warm_up": 20, "shapes_train": 8000, "shapes_size": [64, 80],
}  # fmt: skip
PREPROCESS = ("short_side", "max_side", "mean", "std", "multiple", "border_weights")


class Cache(NamedTuple):
    """From loss to backward: the network's cache, and the gradient of the loss with respect to its output."""

    network: Any
    dlogits: np.ndarray


class PixelClassifier(Layer):
    """A network, images (N, I, H, W) to logits (N, C, oh, ow), with the loss it is trained by and its predictions.

    loss((images, labels), rng) or loss((images, labels, weights), rng): labels (N, H, W) int, -1 does not count;
    weights (N, H, W) say how much each pixel does. Where the network's output is smaller than the images, it is their
    middle, and labels and weights are cut to it; they may also come in its size. Parameters have the network's names.

    classes: the names, all of them: the first one is a class like any other, "background" or "sky".
    options: the model's own beside those of OPTIONS; all become `hyperparameters`, those of PREPROCESS `preprocess`:
        short_side, max_side, mean, std as for detection; sizes are padded to a `multiple`; border_weights (w0, sigma):
        see weight_map.py, for data that tell one object from the next. Raises ValueError for values of another kind.
    """

    constants = ("class_weights",)

    def __init__(self, network: Layer, classes: Sequence[str] = (), options: dict | None = None):
        self.network, self.classes = network, tuple(classes)
        options = OPTIONS | (options or {})
        positive(self, **{name: options[name] for name in ("short_side", "max_side", "multiple")})
        if options["short_side"] > options["max_side"]:
            sides = f"{options['short_side']} and {options['max_side']}"
            raise ValueError(f"PixelClassifier: short_side must not be above max_side, got {sides}")
        _check_colours(options["mean"], options["std"])
        _check_borders(options["border_weights"])
        self.class_weights = _checked(options["class_weights"], self.classes)
        if isinstance(options["class_weights"], np.ndarray):
            options["class_weights"] = options["class_weights"].tolist()
        self.hyperparameters = json.loads(json.dumps(options))  # tuples become lists
        self.preprocess = {name: self.hyperparameters[name] for name in PREPROCESS}
        self.smallest_batch = getattr(network, "smallest_batch", 1)

    def children(self):
        """Those of the network."""
        return self.network.children()

    def forward(self, x, training=True):
        return self.network.forward(x, training)

    def pretrained_names(self, arrays: dict) -> dict:
        """Published weights under the network's names, if it knows how others call them."""
        return self.network.pretrained_names(arrays) if hasattr(self.network, "pretrained_names") else arrays

    def loss(self, batch, rng: np.random.Generator):
        """({pixels}, cache): the mean of -log p(label) over the pixels, weighted if weights are given."""
        images, labels, *weights = batch
        logits, c_network = self.forward(images)
        pixels, dlogits = self.pixel_loss(logits, labels, *weights)
        return {"pixels": pixels}, Cache(c_network, dlogits)

    def pixel_loss(self, logits, labels, weights=None):
        """(value, dlogits) of softmax cross-entropy with the class weights and, where given, the pixels' own.

        logits (N, C, h, w); labels and weights (N, H, W), of which the middle h x w counts; dlogits as logits. Raises
        ValueError for labels outside -1 .. C - 1 or smaller than h x w, and for class weights not yet counted.
        """
        if isinstance(self.class_weights, str):
            raise ValueError(
                "PixelClassifier: class_weights 'median' come from training data: scripts.train counts them; "
                "elsewhere give the numbers of vision.segmentation.median_frequency"
            )
        size, of_classes = logits.shape[2:], self.class_weights
        if weights is None:
            return softmax_cross_entropy(logits, centre(labels, size), class_weights=of_classes)
        return weighted_cross_entropy(logits, centre(labels, size), centre(weights, size), of_classes)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters; returns that of the images."""
        return self.network.backward(cache.dlogits, cache.network)

    def predict(self, images) -> np.ndarray:
        """(N, C, oh, ow): the probability of each class at each pixel of the output."""
        return probabilities(self(images))

    def refine(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (C, H, W) after whatever looks at the picture (H, W, 3) uint8 once more: here nothing does."""
        return probabilities


def _check_colours(mean, std):
    """ValueError unless mean and std have three finite numbers each, and those of std are above 0."""
    for name, values, least in (("mean", mean, -math.inf), ("std", std, 0)):
        numbers = np.asarray(values, np.float64) if np.asarray(values).dtype.kind in "iuf" else np.zeros(0)
        if numbers.shape != (3,) or not (np.isfinite(numbers) & (numbers > least)).all():
            wanted = f"three numbers{' above 0' if name == 'std' else ''}, for red, green and blue"
            raise ValueError(f"PixelClassifier: {name} must be {wanted}, got {values!r}")


def probabilities(logits):
    """Softmax over the classes: logits (N, C, ...)."""
    e = array_module(logits).exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _checked(class_weights, classes):
    """class_weights as None, "median" or (C,) float32. ValueError for anything else."""
    if class_weights is None or (isinstance(class_weights, str) and class_weights == "median"):
        return class_weights
    try:
        numbers = np.array(class_weights, np.float32)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if numbers.shape != (len(classes),) or not (np.isfinite(numbers) & (numbers >= 0)).all():
        raise ValueError(
            f"PixelClassifier: class_weights must be none, 'median' or {len(classes)} numbers of at least 0, one for "
            f"each class, got {class_weights!r}"
        )
    return numbers


def _check_borders(values):
    """ValueError unless border_weights are None or (w0, sigma), w0 >= 0, sigma > 0."""
    if values is None:
        return
    numbers = isinstance(values, (list, tuple)) and [isinstance(v, (int, float)) and math.isfinite(v) for v in values]
    if numbers != [True, True] or values[0] < 0 or values[1] <= 0:
        raise ValueError(
            f"PixelClassifier: border_weights must be none or [w0, sigma], w0 >= 0 and sigma > 0 pixels, got {values!r}"
        )


def whole_numbers(owner, **lists):
    """Raise ValueError unless each of the constructor arguments is a list of whole numbers >= 1; it may be empty."""
    for name, values in lists.items():
        numbers = isinstance(values, (list, tuple)) and all(isinstance(v, (int, np.integer)) for v in values)
        if not numbers or min(values, default=1) < 1:
            raise ValueError(f"{type(owner).__name__}: {name} must be a list of whole numbers >= 1, got {values!r}")


def weighted_cross_entropy(logits, labels, weights, class_weights=None):
    """E = sum over pixels of w -log p[label] / sum of w, and its gradient, p the softmax of the logits.

    logits (N, C, H, W), labels (N, H, W) int, -1 does not count, weights (N, H, W), finite and not negative; with
    class_weights (C,) each is multiplied by that of its label. All weights 0: 0. Raises ValueError for other shapes,
    labels or weights.

    Reference: Ronneberger et al. 2015, arXiv:1505.04597, eq. 1 (there a sum; here, as in all losses, a weighted mean).
    """
    xp, (n, classes, h, w) = array_module(logits), logits.shape
    check_shape("weighted_cross_entropy", weights=(weights, (n, h, w)))
    if labels.shape != (n, h, w) or labels.dtype.kind not in "iu":
        got = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"weighted_cross_entropy: labels must be whole numbers of shape {(n, h, w)}, got {got}")
    if xp is np:
        _check_pixels(labels, weights, classes)
    else:  # to look at them would mean to wait for them: what is wrong makes the value NaN instead
        wrong = (labels < -1) | (labels >= classes) | ~((weights >= 0) & xp.isfinite(weights))
        weights = xp.where(wrong, xp.nan, weights)
    if class_weights is not None:
        weights = weights * xp.asarray(class_weights, weights.dtype)[labels]  # -1, some weight: does not count
    scale = (weights * (labels >= 0)).astype(logits.real.dtype)[:, None]
    total = scale.sum()
    scale /= total + (total == 0)  # all weights 0: 0, not 0 / 0
    own_class = xp.maximum(labels, 0)[:, None] == xp.arange(classes)[:, None, None]
    log_p, cache = LogSoftmax(axis=1).forward(logits)
    dlog_p = (-scale * own_class).astype(logits.dtype)  # E = sum of -scale log p[label]
    value = (log_p * dlog_p).sum().item()
    if value != value:
        _check_pixels(labels, weights, classes)
    return value, LogSoftmax(axis=1).backward(dlog_p, cache)


def _check_pixels(labels, weights, classes):
    """ValueError for labels outside -1 .. classes - 1, and weights that are negative or not finite."""
    if bool(((labels < -1) | (labels >= classes)).any()):
        raise ValueError(f"weighted_cross_entropy: labels must lie in -1 .. {classes - 1}, got {int(labels.max())}")
    if not bool(((weights >= 0) & array_module(weights).isfinite(weights)).all()):
        raise ValueError("weighted_cross_entropy: weights must be finite and not negative")


def centre(x, size: tuple[int, int]):
    """The middle (..., h, w) of an array (..., H, W), a view; of an odd difference the greater part goes at the end.

    Raises ValueError where h > H or w > W.
    """
    (h, w), (height, width) = size, x.shape[-2:]
    if h > height or w > width:
        raise ValueError(f"centre: {size} cannot be cut out of {x.shape}: give labels in the size of the images")
    top, left = (height - h) // 2, (width - w) // 2
    return x[..., top : top + h, left : left + w]


def uncut(dy, shape: tuple[int, ...]):
    """The gradient of centre's x, of this shape: zeros where it was cut off."""
    if dy.shape == shape:
        return dy
    dx = array_module(dy).zeros(shape, dy.dtype)
    centre(dx, dy.shape[2:])[...] = dy  # y = centre(x)
    return dx
