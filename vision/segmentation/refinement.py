"""What is done to a network's probabilities by looking at the picture once more: a CRF, or superpixels.

Options of the model. Nothing of this is trained: a model built with other ones takes the same weights.
"""

import numpy as np

from nn.layer import positive
from vision.segmentation.dense_crf import check_parameters, dense_crf
from vision.segmentation.pixel_classifier import PixelClassifier
from vision.segmentation.segment_tree import majority, optimal_cover, superpixels

# crf: whether there is one. Weight and standard deviation in pixels of its Gaussian kernel; weight and standard
# deviations in pixels and in grey levels of its bilateral one: those that Chen et al. 2015's authors first used (their
# vgg128_noup, "not optimized well"); deeplab.py has those that they found for LargeFOV and for v2.
REFINEMENT = {
    "crf": False, "crf_gaussian": (3.0, 3.0), "crf_bilateral": (5.0, 50.0, 10.0), "crf_iterations": 10,
    "superpixels": None, "superpixel_size": 100,
}  # fmt: skip
SUPERPIXELS = (None, "majority", "cover")


class RefinedClassifier(PixelClassifier):
    """A PixelClassifier with the options of REFINEMENT.

    crf: mean field in a fully connected CRF, see dense_crf.py. superpixels: None, "majority" (each superpixel gets the
    mean of its pixels' probabilities) or "cover" (each segment of the optimal cover of a tree of superpixels gets the
    shares of the classes in its pixels' votes), see segment_tree.py; superpixel_size: pixels a superpixel, at least.
    Superpixels come after the CRF if both are wanted. Raises ValueError for options that are none of this.
    """

    def __init__(self, network, classes=(), options: dict | None = None):
        super().__init__(network, classes, REFINEMENT | (options or {}))
        positive(self, superpixel_size=self.hyperparameters["superpixel_size"])
        check_parameters(**self._crf_parameters())
        if (wanted := self.hyperparameters["superpixels"]) not in SUPERPIXELS:
            raise ValueError(f"RefinedClassifier: superpixels must be none, 'majority' or 'cover', got {wanted!r}")

    def refine(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities (C, H, W) after the CRF and the superpixels, of a picture (H, W, 3) uint8."""
        options = self.hyperparameters
        if options["crf"]:
            probabilities = dense_crf(image, probabilities, **self._crf_parameters())
        if options["superpixels"]:
            labels = superpixels(image, options["superpixel_size"])
            means = majority if options["superpixels"] == "majority" else optimal_cover
            probabilities = means(image, labels, probabilities)
        return probabilities

    def _crf_parameters(self):
        return {name: self.hyperparameters[f"crf_{name}"] for name in ("gaussian", "bilateral", "iterations")}
