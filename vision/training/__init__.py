"""Training of any model: recipe, stages, steps, checkpoints, bit-exact resuming."""

from vision.training.endings import Diverged, Stopped
from vision.training.follower import Follower
from vision.training.trainer import Trainer

__all__ = ["Diverged", "Follower", "Stopped", "Trainer"]
