"""The receptive field of each layer: which pixels of the image one cell of its output depends on.

A cell r of a map sees the pixels first + r stride ... first + r stride + size - 1 along an axis; its centre, in pixels
of the image, is offset + r stride. They follow from layer to layer: a window of k cells, d apart, makes

    size' = size + (k - 1) d stride,   first' = first - padding stride,   stride' = s stride

and where two maps are added or concatenated, a cell sees what either of them sees. At the border of the image a part of
the field lies in the padding. What is computed from which is taken from the model's graph, see nn.io.onnx_graph.

Reference: Araujo et al. 2019, Computing receptive fields of convolutional neural networks, Distill,
doi:10.23915/distill.00021.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from nn.io.onnx_export import trace
from nn.io.onnx_file import Node
from nn.io.onnx_graph import Traced
from nn.layer import Layer
from nn.summary import recorded

POINTWISE = set(
    "Add Sub Mul Div Pow Max Min Neg Exp Log Sqrt Tanh Abs Floor Reciprocal Relu Clip LeakyRelu PRelu Elu Sigmoid "
    "Softplus Softmax LogSoftmax LRN BatchNormalization Identity Where Greater Less GreaterOrEqual LessOrEqual Equal "
    "And Or Not Cast Concat Expand".split()
)


class Axis(NamedTuple):
    """Along one axis: the first pixel that cell 0 sees, how many a cell sees, and how far the next cell is."""

    first: Fraction
    size: Fraction
    stride: Fraction

    @property
    def offset(self) -> float:
        """The centre of what cell 0 sees, in pixels: 0 is the centre of the first one."""
        return float(self.first + (self.size - 1) / 2)


class Field(NamedTuple):
    """Of a layer's cells, along rows and columns."""

    rows: Axis
    columns: Axis


ALL = "all"  # a cell sees the whole image
PIXEL = Axis(Fraction(0), Fraction(1), Fraction(1))


def receptive_fields(model: Layer, input_shape: tuple[int, ...]) -> dict[tuple[str, int], Field | str | None]:
    """{(dotted name, n): field} of the n-th call of each layer that holds no others, for images of this shape.

    "all": its cells see the whole image; None: not known, as windows do not lie on a grid there. {} for a model whose
    graph cannot be written down.
    """
    if len(input_shape) != 4:
        return {}
    calls, found, counts = [], {}, {}

    def compute(images):
        with recorded(model) as seen:
            results = model.dense(images) if hasattr(model, "dense") else {"y": model(images)}
        calls.extend(seen)
        return results

    try:
        graph, _ = trace(model, np.zeros(input_shape, np.float32), compute)
    except ValueError:  # it cannot be written down
        return {}
    fields = {"images": Field(PIXEL, PIXEL)}
    for node in graph.nodes:
        fields |= dict.fromkeys(node.outputs, _after(node, fields, graph.constants))
    for name, _, y, _ in calls:
        counts[name] = counts.get(name, -1) + 1
        if isinstance(y, Traced):
            found[name, counts[name]] = fields.get(y.name) if y.ndim == 4 else ALL
    return found


def _after(node: Node, fields, constants):
    """The field of what a node gives."""
    seen = [fields[name] for name in node.inputs if name in fields]
    a, operator = node.attributes, node.operator
    if not seen or None in seen:
        return None if None in seen else Field(PIXEL, PIXEL)
    if ALL in seen or operator in ("Gemm", "GlobalAveragePool"):
        return ALL
    if operator in POINTWISE:
        return _union(seen) if a.get("axis", 1) == 1 else None
    if operator in ("Conv", "MaxPool", "AveragePool", "ConvTranspose"):
        kernel, steps = a["kernel_shape"], a.get("strides", (1, 1))
        dilations, pads = a.get("dilations", (1, 1)), a.get("pads", (0,) * 4)
        step = _enlarged if operator == "ConvTranspose" else _windowed
        return Field(*(step(*each) for each in zip(seen[0], kernel, steps, dilations, pads)))
    if operator.startswith("Reduce"):
        axes = a.get("axes") or constants.get(node.inputs[-1], np.array([])).tolist()
        return ALL if {2, 3} & {*axes} else seen[0]
    if operator == "Pad":
        before = constants[node.inputs[1]][2:4].tolist()
        return Field(*(each._replace(first=each.first - n * each.stride) for each, n in zip(seen[0], before)))
    if operator == "Slice":
        return _cut(seen[0], *(constants[name].tolist() for name in node.inputs[1:]))
    return None


def _windowed(axis: Axis, k, s, d, padding) -> Axis:
    return Axis(axis.first - padding * axis.stride, axis.size + (k - 1) * d * axis.stride, s * axis.stride)


def _enlarged(axis: Axis, k, s, d, padding) -> Axis:
    """Of a transposed convolution: cell o is made of the cells i with o = i s - padding + j d for a j < k.

    These are (o + padding - (k - 1) d) / s <= i <= (o + padding) / s: which of them are whole depends on o. Those that
    some o sees are taken, so that the field is the largest one.
    """
    reach = Fraction((k - 1) * d, s)
    most = math.floor(reach) + 1 if d == 1 else k
    middle = (padding - Fraction((k - 1) * d, 2)) / s
    size = axis.size + (most - 1) * axis.stride
    return Axis(axis.first + (axis.size - size) / 2 + middle * axis.stride, size, axis.stride / s)


def _union(fields):
    """What any of them sees, None where their cells lie on other grids."""
    if any(len({axis.stride for axis in axes}) > 1 for axes in zip(*fields)):
        return None
    both = []
    for axes in zip(*fields):
        first = min(axis.first for axis in axes)
        both.append(Axis(first, max(axis.first + axis.size for axis in axes) - first, axes[0].stride))
    return Field(*both)


def _cut(field, starts, ends, axes, steps):
    """Of a slice: the grid begins later, and leaves cells out."""
    both = list(field)
    for start, axis, step in zip(starts, axes, steps):
        if axis >= 2 and step < 0:
            return None
        if axis >= 2:
            old = both[axis - 2]
            both[axis - 2] = old._replace(first=old.first + start * old.stride, stride=step * old.stride)
    return Field(*both)
