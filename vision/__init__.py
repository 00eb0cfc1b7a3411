"""Models made of nn layers. Importing `vision` registers all of them: see vision.MODELS and vision.build."""

from vision import captioning, classification, detection, segmentation, sequence, vqa
from vision.registry import MODELS, build, register

__all__ = [
    "MODELS",
    "build",
    "captioning",
    "classification",
    "detection",
    "register",
    "segmentation",
    "sequence",
    "vqa",
]
