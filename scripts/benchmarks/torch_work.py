"""PyTorch's side of a work: the same weights and inputs, its own operations, its own autograd."""

from collections.abc import Callable

import numpy as np
import torch

from scripts.benchmarks.work import MOMENTUM, RATE, WEIGHT_DECAY, as_tuple, normal


def tensor(array, device: str = "cpu") -> torch.Tensor:
    """A copy of an array."""
    return torch.tensor(np.ascontiguousarray(array), device=device)


class TorchLayerWork:
    """Forward, and backward if wanted, of a function of tensors: gives (outputs, gradients of inputs).

    The gradients of the weights, {name: tensor}, are computed as well and stand in `gradients`. Without backward
    nothing is recorded for it, as in inference.
    """

    def __init__(self, function: Callable, weights: dict, inputs: list, differentiable: int, backward: bool):
        self.function, self.weights, self.inputs, self.backward = function, weights, inputs, backward
        self.sources = [*inputs[:differentiable], *weights.values()] if backward else []
        for source in self.sources:
            source.requires_grad_()
        self.dy, self.gradients = None, {}

    def __call__(self):
        if not self.backward:
            with torch.no_grad():
                return as_tuple(self.function(*self.inputs)), ()
        y = as_tuple(self.function(*self.inputs))
        if self.dy is None and y[0].ndim:
            self.dy = tensor(normal(*y[0].shape, seed=1), y[0].device)
        gradients = torch.autograd.grad(y[0], self.sources, self.dy)
        inputs = len(self.sources) - len(self.weights)
        self.gradients = dict(zip(self.weights, gradients[inputs:]))
        return y, gradients[:inputs]


class TorchStepWork:
    """One training step of a module that has loss(batch, rng) -> dict of losses: cleared, backward, SGD."""

    def __init__(self, module: torch.nn.Module, batch: tuple):
        self.module, self.batch, self.steps = module, batch, 0
        self.optimiser = torch.optim.SGD(module.parameters(), RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)

    def __call__(self):
        self.steps += 1
        self.optimiser.zero_grad()
        losses = self.module.loss(self.batch, np.random.default_rng(self.steps))
        sum(losses.values()).backward()
        self.optimiser.step()
        return tuple(loss.item() for loss in losses.values()), ()
