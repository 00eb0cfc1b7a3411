import numpy as np
import pytest

import vision
from nn import SGD, AdaGrad, Adam, AdamW, Linear, RMSProp
from vision.training.recipe import build_average, build_optimiser, build_schedule, with_defaults


def test_weights_decay_and_biases_do_not():
    layer = Linear(2, 3, rng=np.random.default_rng(0))
    layer.bias.value[...] = 1
    before = layer.weight.value.copy()
    build_optimiser(layer, with_defaults({"lr": 0.5, "weight_decay": 0.1, "momentum": 0.9})).step()
    np.testing.assert_allclose(layer.weight.value, before * (1 - 0.5 * 0.1), rtol=1e-6)
    np.testing.assert_array_equal(layer.bias.value, 1)


def test_the_optimiser_is_the_one_named():
    layer = Linear(2, 3, rng=np.random.default_rng(0))
    assert isinstance(build_optimiser(layer, with_defaults({})), SGD)
    for name in ("sgd", "nesterov"):
        made = build_optimiser(layer, with_defaults({"optimiser": name}))
        assert type(made) is SGD and {group["nesterov"] for group in made.groups} == {name == "nesterov"}
    for name, kind in {"adam": Adam, "adamw": AdamW, "rmsprop": RMSProp, "adagrad": AdaGrad}.items():
        assert type(build_optimiser(layer, with_defaults({"optimiser": name, "lr": 1e-3}))) is kind
    with pytest.raises(ValueError, match="optimiser must be one of 'sgd', 'nesterov', 'adam', .*, got 'lbfgs'"):
        build_optimiser(layer, with_defaults({"optimiser": "lbfgs"}))


@pytest.mark.parametrize(
    ("recipe", "factors"),
    [
        ({"schedule": "step", "milestones": [0.5, 0.75]}, {0: 1, 9: 1, 10: 0.1, 14: 0.1, 15: 0.01, 19: 0.01}),
        ({"schedule": "constant"}, {0: 1, 19: 1}),
        ({"schedule": "polynomial"}, {0: 1, 10: 0.5**0.9, 20: 0}),
        ({"schedule": "cosine"}, {0: 1, 10: 0.5, 20: 0}),
        ({"schedule": "constant", "warm_up": 10}, {0: 0.001, 1: 0.5005, 2: 1, 19: 1}),  # a tenth of the run at most
    ],
)
def test_schedules_over_20_steps(recipe, factors):
    schedule = build_schedule(with_defaults({"warm_up": 0} | recipe), 20)
    for step, factor in factors.items():
        assert schedule(step) == pytest.approx(factor)


def test_milestones_that_meet_in_a_short_run():
    assert build_schedule(with_defaults({"warm_up": 0}), 2)(1) == pytest.approx(0.1)


def test_unknown_schedule_is_named():
    with pytest.raises(ValueError, match=r"schedule must be .*, got 'linear'"):
        build_schedule(with_defaults({"schedule": "linear"}), 20)


def test_the_warm_up_is_a_tenth_of_the_run_at_most():
    schedule = build_schedule(with_defaults({"schedule": "constant", "warm_up": 100}), 40)
    assert [schedule(step) for step in (0, 4, 39)] == [0.001, 1, 1]
    assert build_schedule(with_defaults({"schedule": "constant", "warm_up": 100}), 2000)(50) == pytest.approx(0.5005)


def test_an_average_of_the_weights_on_request():
    layer = Linear(2, 3, rng=np.random.default_rng(0))
    assert build_average(layer, with_defaults({})) is None
    assert build_average(layer, with_defaults({"ema": 0.99})).decay == 0.99


@pytest.mark.parametrize("name", [name for name, e in vision.MODELS.items() if e.recipe.get("lr_scale")] + ["sds"])
def test_parts_with_a_rate_of_their_own_are_parts_of_the_model(name):
    entry = vision.MODELS[name]
    model = vision.build(name, ("cat", "dog"), np.random.default_rng(0), **entry.tiny.options)
    for stage in model.stages():
        if not stage.fit:
            build_optimiser(model, with_defaults(dict(entry.recipe) | dict(stage.recipe)))
