"""Training of any model: recipe, stages, steps, checkpoints, bit-exact resuming."""

from vision.training.follower import Follower
from vision.training.trainer import Diverged, Stopped, Trainer

__all__ = ["Diverged", "Follower", "Stopped", "Trainer"]
