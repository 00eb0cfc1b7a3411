"""What happens inside a model: every call of every layer, forward and backward, without a line changed in the layers.

with nn.record(model) as passes:
    losses, cache = model.loss(batch, rng)
    model.backward(cache)
for p in passes:
    print(p.depth * "  ", p.name, type(p.layer).__name__, p.y.shape, p.seconds, p.cache_bytes)
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

from nn.gpu.device import device_of, synchronise
from nn.layer import Layer, y_and_cache

METHODS = ("forward", "backward", "backward_parameters")


@dataclass(eq=False)
class Pass:
    """One call of a layer's forward, and of its backward with what that call kept. Arrays are references, not copies.

    name: the dotted name of the layer (the first where it has several, "" for the model itself); call: 0 for the first
    call of this layer, 1 for the second; parent: the pass of the layer that called it, None for the outermost; depth:
    how many there are above it. order, backward_order: rising in the order in which the calls began.
    inputs: by the names of forward's arguments. y, cache: what forward returned, None where it raised an error.
    dy, dx: what backward was given and what it returned; None where it was not called, and dx where nobody wanted it.
    seconds, backward_seconds: of the calls, with those of the layers inside.
    """

    name: str
    layer: Layer
    call: int
    order: int
    parent: "Pass | None"
    inputs: dict[str, Any]
    training: bool
    y: Any = None
    cache: Any = field(default=None, repr=False)
    seconds: float = 0.0
    dy: Any = None
    dx: Any = None
    backward_seconds: float = 0.0
    backward_order: int | None = None
    returned: bool = False  # whether backward has been through

    @property
    def depth(self) -> int:
        """How many passes there are above this one."""
        return 0 if self.parent is None else self.parent.depth + 1

    @property
    def cache_bytes(self) -> int:
        """The memory of the arrays that backward needs, each counted once: of containers with those of the layers in
        them. An input or an output that is kept by reference counts too, as the cache is what keeps it alive."""
        return sum({id(owner): owner.nbytes for owner in map(_owner, arrays_in(self.cache))}.values())


class _Recorder:
    """The passes so far, and which calls are under way."""

    def __init__(self, model: Layer, to_data: bool):
        self.passes, self.under_way, self.to_data, self.device = [], [], to_data, device_of(model)
        self.of_layer: dict[int, list[Pass]] = {}
        self.backwards, self.going_back = 0, []  # calls of backward so far, and the passes that are in one

    def forward(self, name, layer, original, *args, **kwargs):
        """The layer's forward, noted."""
        bound = signature(original).bind(*args, **kwargs)
        bound.apply_defaults()
        inputs = dict(bound.arguments)
        calls, parent = self.of_layer.setdefault(id(layer), []), self.under_way[-1] if self.under_way else None
        training = bool(inputs.pop("training", True))
        this = Pass(name, layer, len(calls), len(self.passes), parent, inputs, training)
        calls.append(this)
        self.passes.append(this)
        self.under_way.append(this)
        try:
            began = self.clock()
            result = y_and_cache(layer, original(*args, **kwargs))
            this.seconds, (this.y, this.cache) = self.clock() - began, result
        finally:
            self.under_way.pop()
        return result

    def backward(self, layer, original, *arguments):
        """The layer's backward(dy, cache), noted in the pass of this cache; a model's own backward(cache) is not."""
        if len(arguments) == 1:
            return original(*arguments)
        dy, cache = arguments
        this = self.pass_of(layer, cache)
        began = self.begin_backward(this, dy)
        self.going_back.append(this)
        try:
            dx = original(dy, cache)
        finally:
            self.going_back.pop()
        this.backward_seconds, this.dx, this.returned = self.clock() - began, dx, True
        return dx

    def backward_parameters(self, layer, original, dy, cache):
        """The same where nobody wants dx; or backward itself, where the gradient shall reach the data."""
        this = self.pass_of(layer, cache)
        if this in self.going_back:  # backward leaves the parameters to it
            original(dy, cache)
        elif self.to_data and type(layer).backward is not Layer.backward:
            layer.backward(dy, cache)
        else:
            began = self.begin_backward(this, dy)
            original(dy, cache)
            this.backward_seconds, this.returned = self.clock() - began, True

    def begin_backward(self, this, dy):
        """Note dy, and read the clock. A backward_parameters that calls backward comes here twice."""
        this.dy = dy
        if this.backward_order is None:
            this.backward_order, self.backwards = self.backwards, self.backwards + 1
        return self.clock()

    def pass_of(self, layer, cache) -> Pass:
        """The newest pass with this very cache that backward has not been through; else the newest without one.

        A stateless layer's caches may all be None, and a container may have taken a cache apart and put it together.
        """
        calls = self.of_layer.get(id(layer), [])
        left = [p for p in calls if not p.returned]
        found = [p for p in left if p.cache is cache] or left or calls
        if not found:
            raise ValueError(f"record: {type(layer).__name__}.backward is called, but its forward was not recorded")
        return found[-1]

    def clock(self) -> float:
        synchronise(self.device)
        return time.perf_counter()


@contextmanager
def record(model: Layer, to_data: bool = False) -> Iterator[list[Pass]]:
    """A list that gets a Pass for each call of forward of the model and the layers in it, while the block runs.

    Calls of backward are noted in the pass whose cache they are given. to_data: the lowest layers compute the
    gradient of the data too, which training leaves out, as nobody wants it: backward_parameters runs backward, whose
    gradients of the parameters are the same. After the block, and after an error in it, the layers are as before.
    Where forward raises an error, the last pass without y is the layer in which it happened.

    Raises ValueError for a backward whose forward was not in the block.
    """
    recorder, before = _Recorder(model, to_data), []
    layers = {id(layer): (name, layer) for name, layer in reversed([*model.layers()])}  # the first of its names
    try:
        for name, layer in layers.values():
            for method in METHODS:
                before.append((layer, method, vars(layer).get(method)))
                given = (name, layer) if method == "forward" else (layer,)
                setattr(layer, method, partial(getattr(recorder, method), *given, getattr(layer, method)))
        yield recorder.passes
    finally:
        for layer, method, own in reversed(before):
            vars(layer).pop(method, None)  # the attribute of the object hid the method of the class
            if own is not None:
                setattr(layer, method, own)


def rewind(passes: list[Pass]):
    """Forget what backward has noted, so that a second backward with the same caches is noted as if it were the first:

    with nn.record(model) as passes:
        y, cache = model.forward(x)
        for dy in several:
            nn.record.rewind(passes)
            model.backward(dy, cache)
    """
    for p in passes:
        p.dy = p.dx = p.backward_order = None
        p.backward_seconds, p.returned = 0.0, False


def arrays_in(tree) -> Iterator[Any]:
    """The arrays in a nest of tuples, lists and dicts."""
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        if hasattr(tree, "nbytes") and hasattr(tree, "ndim"):
            yield tree
        return
    for each in tree:
        yield from arrays_in(each)


def _owner(array):
    """The array whose memory this one looks into."""
    while hasattr(array.base, "nbytes"):
        array = array.base
    return array
