"""What networks that classify every pixel share: softmax cross-entropy, weighted where wanted, and probabilities."""

from typing import Any, NamedTuple

import numpy as np

from nn import LogSoftmax, softmax_cross_entropy
from nn.backend import array_module
from nn.layer import Layer, check_shape


class Cache(NamedTuple):
    """From loss to backward: the network's cache, and the gradient of the loss with respect to its output."""

    network: Any
    dlogits: np.ndarray


class PixelClassifier(Layer):
    """A network, images (N, I, H, W) to logits (N, C, oh, ow), with the loss it is trained by and its predictions.

    loss((images, labels), rng) or loss((images, labels, weights), rng): labels (N, H, W) int, -1 does not count;
    weights (N, H, W) say how much each pixel does. Where the network's output is smaller than the images, it is their
    middle, and labels and weights are cut to it; they may also come in its size. Parameters have the network's names.
    """

    def __init__(self, network: Layer):
        self.network = network

    def children(self):
        """Those of the network."""
        return self.network.children()

    def forward(self, x, training=True):
        return self.network.forward(x, training)

    def loss(self, batch, rng: np.random.Generator):
        """({pixels}, cache): the mean of -log p(label) over the pixels, weighted if weights are given."""
        images, labels, *weights = batch
        logits, c_network = self.forward(images)
        size = logits.shape[2:]
        if weights:
            pixels, dlogits = weighted_cross_entropy(logits, centre(labels, size), centre(weights[0], size))
        else:
            pixels, dlogits = softmax_cross_entropy(logits, centre(labels, size))
        return {"pixels": pixels}, Cache(c_network, dlogits)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters; returns that of the images."""
        return self.network.backward(cache.dlogits, cache.network)

    def predict(self, images) -> np.ndarray:
        """(N, C, oh, ow): the probability of each class at each pixel of the output."""
        logits = self(images)
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


def weighted_cross_entropy(logits, labels, weights):
    """E = sum over pixels of w -log p[label] / sum of w, and its gradient, p the softmax of the logits.

    logits (N, C, H, W), labels (N, H, W) int, -1 does not count, weights (N, H, W), finite and not negative. All
    weights 0: 0. Raises ValueError for other shapes, labels or weights.

    Reference: Ronneberger et al. 2015, arXiv:1505.04597, eq. 1 (there a sum; here, as in all losses, a weighted mean).
    """
    xp, (n, classes, h, w) = array_module(logits), logits.shape
    check_shape("weighted_cross_entropy", weights=(weights, (n, h, w)))
    if labels.shape != (n, h, w) or labels.dtype.kind not in "iu":
        got = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"weighted_cross_entropy: labels must be whole numbers of shape {(n, h, w)}, got {got}")
    if bool(((labels < -1) | (labels >= classes)).any()):
        raise ValueError(f"weighted_cross_entropy: labels must lie in -1 .. {classes - 1}, got {int(labels.max())}")
    if not bool(((weights >= 0) & xp.isfinite(weights)).all()):
        raise ValueError("weighted_cross_entropy: weights must be finite and not negative")
    scale = (weights * (labels >= 0)).astype(logits.real.dtype)[:, None]
    scale /= scale.sum() or 1
    own_class = xp.maximum(labels, 0)[:, None] == xp.arange(classes)[:, None, None]
    log_p, cache = LogSoftmax(axis=1).forward(logits)
    dlog_p = (-scale * own_class).astype(logits.dtype)  # E = sum of -scale log p[label]
    return (log_p * dlog_p).sum().item(), LogSoftmax(axis=1).backward(dlog_p, cache)


def centre(x, size: tuple[int, int]):
    """The middle (..., h, w) of an array (..., H, W), a view; of an odd difference the greater part goes at the end."""
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
