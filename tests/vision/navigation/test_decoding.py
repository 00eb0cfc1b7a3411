"""Positions read from hidden states: exact where they are linear in them, the mean where they say nothing."""

import numpy as np
import pytest

from vision.navigation.decoding import position_error, ridge


def test_ridge_as_least_squares_with_rows_for_the_penalty():
    rng = np.random.default_rng(0)
    x, y, penalty = rng.standard_normal((30, 4)), rng.standard_normal((30, 2)), 0.3
    weight, bias = ridge(x, y, penalty)
    a = np.concatenate([x - x.mean(0), np.sqrt(30 * penalty) * np.eye(4)])
    wanted = np.linalg.lstsq(a, np.concatenate([y - y.mean(0), np.zeros((4, 2))]))[0]
    assert weight == pytest.approx(wanted, abs=1e-10)
    assert (x @ weight + bias).mean(axis=0) == pytest.approx(y.mean(axis=0))


def test_a_position_is_read_from_a_state_that_holds_it():
    rng = np.random.default_rng(0)
    position = rng.uniform(0, 5, (50, 6, 2))
    hidden = np.concatenate([position @ rng.standard_normal((2, 2)) + 3, rng.standard_normal((50, 6, 1))], axis=2)
    found = position_error(hidden, position)
    assert found["position_error"] < 0.02
    assert found["mean_position_error"] == pytest.approx(1.9, abs=0.2)  # in a square with sides of 5


def test_an_agent_is_measured_by_the_others():
    """Each agent's state names the agent and each stands still: whoever has seen it knows its place; the others not."""
    hidden, position = np.tile(np.eye(4), (20, 1, 1)), np.tile(np.arange(8.0).reshape(4, 2), (20, 1, 1))
    found = position_error(hidden, position)
    assert found["position_error"] > 2


def test_states_that_say_nothing():
    rng = np.random.default_rng(0)
    found = position_error(rng.standard_normal((200, 8, 3)), rng.uniform(0, 5, (200, 8, 2)))
    assert found["position_error"] == pytest.approx(found["mean_position_error"], rel=0.02)


def test_bad_input():
    with pytest.raises(ValueError, match="needs two agents"):
        position_error(np.zeros((5, 1, 3)), np.zeros((5, 1, 2)))
    with pytest.raises(ValueError, match="position"):
        position_error(np.zeros((5, 2, 3)), np.zeros((5, 3, 2)))
