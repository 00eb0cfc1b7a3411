"""Object detection: the detectors, average precision, and the task."""

from vision.detection import (
    dpm,
    fast_rcnn,
    faster_rcnn_four_step,
    faster_rcnn_fpn,
    hog_svm,
    rcnn,
    spp_net,
    ssd_mobilenet,
    ssd_networks,
    task,
    yolo_networks,
)
from vision.detection.detector import Detector
from vision.detection.faster_rcnn import FasterRCNN
from vision.detection.ssd import SSD
from vision.detection.yolo import YOLO

__all__ = [
    "SSD",
    "YOLO",
    "Detector",
    "FasterRCNN",
    "dpm",
    "fast_rcnn",
    "faster_rcnn_four_step",
    "faster_rcnn_fpn",
    "hog_svm",
    "rcnn",
    "spp_net",
    "ssd_mobilenet",
    "ssd_networks",
    "task",
    "yolo_networks",
]
