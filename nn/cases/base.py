"""A case: a layer or loss with inputs, small enough to differentiate with respect to every element."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nn.layer import Layer


class LayerCase(NamedTuple):
    """A layer, its inputs, inputs of another size. not_analytic: the reason where the complex step does not apply."""

    build: Callable[[], Layer]
    inputs: tuple
    other: tuple
    training: bool = True
    plain: bool = False  # nn.config.plain
    not_analytic: str = ""
    constants: tuple[int, ...] = ()  # indices of inputs that the layer takes as constant: see check_layer


class LossCase(NamedTuple):
    """A loss is called as loss(prediction, *args, **options); a tuple of predictions is unpacked."""

    prediction: np.ndarray | tuple[np.ndarray, ...]
    args: tuple
    options: dict[str, Any] = {}  # noqa: RUF012  (never written to)
    not_analytic: str = ""


def empty_batch(case: LayerCase, axis: int = 0) -> LayerCase:
    """The case with no samples, as a region head gets it where no proposal is left; the other input has some.

    axis: of the samples, 1 for sequences (T, N, D); arrays (N,) have them along their only axis.
    """
    inputs = tuple(x if x is None else np.take(x, [], axis=min(axis, np.ndim(x) - 1)) for x in case.inputs)
    return case._replace(inputs=inputs)


def randomise(layer: Layer) -> Layer:
    """The layer with random parameters and running statistics: weights of 1 and biases of 0 would hide errors."""
    rng = np.random.default_rng(41)
    for parameter in layer.parameters().values():
        parameter.value[...] = rng.uniform(0.5, 1.5, parameter.value.shape) * rng.choice([-1, 1], parameter.value.shape)
    for name, buffer in layer.state_dict().items():
        if name.endswith("running_mean"):
            buffer[...] = rng.normal(size=buffer.shape)
        elif name.endswith("running_var"):
            buffer[...] = rng.uniform(0.5, 2, buffer.shape)
    return layer
