"""A graph from a forward pass: arrays that write down what is computed with them.

`traced(layer, x)` runs layer(x) once, with `Traced` arrays in place of NumPy's. Layers that ONNX has an operator for
become one node (see onnx_layers.py); for all others the textbook's array code itself is written down, sum by sum. The
graph has the sizes of x: shapes, and whatever Python computes from them, are constants.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from nn.io.onnx_file import TYPES, Node

BINARY = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "power": "Pow", "matmul": "MatMul",
    "maximum": "Max", "minimum": "Min",
}  # fmt: skip
UNARY = {
    "negative": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "absolute": "Abs", "floor": "Floor",
    "reciprocal": "Reciprocal",
}  # fmt: skip
COMPARED = {
    "greater": "Greater", "less": "Less", "greater_equal": "GreaterOrEqual", "less_equal": "LessOrEqual",
    "equal": "Equal", "logical_and": "And", "logical_or": "Or", "logical_not": "Not",
    "bitwise_and": "And", "bitwise_or": "Or", "invert": "Not",
}  # fmt: skip


class NotExportable(ValueError):  # noqa: N818  (reads better where it is raised)
    """What a layer does has no counterpart among ONNX's operators; str() says what."""


class Graph:
    """Nodes and constants. names: of arrays that have one already, such as weights, by their id."""

    def __init__(self, names: Mapping[int, str]):
        self.names, self.nodes, self.constants, self.known = names, [], {}, {}
        self.layer = ""  # the dotted name of the layer at work, for the names of nodes

    def add(self, operator: str, inputs: Sequence, values: Sequence[np.ndarray], **attributes) -> list["Traced"]:
        """The outputs of a new node, whose values are known; inputs are Traced, or arrays, which become constants."""
        names = [self.name_of(each) for each in inputs]
        where = f"{self.layer}/{operator}" if self.layer else operator
        node = f"{where}_{len(self.nodes)}"
        outputs = [f"{node}:{i}" for i in range(len(values))]
        self.nodes.append(Node(node, operator, names, outputs, attributes))
        return [Traced(self, name, value) for name, value in zip(outputs, values)]

    def one(self, operator: str, inputs: Sequence, value: np.ndarray, **attributes) -> "Traced":
        """The output of a new node that has one."""
        return self.add(operator, inputs, [value], **attributes)[0]

    def name_of(self, value) -> str:
        """The name of a Traced or of a constant; "" for None, an input that is left out."""
        if value is None:
            return ""
        if isinstance(value, Traced):
            return value.name
        name = self.names.get(id(value))
        if name is None:
            name = f"constant_{len(self.constants)}"
        self.known[name] = value  # keeps it alive, and its id its own
        self.constants[name] = np.asarray(value)
        return name


