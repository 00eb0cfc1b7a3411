"""ONNX files, written without a package: a graph of operators as a protocol buffer.

A protocol buffer is a list of fields. Each has a key, (field number << 3) | kind, and a value; the kinds used here are
0, an integer in 7 bits a byte, lowest first ("varint"), 2, bytes after their length, and 5, a float in 4 bytes. A
message inside a message is bytes. So the whole format is `varint`, `field` and the numbers of the fields.

Reference: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (the field numbers) and docs/Operators.md.
"""

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nn.io.checkpoint import replacing

IR_VERSION, OPSET = 8, 17  # of onnx 1.12: what all readers of today take
TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float64": 11}  # TensorProto.DataType
MOST = 2**31 - 1  # bytes of a protocol buffer


class Node(NamedTuple):
    """One operator: its inputs and outputs are names of values."""

    name: str
    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Any]


class Value(NamedTuple):
    """The name, shape and dtype of an input or output of the graph."""

    name: str
    shape: Sequence[int]
    dtype: np.dtype


def write_onnx(
    path: str | os.PathLike,
    nodes: Sequence[Node],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
):
    """Write a model: nodes in the order of their computation, constants (weights) by name.

    The file is replaced in one step. Raises ValueError where it would be longer than 2 GB, the format's limit.
    """
    graph = [(1, message(_node(node))) for node in nodes] + [(2, b"handwritten")]
    graph += [(5, message(_tensor(array, name))) for name, array in constants.items()]
    graph += [(11, message(_value(value))) for value in inputs] + [(12, message(_value(value))) for value in outputs]
    model = [(1, IR_VERSION), (2, b"handwritten-vision"), (7, message(graph)), (8, message([(1, b""), (2, OPSET)]))]
    model += [(14, message([(1, name.encode()), (2, text.encode())])) for name, text in (metadata or {}).items()]
    content = message(model)
    if len(content) > MOST:
        raise ValueError(f"{path}: the model takes {len(content):,} bytes, and ONNX files have {MOST:,} at most")
    with replacing(path) as file:
        file.write(content)


def varint(number: int) -> bytes:
    """7 bits a byte, lowest first; the 8th bit says that more follow. Negative numbers are those of 64 bits."""
    number, parts = number % 2**64, bytearray()
    while number > 127:
        parts.append(number % 128 + 128)
        number //= 128
    return bytes([*parts, number])


def field(number: int, value: int | float | bytes) -> bytes:
    """A key and its value, whose type says the kind."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def message(fields: Sequence[tuple[int, Any]]) -> bytes:
    """The fields (number, value), one after another."""
    return b"".join(field(number, value) for number, value in fields)


def _node(node: Node):
    yield from ((1, name.encode()) for name in node.inputs)
    yield from ((2, name.encode()) for name in node.outputs)
    yield from ((3, node.name.encode()), (4, node.operator.encode()))
    yield from ((5, message(_attribute(*item))) for item in node.attributes.items())


def _attribute(name, value):
    """AttributeProto: a field by the type of the value, and the number of that type."""
    yield 1, name.encode()
    if isinstance(value, str):
        yield from ((4, value.encode()), (20, 3))
    elif isinstance(value, float):
        yield from ((2, value), (20, 1))
    elif isinstance(value, int):
        yield from ((3, value), (20, 2))
    else:
        yield from ((8, int(each)) for each in value)
        yield 20, 7


def _tensor(array: np.ndarray, name: str):
    yield from ((1, size) for size in array.shape)
    yield from ((2, TYPES[array.dtype.name]), (8, name.encode()))
    yield 9, array.astype(array.dtype.newbyteorder("<")).tobytes()


def _value(value: Value):
    """ValueInfoProto: the name, and TypeProto.tensor_type with the type of the elements and the shape."""
    shape = message([(1, message([(1, size)])) for size in value.shape])
    yield 1, value.name.encode()
    yield 2, message([(1, message([(1, TYPES[np.dtype(value.dtype).name]), (2, shape)]))])
