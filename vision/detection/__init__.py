"""Object detection: the detectors, average precision, and the task."""

from vision.detection import faster_rcnn_four_step, faster_rcnn_fpn, hog_svm, ssd_mobilenet, ssd_networks, task
from vision.detection.detector import Detector
from vision.detection.faster_rcnn import FasterRCNN
from vision.detection.ssd import SSD

__all__ = [
    "SSD",
    "Detector",
    "FasterRCNN",
    "faster_rcnn_four_step",
    "faster_rcnn_fpn",
    "hog_svm",
    "ssd_mobilenet",
    "ssd_networks",
    "task",
]
