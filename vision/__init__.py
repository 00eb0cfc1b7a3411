"""Models made of nn layers. Importing `vision` registers all of them: see vision.MODELS, vision.build, vision.load."""

from vision import (
    captioning,
    classification,
    detection,
    embedding,
    instances,
    localization,
    navigation,
    proposals,
    segmentation,
    sequence,
    vqa,
)
from vision.model import Model, Stage, load
from vision.options import ImageOptions
from vision.preprocess import Preprocess
from vision.registry import MODELS, Tiny, build, register
from vision.sampling import Sampling
from vision.task import TASKS, Task

__all__ = [
    "MODELS",
    "TASKS",
    "ImageOptions",
    "Model",
    "Preprocess",
    "Sampling",
    "Stage",
    "Task",
    "Tiny",
    "build",
    "captioning",
    "classification",
    "detection",
    "embedding",
    "instances",
    "load",
    "localization",
    "navigation",
    "proposals",
    "register",
    "segmentation",
    "sequence",
    "vqa",
]
