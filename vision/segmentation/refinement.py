"""A second look at the photograph after the network: a fully connected CRF, or superpixels.

Nothing of this is trained: a model with other options of these takes the same weights.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nn.layer import positive
from vision.segmentation.dense_crf import check_parameters, dense_crf
from vision.segmentation.pixel_classifier import PixelClassifier, PixelOptions
from vision.segmentation.segment_tree import majority, superpixels


@dataclass(frozen=True)
class RefinedOptions(PixelOptions):
    """Options of a CRF (see dense_crf.py) and of superpixels (see segment_tree.py), which come after it.

    The kernels are those that Chen et al. 2015's authors used first (vgg128_noup, "not optimized well"); deeplab.py has
    those that they found for LargeFOV and for v2. Raises ValueError for values that dense_crf does not take.
    """

    crf: bool = False  # whether a CRF follows the network
    crf_gaussian: tuple[float, float] = (3.0, 3.0)  # Gaussian kernel of the CRF: weight, standard deviation in pixels
    crf_bilateral: tuple[float, float, float] = (5.0, 50.0, 10.0)  # CRF's bilateral kernel: weight, pixels, grey levels
    crf_iterations: int = 10  # steps of mean field of the CRF
    superpixels: Literal["majority"] | None = None  # majority: the mean over a superpixel
    superpixel_size: int = 100  # pixels that a superpixel has at least

    def __post_init__(self):
        super().__post_init__()
        positive(self, superpixel_size=self.superpixel_size)
        check_parameters(**self.of_crf())

    def of_crf(self) -> dict[str, Any]:
        """The arguments of dense_crf."""
        gaussian, bilateral = self.crf_gaussian, self.crf_bilateral
        return {"gaussian": gaussian, "bilateral": bilateral, "iterations": self.crf_iterations}


class RefinedClassifier(PixelClassifier):
    """A PixelClassifier whose options are RefinedOptions."""

    def refine(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (C, H, W) after the CRF and the superpixels of a photograph (H, W, 3) uint8."""
        options = self.options
        if options.crf:
            probabilities = dense_crf(image, probabilities, **options.of_crf())
        if options.superpixels == "majority":
            probabilities = majority(image, superpixels(image, options.superpixel_size), probabilities)
        return probabilities
