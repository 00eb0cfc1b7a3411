"""Transfer: a network that was trained on many images of other classes, with a new last layer for yours.

    features = mean over the last map    the network without its last layer R^1000
    logits = last(features)              a new one, R^classes

Three ways, by the option `way`: "head" trains the last layer alone, on features that are computed once and stored;
"fine-tune" does that first, then trains all layers, the old ones at a lower rate; "scratch" trains all from random
weights, to compare with. The fewer the images, the more the first two help.

Reference: Razavian et al. 2014, CNN features off-the-shelf, arXiv:1403.6382 (features and a linear classifier);
Yosinski et al. 2014, How transferable are features in deep neural networks? arXiv:1411.1792 (fine-tuning).
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import BatchNorm1d, BatchNorm2d, Dropout, GlobalAvgPool2d, Linear, device_of, to_device
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.classification.softmax_regression import cross_validate, descend, standard
from vision.model import Stage
from vision.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from vision.registry import Tiny, build, register
from vision.task import on_its_device

IMAGES = 16  # whose features are computed together
UNUSED = {  # options without effect, by `way`
    "head": ("slower", "dropout", "label_smoothing", "mixup"),  # the loss is softmax_regression's
    "scratch": ("views", "rounds", "decay", "slower"),  # nothing is stored, and all have one rate
}


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """Photographs are preprocessed as the network wants it, in another size if short_side says so."""

    network: str = "efficientnet_lite0"  # a registered classifier
    network_options: tuple[str, ...] = ()  # its options, NAME=VALUE each
    stage: str | None = None  # of whose map the features are; none: the last that does not depend on the classes
    way: Literal["head", "fine-tune", "scratch"] = "fine-tune"  # head: last layer; fine-tune: then all
    views: int = 4  # augmented versions of each image whose features are stored; 0: the image as tested, and mirrored
    rounds: int = 60  # passes over the stored features
    decay: float | None = 0.001  # of the last layer on stored features; none: chosen by cross-validation, for views=0
    slower: float = 0.1  # rate of the old layers in fine-tuning, relative to the last one's
    dropout: float = 0.0  # share of features dropped before the last layer
    short_side: int | None = None  # pixels of the shorter side; none: the network's
    mean: float | tuple[float, float, float] = IMAGENET_MEAN  # not used: it is the network's, see network_options
    std: float | tuple[float, float, float] = IMAGENET_STD  # not used: it is the network's, see network_options
    per_image: bool = False  # not used: it is the network's, see network_options


# lr is the last layer's in fine-tuning and everybody's from scratch.
RECIPE = {
    "epochs": 10, "batch_size": 32, "lr": 0.01, "schedule": "cosine", "weight_decay": 0.0005, "clip_norm": 5.0,
    "warm_up": 20, "resized_crop": [0.4, 1.0], "jitter": 0.1,
}  # fmt: skip
TINY = {"network": "resnet20_cifar", "network_options": ["n=1", "width=2"], "short_side": 32, "way": "scratch"}


@register(
    "transfer", "classification", RECIPE, options=Options, tiny=Tiny(TINY, scenes=3),
    system="Transfer", paper="Razavian et al. 2014, arXiv:1403.6382; Yosinski et al. 2014, arXiv:1411.1792",
    figures="three breeds of pets, 100 photographs each: 0.963 of 298 right, last layer of EfficientNet-Lite0 alone",
)  # fmt: skip
class Transfer(Classifier):
    """Any registered classifier with a backbone, and a new last layer.

    Parameters have the names of that network, so its published weights load with --pretrained, and last.weight,
    last.bias. Batch normalisation keeps its published statistics in fine-tuning: few images give poor ones.
    """

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        given = {name: _value(text) for name, _, text in (each.partition("=") for each in options.network_options)}
        base, wider = (build(options.network, names, rng.spawn(1)[0], **given) for names in (("a",), ("a", "b")))
        if not isinstance(getattr(base, "network", None), ClassificationNetwork):
            raise ValueError(f"transfer: {options.network} has no backbone to transfer")
        backbone, other = base.network.backbone, wider.network.backbone.channels
        stage = options.stage or [name for name, count in backbone.channels.items() if other[name] == count][-1]
        backbone = backbone.up_to(stage)
        head = {
            "pool": GlobalAvgPool2d(), "dropout": Dropout(options.dropout, rng=rng.spawn(1)[0]),
            "last": Linear(backbone.out_channels, len(classes), rng=rng),
        }  # fmt: skip
        if options.decay is None and options.views:
            raise ValueError("transfer: decay=none is chosen by cross-validation, which needs views=0")
        super().__init__(ClassificationNetwork(backbone, head), classes, options, self._sized(base.preprocess, options))
        self.needs_weights = options.way != "scratch"
        if options.way != "scratch":
            for _, layer in backbone.layers():
                if isinstance(layer, (BatchNorm1d, BatchNorm2d)):
                    layer.frozen = True  # its statistics alone: weight and bias are trained

    @staticmethod
    def _sized(preprocess: Preprocess, options: Options) -> Preprocess:
        """The network's preprocess, in the size of the options."""
        if options.short_side is None:
            return preprocess
        values = {**vars(preprocess), "short_side": options.short_side}
        return Preprocess(**values | {"max_side": max(options.short_side, options.max_side)})

    def stages(self) -> tuple[Stage, ...]:
        """The last layer on stored features, then everything at a lower rate; or one of the two.

        Raises ValueError for options that have no effect with this `way`.
        """
        _check_effect(self.options)
        head = Stage("head", fit="fit_head", trains=("last",))
        everything = Stage("fine-tune", recipe={"lr_scale": self._rates()})
        return {"head": (head,), "fine-tune": (head, everything), "scratch": (Stage(),)}[self.options.way]

    def _rates(self):
        """{beginning of a name: its factor of the rate}: all but the last layer move more slowly."""
        beginnings = {name.split(".")[0] for name in self.network.backbone.parameters()}
        return dict.fromkeys(sorted(beginnings), self.options.slower)

    def fit_head(self, loader, rng: np.random.Generator, start: int) -> Iterator[dict]:
        """Train the last layer by gradient descent on stored features; yields the loss and accuracy of each round.

        The features are computed once: see vision/classification/softmax_regression.py for the descent.
        """
        features, labels, images = to_device(self.stored_features(loader), device_of(self))
        decay, to_rows, last = self.options.decay, standard(features), self.network.head[2]
        if decay is None:
            found = cross_validate(features, labels, images, len(self.classes), self.options.rounds)
            decay = max(found, key=found.get)
            text = "accuracy by cross-validation, for each decay: %s; the best is %s"
            logging.getLogger(__name__).info(text, found, decay)
        rows = to_rows(features)
        if not start:  # at zero: random weights times large features would be logits that the rounds cannot undo
            last.weight.value[...], last.bias.value[...] = 0, 0
        for k in range(start, self.options.rounds):
            weight, bias = last.weight.value * to_rows.scale, last.bias.value + last.weight.value @ to_rows.mean
            weight, bias, loss = descend(weight, bias, rows, labels, k, self.options.rounds, decay)
            last.weight.value[...] = weight / to_rows.scale
            last.bias.value[...] = bias - (weight / to_rows.scale) @ to_rows.mean
            right = (last(features).argmax(axis=1) == labels).mean()
            yield {"cls": loss, "accuracy": float(right)}

    def stored_features(self, loader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(features (M, D), labels (M,), images (M,)) of all samples of a loader: rows of one image have its number.

        In `views` augmented versions of each, whose images are not told apart; with views=0 as in testing and mirrored.
        """
        found = []
        for view in range(self.options.views):
            for images, labels in loader.epoch(view):
                found.append((on_its_device(self, self.features, images), labels))
        if not self.options.views:
            found = [self._as_tested(loader.dataset, part) for part in _parts(len(loader.dataset))]
        features, labels = (np.concatenate(arrays) for arrays in zip(*found))
        rows = np.arange(len(labels))
        return features, labels, rows if self.options.views else rows // 2

    def _as_tested(self, dataset, part):
        """(features, labels) of some images of a data set, each and its mirror image."""
        samples = [dataset[index] for index in part]
        scaled = [self.preprocess.scaled(sample["image"]) for sample in samples]
        images = self.preprocess.batch([view for image in scaled for view in (image, image[:, ::-1])])
        return on_its_device(self, self.features, images), np.repeat([sample["label"] for sample in samples], 2)

    def features(self, images) -> np.ndarray:
        """(N, D): what the last layer sees of a batch, in inference."""
        return self.network.head[0](self.network.backbone(images))


def _check_effect(options):
    """ValueError for options that would be without effect in training; a checkpoint may hold them, from before."""
    for name in UNUSED.get(options.way, ()):
        if getattr(options, name) != getattr(Options, name):
            raise ValueError(f"transfer: {name} has no effect with way={options.way}; leave it out")
    if options.short_side is None and options.max_side != Options.max_side:
        raise ValueError("transfer: max_side has no effect without short_side: the size is the network's; set both")


def _parts(count):
    """The indices 0 .. count - 1, a few at a time."""
    return [range(start, min(start + IMAGES, count)) for start in range(0, count, IMAGES)]


def _value(text):
    """A value as JSON where it is JSON, else as text: as --set takes it."""
    try:
        return json.loads(text)
    except ValueError:
        return text
