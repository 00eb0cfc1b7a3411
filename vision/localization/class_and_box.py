"""Classification and localization: a classifier with a second head that regresses the box.

Two ways to train, of the course's lecture on localization:

    two_step   1. train the classifier; 2. attach a box head; 3. train this head alone by L2; 4. use both heads
    joint      train everything at once by the sum of both losses

and two positions of the head: "conv", after the last convolution (OverFeat, VGG), with fully connected layers of its
own; "fc", after the fully connected layers of the classifier (DeepPose, R-CNN). A box head gives one box, or one for
each class, of which that of the true class learns and that of the best class is the answer. For a fixed number K of
objects there are K of both outputs, for the objects from left to right.

Reference: Sermanet et al. 2014, OverFeat, arXiv:1312.6229, sec. 4; Simonyan and Zisserman 2015, arXiv:1409.1556,
appendix A (both positions and class-specific boxes compared there).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import Sequential, l2, one_hot, softmax, softmax_cross_entropy
from nn.containers import backward_chain
from nn.dispatch import array_module
from nn.layer import Layer, positive
from vision.backbones import Remembered
from vision.localization.localizer import Localizer
from vision.localization.trunk import Trunk, hidden_layers, last_layer
from vision.model import Stage
from vision.options import ImageOptions
from vision.preprocess import IMAGENET_MEAN, IMAGENET_STD
from vision.registry import Tiny, register

# Targets of about mean 0 and variance 1: sides of a box as fractions of the image, less these means, over this.
BOX_MEAN, BOX_STD = (0.25, 0.25, 0.75, 0.75), 0.2


class Outputs(NamedTuple):
    """logits (N, K, classes), deltas (N, K, classes or 1, 4): normalised sides of boxes."""

    logits: np.ndarray
    deltas: np.ndarray


class TwoHeads(Layer):
    """Outputs of x: images (N, 3, H, W), or of a frozen trunk its features (N, C, h, w)."""

    def __init__(self, classes: int, options: "Options", *, rng: np.random.Generator):
        o = options
        positive(self, objects=o.objects)
        self.trunk, self.at_fc = Trunk(o.backbone, o.width, o.frozen, rng=rng), o.place == "fc"
        shape = self.trunk.out_channels, self.trunk.map_size(o.short_side, o.short_side), o.channels, o.hidden
        self.sizes = o.objects, classes, classes if o.class_specific else 1
        self.fc = hidden_layers(*shape, rng=rng)
        self.class_score = last_layer(o.hidden, o.objects * classes, rng=rng)
        own = Sequential() if self.at_fc else hidden_layers(*shape, rng=rng)
        self.box_head = Sequential(*own, last_layer(o.hidden, o.objects * self.sizes[2] * 4, rng=rng))

    def forward(self, x, training=True):
        y, c_trunk = self.trunk.forward(x, training)
        hidden, c_fc = self.fc.forward(y, training)
        logits, c_class = self.class_score.forward(hidden, training)
        deltas, c_box = self.box_head.forward(hidden if self.at_fc else y, training)
        objects, classes, boxes = self.sizes
        logits, deltas = logits.reshape(len(x), objects, classes), deltas.reshape(len(x), objects, boxes, 4)
        return Outputs(logits, deltas), (c_trunk, c_fc, c_class, c_box)

    def backward(self, dy, cache):
        c_trunk, c_fc, c_class, c_box = cache
        dlogits, ddeltas = (each.reshape(len(each), each[0].size) for each in dy)
        dhidden = self.class_score.backward(dlogits, c_class)
        dbox_input = self.box_head.backward(ddeltas, c_box)
        dhidden = dhidden + dbox_input if self.at_fc else dhidden
        dfeatures = self.fc.backward(dhidden, c_fc)
        self.trunk.backward_parameters(dfeatures if self.at_fc else dfeatures + dbox_input, c_trunk)  # none of images


@dataclass(frozen=True)
class Options(ImageOptions):
    """On the published SqueezeNet: photographs, scaled to a square, lose their mean."""

    backbone: Literal["small_cnn", "squeezenet", "alexnet"] = "squeezenet"  # the CNN
    width: int = 16  # of the CNN: its channels are multiples of it
    frozen: str | None = None  # last stage of the CNN that is not trained, such as fire8; none: all are trained
    way: Literal["two_step", "joint"] = "joint"  # first the classifier, then the box head alone; or both losses summed
    place: Literal["conv", "fc"] = "conv"  # of the box head: after the last convolution, or the fully connected layers
    class_specific: bool = False  # a box for each class
    objects: int = 1  # K, the number of objects in each picture
    channels: int = 64  # of the 1x1 convolution before the fully connected layers
    hidden: int = 256  # units of the fully connected layers
    box_weight: float = 1.0  # of the box loss in the sum of both
    short_side: int = 192  # pixels of both sides
    max_side: int = 400  # not used: pictures become squares
    mean: float | tuple[float, float, float] = (123, 117, 104)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (1, 1, 1)  # then each channel is divided by this


@dataclass(frozen=True)
class AlexNetOptions(Options):
    """On the published AlexNet."""

    backbone: Literal["small_cnn", "squeezenet", "alexnet"] = "alexnet"  # the CNN
    width: int = 64  # of the CNN: its channels are multiples of it
    short_side: int = 224  # pixels of both sides
    mean: float | tuple[float, float, float] = IMAGENET_MEAN  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = IMAGENET_STD  # then each channel is divided by this


@dataclass(frozen=True)
class SmallOptions(Options):
    """From random weights, for generated scenes on a CPU."""

    backbone: Literal["small_cnn", "squeezenet", "alexnet"] = "small_cnn"  # the CNN
    width: int = 12  # of the CNN: its channels are multiples of it
    short_side: int = 64  # pixels of both sides
    std: float | tuple[float, float, float] = (64, 64, 64)  # then each channel is divided by this


class Cache(NamedTuple):
    """From a loss to its backward: the network's cache (or the head's) and the gradients of the outputs."""

    network: Any
    doutputs: Any


class ClassAndBox(Localizer):
    """The two heads, with the losses of both ways of training. See the top of this file."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess(resize="square"))
        self.network = TwoHeads(len(self.classes), options, rng=rng)
        self.smallest_batch, self.needs_weights = 2, options.frozen is not None
        self.features = Remembered(self.network.trunk) if self.network.trunk.is_frozen else None

    def stages(self) -> tuple[Stage, ...]:
        """One, or the classifier and then the box head; `--epochs` holds for each."""
        if self.options.way == "joint":
            return super().stages()
        classifier = tuple(f"network.{name}" for name in ("trunk", "fc", "class_score"))
        return (
            Stage("classifier", trains=classifier, loss="class_loss", backward="class_backward"),
            Stage("boxes", trains=("network.box_head",), loss="box_loss", backward="box_backward"),
        )

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Published weights of the CNN, and one's own of this model."""
        own = self.state_dict()
        return {name if name in own else f"network.trunk.backbone.{name}": array for name, array in arrays.items()}

    def loss(self, batch, rng, sampled=None):
        """({cls, box}, cache): the sum of both losses."""
        seen, labels, boxes = batch
        outputs, c_network = self.network.forward(seen)
        cls, dlogits = self.class_error(outputs.logits, labels)
        box, ddeltas = self.box_error(outputs.deltas, labels, boxes, self.options.box_weight)
        return {"cls": cls, "box": box}, Cache(c_network, Outputs(dlogits, ddeltas))

    def backward(self, cache: Cache):
        """Add the gradients of both losses to all parameters."""
        self.network.backward(cache.doutputs, cache.network)

    def class_loss(self, batch, rng, sampled=None):
        """({cls}, cache): the first step, the classifier without a box head."""
        (seen, labels, _), net = batch, self.network
        y, c_trunk = net.trunk.forward(seen)
        hidden, c_fc = net.fc.forward(y)
        logits, c_class = net.class_score.forward(hidden)
        logits = logits.reshape(len(seen), *net.sizes[:2])
        cls, dlogits = self.class_error(logits, labels)
        return {"cls": cls}, Cache((c_trunk, c_fc, c_class), dlogits.reshape(len(seen), logits[0].size))

    def class_backward(self, cache: Cache):
        """Add the gradients of the class loss to the classifier's parameters."""
        (c_trunk, c_fc, c_class), net = cache.network, self.network
        dhidden = net.class_score.backward(cache.doutputs, c_class)
        backward_chain((net.trunk, net.fc), (c_trunk, c_fc), dhidden)

    def box_loss(self, batch, rng, sampled=None):
        """({box}, cache): the third step. The classifier is done: it only infers, and no gradient enters it."""
        (seen, labels, boxes), net = batch, self.network
        y = net.trunk(seen)
        deltas, c_box = net.box_head.forward(net.fc(y) if net.at_fc else y)
        box, ddeltas = self.box_error(deltas.reshape(len(seen), net.sizes[0], net.sizes[2], 4), labels, boxes)
        return {"box": box}, Cache(c_box, ddeltas.reshape(deltas.shape))

    def box_backward(self, cache: Cache):
        """Add the gradients of the box loss to the box head's parameters."""
        self.network.box_head.backward(cache.doutputs, cache.network)

    def class_error(self, logits, labels):
        """Softmax cross-entropy of logits (N, K, classes), and its gradient."""
        cls, dlogits = softmax_cross_entropy(logits.reshape(labels.size, logits.shape[2]), labels.reshape(-1))
        return cls, dlogits.reshape(logits.shape)

    def box_error(self, deltas, labels, boxes, weight: float = 1.0):
        """L2 over the four sides of each object, that of its class where boxes are by class, and its gradient."""
        xp, side = array_module(deltas), self.options.short_side
        target = (boxes / side - xp.asarray(BOX_MEAN, boxes.dtype)) / BOX_STD  # (N, K, 4)
        counted = one_hot(labels, deltas.shape[2], axis=2) if deltas.shape[2] > 1 else (labels >= 0)[..., None]
        target = xp.broadcast_to(target[:, :, None], deltas.shape).astype(deltas.real.dtype)
        return l2(deltas, target, weights=weight * counted[..., None], normaliser=labels.size)

    def predict(self, seen) -> list[dict]:
        """boxes (K, 4), labels (K,) and scores (K,) for each image."""
        (logits, deltas), xp = self.network(seen), array_module(seen)
        p = softmax(logits, axis=2)
        best = p.argmax(axis=2)  # (N, K)
        kind = best if deltas.shape[2] > 1 else xp.zeros_like(best)
        deltas = xp.take_along_axis(deltas, kind[..., None, None], axis=2)[:, :, 0]  # (N, K, 4)
        boxes = (deltas * BOX_STD + xp.asarray(BOX_MEAN, deltas.dtype)) * self.options.short_side
        scores = xp.take_along_axis(p, best[..., None], axis=2)[..., 0]
        return [{"boxes": b, "labels": label + 1, "scores": s} for b, label, s in zip(boxes, best, scores)]


