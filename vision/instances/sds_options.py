"""The options of SDS.

Reference: Hariharan et al. 2014, Simultaneous detection and segmentation, arXiv:1407.1808.
"""

from dataclasses import dataclass
from typing import Literal

from vision.options import ImageOptions


@dataclass(frozen=True)
class Options(ImageOptions):
    """The paper's, on the published AlexNet of one column; where it is silent, R-CNN's."""

    short_side: int = 375  # pixels of the shorter side
    max_side: int = 500  # pixels of the longer side at most
    variant: Literal["A", "B", "C"] = "C"  # A: one CNN for both crops; B: two, each trained alone; C: trained jointly
    features: Literal["both", "box", "region"] = "both"  # what the SVMs see
    segments: Literal["selective_search", "blocks"] = "selective_search"  # regions; blocks: rectangles, a baseline
    spaces: tuple[str, ...] = ("hsv", "lab")  # colour spaces of Selective Search
    measures: tuple[str, ...] = ("CTSF", "TSF")  # its similarities: colour, texture, size, fill
    scales: tuple[int, ...] = (50, 100)  # k of the graph segmentation, and its smallest segment in pixels
    min_side: int = 20  # regions whose box is narrower or lower are left out, in pixels; the side of blocks
    count: int = 2000  # regions of an image at most
    seed: int = 0  # seed of the ranking of the regions
    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "alexnet"  # the convolutions
    width: int = 12  # channels of small_vgg's first convolution
    frozen: str | None = None  # last stage of the backbone that is not trained, such as pool2
    hidden: int = 4096  # units of fc6 and fc7
    dropout: float = 0.5  # share of them dropped in fine-tuning
    size: int = 224  # pixels of a CNN's input
    padding: int = 16  # pixels of context around the box there
    score_rate: float = 10.0  # rate of the new score layers, relative to the CNNs
    samples: int = 128  # regions of a step of fine-tuning
    foreground_fraction: float = 0.25  # share of objects among them at most
    foreground_iou: float = 0.5  # a region is an object from this IoU of masks on
    c: float = 0.001  # of the SVMs: weight of an example's hinge loss
    negative_iou: float = 0.2  # a region is a negative of a class below this IoU with all its objects
    negatives: int = 10  # random negatives of a class and image, at first
    hard: int = 50  # hard negatives of a class, image and round at most
    rounds: int = 1  # of hard negatives, with the best region of each object in place of its own mask
    capacity: int = 10000  # negatives of a class at most
    refine: bool = True  # refine the masks by logistic classifiers
    refine_iou: float = 0.7  # refinement learns from regions with this IoU with an object
    penalty: float = 0.001  # L2 penalty of the refinement's logistic classifiers
    score_threshold: float | None = None  # lower scores are no detections; none: any, as in the code
    nms_iou: float = 0.0  # IoU of masks above which NMS drops a detection: none may overlap
    detections_per_image: int = 100  # detections kept at most


@dataclass(frozen=True)
class SmallOptions(Options):
    """A small VGG from random weights, for a CPU: crops of 48 pixels."""

    short_side: int = 120  # pixels of the shorter side
    max_side: int = 240  # pixels of the longer side at most
    measures: tuple[str, ...] = ("CTSF",)  # its similarities: colour, texture, size, fill
    min_side: int = 8  # regions whose box is narrower or lower are left out, in pixels; the side of blocks
    count: int = 200  # regions of an image at most
    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "small_vgg"  # the convolutions
    hidden: int = 128  # units of fc6 and fc7
    score_rate: float = 1.0  # rate of the new score layers, relative to the CNNs
    dropout: float = 0.0  # share of them dropped in fine-tuning
    size: int = 48  # pixels of a CNN's input
    padding: int = 4  # pixels of context around the box there
