"""Mazes on a grid of square cells, generated from a seed or read from a text, and shortest paths in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn.layer import positive

WALL, FREE, GOAL = "#.G"


@dataclass(frozen=True)
class MazeOptions:
    """What mazes agents walk in, and what they find there. Raises ValueError for values out of range.

    A fixed layout is the same maze for all agents and episodes; random: another one in each episode. A static goal
    stays where it is; random: it is elsewhere in each episode. Agents start, and start again, in random cells.
    """

    size: int = 5  # rows and columns within the outer walls, an odd number
    layout: Literal["fixed", "random"] = "fixed"  # whether each episode has a maze of its own
    goal: Literal["static", "random"] = "static"  # whether each episode has a goal of its own
    apples: int = 3  # of reward 1 each, put back at each new episode
    loops: float = 0.15  # share of inner walls that are taken out again, so that there is more than one way
    episode: int = 900  # steps of an episode, a minute at 15 steps a second
    maze_seed: int = 0  # of the layouts, goals and apples

    def __post_init__(self):
        positive("mazes", size=self.size, episode=self.episode)
        if self.size < 3 or self.size % 2 == 0:
            raise ValueError(f"mazes: size must be odd and at least 3, got {self.size}")
        if not 0 <= self.apples <= 20 or self.maze_seed < 0:
            raise ValueError(f"mazes: need apples in 0..20 and maze_seed >= 0, got {self.apples}, {self.maze_seed}")
        if not 0 <= self.loops <= 1:
            raise ValueError(f"mazes: loops must be in 0..1, got {self.loops}")


def generate(size: int, rng: np.random.Generator, loops: float = 0.15) -> np.ndarray:
    """Walls (size + 2, size + 2) bool of a maze in which all free cells are connected.

    A depth-first walk over the cells in odd rows and columns takes out the walls that it crosses; then a share `loops`
    of the inner walls between two free cells is taken out as well.
    """
    walls = np.ones((size + 2, size + 2), bool)
    walls[1, 1], stack = False, [(1, 1)]
    while stack:
        row, column = stack[-1]
        ways = [(0, 2), (0, -2), (2, 0), (-2, 0)]
        ways = [
            (r, c) for r, c in ways if 0 < row + r <= size and 0 < column + c <= size and walls[row + r, column + c]
        ]
        if not ways:
            stack.pop()
            continue
        r, c = ways[rng.integers(len(ways))]
        walls[row + r // 2, column + c // 2] = walls[row + r, column + c] = False
        stack.append((row + r, column + c))
    for row, column in np.argwhere(walls[1:-1, 1:-1]) + 1:
        beside = ~walls[row, column - 1] & ~walls[row, column + 1] | ~walls[row - 1, column] & ~walls[row + 1, column]
        if beside and rng.random() < loops:
            walls[row, column] = False
    return walls


def read_maze(text: str, name: str = "maze") -> tuple[np.ndarray, tuple[int, int] | None]:
    """(walls (R, C) bool, goal (row, column) or None) of a map: # is a wall, . or a space is free, G the goal.

    Raises ValueError naming `name` for an empty map, rows of other lengths, other characters, a border with a gap,
    no free cell, several goals, and cells from which the goal cannot be reached.
    """
    rows = [line.rstrip("\r") for line in text.strip("\n").split("\n")]
    if len({len(row) for row in rows}) != 1 or len(rows) < 3 or len(rows[0]) < 3:
        lengths = ", ".join(str(len(row)) for row in rows)
        raise ValueError(f"{name}: a map needs 3 rows of at least 3 characters, all as long; its rows have {lengths}")
    cells = np.array([list(row.replace(" ", FREE)) for row in rows])
    if unknown := sorted(set(cells.flat) - {WALL, FREE, GOAL}):
        raise ValueError(f"{name}: {str(unknown[0])!r} means nothing in a map; use {WALL}, {FREE} and {GOAL}")
    walls, goals = cells == WALL, [tuple(map(int, cell)) for cell in np.argwhere(cells == GOAL)]
    if len(goals) > 1:
        raise ValueError(f"{name}: it has {len(goals)} goals; one {GOAL} at most")
    return check_maze(walls, goals[0] if goals else None, name), (goals[0] if goals else None)


def check_maze(walls: np.ndarray, goal: Sequence[int] | None = None, name: str = "maze") -> np.ndarray:
    """The walls. Raises ValueError for a gap in the border, no two free cells, and cells that are cut off."""
    border = np.concatenate([walls[0], walls[-1], walls[:, 0], walls[:, -1]])
    if not border.all():
        raise ValueError(f"{name}: its border has {int((~border).sum())} cells without a wall; agents would walk out")
    free = np.argwhere(~walls)
    if len(free) < 2:
        raise ValueError(f"{name}: it has {len(free)} free cells; an agent and a goal need two")
    if goal is not None and walls[tuple(goal)]:
        raise ValueError(f"{name}: the goal at row {goal[0]}, column {goal[1]} is in a wall")
    start = tuple(free[0] if goal is None else goal)
    cut_off = int((distances(walls, start)[~walls] < 0).sum())
    if cut_off:
        raise ValueError(f"{name}: the goal cannot be reached from {cut_off} of its {len(free)} free cells")
    return walls


def distances(walls: np.ndarray, goal: Sequence[int]) -> np.ndarray:
    """Steps from each cell (R, C) int to the goal, from cell to cell beside it; -1: no way. Breadth-first search."""
    steps = np.full(walls.shape, -1)
    steps[tuple(goal)], at = 0, [tuple(goal)]
    for row, column in at:  # `at` grows behind the loop
        for cell in ((row, column + 1), (row, column - 1), (row + 1, column), (row - 1, column)):
            if not walls[cell] and steps[cell] < 0:
                steps[cell] = steps[row, column] + 1
                at.append(cell)
    return steps
