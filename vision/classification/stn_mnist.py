"""Spatial transformer networks for distorted digits, and the same networks without a transformer.

Reference: Jaderberg et al. 2015, Spatial transformer networks, arXiv:1506.02025, sec. 4.1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU
from nn.layer import positive
from vision.backbones import Backbone, FeatureMap
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.classification.mnist_networks import Grey
from vision.classification.spatial_transformer import SpatialTransformer, outline
from vision.model import Stage
from vision.preprocess import Photograph, open_photograph
from vision.registry import Tiny, register
from vision.task import on_its_device

KERNEL = 5


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """Images are squares of short_side = max_side pixels, in 0 .. 1, so that black is 0."""

    transform: Literal["off", "affine", "attention", "projective", "tps"] = "affine"  # kind of transformation
    localisation: Literal["cnn", "fcn"] = "cnn"  # network that chooses the transformation
    at: Literal["input", "between", "both"] = "input"  # before the first convolution, the second, or both
    classifier: Literal["cnn", "fcn"] = "cnn"  # two convolutions, or two fully connected layers of 4 width units
    frame: int = 28  # rows and columns that the first transformer samples
    spread: float = 0.0  # standard deviation of the last weights of a localisation network at first
    width: int = 32  # channels of both convolutions
    short_side: int = 42  # pixels of the shorter side
    max_side: int = 42  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (0, 0, 0)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (255, 255, 255)  # then each channel is divided by this


class TransformedCNN(Backbone):
    """images (N, 3, S, S) to features: a transformer, two 5x5 convolutions with ReLU and 2x2 max pooling.

    Stages: input (the transformed grey image), conv1, conv2 (without them in front of a fully connected classifier).
    frames(images): the grid of the first transformer.
    """

    def __init__(self, options: Options, *, rng: np.random.Generator):
        o, side = options, options.short_side
        positive("stn_mnist", width=o.width, frame=o.frame)
        self.transformer = None
        layers = {"grey": Grey(side)}
        if o.transform != "off" and o.at != "between":
            self._add(layers, "transformer1", 1, side, o.frame, o, rng)
            side = o.frame
        stages = {"input": FeatureMap(len(layers), 1, 1)}
        for i, channels in enumerate((1, o.width) if o.classifier == "cnn" else ()):
            if i and o.transform != "off" and o.at != "input":
                self._add(layers, "transformer2", channels, side, side, o, rng)
            conv = Conv2d(channels, o.width, KERNEL, rng=rng)
            layers |= {f"conv{i + 1}": conv, f"relu{i + 1}": ReLU(), f"pool{i + 1}": MaxPool2d(2)}
            side = (side - KERNEL + 1) // 2
            stages[f"conv{i + 1}"] = FeatureMap(len(layers), o.width, 2 ** (i + 1))
        if o.transform != "off" and self.transformer is None:
            raise ValueError("stn_mnist: at='between' goes with classifier='cnn'")
        self.side = side
        super().__init__(layers, stages)

    def _add(self, layers, name, channels, side, frame, o, rng):
        """One more transformer; its localisation network sees the maps of the layer before."""
        made = SpatialTransformer(
            channels, (side, side), (frame, frame), o.transform, o.localisation, o.spread, rng=rng
        )
        layers[name], self.transformer = made, self.transformer or name

    def frames(self, images):
        """The grid (N, h, w, 2) of the first transformer."""
        before = self.layer_names.index(self.transformer)
        return self[self.transformer].frames(self.body[:before](images), training=False)[0]


# The paper: 150,000 batches of 256, SGD with rate 0.01, divided by 10 at each third. Here Adam, for short runs.
RECIPE = {
    "epochs": 3, "batch_size": 128, "optimiser": "adam", "lr": 0.001, "weight_decay": 0.0, "schedule": "polynomial",
    "warm_up": 0, "clip_norm": 5.0, "flip_horizontal": 0.0, "jitter": 0.0,
}  # fmt: skip
SLOWER = 0.3  # rate of the transformers, relative to the rest: a frame off the digit gets no gradient to come back
TINY = {"width": 3, "short_side": 32, "max_side": 32, "transform": "tps", "frame": 30, "spread": 0.05}


@register(
    "stn_mnist", "classification", RECIPE, options=Options, tiny=Tiny(TINY, size=(32, 32)),
    system="Spatial transformer networks", paper="Jaderberg et al. 2015, arXiv:1506.02025",
    figures="MNIST turned, scaled and moved, 1,250 batches: test error 3.96 % (affine), 4.20 % (thin-plate splines) "
    "and 8.95 % (without)",
)  # fmt: skip
class TransformerClassifier(Classifier):
    """A classifier behind spatial transformers, or (transform="off") without."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        backbone = TransformedCNN(options, rng=rng)
        features, head = backbone.out_channels * backbone.side**2, {"flatten": Flatten()}
        if options.classifier == "fcn":
            for i in (1, 2):
                head |= {f"fc{i}": Linear(features, 4 * options.width, rng=rng), f"fc{i}_relu": ReLU()}
                features = 4 * options.width
        head["last"] = Linear(features, len(classes), rng=rng)
        super().__init__(ClassificationNetwork(backbone, head), classes, options)

    def stages(self) -> tuple[Stage, ...]:
        """One; the transformers move more slowly than the rest."""
        names = [name for name in self.network.backbone.layer_names if name.startswith("transformer")]
        return (Stage(recipe={"lr_scale": dict.fromkeys(names, SLOWER)}),)

    def classify(self, photograph: Photograph) -> dict:
        """As a Classifier's, and with a transformer `frame` (K, 2): the outline of what it looks at.

        Points (x, y) of a closed line, in pixels of the photograph.
        """
        photograph = open_photograph(photograph)
        found = super().classify(photograph)
        if self.options.transform == "off":
            return found
        image = self.preprocess.batch([self.preprocess.scaled(photograph)])
        (grid,) = on_its_device(self, self.network.backbone.frames, image)
        height, width = photograph.shape[:2]
        return found | {"frame": outline(grid, width, height)}
