"""Options that R-CNN and SPP-net share, and how their stages after fine-tuning see images.

Reference: Girshick et al. 2014, R-CNN, arXiv:1311.2524.
"""

from dataclasses import dataclass
from typing import Literal

from vision.options import ImageOptions

PLAIN = {"flip_horizontal": 0.0, "jitter": 0.0, "zoom": [1.0, 1.0], "batch_size": 1}  # images as they will be tested

LayerName = Literal["pool5", "fc6", "fc7"]


@dataclass(frozen=True)
class RegionOptions(ImageOptions):
    """The defaults are R-CNN's."""

    proposals: str = "selective_search_fast width=500"  # method, with its options: see vision.proposals
    train_regions: int = 2000  # proposals of an image in training, the best ones
    test_regions: int = 2000  # proposals of an image in testing, the best ones
    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "alexnet"  # the convolutions
    width: int = 12  # channels of small_vgg's first convolution
    frozen: str | None = None  # last stage of the backbone that is not trained, such as pool2
    hidden: int = 4096  # units of fc6 and fc7
    dropout: float = 0.5  # share of them dropped in fine-tuning
    samples: int = 128  # regions of a step of fine-tuning
    foreground_fraction: float = 0.25  # share of objects among them at most: 32 of 128
    foreground_iou: float = 0.5  # a region is an object from this IoU on
    background_iou: tuple[float, float] = (0.0, 0.5)  # IoU of regions that count as background in fine-tuning
    features: LayerName = "fc7"  # layer that the SVMs see
    box_features: LayerName = "pool5"  # layer that box regression sees
    c: float = 0.001  # of the SVMs: weight of an example's hinge loss
    negative_iou: float = 0.3  # a region is a negative of a class below this IoU with all its objects
    negatives: int = 10  # random negatives of a class and image, at first
    hard: int = 50  # hard negatives of a class, image and round at most
    rounds: int = 1  # rounds of mining hard negatives
    capacity: int = 10000  # negatives of a class at most
    ridge: float = 1000.0  # penalty of box regression
    box_iou: float = 0.6  # a region learns the box of the object that it overlaps from this IoU on
    svm: bool = True  # score by the SVMs, else by the softmax that was fine-tuned
    box_regression: bool = True  # whether box regression corrects the boxes
    score_threshold: float | None = None  # lower scores are no detections; none: any of an SVM, 0.05 of the softmax
    nms_iou: float = 0.3  # IoU above which NMS drops a detection
    detections_per_image: int = 100  # detections kept at most; the code: of each class
