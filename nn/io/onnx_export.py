"""A model as an ONNX file: one forward pass is written down as a graph, see onnx_graph.py and onnx_layers.py."""

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from nn.config import config
from nn.io.onnx_file import Node, Value, write_onnx
from nn.io.onnx_graph import Graph, NotExportable, Traced, value_of
from nn.io.onnx_layers import EMITTERS
from nn.layer import Layer, y_and_cache


def export_onnx(
    model: Layer,
    images: np.ndarray,
    path: str | os.PathLike,
    compute: Callable[..., Mapping[str, np.ndarray]] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """Write what `compute` does with images of this shape to an ONNX file; returns its results for these images.

    compute: images -> arrays by name; default: {"y": model(images)}. The input is called "images", and the graph has
    the shape of these: another size needs another file. Weights keep their names. metadata: text by name.

    Raises ValueError naming the layer where something has no counterpart among ONNX's operators.
    """
    images = np.asarray(images, np.float32)
    graph, results = trace(model, images, compute or (lambda x: {"y": model(x)}))
    for name, result in results.items():
        if not isinstance(result, Traced):
            raise ValueError(f"{type(model).__name__} has no ONNX form: {name} does not depend on the images")
        graph.nodes.append(Node(name, "Identity", [result.name], [name], {}))
    nodes = _needed(graph.nodes, set(results))
    used = {name for node in nodes for name in node.inputs}
    write_onnx(
        path,
        nodes,
        [Value("images", images.shape, images.dtype)],
        [Value(name, result.shape, result.dtype) for name, result in results.items()],
        {name: array for name, array in graph.constants.items() if name in used},
        metadata,
    )
    return {name: result.value for name, result in results.items()}


def trace(model: Layer, images: np.ndarray, compute: Callable[..., Mapping]) -> tuple[Graph, Mapping]:
    """(graph, results) of compute(images). Raises ValueError as export_onnx."""
    graph, plain = Graph({id(array): name for name, array in model.state_dict().items()}), config.plain
    config.plain = True  # the textbook's array code can be written down
    try:
        with _intercepted(graph, {id(layer): name for name, layer in model.layers()}):
            return graph, compute(Traced(graph, "images", images))
    except (NotExportable, TypeError, AttributeError, NotImplementedError) as error:
        raise ValueError(f"{type(model).__name__} has no ONNX form: {_where(error, model)} {error}") from error
    finally:
        config.plain = plain


@contextmanager
def _intercepted(graph: Graph, names: Mapping[int, str]) -> Iterator[None]:
    """Layers with an operator of their own add it in the block, in place of their array code."""
    own = {kind: vars(kind).get("forward") for kind in EMITTERS}  # None: it is inherited

    def intercepting(forward, emit):
        def call(layer, *inputs, **options):
            if not any(isinstance(x, Traced) for x in inputs):
                return forward(layer, *inputs, **options)
            plain, config.plain, graph.layer = config.plain, False, names.get(id(layer), type(layer).__name__)
            try:
                values = {name: value_of(x) for name, x in options.items()}
                y, _ = y_and_cache(layer, forward(layer, *map(value_of, inputs), **values))
            finally:
                config.plain = plain
            arrays = [x for x in inputs if isinstance(x, (Traced, np.ndarray))]
            emitted = emit(graph, layer, y, *arrays)
            graph.layer = ""
            return forward(layer, *inputs, **options) if emitted is None else (emitted, None)

        return call

    try:
        for kind, forward in {kind: kind.forward for kind in EMITTERS}.items():
            kind.forward = intercepting(forward, EMITTERS[kind])
        yield
    finally:
        for kind, forward in own.items():
            if forward is None:
                del kind.forward
            else:
                kind.forward = forward


def _where(error, model):
    """The layer at work when the error was raised: "layer3.0 (DeformConv2d)"."""
    names, where = {id(layer): name for name, layer in model.layers()}, type(model).__name__
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for owner in (frame.f_locals.get("self"), frame.f_locals.get("layer")):
            if not isinstance(owner, Layer):
                continue
            name = names.get(id(owner))
            where = f"{name} ({type(owner).__name__})" if name else type(owner).__name__
    return where


def _needed(nodes, wanted):
    """The nodes that the wanted values depend on, in order."""
    wanted, kept = set(wanted), []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]
