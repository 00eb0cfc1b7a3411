"""One update of a model: losses and gradients of a batch, and a step of the optimiser."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.optim.clipping import clip_gradient_norm
from vision.model import Model, Stage
from vision.training.communicator import Communicator
from vision.training.endings import Undo, check_finite
from vision.training.parts import add_gradients
from vision.training.recipe import build_average, build_optimiser, build_schedule


class Update:
    """Updates of a model in one stage of its training, by a complete recipe, in a stage of `total_steps`.

    parts: what a checkpoint holds of it, by the beginning of the names.
    """

    def __init__(
        self,
        model: Model,
        stage: Stage,
        recipe: Mapping,
        total_steps: int,
        device: str,
        seed: int,
        others: Communicator | None = None,
    ):
        self.model, self.stage, self.recipe, self.device, self.seed = model, stage, recipe, device, seed
        self.others = others or Communicator()
        self.optimiser, self.average = build_optimiser(model, recipe), build_average(model, recipe)
        self.schedule, self.undo = build_schedule(recipe, total_steps), Undo(model)
        self.parts = {"optimiser/": self.optimiser} | ({"average/": self.average} if self.average else {})

    def gradients(self, batch: Any, step: int) -> tuple[dict[str, float], float]:
        """(losses by name, norm of the gradient before it is clipped), the gradient being left in the parameters.

        batch: with the recipe's `accumulate` above 1, or several processes, a list of its parts. step: updates done in
        the whole run: the random stream. Raises Diverged where a value is not finite. Nothing but gradients has changed
        after any error.
        """
        where = f"step {step + 1}"
        with self.undo():
            self.model.zero_grad()
            parts = batch if self.recipe["accumulate"] > 1 or self.others.size > 1 else [batch]
            rng = step_generator(self.seed, step, self.others.rank)
            if self.others.size > 1:
                seed_layers(self.model, self.seed, step, self.others.rank)
            losses = add_gradients(self.model, self.stage, parts, rng, self.device, where, self.others)
            norm = clip_gradient_norm(self.model.parameters(), self.recipe["clip_norm"] or math.inf)
            check_finite(losses | {"gradient norm": norm}, where)
        return losses, norm

    def move(self, rate: float):
        """Step the optimiser; rate: of the schedule."""
        self.optimiser.step(rate)
        if self.average:
            self.average.update()


def step_generator(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """The random numbers of one step: another stream than the loader's, with seeds (seed, epoch[, index + 1])."""
    return np.random.default_rng([seed, step, rank, 1])


def seed_layers(model: Model, seed: int, step: int, rank: int):
    """Seed the generators of stochastic layers anew: each process draws its own numbers, and none has to be kept."""
    for k, generator in enumerate(model.generators().values()):
        generator.bit_generator.state = np.random.default_rng([seed, step, rank, 4, k]).bit_generator.state