class Traced(NDArrayOperatorsMixin):
    """An array with its value and its name in the graph. What is done with it that the graph cannot hold is refused."""

    def __init__(self, graph: Graph, name: str, value: np.ndarray):
        self.graph, self.name, self.value = graph, name, np.asarray(value)

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    real = property(lambda self: self)
    T = property(lambda self: self.transpose())

    def __getattr__(self, name):
        raise AttributeError(f"uses .{name} of an array")

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __array__(self, *args, **kwargs):
        raise NotExportable("copies elements into another array, which ONNX's operators cannot")

    def __bool__(self):
        raise NotExportable("branches by the values of an array")

    __float__ = __int__ = __bool__

    def __setitem__(self, index, value):
        raise NotExportable("changes an array in place")

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        name = ufunc.__name__
        if method != "__call__" or options or name not in BINARY | UNARY | COMPARED:
            raise NotExportable(f"uses np.{name}{'' if method == '__call__' else f'.{method}'}")
        dtypes = [each.dtype for each in inputs if isinstance(each, Traced)]
        arrays = [each if isinstance(each, Traced) else np.asarray(each, dtypes[0]) for each in inputs]
        value = ufunc(*map(value_of, arrays))
        return self.graph.one((BINARY | UNARY | COMPARED)[name], arrays, value)

    def __array_function__(self, function, types, args, kwargs):
        from nn.io.onnx_functions import FUNCTIONS  # here, since that file imports this one

        if function.__name__ not in FUNCTIONS:
            raise NotExportable(f"uses np.{function.__name__}")
        return FUNCTIONS[function.__name__](self.graph, *args, **kwargs)

    def reshape(self, *shape):
        """Reshape, to a tuple, or to sizes given one by one."""
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        value = self.value.reshape(shape)
        return self.graph.one("Reshape", [self, np.array(value.shape, np.int64)], value)

    def transpose(self, *axes):
        """Transpose; without axes they are reversed."""
        axes = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes or range(self.ndim)[::-1]
        axes = [int(axis) % self.ndim for axis in axes]
        return self.graph.one("Transpose", [self], self.value.transpose(axes), perm=axes)

    def swapaxes(self, a, b):
        """Transpose of two axes."""
        axes = list(range(self.ndim))
        axes[a], axes[b] = axes[b], axes[a]
        return self.transpose(axes)

    def astype(self, dtype, copy=True):
        """Cast, where the dtype is another."""
        return self if np.dtype(dtype) == self.dtype else self._cast(dtype)

    def _cast(self, dtype):
        """Cast to a dtype that ONNX knows."""
        return self.graph.one("Cast", [self], self.value.astype(dtype), to=TYPES[np.dtype(dtype).name])

    def copy(self):
        """The array itself: nothing is changed in place."""
        return self

    def sum(self, axis=None, keepdims=False):
        """ReduceSum."""
        axes = np.array(range(self.ndim) if axis is None else np.atleast_1d(axis), np.int64)
        value = self.value.sum(axis=axis, keepdims=keepdims)
        return self.graph.one("ReduceSum", [self, axes], value, keepdims=int(keepdims))

    def _reduced(self, operator, value, axis, keepdims):
        """A reduction whose axes are an attribute."""
        axes = [int(each) for each in (range(self.ndim) if axis is None else np.atleast_1d(axis))]
        return self.graph.one(operator, [self], value, axes=axes, keepdims=int(keepdims))

    def mean(self, axis=None, keepdims=False):
        """ReduceMean."""
        return self._reduced("ReduceMean", self.value.mean(axis=axis, keepdims=keepdims), axis, keepdims)

    def max(self, axis=None, keepdims=False, initial=None):
        """ReduceMax."""
        return self._reduced("ReduceMax", self.value.max(axis=axis, keepdims=keepdims), axis, keepdims)

    def min(self, axis=None, keepdims=False, initial=None):
        """ReduceMin."""
        return self._reduced("ReduceMin", self.value.min(axis=axis, keepdims=keepdims), axis, keepdims)

    def argmax(self, axis):
        """ArgMax."""
        return self.graph.one("ArgMax", [self], self.value.argmax(axis=axis), axis=int(axis), keepdims=0)

    def take(self, indices, axis):
        """Gather along an axis."""
        indices = np.asarray(indices, np.int64)
        return self.graph.one("Gather", [self, indices], self.value.take(indices, axis=axis), axis=int(axis))

    def __getitem__(self, index):
        return _indexed(self, index if isinstance(index, tuple) else (index,))


class Indices(Traced):
    """The indices that a MaxPool has given: ONNX counts them over the whole array, nn in each plane."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        raise NotExportable("computes with the indices of a pooling")

    def __array_function__(self, function, types, args, kwargs):
        raise NotExportable("computes with the indices of a pooling")


def value_of(x):
    """The NumPy array of a Traced, anything else as it is."""
    return x.value if isinstance(x, Traced) else x


def _indexed(x: Traced, index: tuple) -> Traced:
    """x[index] for integers, slices, None, ... and one array of integers."""
    if ... in [each for each in index if not hasattr(each, "shape")]:
        at, used = index.index(...), sum(each is not None for each in index) - 1
        index = index[:at] + (slice(None),) * (x.ndim - used) + index[at + 1 :]
    starts, ends, axes, steps, axis, gathered, value = [], [], [], [], 0, [], x.value
    for each in index:
        if isinstance(each, slice):
            start, end, step = each.indices(x.shape[axis])
            if (start, end, step) != (0, x.shape[axis], 1):
                end = -(2**31) if end < 0 else end  # a negative step down to the first element
                starts, ends, axes, steps = [*starts, start], [*ends, end], [*axes, axis], [*steps, step]
        elif isinstance(each, np.ndarray) and each.dtype.kind in "iu":
            gathered.append((axis, each))
        elif isinstance(each, (int, np.integer)):
            at = int(each) % x.shape[axis]
            starts, ends, axes, steps = [*starts, at], [*ends, at + 1], [*axes, axis], [*steps, 1]
        elif each is not None:
            raise NotExportable(f"indexes by {type(each).__name__}")
        axis += each is not None
    if len(gathered) > 1 and np.broadcast(*(each for _, each in gathered)).size != math.prod(
        each.size for _, each in gathered
    ):
        raise NotExportable("indexes by several arrays that are not a grid of rows and columns")
    y = x
    if axes:
        cut = tuple(slice(a, None if b < 0 else b, s) for a, b, s in zip(starts, ends, steps))
        whole = [slice(None)] * x.ndim
        for at, each in zip(axes, cut):
            whole[at] = each
        y = x.graph.one("Slice", [x, *(np.array(each, np.int64) for each in (starts, ends, axes, steps))],
                        value[tuple(whole)])  # fmt: skip
    for at, indices in gathered:
        y = y.take(indices.reshape(-1) if len(gathered) > 1 else indices, at)
    shape = x.value[index].shape
    return y if y.shape == shape else y.reshape(shape)
