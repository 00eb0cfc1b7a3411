"""NumPy's functions on traced arrays: each adds its nodes to the graph, and gives the value, too."""

import math
from typing import Any

import numpy as np

from nn.io.onnx_graph import Graph, NotExportable, Traced, value_of


def concatenate(graph: Graph, arrays, axis=0):
    """np.concatenate: Concat."""
    return graph.one("Concat", arrays, np.concatenate([value_of(each) for each in arrays], axis=axis), axis=int(axis))


def stack(graph: Graph, arrays, axis=0):
    """np.stack: a new axis for each array, then Concat."""
    return concatenate(graph, [each[(slice(None),) * axis + (None,)] for each in arrays], axis)


def pad(graph: Graph, x, widths, mode="constant", constant_values=0, **options):
    """np.pad with a constant, the edge, or mirrored: Pad."""
    if options or mode not in ("constant", "reflect", "edge"):
        raise NotExportable(f"uses np.pad with mode {mode!r}")
    value = np.pad(x.value, widths, mode=mode, **({"constant_values": constant_values} if mode == "constant" else {}))
    pairs = np.broadcast_to(widths, (x.ndim, 2))
    inputs = [x, pairs.T.reshape(-1).astype(np.int64)]
    if mode == "constant":
        inputs.append(np.array(constant_values, x.dtype))
    return graph.one("Pad", inputs, value, mode=mode)


def where(graph: Graph, condition, a, b):
    """np.where: Where; a number takes the dtype of the array."""
    dtype = next(each.dtype for each in (a, b) if isinstance(each, Traced))
    a, b = (each if isinstance(each, Traced) else np.asarray(each, dtype) for each in (a, b))
    return graph.one("Where", [condition, a, b], np.where(*map(value_of, (condition, a, b))))


def split(graph: Graph, x, parts, axis=0):
    """np.split and np.array_split: a Slice for each part."""
    ends = [*parts, x.shape[axis]] if isinstance(parts, (list, tuple)) else [
        (i + 1) * x.shape[axis] // parts for i in range(parts)
    ]  # fmt: skip
    before = (slice(None),) * axis
    return [x[(*before, slice(a, b))] for a, b in zip([0, *ends[:-1]], ends)]


def broadcast_to(graph: Graph, x, shape):
    """np.broadcast_to: Expand."""
    return graph.one("Expand", [x, np.array(shape, np.int64)], np.broadcast_to(x.value, shape))


def clip(graph: Graph, x, low, high):
    """np.clip: Clip."""
    bounds = [None if each is None else np.asarray(each, x.dtype) for each in (low, high)]
    return graph.one("Clip", [x, *bounds], np.clip(x.value, *bounds))


FUNCTIONS: dict[str, Any] = {
    "concatenate": concatenate, "stack": stack, "pad": pad, "where": where, "split": split, "clip": clip,
    "broadcast_to": broadcast_to,
    "mean": lambda graph, x, axis=None, keepdims=False: x.mean(axis, keepdims),
    "sum": lambda graph, x, axis=None, keepdims=False: x.sum(axis, keepdims),
    "amax": lambda graph, x, axis=None, keepdims=False: x.max(axis, keepdims),
    "max": lambda graph, x, axis=None, keepdims=False: x.max(axis, keepdims),
    "argmax": lambda graph, x, axis: x.argmax(axis),
    "reshape": lambda graph, x, shape: x.reshape(shape),
    "transpose": lambda graph, x, axes=None: x.transpose(*(axes or ())),
    "swapaxes": lambda graph, x, a, b: x.swapaxes(a, b),
    "moveaxis": lambda graph, x, a, b: x.transpose(np.moveaxis(np.arange(x.ndim), a, b).tolist()),
    "squeeze": lambda graph, x, axis=None: x.reshape(np.squeeze(x.value, axis).shape),
    "expand_dims": lambda graph, x, axis: x.reshape(np.expand_dims(x.value, axis).shape),
    "take": lambda graph, x, indices, axis: x.take(indices, axis),
    "ndim": lambda graph, x: x.ndim,
    "shape": lambda graph, x: x.shape,
    "size": lambda graph, x: math.prod(x.shape),
    "copy": lambda graph, x: x,
    "result_type": lambda graph, *each: np.result_type(*(value_of(x) for x in each)),
}  # fmt: skip
