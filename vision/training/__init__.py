"""Training of any model: recipe, stages, steps, checkpoints, resuming bit by bit."""

from vision.training.trainer import Diverged, Stopped, Trainer

__all__ = ["Diverged", "Stopped", "Trainer"]
