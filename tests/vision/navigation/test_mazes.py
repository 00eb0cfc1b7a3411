"""Mazes: connected, of any seed; maps of one's own, and what is wrong with them."""

import numpy as np
import pytest

from vision.navigation import MazeOptions, generate, read_maze
from vision.navigation.mazes import check_maze, distances


@pytest.mark.parametrize("size", [3, 5, 9, 21])
@pytest.mark.parametrize("loops", [0.0, 0.3])
def test_generated_mazes_are_closed_and_connected(size, loops):
    for seed in range(5):
        walls = check_maze(generate(size, np.random.default_rng(seed), loops))
        assert walls.shape == (size + 2, size + 2)
        corridors = ((size + 1) // 2) ** 2  # cells in odd rows and columns
        between = int((~walls).sum()) - corridors
        assert between == corridors - 1 if loops == 0 else between >= corridors - 1  # a tree, or more


def test_shortest_paths_by_hand():
    walls, goal = read_maze("#####\n#..G#\n#.#.#\n#...#\n#####")
    assert goal == (1, 3)
    assert distances(walls, goal)[1:4, 1:4].tolist() == [[2, 1, 0], [3, -1, 1], [4, 3, 2]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "needs 3 rows"),
        ("####\n#..#\n###", "its rows have 4, 4, 3"),
        ("####\n#.x#\n####", "'x' means nothing"),
        ("####\n#...\n####", "border has 1 cells without a wall"),
        ("####\n####\n####", "0 free cells"),
        ("####\n##.#\n####", "1 free cells"),
        ("#####\n#G#.#\n#####", "cannot be reached from 1 of its 2"),
        ("#####\n#.#.#\n#####", "cannot be reached"),
        ("####\n#GG#\n####", "it has 2 goals"),
    ],
)
def test_bad_maps_are_named(text, wanted):
    with pytest.raises(ValueError, match=wanted) as error:
        read_maze(text, "my_maze.txt")
    assert str(error.value).startswith("my_maze.txt: ")


def test_a_goal_in_a_wall_is_named():
    with pytest.raises(ValueError, match="row 0, column 0 is in a wall"):
        check_maze(generate(3, np.random.default_rng(0)), (0, 0))


@pytest.mark.parametrize("bad", [{"size": 4}, {"size": 1}, {"apples": 21}, {"episode": 0}, {"loops": 1.5}])
def test_bad_options(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        MazeOptions(**bad)
