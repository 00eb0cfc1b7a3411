"""Parameter and Layer: what every layer and every model is made of."""

from __future__ import annotations  # np.random takes as long to load as a tenth of nn: only when it is used

from collections.abc import Iterator

import numpy as np

from nn.dispatch import array_module, functions
from nn.gpu.device import device_of, is_count, to_device

FLOATS = "fdFD"  # the dtypes of layers and losses by NumPy's letters: float32, float64, and complex ones of both


class Parameter:
    """An array that is learned: `value`, its gradient `grad` of the same shape, and whether it is `trainable`."""

    def __init__(self, value, trainable=True):
        self.value = value
        self.grad = array_module(value).zeros_like(value)
        self.trainable = trainable

    def __repr__(self):
        return f"Parameter{self.value.shape}{'' if self.trainable else ' frozen'}"


class Layer:
    """Base of all layers and models: finds what they hold, by dotted name, in the order of definition.

    A layer defines `y, cache = forward(x, training=True)` and `dx = backward(dy, cache)`. All that backward needs is in
    `cache`, nothing is kept on the layer, so a layer may be called several times before any backward.
    Arrays that are saved but not learned (running statistics) are named in the class attribute `buffers`, those that
    are not even saved, as the constructor makes them anew, in `constants`.
    """

    buffers: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()

    def forward(self, x, training=True):
        """y and all that backward needs, for the input x (any shape the layer names)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy, cache):
        """dx for dy (the shape of y); adds to the grad of every parameter."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def backward_parameters(self, dy, cache) -> None:
        """backward for the parameters alone, where nobody wants dx: of the lowest layer of a network, fed by data.

        Nothing is computed where no parameter is trainable. Layers that save work override it; the gradients that they
        add are those of backward.
        """
        if self.is_trainable():
            self.backward(dy, cache)

    def is_trainable(self) -> bool:
        """Whether any parameter in the layer is trainable."""
        return any(parameter.trainable for parameter in self.parameters().values())

    def __call__(self, *inputs):
        """Inference: forward with training=False, without the cache."""
        return y_and_cache(self, self.forward(*inputs, training=False))[0]

    def __repr__(self):
        """The tree of layers with the arguments of their constructors: see nn.summary.tree."""
        from nn.summary import tree  # imported here: it imports this module

        return tree(self)

    def children(self) -> Iterator[tuple[str, Layer]]:
        """(name, layer) for each layer held directly, or in nested lists, tuples and dicts: by index, by key."""
        for name, value in vars(self).items():
            yield from _inside(name, value, Layer)

    def layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """(dotted name, layer) for this layer and all below it."""
        yield prefix, self
        for name, child in self.children():
            yield from child.layers(f"{prefix}.{name}" if prefix else name)

    def _walk(self, kind) -> dict:
        """{dotted name: object} for the objects of this type that all layers hold, in lists, tuples and dicts too."""
        return {
            f"{prefix}.{path}" if prefix else path: found
            for prefix, layer in self.layers()
            for name, value in vars(layer).items()
            for path, found in _inside(name, value, kind)
        }

    def parameters(self) -> dict[str, Parameter]:
        """All parameters by dotted name, in a stable order; a tied one is there under each of its names."""
        return self._walk(Parameter)

    def generators(self) -> dict[str, np.random.Generator]:
        """The random generators of stochastic layers: part of a checkpoint, so that resuming is exact."""
        return self._walk(np.random.Generator)

    def zero_grad(self):
        """Set every gradient to zero, in place."""
        grads = [parameter.grad for parameter in self.parameters().values()]
        functions(__name__, *grads).set_to_zero(grads)

    def astype(self, dtype):
        """Convert parameters, gradients and floating-point buffers; returns the layer."""
        for parameter in self.parameters().values():
            parameter.value, parameter.grad = parameter.value.astype(dtype), parameter.grad.astype(dtype)
        for _, layer in self.layers():
            for name in layer.buffers:
                buffer = getattr(layer, name)
                setattr(layer, name, buffer.astype(dtype) if buffer.dtype.kind == "f" else buffer)
        return self

    def to(self, device: str):
        """Move parameters, gradients, buffers and constants to "cpu" or "gpu"; returns the layer. See nn.to_device.

        Counts of steps stay on the CPU.
        """
        for parameter in self.parameters().values():
            parameter.value, parameter.grad = to_device((parameter.value, parameter.grad), device)
        for _, layer in self.layers():
            for name in (*layer.buffers, *layer.constants):
                if not is_count(array := getattr(layer, name)):
                    setattr(layer, name, to_device(array, device))
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays of all parameters and buffers by dotted name (references, not copies)."""
        state = {name: parameter.value for name, parameter in self.parameters().items()}
        for prefix, layer in self.layers():
            own = {name: array for name, array in vars(layer).items() if name in layer.buffers}
            state |= {f"{prefix}.{name}" if prefix else name: array for name, array in own.items()}
        return state

    def compare_state(self, state: dict[str, np.ndarray]) -> list[str]:
        """What does not fit this layer: names missing from `state`, unexpected in it, and arrays of another shape, not
        of numbers, or complex where real ones are wanted."""
        own = self.state_dict()
        problems = [f"missing {name}" for name in own if name not in state]
        problems += [f"unexpected {name}" for name in state if name not in own]
        misfits = {name: _misfit(state[name], own[name]) for name in own if name in state}
        return problems + [f"{name} {misfit}" for name, misfit in misfits.items() if misfit]

    def load_state_dict(self, state: dict[str, np.ndarray], strict: bool = True) -> list[str]:
        """Copy arrays into parameters and buffers of the same names, keeping this layer's dtype.

        Returns the list of what did not fit, as compare_state gives it. With strict=True (default) such a list is a
        ValueError, and nothing is loaded; with False all that fits is loaded.
        """
        own, problems = self.state_dict(), self.compare_state(state)
        if strict and problems:
            shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
            raise ValueError(f"{type(self).__name__}: the state does not fit this layer: {shown}")
        for name, array in own.items():
            if name in state and not _misfit(state[name], array):
                array[...] = to_device(state[name], device_of(array))
        return problems


def _inside(name, value, kind):
    """(dotted name, object) for the objects of a type in a value: itself, or in nested lists, tuples and dicts."""
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, (kind, list, tuple, dict)):
                yield from _inside(f"{name}.{key}", item, kind)


def _misfit(array, own):
    """Why `array` cannot be copied into `own`, or None."""
    if array.shape != own.shape:
        return f"has shape {array.shape}, wanted {own.shape}"
    fits = array.dtype.kind in ("biufc" if own.dtype.kind == "c" else "biuf")
    return None if fits else f"is {array.dtype}, wanted {own.dtype}"


def y_and_cache(layer, result) -> tuple:
    """What a layer's forward has returned; TypeError unless it is a pair (y, cache)."""
    if isinstance(result, tuple) and len(result) == 2:
        return result
    got = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
    raise TypeError(f"{type(layer).__name__}: forward must return (y, cache), got {got}")


