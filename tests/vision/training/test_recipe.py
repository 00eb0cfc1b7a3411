import numpy as np
import pytest

from nn import SGD, Adam, Linear
from vision.training.recipe import build_optimiser, build_schedule, complete


def test_weights_decay_and_biases_do_not():
    layer = Linear(2, 3, rng=np.random.default_rng(0))
    layer.bias.value[...] = 1
    before = layer.weight.value.copy()
    build_optimiser(layer, complete({"lr": 0.5, "weight_decay": 0.1, "momentum": 0.9})).step()
    np.testing.assert_allclose(layer.weight.value, before * (1 - 0.5 * 0.1), rtol=1e-6)
    np.testing.assert_array_equal(layer.bias.value, 1)


def test_the_optimiser_is_the_one_named():
    layer = Linear(2, 3, rng=np.random.default_rng(0))
    assert isinstance(build_optimiser(layer, complete({})), SGD)
    assert isinstance(build_optimiser(layer, complete({"optimiser": "adam", "lr": 1e-3})), Adam)
    with pytest.raises(ValueError, match="optimiser must be 'sgd' or 'adam', got 'lbfgs'"):
        build_optimiser(layer, complete({"optimiser": "lbfgs"}))


@pytest.mark.parametrize(
    ("recipe", "factors"),
    [
        ({"schedule": "step", "milestones": [0.5, 0.75]}, {0: 1, 9: 1, 10: 0.1, 14: 0.1, 15: 0.01, 19: 0.01}),
        ({"schedule": "constant"}, {0: 1, 19: 1}),
        ({"schedule": "polynomial"}, {0: 1, 10: 0.5**0.9, 20: 0}),
        ({"schedule": "constant", "warm_up": 10}, {0: 0.001, 5: 0.5005, 10: 1, 19: 1}),
    ],
)
def test_schedules_over_20_steps(recipe, factors):
    schedule = build_schedule(complete({"warm_up": 0} | recipe), 20)
    for step, factor in factors.items():
        assert schedule(step) == pytest.approx(factor)


def test_milestones_that_meet_in_a_short_run():
    assert build_schedule(complete({"warm_up": 0}), 2)(1) == pytest.approx(0.1)


def test_unknown_schedule_is_named():
    with pytest.raises(ValueError, match=r"schedule must be .*, got 'cosine'"):
        build_schedule(complete({"schedule": "cosine"}), 20)
