"""Actor-critic: returns, the estimator's expectation; agents: a step at a time equals all at once; memory; resuming."""

import itertools

import numpy as np
import pytest

import vision
from nn.gradcheck import check_layer
from nn.layers.softmax import softmax
from vision.navigation import MazeOptions, Mazes, Rollouts
from vision.navigation.actor_critic import discounted_returns, policy_loss, sample_actions
from vision.navigation.auxiliary import depth_loss, depth_map
from vision.navigation.memory import Memory
from vision.navigation.task import Walks, latency, measure
from vision.training import Trainer

TINY = {"height": 20, "width": 24, "channels": 2, "features": 5, "hidden": 4, "first_hidden": 3, "rollout": 6}
NAMES = ("ff_a3c", "lstm_a3c", "nav_a3c", "nav_a3c_d1d2l")


def tiny(name="nav_a3c", **options):
    return vision.build(name, Mazes.classes, np.random.default_rng(0), **TINY | options)


def mazes(**options):
    return Mazes(MazeOptions(**{"size": 3, "episode": 9} | options), rollouts=20)


def test_returns_by_hand():
    rewards = np.array([[1.0, 0], [0, 2], [3, 0]])
    ended = np.array([[False, False], [False, True], [False, False]])
    r = discounted_returns(rewards, ended, np.array([10.0, 20]), 0.5)
    assert r.tolist() == [[1 + 0.5 * 4, 1.0], [0.5 * 8, 2.0], [3 + 5, 10.0]]


def test_the_estimator_has_the_exact_gradient_as_its_mean():
    """Two states with two actions each: reward r[s, a]; action a leads to state a; two steps from state 0."""
    r = np.array([[1.0, 0.0], [0.5, 3.0]])
    logits = np.array([[0.3, -0.2], [0.1, 0.4]])  # of the two states

    def expected(z):
        p, total = softmax(z, 1), 0.0
        for a, b in itertools.product(range(2), range(2)):
            total += p[0, a] * p[a, b] * (r[0, a] + r[a, b])
        return total

    mean, p = np.zeros((2, 2)), softmax(logits, 1)
    for a, b in itertools.product(range(2), range(2)):  # all episodes, with their probabilities
        returns = discounted_returns(np.array([[r[0, a]], [r[a, b]]]), np.zeros((2, 1)), np.zeros(1), 1.0)[:, 0]
        baseline = np.array([0.7, -0.4])[[0, a]]  # of the state alone: it does not change the mean
        _, _, dlogits = policy_loss(logits[[0, a]], np.array([a, b]), returns - baseline, 0.0)
        np.add.at(mean, [0, a], p[0, a] * p[a, b] * 2 * dlogits)  # the loss is a mean over two steps
    step = 1e-6
    for s, a in itertools.product(range(2), range(2)):
        moved = [logits.copy(), logits.copy()]
        moved[0][s, a] += step
        moved[1][s, a] -= step
        exact = (expected(moved[0]) - expected(moved[1])) / (2 * step)
        assert -mean[s, a] == pytest.approx(exact, abs=1e-8)


def test_entropy_of_equal_probabilities():
    policy, entropy, dlogits = policy_loss(np.zeros((3, 8)), np.array([0, 1, 2]), np.zeros(3), 0.1)
    assert policy == 0
    assert entropy == pytest.approx(-0.1 * np.log(8))
    assert np.abs(dlogits).max() < 1e-12


def test_actions_are_drawn_with_their_probabilities():
    logits = np.tile([0.0, 1.0, -1.0], (30000, 1))
    drawn = np.bincount(sample_actions(logits, np.random.default_rng(0))) / 30000
    assert drawn == pytest.approx(softmax(logits[:1], 1)[0], abs=0.01)


def test_memory_forgets_where_an_episode_begins():
    layer, rng = Memory(3, 2, rng=np.random.default_rng(0)), np.random.default_rng(1)
    x, state = rng.standard_normal((5, 2, 3)).astype(np.float32), np.ones((2, 4), np.float32)
    first = np.zeros((5, 2), bool)
    first[2, 0] = True
    (y, end), _ = layer.forward(x, state, first)
    (alone, alone_end), _ = layer.forward(x[2:], 0 * state, 0 * first[2:])
    assert (y[2:, 0] == alone[:, 0]).all()
    assert (end[0] == alone_end[0]).all()
    assert not (y[2:, 1] == alone[:, 1]).any()
    with pytest.raises(ValueError, match=r"first must have shape \(5, 2\)"):
        layer.forward(x, state, first[1:])


def test_memory_s_gradient():
    rng, first = np.random.default_rng(1), np.zeros((4, 2), bool)
    first[2, 1] = True

    class Fixed(Memory):  # the state and the beginnings held fixed
        def forward(self, x, training=True):
            (y, _), cache = super().forward(x, np.full((2, 6), 0.3), first, training)
            return y, cache

    check_layer(Fixed(2, 3, rng=rng), rng.standard_normal((4, 2, 2)))


@pytest.mark.parametrize("name", NAMES)
def test_all_steps_at_once_as_one_after_the_other(name):
    model = tiny(name)
    player = Rollouts(model, mazes(), 3)
    player.play(np.random.default_rng(5))
    rollout = player.play(np.random.default_rng(6))
    outputs, _ = model.forward(*rollout[:6])
    memory = rollout.memory
    for t in range(len(rollout.images)):
        one, _ = model.forward(*(each[t : t + 1] for each in rollout[:5]), memory)
        assert outputs.logits[t] == pytest.approx(one.logits[0], abs=1e-6)
        assert outputs.values[t] == pytest.approx(one.values[0], abs=1e-6)
        memory = one.memory
    assert rollout.first.any()  # an episode began within