# Published convolutions learn ten times slower than the new layers.
PHOTOGRAPHS = {
    "data": "pets", "epochs": 30, "batch_size": 16, "optimiser": "adam", "lr": 0.001,
    "lr_scale": {"network.trunk": 0.1}, "weight_decay": 0.001, "schedule": "cosine", "warm_up": 30,
    "zoom": [0.8, 1.3],
}  # fmt: skip
SMALL = {
    "shapes_size": [64, 64], "epochs": 8, "batch_size": 16, "optimiser": "adam", "lr": 0.002, "weight_decay": 0.001,
    "schedule": "cosine", "warm_up": 30,
}  # fmt: skip
ABOUT = {
    "system": "Classification and localization",
    "paper": "Sermanet et al. 2014, arXiv:1312.6229; Simonyan and Zisserman 2015, arXiv:1409.1556",
}
TINY = {"width": 1, "short_side": 32, "channels": 2, "hidden": 3}
TINY_CNN = TINY | {"backbone": "small_cnn"}


def _small(**options):
    return Tiny(TINY_CNN | options, scenes=3, size=(32, 32))


register(
    "localizer", "localization", PHOTOGRAPHS, options=Options, tiny=_small(), **ABOUT,
    figures="single generated objects: class right and IoU >= 0.5 for 85 %; heads of pets, validation: 69 %",
)(ClassAndBox)  # fmt: skip
register(
    "localizer_alexnet", "localization", PHOTOGRAPHS, options=AlexNetOptions,
    tiny=_small(place="fc", class_specific=True), **ABOUT,
)(ClassAndBox)  # fmt: skip
register(
    "localizer_small", "localization", SMALL, options=SmallOptions,
    tiny=_small(class_specific=True, objects=2, way="two_step"), **ABOUT,
)(ClassAndBox)  # fmt: skip
