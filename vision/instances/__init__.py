"""Instance segmentation: which pixel belongs to which object."""

from vision.instances import mask_rcnn_published, task
from vision.instances.hypercolumn_boxes import HypercolumnBoxes
from vision.instances.keypoint_rcnn import KeypointRCNN
from vision.instances.mask_rcnn import MaskRCNN
from vision.instances.mask_rcnn_fpn import MaskRCNNFPN
from vision.instances.mnc import MNC
from vision.instances.sds import SDS
from vision.instances.segmenter import InstanceSegmenter

__all__ = [
    "MNC",
    "SDS",
    "HypercolumnBoxes",
    "InstanceSegmenter",
    "KeypointRCNN",
    "MaskRCNN",
    "MaskRCNNFPN",
    "mask_rcnn_published",
    "task",
]
