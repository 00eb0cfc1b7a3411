"""What the page says of each pass: names and sizes, times, pictures, histograms, norms, the receptive field."""

from itertools import pairwise
from typing import Any

import numpy as np

from nn.layer import Layer
from nn.receptive_field import ALL, Field, receptive_fields
from nn.record import Pass, arrays_in
from scripts.inspection import pictures, source
from scripts.inspection.numbers import dead, parameter_norms, rounded, statistics, warnings
from scripts.inspection.passes import Seen, output_and_gradient
from vision import Model
from vision.backbones import Backbone

PIXELS = 6_000_000  # of all pictures of maps together: about 5 MB
LEAST, MOST = 2_500, 50_000  # of one picture
BARS, SOME = 256, 4  # elements of a vector that are drawn; vectors from which on all are drawn, as a matrix


class Facts:
    """The passes of a model as JSON-able dicts; pictures of one array are made once. fields: see fields_of; written:
    the arguments of each layer, by its id."""

    def __init__(self, seen: Seen, fields: dict, written: dict[int, str]):
        self.seen, self.drawn, self.pictures, self.fields, self.written = seen, {}, [], fields, written
        callers = {id(p.parent) for p in seen.passes}
        self.leaf = {id(p): id(p) not in callers for p in seen.passes}
        self.pixels = int(np.clip(PIXELS / (2 * max(1, len(seen.passes))), LEAST, MOST))

    def all(self) -> dict[str, Any]:
        """passes, pictures, kinds, and the film strip: of each leaf a tile of its output and one of its gradient."""
        passes = [self.of(p) for p in self.seen.passes]
        kinds = {type(p.layer).__name__: source.kind(p.layer) for p in self.seen.passes}
        leaves = self.seen.leaves
        strips = {
            name: pictures.strip([next(arrays_in(getattr(p, name)), None) for p in leaves]) for name in ("y", "dy")
        }
        return {
            "passes": passes, "pictures": self.pictures, "kinds": kinds,
            "leaves": [p.order for p in leaves], "strips": strips,
        }  # fmt: skip

    def of(self, p: Pass) -> dict[str, Any]:
        """One pass."""
        y, dy = output_and_gradient(p)
        kind, norms = type(p.layer).__name__, parameter_norms(unique(p.layer))
        of_y, of_dy = (None if a is None else statistics(a) for a in (y, dy))
        share, drawn = None if y is None else dead(y), self.draw(y)
        return {
            "order": p.order, "name": p.name or "(the model)", "kind": kind, "arguments": self.written[id(p.layer)],
            "depth": p.depth, "parent": None if p.parent is None else p.parent.order, "leaf": self.leaf[id(p)],
            "call": p.call, "training": p.training, "back": p.backward_order,
            "inputs": {name: shapes(value) for name, value in p.inputs.items() if [*arrays_in(value)]},
            "outputs": shapes(p.y), "parameters": norms, "macs": multiply_adds(p.layer, y),
            "ms": rounded(1e3 * p.seconds), "back_ms": rounded(1e3 * p.backward_seconds), "cache": p.cache_bytes,
            "y": of_y, "dy": of_dy, "dead": share, "y_picture": drawn, "dy_picture": self.draw(dy, True, drawn),
            "dx_norm": next((rounded(float(np.linalg.norm(a))) for a in arrays_in(p.dx)), None),
            "field": self.fields.get((p.name, p.call)), "warnings": warnings(of_y, of_dy, share, norms, kind),
        }  # fmt: skip

    def draw(self, x, both: bool | None = None, like: int | None = None):
        """The number of the array's picture among self.pictures; None for what is not drawn. like: that of the
        output, whose channels are drawn."""
        if x is None or not x.size or x.dtype.kind not in "fiub":
            return None
        if id(x) not in self.drawn:
            self.drawn[id(x)] = len(self.pictures)
            channels = () if like is None or x.ndim != 4 else self.pictures[like].get("channels", ())
            self.pictures.append(picture(x, self.pixels, both, channels))
        return self.drawn[id(x)]


def picture(x: np.ndarray, pixels: int, both: bool | None = None, channels=()) -> dict[str, Any]:
    """Maps of (N, C, H, W), of the first image or region; a matrix of sequences (T, N, D) or of (N, A, D); the bars of
    a vector (N, D), or a matrix where there are many of them."""
    if x.ndim == 4 and x.shape[2] * x.shape[3] > 1:
        return pictures.maps(x[0].astype(np.float32), pixels, both, channels)._asdict()
    x = x.astype(np.float32)
    if x.ndim == 3 or x.ndim > 4:
        time = x.ndim == 3 and x.shape[1] < x.shape[0]  # of few sequences
        plane = x[:, 0].T if time else x[0].reshape(len(x[0]), -1)
        return pictures.matrix(plane, pixels, both)._asdict() | {"time": time}
    rows = x.reshape(len(x), -1) if x.ndim > 1 else x.reshape(1, -1)
    if len(rows) > SOME and rows.shape[1] > 1:
        return pictures.matrix(rows, pixels, both)._asdict() | {"rows": len(rows)}
    return {"kind": "bars", "values": [rounded(v) for v in bars(rows[0])], "of": rows.shape[1]}


def bars(vector: np.ndarray) -> np.ndarray:
    """BARS elements at most: of each stretch the one of the largest magnitude."""
    if len(vector) <= BARS:
        return vector
    edges = np.linspace(0, len(vector), BARS + 1).astype(int)
    return np.array([vector[a:b][abs(vector[a:b]).argmax()] for a, b in pairwise(edges)])


def shapes(tree) -> list[list[int]]:
    """The shapes of the arrays in a nest."""
    return [list(a.shape) for a in arrays_in(tree)]


def unique(layer: Layer) -> dict:
    """The parameters of a layer, a tied one once."""
    return {id(p): p for p in layer.parameters().values()}


def multiply_adds(layer: Layer, y) -> int:
    """Those of one call whose (first) output is y, 0 for layers that count none."""
    return int(layer.multiply_adds(y.shape)) if hasattr(layer, "multiply_adds") and y is not None else 0


def fields_of(model: Model, batch: tuple) -> dict[tuple[str, int], Any]:
    """{(name of a layer, number of the call): [first, size, stride] along rows and columns, or "all"}.

    Of the model; where the whole cannot be written down as a graph, of the first of its parts that can.
    """
    images = next(arrays_in(batch), np.zeros(0))
    if images.ndim != 4 or images.shape[1] != 3:
        return {}
    shape = 1, *images.shape[1:]
    parts = [(name, layer) for name, layer in model.layers() if isinstance(layer, Backbone)]
    parts += [(name, layer) for name, layer in model.children() if any(layer.children())]
    for prefix, layer in [("", model), *parts]:
        try:
            found = receptive_fields(layer, shape)
        except (ValueError, TypeError, AttributeError, NotImplementedError, IndexError):
            continue  # it does not read images, or is not made of windows
        if any(found.values()):
            before = f"{prefix}." if prefix else ""
            return {(before + name, call): plain(field) for (name, call), field in found.items()}
    return {}


def plain(field: Field | str | None):
    """A receptive field as JSON."""
    if field is None or field == ALL:
        return field
    return [[float(axis.first), float(axis.size), float(axis.stride)] for axis in field]
