"""What detectors share: boxes, anchors, non-maximum suppression, matching, region proposals and region heads."""

from vision.boxes.anchors import base_anchors, grid_anchors
from vision.boxes.boxes import area, clip, decode, encode, iou
from vision.boxes.nms import nms
from vision.boxes.region_heads import RegionHead
from vision.boxes.rpn import RPN

__all__ = ["RPN", "RegionHead", "area", "base_anchors", "clip", "decode", "encode", "grid_anchors", "iou", "nms"]