def test_a_rollout_goes_on_where_the_one_before_ended():
    player = Rollouts(tiny(), mazes(), 2)
    one, two = player.play(np.random.default_rng(0)), player.play(np.random.default_rng(1))
    for name in ("images", "velocity", "last_reward", "last_action", "first"):
        assert (getattr(one, name)[-1] == getattr(two, name)[0]).all(), name
    assert (one.actions == one.last_action[1:]).all()
    assert (one.rewards == one.last_reward[1:]).all()
    assert (one.ended == one.first[1:]).all()


def test_depths_in_bands():
    depth = np.full((1, 30, 40), 2.0, np.float32)
    depth[:, :, 20:] = 6.0
    small = depth_map(depth)
    assert small.shape == (1, 4, 16)
    assert (small[0, 0] == [2.0] * 8 + [6.0] * 8).all()
    y = np.zeros((1, 4, 16, 8))
    y[..., :8, 3], y[..., 8:, 6] = 50, 50  # 1.5 .. 2.5 is band 3, 5 .. 7 band 6
    assert depth_loss(y.reshape(1, 512), small, False)[0] == pytest.approx(0, abs=1e-12)
    assert depth_loss(small.reshape(1, 64) / 8, small, True)[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["ff_a3c", "nav_a3c_d1d2l"])
def test_a_killed_run_resumes_with_the_same_bits(name, tmp_path):
    recipe = vision.MODELS[name].recipe | {"epochs": 2, "batch_size": 4}

    def trainer(folder, data=None):
        model = tiny(name)
        return Trainer(model, Rollouts(model, mazes(goal="random", layout="random"), 4), recipe, folder)

    whole = trainer(tmp_path / "whole")
    whole.run()
    killed = trainer(tmp_path / "killed")
    killed.checkpoint_every = 3
    save = killed.save

    def save_and_die():
        save()
        if killed.progress.step == 3:
            raise RuntimeError("killed")

    killed.save = save_and_die
    with pytest.raises(RuntimeError, match="killed"):
        killed.run()
    again = trainer(tmp_path / "killed")
    again.resume()
    assert again.progress.step == 3
    again.run()
    for key, array in whole.model.state_dict().items():
        assert (array == again.model.state_dict()[key]).all(), key
    for key, array in whole.loader.state_dict().items():
        assert (array == again.loader.state_dict()[key]).all(), key


def test_successes_are_counted_as_the_docstring_says():
    trip, shortest = np.zeros((100, 2), int), np.full((100, 2), 10.0)
    trip[29, 0], trip[69, 0] = 30, 40  # one in time, one not; the last 30 steps might still have become one
    trip[19, 1] = 20  # and 80 steps after it without a goal
    walks = Walks(trip, shortest, np.zeros((100, 2)), np.zeros((100, 2, 2)), np.zeros((100, 2, 0)))
    m = measure(walks, 100)
    assert m["success"] == pytest.approx(2 / 4)
    assert m["first_trip"] == 25
    assert m["later_trips"] == 40
    assert m["goals_per_minute"] == pytest.approx(3 / (200 / 900))


def test_an_episode_without_a_goal_counts_whole_as_the_first_trip():
    trip, shortest = np.zeros((100, 3), int), np.full((100, 3), 10.0)
    trip[49, 0], trip[69, 0], trip[9, 1] = 50, 20, 10  # agent 2 never reaches the goal
    m = measure(Walks(trip, shortest, np.zeros((100, 3)), np.zeros((100, 3, 2)), np.zeros((100, 3, 0))), 100)
    assert m["first_trip"] == 50  # of 50, 10 and 100
    assert m["later_trips"] == 20


def test_the_second_trip_against_the_first():
    """Agent 0: 20 and 10 steps; 1: 30 and 40; 2: the second one takes too long; 3 finds the goal once."""
    trip, shortest = np.zeros((100, 4), int), np.full((100, 4), 10.0)
    trip[19, 0], trip[29, 0], trip[29, 1], trip[69, 1], trip[19, 2], trip[79, 2], trip[9, 3] = (
        20,
        10,
        30,
        40,
        20,
        60,
        10,
    )
    shortest[20:, 0] = 5  # also at the step that reaches the goal
    walks = Walks(trip, shortest, np.zeros((100, 4)), np.zeros((100, 4, 2)), np.zeros((100, 4, 0)))
    m = latency(walks, 100)
    assert m == {"first_detour": 50 / 20, "second_detour": 50 / 15, "twice": 2}
    once = latency(Walks(*(each[:, 3:] for each in walks)), 100)
    assert once == {"first_detour": None, "second_detour": None, "twice": 0}


def test_without_memory_the_second_trip_is_as_long():
    """Trips of a length that only the goal decides, and chance: some goals are hardly ever found."""
    rng, trip = np.random.default_rng(0), np.zeros((300, 2000), int)
    for agent, step in enumerate(rng.choice([20, 200], 2000)):
        at = 0
        while (at := at + (length := int(rng.geometric(1 / step)))) <= 300:
            trip[at - 1, agent] = length
    zeros = np.zeros(trip.shape)
    m = latency(Walks(trip, zeros + 1, zeros, zeros, zeros), 300)
    assert m["second_detour"] == pytest.approx(m["first_detour"], rel=0.06)


def test_bad_input():
    with pytest.raises(ValueError, match="20 rollouts an epoch make no batch of 30"):
        Rollouts(tiny(), mazes(), 30)
    with pytest.raises(ValueError, match="at least 20"):
        tiny(height=19)
    with pytest.raises(ValueError, match="depth1"):
        tiny(depth1=-1.0)
    state = Rollouts(tiny(), mazes(), 2).state_dict()
    with pytest.raises(ValueError, match="shape"):
        Rollouts(tiny(), mazes(), 3).load_state_dict(state)
