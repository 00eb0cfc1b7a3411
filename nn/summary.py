"""What a model is made of: its tree of layers, which is their repr, and a table of sizes."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature

import numpy as np

from nn.layer import Layer, y_and_cache


def tree(layer: Layer) -> str:
    """The layer with the arguments of its constructor, and below it, indented, its children by name.

    Sequential(
      (0): Conv2d(3, 8, kernel_size=(3, 3), padding=(1, 1))
      (1): ReLU()
    )
    """
    arguments = ", ".join(_arguments(layer))
    children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in layer.children()]
    if not children:
        return f"{type(layer).__name__}({arguments})"
    return "\n  ".join([f"{type(layer).__name__}(", *[arguments] * bool(arguments), *children]) + "\n)"


def _arguments(layer):
    """The constructor's arguments as repr shows them: "3", "bias=False", found in the attributes of the same names.

    Sizes that every call has to give come first, without names. Left out are defaults, arrays, layers, generators and
    what has no attribute.
    """
    known = {}
    for name, value in vars(layer).items():
        known |= value._asdict() if hasattr(value, "_asdict") else {name: value}  # a convolution holds its Geometry
    shown, by_position = [], True
    for p in list(signature(type(layer).__init__).parameters.values())[1:]:
        value = known.get(p.name, known.get(p.name.removesuffix("_size"), p.default))
        if isinstance(p.default, bool) and not isinstance(value, bool):
            value = value is not None  # bias=True makes a Parameter, bias=False None
        required = p.default is p.empty
        if not _is_plain(value) or (not required and value in (p.default, (p.default, p.default))):
            by_position &= not required
            continue
        by_position &= required and isinstance(value, int)
        shown.append(f"{value!r}" if by_position else f"{p.name}={value!r}")
    return shown


def _is_plain(value):
    """Whether repr shows it: a number, text, None, or a few of them."""
    if isinstance(value, (list, tuple)):
        return len(value) <= 6 and all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def summary(model: Layer, input_shape: tuple[int, ...]) -> str:
    """One line a layer, in the order of the calls: name, kind, output shape, field, stride, offset, parameters,
    multiply-adds.

    input_shape is that of one input with its batch, such as (1, 3, 240, 320). The model is run once on zeros, its
    `predict` where it has one. A layer called several times counts its multiply-adds each time. The table has only
    layers that hold parameters or do arithmetic of their own, not those that merely contain others.

    Of images (N, C, H, W), field, stride and offset say what a cell of the output sees: so many pixels of the image,
    so many to the next cell's, and where the first cell has its centre (0: that of the first pixel); rows x columns
    where they differ; "all" is the whole image. See nn.receptive_field.
    """
    from nn.receptive_field import receptive_fields  # here: it imports this module

    calls, fields = _record_calls(model, np.zeros(input_shape, np.float32)), receptive_fields(model, input_shape)
    rows = [("layer", "kind", "output shape", "field", "stride", "offset", "parameters", "multiply-adds")]
    seen, total_macs, counts = set(), 0, {}
    for name, layer, y, macs in calls:
        own = {id(p): p.value.size for p in layer.parameters().values() if id(p) not in seen}
        seen.update(own)
        total_macs += macs
        counts[name] = counts.get(name, -1) + 1
        field = _field_cells(fields.get((name, counts[name])))
        sizes = f"{sum(own.values()):,}", f"{macs:,}"
        rows.append((name or "(itself)", type(layer).__name__, str(y.shape), *field, *sizes))
    every = {id(p): p.value.size for p in model.parameters().values()}
    rows.append(("total", *[""] * 5, f"{sum(every.values()):,}", f"{total_macs:,}"))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join(f"{c:<{w}}" if i < 3 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))) for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _field_cells(field):
    """The three cells of a receptive field: "-" where it is not known."""
    if field is None or isinstance(field, str):
        return field or "-", "-", "-"
    pairs = [(float(axis.size), float(axis.stride), axis.offset) for axis in field]
    return ["x".join(f"{value:g}" for value in dict.fromkeys(pair)) for pair in zip(*pairs)]


def multiply_adds(model: Layer, input_shape: tuple[int, ...]) -> int:
    """Those of `summary`, all layers together: of one input (or batch) of this shape."""
    return sum(macs for *_, macs in _record_calls(model, np.zeros(input_shape, np.float32)))


@contextmanager
def recorded(model: Layer) -> Iterator[list[tuple[str, Layer, np.ndarray, int]]]:
    """A list that gets (name, layer, output, multiply-adds) of each call of a layer in the block.

    Of layers without children, and of those that count what they do themselves.
    """
    calls = []
    layers = reversed([*model.layers()])  # a layer that is there twice has the first of its names
    leaves = {la: name for name, la in layers if hasattr(la, "multiply_adds") or not any(la.children())}

    def recording(name, layer, forward):
        def call(*args, **kwargs):
            y, cache = y_and_cache(layer, forward(*args, **kwargs))
            first = y[0] if isinstance(y, tuple) else y
            macs = layer.multiply_adds(first.shape) if hasattr(layer, "multiply_adds") else 0
            calls.append((name, layer, first, macs))
            return y, cache

        return call

    try:
        for layer, name in leaves.items():
            layer.forward = recording(name, layer, layer.forward)  # an attribute of the object hides the class's method
        yield calls
    finally:
        for layer in leaves:
            del layer.forward


def _record_calls(model, x):
    """Those of one run on x."""
    with recorded(model) as calls:
        model.predict(x) if hasattr(model, "predict") else model(x)
    return calls
