"""A table of what a model is made of."""

import numpy as np

from nn.layer import Layer


def summary(model: Layer, input_shape: tuple[int, ...]) -> str:
    """One line a layer, in the order of their first call: name, kind, output shape, parameters, multiply-adds.

    input_shape is that of one input with its batch, such as (1, 3, 240, 320). The model is run once on zeros, its
    `predict` where it has one. A layer called several times counts its multiply-adds each time. Only layers that hold
    parameters or do arithmetic of their own stand in the table, not those that merely contain others.
    """
    calls = _record_calls(model, np.zeros(input_shape, np.float32))
    rows = [("layer", "kind", "output shape", "parameters", "multiply-adds")]
    seen, total_macs = set(), 0
    for name, layer, shape, macs in calls:
        own = {id(p): p.value.size for p in layer.parameters().values() if id(p) not in seen}
        seen.update(own)
        total_macs += macs
        rows.append((name or "(itself)", type(layer).__name__, str(shape), f"{sum(own.values()):,}", f"{macs:,}"))
    every = {id(p): p.value.size for p in model.parameters().values()}
    rows.append(("total", "", "", f"{sum(every.values()):,}", f"{total_macs:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "  ".join(f"{c:<{w}}" if i < 3 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))) for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def multiply_adds(model: Layer, input_shape: tuple[int, ...]) -> int:
    """Those of `summary`, all layers together: of one input (or batch) of this shape."""
    return sum(macs for *_, macs in _record_calls(model, np.zeros(input_shape, np.float32)))


def _record_calls(model, x):
    """(name, layer, output shape, multiply-adds) of each call of a layer, during one run on x.

    Of layers without children, and of those that count what they do themselves.
    """
    calls = []
    layers = reversed([*model.layers()])  # a layer that is there twice has the first of its names
    leaves = {la: name for name, la in layers if hasattr(la, "multiply_adds") or not any(la.children())}

    def recorded(name, layer, forward):
        def call(*args, **kwargs):
            y, cache = forward(*args, **kwargs)
            shape = (y[0] if isinstance(y, tuple) else y).shape
            calls.append((name, layer, shape, layer.multiply_adds(shape) if hasattr(layer, "multiply_adds") else 0))
            return y, cache

        return call

    try:
        for layer, name in leaves.items():
            layer.forward = recorded(name, layer, layer.forward)  # an attribute of the object hides the class's method
        model.predict(x) if hasattr(model, "predict") else model(x)
    finally:
        for layer in leaves:
            del layer.forward
    return calls
