"""Mazes for agents: generated, or a map of your own."""

from dataclasses import fields

from datasets import read_text
from vision.navigation import MazeOptions, Mazes, read_maze
from vision.navigation.rollouts import AGENTS
from vision.options import complete

SPLITS = ("train", "val", "test")


def open_mazes(arguments, split: str, classes=None) -> Mazes:
    """Mazes as --mazes NAME=VALUE says; --root FILE: the map of a maze in a text file."""
    if split not in SPLITS:
        raise ValueError(f"--data mazes has the splits {', '.join(SPLITS)}; there is no {split!r}")
    given = dict(getattr(arguments, "mazes", ()))
    counts = {name: given.pop(name, default) for name, default in (("rollouts", 5000), ("agents", AGENTS))}
    for name, least in (("rollouts", 1), ("agents", 2)):
        if type(counts[name]) is not int or counts[name] < least:
            raise ValueError(f"--mazes: {name} must be a whole number >= {least}, got {counts[name]!r}")
    options = complete("--mazes", MazeOptions, given)
    rollouts = counts["rollouts" if split == "train" else "agents"]
    maze = read_maze(read_text(arguments.root), arguments.root) if arguments.root else None
    return Mazes(options, split, rollouts, maze, counts["agents"])


def mazes_help() -> str:
    """The options of --mazes and their defaults."""
    known = (f"{field.name}={field.default}" for field in fields(MazeOptions))
    counts = "rollouts=5000 (of one agent each, in an epoch)", f"agents={AGENTS} (of an evaluation)"
    return ", ".join([*counts, *known])


READERS = {"mazes": (open_mazes, ("train", "val"))}
