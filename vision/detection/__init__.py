"""Object detection: the detectors, average precision, and the task."""

from vision.detection.detector import Detector
from vision.detection.faster_rcnn import FasterRCNN
from vision.detection import task

__all__ = ["Detector", "FasterRCNN", "task"]
