"""A network and a predictor of purity, trained one after the other, and labels by the optimal cover.

Reference: Farabet et al. 2013, doi:10.1109/TPAMI.2012.231, sec. 4.3.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import Linear, Sequential, Softmax, Tanh
from nn.gpu.device import device_of, to_device
from vision.model import Stage
from vision.segmentation.pixel_classifier import PixelNetwork
from vision.segmentation.purity import GRID, class_counts, divergence, grid_maxima, optimal_cover, segments
from vision.segmentation.refinement import RefinedClassifier, RefinedOptions
from vision.task import on_its_device

PURITY = {"epochs": 5, "optimiser": "adam", "lr": 0.001}  # the predictor's recipe, ours


class PurityCache(NamedTuple):
    """From purity_loss to purity_backward; `sampled`, the maxima and shares of all segments, are constants."""

    purity: Any
    dlogits: np.ndarray
    sampled: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class PurityOptions(RefinedOptions):
    """The cover is off by default. purity and superpixel_size are chosen on validation data.

    Raises ValueError for purity with per_image: the colours of a picture cannot be got back from its normalised values.
    """

    superpixels: Literal["majority", "cover"] | None = None  # mean of a superpixel, or the optimal cover
    purity: int = 0  # hidden units of the predictor of purity, which is trained after the network; 0: none

    def __post_init__(self):
        super().__post_init__()
        if self.purity and self.per_image:
            raise ValueError("PurityClassifier: purity needs per_image=false, as it looks at the colours of pictures")


class PurityClassifier(RefinedClassifier):
    """A network; with the option purity, then a predictor of the classes in a segment, trained on its features.

    The network has `features`, images to (N, feature_channels, h, w). superpixels="cover": the labels of a photograph
    are those of the segments of the optimal cover. Raises ValueError for a cover without a predictor.

    Reference: Farabet et al. 2013, sec. 4.3.
    """

    def __init__(self, network: PixelNetwork, classes, options: PurityOptions, rng: np.random.Generator):
        super().__init__(network, classes, options)
        if options.superpixels == "cover" and not options.purity:
            raise ValueError("PurityClassifier: superpixels='cover' needs purity, the units of a predictor to train")
        self.purity = None
        if options.purity:
            hidden = Linear(network.feature_channels * GRID**2, options.purity, rng=rng), Tanh()
            self.purity = Sequential(*hidden, Linear(options.purity, len(classes), rng=rng))

    def children(self):
        """Those of the network, and purity."""
        yield from super().children()
        if self.purity is not None:
            yield "purity", self.purity

    def stages(self) -> tuple[Stage, ...]:
        """The network, then the predictor of purity on its features."""
        if self.purity is None:
            return super().stages()
        parts = tuple(name for name, _ in self.network.children())
        pixels = Stage("pixels", trains=parts, evaluated=self.options.superpixels != "cover")
        return pixels, Stage("purity", PURITY, ("purity",), "purity_loss", "purity_backward")

    def purity_loss(self, batch, rng: np.random.Generator, sampled=None):
        """({purity}, cache): the divergence of all segments of the images that have a labelled pixel."""
        sampled = sampled or self.described(*batch[:2])
        logits, c_purity = self.purity.forward(sampled[0])
        value, dlogits = divergence(logits, sampled[1])
        return {"purity": value}, PurityCache(c_purity, dlogits, sampled)

    def purity_backward(self, cache: PurityCache):
        """Add the gradients of the loss to the predictor's parameters; the network is held."""
        self.purity.backward(cache.dlogits, cache.purity)

    def described(self, images, labels):
        """(maxima (K, F 9), shares (K, C)) of the segments of images (N, 3, H, W), labels (N, H, W) int."""
        features, _ = self.network.features(images, training=False)
        described, o = [], self.options
        for image, truth, of_image in zip(*to_device((images, labels, features), "cpu")):
            tree = segments(as_picture(image, o.mean, o.std), o.superpixel_size)
            counts = class_counts(tree, truth, len(self.classes))
            total = counts.sum(axis=1, keepdims=True)
            counted = total[:, 0] > 0
            described.append((grid_maxima(tree, of_image)[counted], (counts[counted] / total[counted])))
        maxima, shares = (np.concatenate(each) for each in zip(*described))
        return to_device((maxima, shares.astype(maxima.real.dtype)), device_of(self))

    def refine(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (C, H, W) after the CRF and the majority of superpixels, or those of the optimal cover."""
        if self.options.superpixels != "cover":
            return super().refine(image, probabilities)
        tree = segments(image, self.options.superpixel_size)
        batch = self.preprocess.batch([self.preprocess.scaled(image)])
        features, _ = on_its_device(self, self.network.features, batch, training=False)
        logits = on_its_device(self, self.purity, grid_maxima(tree, features[0]))
        return optimal_cover(tree, Softmax(axis=1)(logits)).astype(probabilities.dtype)


def as_picture(image: np.ndarray, mean, std) -> np.ndarray:
    """(H, W, 3) uint8 of a normalised image (3, H, W)."""
    mean, std = (np.reshape(np.broadcast_to(value, 3), (3, 1, 1)) for value in (mean, std))
    return np.clip(np.rint(image.real * std + mean), 0, 255).astype(np.uint8).transpose(1, 2, 0)
