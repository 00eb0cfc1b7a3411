"""How OverFeat is trained: the classifier and the box regressor, on random windows around the objects and beside them.

Reference: Sermanet et al. 2014, OverFeat, arXiv:1312.6229, sec. 4.2 and 5.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from nn import l2, one_hot, softmax_cross_entropy
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from vision.localization.class_and_box import BOX_MEAN, BOX_STD
from vision.localization.overfeat_net import FEATURES, OverFeatNet
from vision.localization.windows import Windows, around, beside, corners, cut
from vision.model import Model, Stage
from vision.options import check_least

MEAN, STD = np.array(BOX_MEAN, np.float32), np.float32(BOX_STD)  # of the sides of a box as fractions of its window


class Objects(NamedTuple):
    """What is in one image, on the CPU: boxes (K, 4) in pixels, labels (K,) from 0, image_size (h, w) unpadded."""

    boxes: np.ndarray
    labels: np.ndarray
    image_size: tuple[int, int]


class Sampled(NamedTuple):
    """M windows; labels (M,), -1 for the background; target (M, 4): the box, normalised in its window."""

    windows: Windows
    labels: np.ndarray
    target: np.ndarray


class Cache(NamedTuple):
    """From a loss to its backward. `sampled` are constants: a gradient check reuses them."""

    network: Any
    doutputs: Any
    sampled: Sampled


class OverFeatTraining(Model):
    """The losses of both heads on random windows, together and one after the other.

    background: whether there is a class for windows without object, before the others.
    """

    background = False

    def make_network(self, rng: np.random.Generator):
        """The network of the options, which are checked here."""
        o = self.options
        if not o.scales or min(o.scales) <= 0 or not 0 < o.shares[0] <= o.shares[1]:
            raise ValueError(f"OverFeat: scales and shares must be above 0, got {o.scales} and {o.shares}")
        check_least("OverFeat", o, 1, "top")
        features, count = FEATURES[o.features](o.width, rng=rng), len(self.classes)
        if o.frozen:
            features.freeze(o.frozen)
        self.network = OverFeatNet(features, self.background + count, count, o.cells, o.hidden, rng=rng)
        self.smallest_batch, self.needs_weights = 2, o.frozen is not None

    def stages(self) -> tuple[Stage, ...]:
        """The classifier, then the regressor; or one stage for both. `--epochs` holds for each."""
        if self.options.way == "joint":
            return super().stages()
        both = "network.features", "network.classifier"
        return (
            Stage("classifier", trains=both, loss="class_loss", backward="class_backward"),
            Stage("boxes", trains=("network.regressor",), loss="box_loss", backward="box_backward"),
        )

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Published weights of the convolutions, and one's own of this model."""
        own = self.state_dict()
        return {name if name in own else f"network.features.{name}": array for name, array in arrays.items()}

    def loss(self, batch, rng, sampled: Sampled | None = None):
        """({cls, box}, cache): both losses, on random windows."""
        images, objects = self.objects_of(batch)
        sampled = sampled or to_device(self.sample(objects, rng), device_of(images))
        (logits, deltas), c_network = self.network.forward(cut(images, sampled.windows, self.network.window))
        cls, dlogits = softmax_cross_entropy(logits, sampled.labels + self.background)
        box, ddeltas = self.box_error(deltas, sampled)
        return {"cls": cls, "box": box}, Cache(c_network, (dlogits, ddeltas), sampled)

    def backward(self, cache: Cache):
        """Add the gradients of both losses to all parameters."""
        self.network.backward(cache.doutputs, cache.network)

    def class_loss(self, batch, rng, sampled: Sampled | None = None):
        """({cls}, cache): the classifier alone."""
        (images, objects), net = self.objects_of(batch), self.network
        sampled = sampled or to_device(self.sample(objects, rng), device_of(images))
        y, c_features = net.features.forward(cut(images, sampled.windows, net.window))
        y, c_pool = net.pool.forward(y)
        logits, c_classifier = net.classifier.forward(y)  # (M, classes, 1, 1)
        cls, dlogits = softmax_cross_entropy(logits[:, :, 0, 0], sampled.labels + self.background)
        return {"cls": cls}, Cache((c_features, c_pool, c_classifier), dlogits[:, :, None, None], sampled)

    def class_backward(self, cache: Cache):
        """Add the gradients of the class loss to the convolutions and the classifier."""
        (c_features, c_pool, c_classifier), net = cache.network, self.network
        dy = net.classifier.backward(cache.doutputs, c_classifier)
        net.features.backward_parameters(net.pool.backward(dy, c_pool), c_features)

    def box_loss(self, batch, rng, sampled: Sampled | None = None):
        """({box}, cache): the regressor alone, on convolutions that are done."""
        (images, objects), net = self.objects_of(batch), self.network
        sampled = sampled or to_device(self.sample(objects, rng), device_of(images))
        y = net.pool(net.features(cut(images, sampled.windows, net.window)))
        deltas, c_regressor = net.regressor.forward(y)  # (M, 4 boxes, 1, 1)
        box, ddeltas = self.box_error(deltas.reshape(len(deltas), net.boxes, 4), sampled)
        return {"box": box}, Cache(c_regressor, ddeltas.reshape(deltas.shape), sampled)

    def box_backward(self, cache: Cache):
        """Add the gradients of the box loss to the regressor."""
        self.network.regressor.backward(cache.doutputs, cache.network)

    def box_error(self, deltas, sampled: Sampled):
        """L2 over the four sides of the box of the true class (sec. 4.2), and its gradient; none for background."""
        own = one_hot(sampled.labels, self.network.boxes)[..., None]  # (M, boxes, 1), all False for -1
        target = array_module(deltas).broadcast_to(sampled.target[:, None], deltas.shape)
        return l2(deltas, target, weights=own, normaliser=len(deltas))

    def objects_of(self, batch) -> tuple[np.ndarray, list[Objects]]:
        """The images of a batch of the task, and what is in each."""
        raise NotImplementedError(f"{type(self).__name__} has no objects_of")

    def sample(self, objects: list[Objects], rng: np.random.Generator) -> Sampled:
        """Random windows: some around each object, and with a background class as many without any."""
        o, parts = self.options, []
        for i, (boxes, labels, image_size) in enumerate(objects):
            index = np.repeat(np.arange(len(boxes)), o.windows)
            parts.append((i, *around(boxes[index], o.shares, rng), labels[index], boxes[index]))
            if self.background:
                sides = self.network.window / max(o.scales), min(image_size) / min(1, *o.scales)
                empty = beside(boxes, image_size, (min(sides), max(sides)), max(len(index), 1), o.empty, rng)
                parts.append((i, *empty, np.full(len(empty[1]), -1), np.zeros((len(empty[1]), 4))))
        image = np.concatenate([np.full(len(part[2]), part[0]) for part in parts])
        if len(image) < 2:
            raise ValueError("OverFeat: a batch must have objects: at least 2 windows are learned from")
        centre, side, labels, boxes = (np.concatenate(each) for each in list(zip(*parts))[1:])
        windows = Windows(image, centre, side)
        fractions = (boxes - np.tile(corners(windows)[:, :2], 2)) / side[:, None]
        return Sampled(windows, labels.astype(np.int64), (fractions - MEAN) / STD)
