"""PyTorch's side of a work: the same weights and inputs, its own operations, its own autograd.

Constructors of PyTorch have the words of ours, so a layer's repr makes its counterpart. What PyTorch has no module for,
and every model, is a `Mirror`, with a forward in torch_layers or torch_models.
"""

from collections import OrderedDict
from functools import partial

import numpy as np
import torch
from torch import nn

from nn import LSTM, Parameter, swap_lstm_gates
from nn.checking import as_tuple
from scripts.benchmarks.cases import Case
from scripts.benchmarks.torch_layers import FORWARDS, FUNCTIONS
from scripts.benchmarks.torch_models import LOSSES, PREDICTIONS
from scripts.benchmarks.work import MOMENTUM, RATE, WEIGHT_DECAY, FunctionWork, PredictWork, normal

OTHERS = {  # where the words differ
    "ReLU": lambda layer: nn.ReLU(inplace=True),
    "GRU": lambda layer: nn.GRU(layer.input_size, layer.hidden_size),
    "Upsample2d": lambda layer: nn.Upsample(scale_factor=layer.scale_factor, mode=layer.mode),
    "Sequential": lambda layer: nn.Sequential(OrderedDict((name, counterpart(a)) for name, a in layer.children())),
}


class Mirror(nn.Module):
    """Children and parameters under the names that they have in our layer, which is `layer`."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        for path, child in layer.children():
            *lists, name = path.split(".")
            parent = self
            for each in lists:
                if not hasattr(parent, each):
                    parent.add_module(each, nn.Sequential())
                parent = getattr(parent, each)
            parent.add_module(name, counterpart(child))
        for name, value in vars(layer).items():
            if isinstance(value, Parameter):
                self.register_parameter(name, nn.Parameter(torch.empty(value.value.shape)))

    def forward(self, *inputs):
        return FORWARDS[type(self.layer).__name__](self, *inputs)


def counterpart(layer) -> nn.Module:
    """PyTorch's module for a layer of ours; its weights are still to be loaded."""
    kind = type(layer).__name__
    if kind in OTHERS:
        return OTHERS[kind](layer)
    return eval(repr(layer), vars(nn)) if hasattr(nn, kind) else Mirror(layer)


def converted(layer, state: dict) -> dict:
    """Our weights as PyTorch has them: an LSTM's gates in another order, no state carried on in a buffer."""
    for path, each in layer.layers():
        state = swap_lstm_gates(state, path) if isinstance(each, LSTM) else state
    return {name: array for name, array in state.items() if name.split(".")[-1] != "carried"}


def work(case: Case, ours, device: str = "cpu"):
    """The work of a case on the weights and inputs of `ours`."""
    inputs = to_tensors(ours.inputs, device)
    if isinstance(ours, FunctionWork):
        return TorchLayerWork(FUNCTIONS[ours.function.__name__], {}, inputs, ours)
    with torch.device("meta"):  # no weights are drawn
        module = counterpart(ours.layer)
    module.load_state_dict(to_tensors(converted(ours.layer, ours.state()), device), assign=True)
    if case.step:
        for name, parameter in ours.layer.parameters().items():  # what we hold, PyTorch holds, too
            module.get_parameter(name).requires_grad_(parameter.trainable)
        return TorchStepWork(module, LOSSES[case.name.removeprefix("step_")], inputs)
    if isinstance(ours, PredictWork):
        predict = PREDICTIONS[case.name.split("_", 1)[1].rpartition("_")[0]]
        return TorchLayerWork(partial(predict, module.eval()), {}, inputs, ours)
    return TorchLayerWork(module, dict(module.named_parameters()), inputs, ours)


def to_tensors(value, device: str):
    """Arrays in tuples, lists and dicts as tensors, copied; all else as it is."""
    if hasattr(value, "dtype"):
        return torch.tensor(np.ascontiguousarray(value), device=device)
    if isinstance(value, dict):
        return {key: to_tensors(v, device) for key, v in value.items()}
    return [to_tensors(v, device) for v in value] if isinstance(value, (tuple, list)) else value


class TorchLayerWork:
    """Forward, and backward if wanted, of a function of tensors: gives (outputs, gradients of inputs).

    The gradients of the weights, {name: tensor}, are computed as well and stand in `gradients`. Without backward
    nothing is recorded for it, as in inference.
    """

    def __init__(self, function, weights: dict, inputs: list, ours):
        self.function, self.weights, self.inputs, self.backward = function, weights, inputs, ours.backward
        self.sources = [*inputs[: ours.differentiable], *weights.values()] if ours.backward else []
        for source in self.sources:
            source.requires_grad_()
        self.dy, self.gradients = None, {}

    def __call__(self):
        if not self.backward:
            with torch.no_grad():
                return as_tuple(self.function(*self.inputs)), ()
        y, *states = as_tuple(self.function(*self.inputs))
        if self.dy is None and y.ndim:
            self.dy = to_tensors(normal(*y.shape, seed=1), y.device)
        gradients = torch.autograd.grad(y, self.sources, self.dy)
        inputs = len(self.sources) - len(self.weights)
        self.gradients = dict(zip(self.weights, gradients[inputs:]))
        return (y, *(state for each in states for state in as_tuple(each))), gradients[:inputs]


class TorchStepWork:
    """One training step, loss(module, batch, rng) -> losses by name: gradients cleared, backward, SGD."""

    def __init__(self, module: nn.Module, loss, batch: list):
        self.module, self.loss, self.batch, self.steps = module, loss, batch, 0
        self.optimiser = torch.optim.SGD(module.parameters(), RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)

    def __call__(self):
        self.steps += 1
        self.optimiser.zero_grad()
        losses = self.loss(self.module, self.batch, np.random.default_rng(self.steps))
        sum(losses.values()).backward()
        self.optimiser.step()
        return tuple(loss.item() for loss in losses.values()), ()
