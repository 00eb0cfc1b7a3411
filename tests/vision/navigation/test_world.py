"""How agents move, what they are rewarded for, and that a world goes on where it stopped."""

import numpy as np
import pytest

from vision.navigation import MazeOptions, World, read_maze
from vision.navigation.world import AWAY, BODY, CLOSE, TOP_SPEED

CORRIDOR = "#########\n#......G#\n#########"


def corridor(episode=900, **options):
    world = World(MazeOptions(episode=episode, apples=0, **options), 1, maze=read_maze(CORRIDOR))
    world.reset()
    world.position[0], world.heading[0] = (1.5, 1.5), 0.0  # at the left end, looking to the right
    return world


def test_top_speed_and_the_goal():
    world, seen = corridor(), None
    step, speed = 0, 0.0
    while seen is None or not seen.reward[0]:
        step, speed = step + 1, world.velocity[0, 0]
        seen = world.step(np.array([0]))
    assert seen.reward[0] == 10
    assert speed == pytest.approx(TOP_SPEED)
    assert seen.trip[0] == step
    assert step == pytest.approx((6 - 0.45) / TOP_SPEED + 1, abs=1)  # the first steps are slower
    assert seen.velocity[0].tolist() == [0, 0, 0]  # it starts again somewhere else
    assert not seen.ended[0]


def test_nobody_walks_into_a_wall():
    world, rng = World(MazeOptions(size=5, layout="random", episode=50), 8), np.random.default_rng(0)
    world.reset()
    for _ in range(300):
        world.step(rng.integers(0, 8, 8))
        for (x, y), walls in zip(world.position, world.walls):
            for dx, dy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
                assert not walls[int(y + dy * BODY * 0.999), int(x + dx * BODY * 0.999)]


def test_actions_turn_and_strafe():
    world = corridor()
    world.position[0] = 4.5, 1.5
    world.step(np.array([5]))
    assert world.heading[0] == pytest.approx(0.15)  # right: towards y, which grows downwards
    world.velocity[:], world.heading[:] = 0, 0
    world.step(np.array([3]))
    assert world.position[0].tolist() == pytest.approx([4.5, 1.6])
    world.velocity[:] = 0
    world.step(np.array([1]))
    assert world.position[0].tolist() == pytest.approx([4.4, 1.6])


def test_an_apple_is_eaten_once_an_episode():
    world = World(MazeOptions(apples=1, episode=20), 1, maze=read_maze(CORRIDOR))
    world.reset()
    world.objects[0, 1], world.position[0], world.heading[0] = (2.5, 1.5), (2.3, 1.5), 0.0
    rewards = [world.step(np.array([a])).reward[0] for a in (0, 1, 0, 1)]
    assert rewards == [1, 0, 0, 0]
    for _ in range(16):
        seen = world.step(np.array([4]))
    assert seen.ended[0]
    assert world.present[0].all()


def test_loops_by_brute_force():
    world, path, found = corridor(episode=200), [], 0
    for step in range(120):
        seen = world.step(np.array([0 if step % 40 < 17 else 1]))  # three cells forward, then back, three times
        here = world.position[0].copy()
        closed = any(
            np.linalg.norm(here - p) < CLOSE and any(np.linalg.norm(q - p) > AWAY for q in path[i + 1 :])
            for i, p in enumerate(path)
        )
        assert closed == seen.loop[0]
        found += closed
        path.append(here)
    assert 20 < found < 100


def test_layouts_and_goals_change_when_they_should():
    def seen(**options):
        world = World(MazeOptions(size=9, episode=1, **options), 1)
        world.reset()
        mazes, goals = [], []
        for _ in range(8):
            mazes.append(world.walls[0].tobytes())
            goals.append(tuple(world.goal[0]))
            world.step(np.array([0]))
        return len(set(mazes)), len(set(goals))

    assert seen() == (1, 1)
    assert seen(goal="random")[0] == 1
    assert seen(goal="random")[1] > 3
    assert seen(layout="random")[0] > 3


def test_a_world_goes_on_where_it_stopped():
    options, rng = MazeOptions(layout="random", goal="random", episode=30), np.random.default_rng(0)
    actions = rng.integers(0, 8, (80, 4))
    whole, first = World(options, 4), World(options, 4)
    whole.reset(), first.reset()
    for a in actions[:40]:
        whole.step(a), first.step(a)
    kept = {name: array.copy() for name, array in first.state_dict().items()}
    second = World(options, 4)
    second.load_state_dict(kept)
    for a in actions[40:]:
        for x, y in zip(whole.step(a), second.step(a)):
            assert (x == y).all()


def test_bad_input():
    world = World(MazeOptions(), 2)
    world.reset()
    for bad in (np.array([0]), np.array([0, 8]), np.array([-1, 0]), np.array([0.0, 1.0])):
        with pytest.raises(ValueError, match="2 integers in 0..7"):
            world.step(bad)
    with pytest.raises(ValueError, match="use the same --mazes"):
        World(MazeOptions(size=7), 2).load_state_dict(world.state_dict())
    with pytest.raises(ValueError, match="agents"):
        World(MazeOptions(), 0)


def test_gymnasium_s_own_checker():
    pytest.importorskip("gymnasium")
    from gymnasium.utils.env_checker import check_env

    from vision.navigation.gym_env import MazeEnv

    env = MazeEnv(MazeOptions(episode=5), view=(24, 32), render_mode="rgb_array")
    check_env(env, skip_render_check=True)
    env.reset(seed=1)
    steps = [env.step(0) for _ in range(5)]
    assert [truncated for _, _, _, truncated, _ in steps] == [False] * 4 + [True]
