"""The cases of the gradient checks: several for every public layer and loss of `nn`, with every option in one of them.

The test suite checks each case; `python -m scripts.gradcheck` prints the errors.
"""

import inspect

from nn.cases import activations, conv_transpose, core, losses, norms, resampling, sampling, sequence
from nn.cases.base import LayerCase, LossCase, empty_batch, randomise
from nn.gradcheck import is_loss
from nn.layer import Layer
from nn.layers.gru import GRU
from nn.layers.lstm import LSTM
from nn.layers.rnn import RNN

TIME_FIRST = RNN, LSTM, GRU  # x (T, N, D)
LAYERS: dict[type[Layer], dict[str, LayerCase]] = {
    layer: cases | {"empty batch": empty_batch(next(iter(cases.values())), axis=int(layer in TIME_FIRST))}
    for family in (core, conv_transpose, resampling, sampling, norms, activations, sequence)
    for layer, cases in family.LAYERS.items()
}
LOSSES = losses.LOSSES

__all__ = ["LAYERS", "LOSSES", "LayerCase", "LossCase", "randomise", "without_case"]


def without_case(module, layers=LAYERS, losses=LOSSES) -> list[str]:
    """The public layers and losses of a module that have no case here."""
    public = {name: getattr(module, name) for name in module.__all__}
    is_layer = {name: inspect.isclass(v) and issubclass(v, Layer) and v is not Layer for name, v in public.items()}
    loss = {name: inspect.isfunction(v) and is_loss(v) for name, v in public.items()}
    return [n for n, v in public.items() if (is_layer[n] and not layers.get(v)) or (loss[n] and not losses.get(v))]
