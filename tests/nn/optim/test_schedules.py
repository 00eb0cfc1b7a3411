"""Schedules against values worked out by hand, and that they hold no state."""

import numpy as np
import pytest

from nn.optim.schedules import constant, cosine, polynomial, step_decay, warm_up


def test_constant():
    assert [constant()(step) for step in (0, 5, 10**9)] == [1.0, 1.0, 1.0]
    assert constant(0.25)(3) == 0.25


def test_step_decay_drops_at_each_milestone():
    factor = step_decay([3, 5], gamma=0.1)
    np.testing.assert_allclose([factor(s) for s in range(7)], [1, 1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-15)
    assert step_decay([])(100) == 1 and step_decay([0], gamma=0.5)(0) == 0.5


def test_step_decay_does_not_follow_later_changes_of_the_list():
    milestones = [3]
    factor = step_decay(milestones)
    milestones[0] = 1
    assert factor(2) == 1


def test_polynomial():
    np.testing.assert_allclose([polynomial(4, power=1)(s) for s in range(6)], [1, 0.75, 0.5, 0.25, 0, 0])
    np.testing.assert_allclose([polynomial(4, power=2, end=0.2)(s) for s in (0, 2, 4, 9)], [1, 0.4, 0.2, 0.2])
    assert polynomial(4)(1) == pytest.approx(0.75**0.9)


def test_cosine():
    r = 0.5**0.5
    np.testing.assert_allclose(
        [cosine(4)(s) for s in range(7)], [1, (1 + r) / 2, 0.5, (1 - r) / 2, 0, 0, 0], atol=1e-15
    )
    np.testing.assert_allclose([cosine(4, end=0.2)(s) for s in (0, 2, 4, 9)], [1, 0.6, 0.2, 0.2])
    np.testing.assert_allclose([cosine(8, start=4)(s) for s in (0, 3, 4, 6, 8)], [1, 1, 1, 0.5, 0], atol=1e-15)


def test_cosine_after_a_warm_up():
    factor = warm_up(cosine(12, start=4), 4, start=0.2)
    np.testing.assert_allclose(
        [factor(s) for s in (0, 1, 2, 3, 4, 8, 12, 99)], [0.2, 0.4, 0.6, 0.8, 1, 0.5, 0, 0], atol=1e-15
    )


def test_warm_up_is_a_line_below_the_schedule():
    factor = warm_up(constant(0.5), 4, start=0.2)
    np.testing.assert_allclose([factor(s) for s in range(6)], [0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    factor = warm_up(step_decay([2, 6]), 4, start=0)  # a milestone inside the warm-up and one behind it
    np.testing.assert_allclose([factor(s) for s in range(7)], [0, 0.25, 0.05, 0.075, 0.1, 0.1, 0.01])
    assert warm_up(constant(), 0, start=0.1)(0) == 1


def test_warm_up_has_no_jump_at_its_end():
    below = polynomial(1000)
    factor = warm_up(below, 100)
    assert factor(0) == 0.001 and factor(100) == below(100)
    assert abs(factor(100) - factor(99)) < 0.02


@pytest.mark.parametrize(
    "schedule", [constant(), step_decay([3, 8]), polynomial(10), cosine(9, 3), warm_up(polynomial(9), 5)]
)
def test_the_factor_depends_on_the_step_alone(schedule):
    forward = [schedule(step) for step in range(12)]
    assert [schedule(step) for step in reversed(range(12))] == forward[::-1]
    assert all(isinstance(factor, float | int) and factor >= 0 for factor in forward)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"step_decay: milestones must rise from one to the next, got \[5, 5\]"):
        step_decay([5, 5])
    with pytest.raises(ValueError, match="step_decay: gamma must be positive, got 0"):
        step_decay([5], gamma=0)
    with pytest.raises(ValueError, match="polynomial: total_steps must be at least 1, got 0"):
        polynomial(0)
    with pytest.raises(ValueError, match="polynomial: power must be positive, got -1"):
        polynomial(10, power=-1)
    with pytest.raises(ValueError, match=r"cosine: start must lie in \[0, total_steps\), got 0 for total_steps 0"):
        cosine(0)
    for start in (-1, 10):
        with pytest.raises(ValueError, match=rf"cosine: start must lie .*, got {start} for total_steps 10"):
            cosine(10, start)
    with pytest.raises(ValueError, match="warm_up: steps must be at least 0, got -3"):
        warm_up(constant(), -3)
    with pytest.raises(ValueError, match=r"warm_up: start must lie in \[0, 1\], got 1.5"):
        warm_up(constant(), 3, start=1.5)
