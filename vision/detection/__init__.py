"""Object detection: boxes, anchors, proposals, average precision, and the detectors."""

from vision.detection.faster_rcnn import FasterRCNN

__all__ = ["FasterRCNN"]
