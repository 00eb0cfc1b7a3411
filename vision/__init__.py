"""Models made of nn layers. Importing `vision` registers all of them: see vision.MODELS and vision.build."""

from vision import classification, detection
from vision.registry import MODELS, build, register

__all__ = ["MODELS", "build", "classification", "detection", "register"]
