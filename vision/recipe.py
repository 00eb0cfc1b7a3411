"""Recipes: how a model is trained, as a plain dict, and the optimiser and schedule made from one.

A model is registered with its own recipe; what that leaves out comes from DEFAULTS. Times are given as
fractions of the run or in steps, so that a recipe fits runs of any length.
"""

from nn.layer import Layer
from nn.optim.adaptive import Adam
from nn.optim.optimiser import decay_groups
from nn.optim.schedules import Schedule, constant, polynomial, step_decay, warm_up
from nn.optim.sgd import SGD

DEFAULTS = {
    "epochs": 20,
    "batch_size": 2,
    "optimiser": "sgd",  # or "adam"
    "lr": 0.01,
    "momentum": 0.9,  # of sgd
    "weight_decay": 0.0005,
    "schedule": "step",  # "step" | "polynomial" | "constant"
    "milestones": [0.7, 0.9],  # of "step": fractions of the run after which the rate falls to a tenth
    "warm_up": 100,  # steps over which the rate rises to lr
    "clip_norm": 10.0,  # greatest norm of the whole gradient; 0: any
}


def complete(recipe: dict) -> dict:
    """`recipe` with DEFAULTS for what it leaves out."""
    return DEFAULTS | recipe


def build_optimiser(model: Layer, recipe: dict) -> SGD | Adam:
    """The optimiser of a complete recipe. Weight decay is for weights, not for biases and normalisation scales."""
    groups = decay_groups(model, recipe["weight_decay"])
    if recipe["optimiser"] == "sgd":
        return SGD(groups, lr=recipe["lr"], momentum=recipe["momentum"])
    if recipe["optimiser"] == "adam":
        return Adam(groups, lr=recipe["lr"])
    raise ValueError(f"recipe: optimiser must be 'sgd' or 'adam', got {recipe['optimiser']!r}")


def build_schedule(recipe: dict, total_steps: int) -> Schedule:
    """The schedule step -> factor of a complete recipe, over a run of `total_steps`."""
    if recipe["schedule"] == "step":
        schedule = step_decay(sorted({int(fraction * total_steps) for fraction in recipe["milestones"]}))
    elif recipe["schedule"] == "polynomial":
        schedule = polynomial(total_steps)
    elif recipe["schedule"] == "constant":
        schedule = constant()
    else:
        raise ValueError(f"recipe: schedule must be 'step', 'polynomial' or 'constant', got {recipe['schedule']!r}")
    return warm_up(schedule, recipe["warm_up"])
