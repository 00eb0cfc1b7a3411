"""First-person views: depths by naive marching along each ray."""

import numpy as np
import pytest

from vision.navigation import MazeOptions, World, generate
from vision.navigation.ray_caster import HEIGHT, RADIUS, RayCaster

STEP = 1e-3  # cells: of the naive march


def march(walls, x, y, dx, dy):
    """Depth t at which x + t dx, y + t dy is first in a wall."""
    t = 0.0
    while not walls[int(y + t * dy), int(x + t * dx)]:
        t += STEP
    return t


def test_depth_of_walls_floor_and_ceiling():
    rng, height, width = np.random.default_rng(0), 12, 10
    walls = np.stack([generate(5, rng), generate(5, rng)])
    position, heading = np.array([[1.4, 1.7], [3.5, 1.2]]), np.array([0.7, 4.0])
    far = np.full((2, 1, 2), 50.0)  # no object in sight
    _, depth = RayCaster(height, width).render(walls, position, heading, far, np.ones((2, 1), bool))
    for n in range(2):
        cos, sin = np.cos(heading[n]), np.sin(heading[n])
        for column in range(width):
            side = 2 * (column + 0.5) / width - 1
            t = march(walls[n], *position[n], cos - side * sin, sin + side * cos)
            for row in range(height):
                slope = (row + 0.5 - height / 2) / (width / 2)
                wanted = min(t, 0.5 / abs(slope))  # the wall, or the floor or ceiling before it
                assert depth[n, row, column] == pytest.approx(wanted, abs=2 * STEP)


def test_a_goal_straight_ahead_hides_the_wall():
    walls = np.ones((1, 3, 9), bool)
    walls[0, 1, 1:8] = False
    caster, present = RayCaster(41, 41), np.ones((1, 2), bool)  # odd: a column in the middle
    objects = np.array([[[5.5, 1.5], [7.5, 1.5]]])  # an apple behind the goal
    image, depth = caster.render(walls, np.array([[1.5, 1.5]]), np.zeros(1), objects, present)
    nearest = 4 - RADIUS
    below = [row for row in range(21, 41) if (row + 0.5 - 20.5) / 20.5 * nearest <= 0.5]
    assert depth[0, below, 20] == pytest.approx(nearest, abs=1e-4)
    assert (image[0, below, 20] == [230, 40, 200]).all()
    assert depth[0, 19, 20] == pytest.approx(6.5)  # above HEIGHT there is the wall
    assert HEIGHT == 0.5
    absent = caster.render(walls, np.array([[1.5, 1.5]]), np.zeros(1), objects, ~present)
    assert absent.depth[0, 21, 20] == pytest.approx(6.5)


def test_an_agent_sees_the_same_whoever_else_is_there():
    many = World(MazeOptions(), 5).reset()
    one = World(MazeOptions(), 1).reset()
    assert (many.image[0] == one.image[0]).all()
    assert (many.depth[0] == one.depth[0]).all()
