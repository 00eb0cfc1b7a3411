"""Object detection: the detectors, average precision, and the task."""

from vision.detection import task
from vision.detection.detector import Detector
from vision.detection.faster_rcnn import FasterRCNN

__all__ = ["Detector", "FasterRCNN", "task"]
