"""Exponential moving average of weights: often better than the weights of the last step, and much less noisy."""

from contextlib import contextmanager

import numpy as np

from nn.dispatch import array_module, functions
from nn.gpu.device import to_device
from nn.layer import Layer
from nn.optim.optimiser import copy_state


class ExponentialMovingAverage:
    """average = d * average + (1 - d) * weights, after every step.

        average = ExponentialMovingAverage(model, decay=0.999)
        for ...:
            optimiser.step()
            average.update()
        with average.swapped():
            evaluate(model)                    # the model has the averaged weights here, its own ones afterwards

    The average starts from the weights as they are now, and d = decay. Early in training these weights weigh too much
    in it. Two options, which may be used together:

    - warm_up: d = min(decay, (1 + t) / (10 + t)) for the update after t others, so that the first ones replace it soon
    - bias_correction: it starts from 0 instead, and is divided by 1 - d_1 * d_2 * ... * d_t, as Adam's means are:
      a proper weighted mean of the weights seen by `update`, of which there must have been one before it is used

    buffers: whether running statistics are averaged too; else, and for counts, the model's own stay in place. A tied
    parameter is averaged once. Arrays keep the dtype that the layer had when the average was made; `to` moves them.

    Raises ValueError for a decay outside [0, 1). Reference: Polyak and Juditsky 1992, Acceleration of stochastic
    approximation by averaging; Tarvainen and Valpola 2017, arXiv:1703.01780, sec. 2; Kingma and Ba 2015, sec. 7.2 (bias
    correction). The warm-up is TensorFlow's.
    """

    def __init__(
        self,
        layer: Layer,
        decay: float = 0.999,
        warm_up: bool = False,
        bias_correction: bool = False,
        buffers: bool = True,
    ):
        if not 0 <= decay < 1:
            raise ValueError(f"ExponentialMovingAverage: decay must lie in [0, 1), got {decay}")
        self.layer, self.decay, self.warm_up, self.bias_correction = layer, decay, warm_up, bias_correction
        self.updates = np.zeros((), np.int64)  # t
        self.product = np.ones(())  # d_1 * d_2 * ... * d_t
        self._is_swapped = False
        parameters, first = layer.parameters(), {}
        for name, array in layer.state_dict().items():
            if name in parameters or (buffers and array.dtype.kind == "f"):
                first.setdefault(id(array), (name, array))
        self._averages = {
            name: array_module(array).zeros_like(array) if bias_correction else array.copy()
            for name, array in first.values()
        }

    def update(self):
        """Take the weights as they are now into the average: once after each optimiser step."""
        self._refuse_while_swapped("update")
        t = int(self.updates)
        decay = min(float(self.decay), (1 + t) / (10 + t)) if self.warm_up else float(self.decay)
        now = self.layer.state_dict()
        averages, weights = list(self._averages.values()), [now[name] for name in self._averages]
        functions(__name__, *averages).move(averages, weights, 1 - decay)
        self.updates += 1
        self.product *= decay

    def to(self, device: str):
        """Move the averages, after layer.to(device); returns itself."""
        self._averages = to_device(self._averages, device)
        return self

    def averages(self) -> dict[str, np.ndarray]:
        """The averaged arrays by their names in the layer's state_dict, as new arrays."""
        if not self.bias_correction:
            return {name: average.copy() for name, average in self._averages.items()}
        if not self.updates:
            raise ValueError("ExponentialMovingAverage: with bias_correction there is no average before an update")
        seen = 1 - float(self.product)
        return {
            name: array_module(average).asarray(average / seen, dtype=average.dtype)
            for name, average in self._averages.items()
        }

    @contextmanager
    def swapped(self):
        """Within the block the layer has the averages in its arrays; its own values come back, after an error too."""
        self._refuse_while_swapped("swapped")
        own = {name: array.copy() for name, array in self.layer.state_dict().items() if name in self._averages}
        self._fill(self.averages())
        self._is_swapped = True
        try:
            yield self.layer
        finally:
            self._is_swapped = False
            self._fill(own)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays of the average by "name.average", and its counters (references, not copies)."""
        averages = {f"{name}.average": average for name, average in self._averages.items()}
        return averages | {"updates": self.updates, "product": self.product}

    def load_state_dict(self, state: dict[str, np.ndarray]):
        """Copy a state in; ValueError, and nothing is copied, unless names and shapes are exactly this average's."""
        copy_state("ExponentialMovingAverage: the state does not fit this layer", self.state_dict(), state)

    def _fill(self, arrays):
        now = self.layer.state_dict()
        for name, array in arrays.items():
            now[name][...] = array

    def _refuse_while_swapped(self, method):
        if self._is_swapped:
            raise ValueError(f"ExponentialMovingAverage: {method} within swapped(): the layer has the averages now")


def move(averages, weights, share):
    """average += share * (weight - average) for each pair of arrays, in place.

    share is 1 - d. Written so, a weight that does not change leaves its average the same to the last bit.
    """
    for average, weight in zip(averages, weights):
        average += share * (weight - average)