def set_to_zero(arrays):
    """Set all elements of all arrays to 0, in place."""
    for array in arrays:
        array[...] = 0


def check_shape(owner, **arrays) -> None:
    """Raise ValueError unless every array has its wanted shape.

    check_shape(self, x=(x, ("N", 64, "H", "W"))): a number is a size, a letter is any size, the same size wherever the
    letter comes again; None is any size. The owner is a layer or a name. Raises TypeError for what is not an array of
    float32, float64 or complex numbers: integers and bools carry no gradients, and float16 is too coarse for sums.
    """
    who = owner if isinstance(owner, str) else type(owner).__name__
    letters = {}
    for name, (array, wanted) in arrays.items():
        if not hasattr(array, "dtype") or array.dtype.char not in FLOATS:
            raise TypeError(not_floats(who, name, array))
        known = dict(letters)  # from the arrays before this one
        fits = len(array.shape) == len(wanted) and all(
            want is None or size == (letters.setdefault(want, size) if isinstance(want, str) else want)
            for size, want in zip(array.shape, wanted)
        )
        if not fits:
            text = ", ".join(f"{want}={known[want]}" if want in known else str(want) for want in wanted)
            raise ValueError(f"{who}: {name} must have shape ({text}), got {tuple(array.shape)}")


def not_floats(who: str, name: str, array) -> str:
    """What check_shape says of an array that is not of a dtype in FLOATS, or of what is no array."""
    got = getattr(array, "dtype", type(array).__name__)
    return f"{who}: {name} must be an array of floats, got {got}: convert with x.astype(np.float32)"


def pair(owner, name: str, value, minimum: int) -> tuple[int, int]:
    """(v, v) for an int v, (a, b) for a pair: the constructor words kernel_size, stride, padding, dilation."""
    values = (value, value) if np.ndim(value) == 0 else tuple(value)
    whole = len(values) == 2 and all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values)
    if not whole or min(values) < minimum:
        raise ValueError(
            f"{type(owner).__name__}: {name} must be a whole number >= {minimum} or a pair of them, got {value!r}"
        )
    return int(values[0]), int(values[1])


def positive(owner, **arguments):
    """Raise ValueError unless each of the arguments is an integer of at least 1. owner: a layer or a name."""
    who = owner if isinstance(owner, str) else type(owner).__name__
    for name, value in arguments.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{who}: {name} must be a whole number >= 1, got {value!r}")
