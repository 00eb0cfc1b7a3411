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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import BatchNorm1d, BatchNorm2d, Dropout, GlobalAvgPool2d, Linear, device_of, softmax_cross_entropy, to_device
from vision.classification.classifier import ClassificationNetwork, Classifier
from vision.model import Stage
from vision.options import ImageOptions
from vision.preprocess import Preprocess
from vision.registry import Tiny, build, register
from vision.task import on_its_device

TOGETHER = 64  # stored features in a step of the head


@dataclass(frozen=True)
class Options(ImageOptions):
    """Photographs are preprocessed as the network wants it, in another size if short_side says so."""

    network: str = "efficientnet_lite0"  # a registered classifier
    network_options: tuple[str, ...] = ()  # its options, NAME=VALUE each
    stage: str | None = None  # of whose map the features are; none: the last that does not depend on the classes
    way: Literal["head", "fine-tune", "scratch"] = "fine-tune"  # what is trained; see above
    views: int = 4  # augmented versions of each image whose features are stored
    rounds: int = 60  # passes over the stored features
    decay: float = 0.001  # weight decay of the last layer on stored features
    slower: float = 0.1  # rate of the old layers in fine-tuning, relative to the last one's
    dropout: float = 0.0  # share of features dropped before the last layer
    short_side: int | None = None  # pixels of the shorter side; none: the network's


# lr is the last layer's in fine-tuning and everybody's from scratch.
RECIPE = {
    "epochs": 10, "batch_size": 32, "lr": 0.01, "schedule": "cosine", "weight_decay": 0.0005, "clip_norm": 5.0,
    "warm_up": 20, "resized_crop": [0.4, 1.0], "jitter": 0.1,
}  # fmt: skip
TINY = {"network": "resnet20_cifar", "network_options": ["n=1", "width=2"], "short_side": 32, "way": "scratch"}


@register(
    "transfer", "classification", RECIPE, options=Options, tiny=Tiny(TINY, scenes=3),
    system="Transfer", paper="Razavian et al. 2014, arXiv:1403.6382; Yosinski et al. 2014, arXiv:1411.1792",
    figures="three breeds of pets, 80 photographs each: 0.917 of 60 held out, last layer of EfficientNet-Lite0 alone",
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
        """The last layer on stored features, then everything at a lower rate; or one of the two."""
        head = Stage("head", fit="fit_head", trains=("last",))
        everything = Stage("fine-tune", recipe={"lr_scale": self._rates()})
        return {"head": (head,), "fine-tune": (head, everything), "scratch": (Stage(),)}[self.options.way]

    def _rates(self):
        """{beginning of a name: its factor of the rate}: all but the last layer move more slowly."""
        beginnings = {name.split(".")[0] for name in self.network.backbone.parameters()}
        return dict.fromkeys(sorted(beginnings), self.options.slower)

    def fit_head(self, loader, rng: np.random.Generator, start: int) -> Iterator[dict]:
        """Train the last layer by gradient descent on stored features; yields the loss and accuracy of each round.

        The features of `views` augmented versions of all images are computed once. Descent sees them centred and
        scaled, f' = (f - mean) / std, with weight' = weight std and bias' = bias + weight mean: the same logits, and a
        loss that curves alike in all directions. Its curvature is at most |f'|^2 / 2, so the rate is 2 / mean |f'|^2;
        it falls in a half cosine.
        """
        features, labels = to_device(self.stored_features(loader), device_of(self))
        mean, std = features.mean(axis=0), features.std(axis=0)
        std = std + 0.1 * std.mean()  # features that hardly vary are not blown up
        rows, last = (features - mean) / std, self.network.head[2]
        rate = 2 / float((rows * rows).sum(axis=1).mean())
        for k in range(start, self.options.rounds):
            weight, bias = last.weight.value * std, last.bias.value + last.weight.value @ mean
            order = np.random.default_rng([k, len(labels)]).permutation(len(labels))
            losses, step = [], rate * (1 + np.cos(np.pi * k / self.options.rounds)) / 2
            for chosen in (order[i : i + TOGETHER] for i in range(0, len(order), TOGETHER)):
                loss, dlogits = softmax_cross_entropy(rows[chosen] @ weight.T + bias, labels[chosen])
                weight = weight - step * (dlogits.T @ rows[chosen] + self.options.decay * weight)
                bias = bias - step * dlogits.sum(axis=0)
                losses.append(loss)
            last.weight.value[...] = weight / std
            last.bias.value[...] = bias - (weight / std) @ mean
            right = (last(features).argmax(axis=1) == labels).mean()
            yield {"cls": float(np.mean(losses)), "accuracy": float(right)}

    def stored_features(self, loader) -> tuple[np.ndarray, np.ndarray]:
        """(features (M, D), labels (M,)) of all images of a loader, in `views` augmented versions of each."""
        found = []
        for view in range(self.options.views):
            for images, labels in loader.epoch(view):
                found.append((on_its_device(self, self.features, images), labels))
        features, labels = (np.concatenate(arrays) for arrays in zip(*found))
        return features, labels

    def features(self, images) -> np.ndarray:
        """(N, D): what the last layer sees of a batch, in inference."""
        return self.network.head[0](self.network.backbone(images))


def _value(text):
    """A value as JSON where it is JSON, else as text: as --set takes it."""
    try:
        return json.loads(text)
    except ValueError:
        return text
