"""Object detection: the detectors, average precision, and the task."""

from vision.detection import hog_svm, ssd_mobilenet, ssd_networks, task
from vision.detection.detector import Detector
from vision.detection.faster_rcnn import FasterRCNN
from vision.detection.ssd import SSD

__all__ = ["SSD", "Detector", "FasterRCNN", "hog_svm", "ssd_mobilenet", "ssd_networks", "task"]
