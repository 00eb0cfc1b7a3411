"""Recipes: how a model is trained, as a plain dict, and the optimiser and schedule made from one.

A model is registered with its own recipe; missing entries come from DEFAULTS. Times are fractions of the run or
steps, so that a recipe fits runs of any length.
"""

from collections.abc import Callable, Mapping

from nn import SGD, AdaGrad, Adam, AdamW, ExponentialMovingAverage, RMSProp
from nn.layer import Layer
from nn.optim.optimiser import Optimiser, decay_groups
from nn.optim.schedules import Schedule, constant, cosine, polynomial, step_decay, warm_up
from vision.training.parameters import biases, scale_biases, scale_rates

DEFAULTS = {
    "epochs": 20,
    "batch_size": 2,
    "accumulate": 1,  # parts in which a batch is computed, one after another: the same gradient in less memory
    "optimiser": "sgd",  # see OPTIMISERS
    "lr": 0.01,
    "lr_scale": {},  # beginnings of parameters' names: what their rate is multiplied by
    "bias_rate": 1.0,  # what the rate of biases is multiplied by besides, but for those of normalisations: 2 in Caffe
    "momentum": 0.9,  # of sgd, nesterov and rmsprop
    "weight_decay": 0.0005,
    "schedule": "step",  # see SCHEDULES
    "milestones": [0.7, 0.9],  # of "step": fractions of the run after which the rate falls to a tenth
    "warm_up": 100,  # steps in which the rate rises to lr, at most a tenth of the run
    "clip_norm": 10.0,  # largest norm of the whole gradient; 0: no limit
    "ema": 0.0,  # decay of an exponential moving average of the weights, which is evaluated and kept; 0: none
}

OPTIMISERS: dict[str, Callable[[list[dict], dict], Optimiser]] = {
    "sgd": lambda groups, r: SGD(groups, lr=r["lr"], momentum=r["momentum"]),
    "nesterov": lambda groups, r: SGD(groups, lr=r["lr"], momentum=r["momentum"], nesterov=True),
    "adam": lambda groups, r: Adam(groups, lr=r["lr"]),
    "adamw": lambda groups, r: AdamW(groups, lr=r["lr"]),
    "rmsprop": lambda groups, r: RMSProp(groups, lr=r["lr"], momentum=r["momentum"]),
    "adagrad": lambda groups, r: AdaGrad(groups, lr=r["lr"]),
}

SCHEDULES: dict[str, Callable[[int, dict], Schedule]] = {
    "step": lambda steps, r: step_decay(sorted({int(fraction * steps) for fraction in r["milestones"]})),
    "polynomial": lambda steps, r: polynomial(steps),
    "cosine": lambda steps, r: cosine(steps, start=min(_warm_up_steps(steps, r), steps - 1)),
    "constant": lambda steps, r: constant(),
}


def with_defaults(recipe: Mapping) -> dict:
    """`recipe` with DEFAULTS for missing entries."""
    return DEFAULTS | dict(recipe)


def build_optimiser(model: Layer, recipe: Mapping) -> Optimiser:
    """The optimiser of a complete recipe. Weight decay applies to weights, not to biases and normalisation scales."""
    if recipe["optimiser"] not in OPTIMISERS:
        wanted = ", ".join(map(repr, OPTIMISERS))
        raise ValueError(f"recipe: optimiser must be one of {wanted}, got {recipe['optimiser']!r}")
    groups = scale_rates(decay_groups(model, recipe["weight_decay"]), recipe["lr"], recipe["lr_scale"])
    groups = scale_biases(groups, recipe["lr"], recipe["bias_rate"], biases(model))
    return OPTIMISERS[recipe["optimiser"]](groups, recipe)


def build_schedule(recipe: Mapping, total_steps: int) -> Schedule:
    """The schedule step -> factor of a complete recipe, over a run of `total_steps`."""
    if recipe["schedule"] not in SCHEDULES:
        wanted = ", ".join(map(repr, SCHEDULES))
        raise ValueError(f"recipe: schedule must be one of {wanted}, got {recipe['schedule']!r}")
    return warm_up(SCHEDULES[recipe["schedule"]](total_steps, recipe), _warm_up_steps(total_steps, recipe))


def build_average(model: Layer, recipe: Mapping) -> ExponentialMovingAverage | None:
    """The moving average of the weights by a complete recipe, or None."""
    return ExponentialMovingAverage(model, recipe["ema"], warm_up=True) if recipe["ema"] else None


def _warm_up_steps(total_steps, recipe):
    """At most a tenth of the run: a short run would otherwise spend most of its steps below lr."""
    return min(recipe["warm_up"], total_steps // 10)
