"""Localization as regression: the class and the box of the objects in a picture, the pose of a person."""

from vision.localization import pose_task, task
from vision.localization.cells import CellLocalizer
from vision.localization.class_and_box import ClassAndBox
from vision.localization.deep_pose import DeepPose
from vision.localization.deep_pose_maps import DeepPoseOnMaps
from vision.localization.localizer import Localizer
from vision.localization.overfeat import OverFeatDetector, OverFeatLocalizer
from vision.localization.overfeat_net import OverFeatNet
from vision.localization.poser import Poser

__all__ = [
    "CellLocalizer",
    "ClassAndBox",
    "DeepPose",
    "DeepPoseOnMaps",
    "Localizer",
    "OverFeatDetector",
    "OverFeatLocalizer",
    "OverFeatNet",
    "Poser",
    "pose_task",
    "task",
]
