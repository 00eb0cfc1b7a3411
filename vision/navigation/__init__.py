"""Navigation: agents that learn to find their way through mazes from what they see."""

from vision.navigation import task
from vision.navigation.agents import Agent
from vision.navigation.mazes import MazeOptions, generate, read_maze
from vision.navigation.rollouts import Mazes, Rollouts
from vision.navigation.world import World

__all__ = ["Agent", "MazeOptions", "Mazes", "Rollouts", "World", "generate", "read_maze", "task"]
