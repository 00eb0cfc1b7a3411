"""What all embedders share: photographs become vectors, near each other where the photographs are similar."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn.layer import Layer, check_shape
from nn.losses.mining import squared_distances
from vision.model import Model
from vision.options import ImageOptions
from vision.preprocess import Photograph, open_photograph
from vision.sampling import Sampling
from vision.task import on_its_device

TOGETHER = 100  # photographs in one forward pass


class EmbeddingBatch(NamedTuple):
    """images (N, 3, H, W) float32; labels (N,) int64; similar (N // 2,) bool, of the first and second image, and so on.

    Without known pairs, similar are those of one label.
    """

    images: np.ndarray
    labels: np.ndarray
    similar: np.ndarray


@dataclass(frozen=True)
class SquareOptions(ImageOptions):
    """Images are squares of short_side = max_side pixels, in 0 .. 1."""

    short_side: int = 28  # pixels of the shorter side
    max_side: int = 28  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (0, 0, 0)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (255, 255, 255)  # then each channel is divided by this


class Embedder(Model):
    """A network, images (N, 3, H, W) to vectors (N, D), with a loss that says which of them belong together.

    sampling: how the batches of training are drawn. similarity(x, y) compares vectors; here it is minus the squared
    Euclidean distance.
    """

    sampling: Sampling

    def __init__(self, network: Layer, classes: Sequence[str], options: ImageOptions, preprocess=None):
        super().__init__(classes, options, preprocess or options.preprocess(resize="square"))
        self.network = network

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        return self.network.forward(x, training)

    def predict(self, images) -> np.ndarray:
        """The vectors (N, D)."""
        return self(images)

    def embed(self, photograph: Photograph) -> np.ndarray:
        """The vector (D,) of a photograph: a path, a PIL image, or (H, W, 3) uint8. ValueError for anything else."""
        return self.embeddings([open_photograph(photograph)])[0]

    def embeddings(self, photographs: Sequence[np.ndarray]) -> np.ndarray:
        """The vectors (N, D) of photographs (H, W, 3) uint8."""
        scaled = [self.preprocess.scaled(photograph) for photograph in photographs]
        batches = (scaled[start : start + TOGETHER] for start in range(0, len(scaled), TOGETHER))
        return np.concatenate([on_its_device(self, self.predict, self.preprocess.batch(each)) for each in batches])

    def similarity(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(N, M): how alike each of the vectors x (N, D) is to each of y (M, D); only the order counts."""
        return -squared_distances(x, y)


class TwinCache(NamedTuple):
    """From a loss of twins to its backward: the caches of the two passes, and the gradients of their outputs."""

    first: Any
    second: Any
    dfirst: np.ndarray
    dsecond: np.ndarray


def twins(batch: EmbeddingBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first images, second images, whether they are similar): image 0 and 1 are a pair, 2 and 3, ..."""
    images, _, similar = batch
    if len(images) != 2 * len(similar):
        raise ValueError(f"pairs need an even number of images, got {len(images)}: choose an even --batch-size")
    return images[0::2], images[1::2], similar
