"""Mazes for agents: generated, or a map of your own."""

from dataclasses import fields

from datasets import read_text
from vision.navigation import MazeOptions, Mazes, read_maze
from vision.navigation.task import AGENTS
from vision.options import complete

SPLITS = ("train", "val", "test")


def open_mazes(arguments, split: str, classes=None) -> Mazes:
    """Mazes as --mazes NAME=VALUE says; --root FILE: the map of a maze in a text file."""
    if split not in SPLITS:
        raise ValueError(f"--data mazes has the splits {', '.join(SPLITS)}; there is no {split!r}")
    given = dict(getattr(arguments, "mazes", ()))
    rollouts = given.pop("rollouts", 5000)
    if type(rollouts) is not int or rollouts < 1:
        raise ValueError(f"--mazes: rollouts must be a whole number >= 1, got {rollouts!r}")
    options = complete("--mazes", MazeOptions, given)
    rollouts = rollouts if split == "train" else AGENTS
    maze = read_maze(read_text(arguments.root), arguments.root) if arguments.root else None
    return Mazes(options, split, rollouts, maze)


def mazes_help() -> str:
    """The options of --mazes and their defaults."""
    known = (f"{field.name}={field.default}" for field in fields(MazeOptions))
    return ", ".join(["rollouts=5000 (of one agent each, in an epoch)", *known])


READERS = {"mazes": (open_mazes, ("train", "val"))}
