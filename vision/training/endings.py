"""How training ends before its end: it was asked to, it diverged, or something failed and the run is kept."""

import contextlib
import math
from collections.abc import Iterator, Mapping

from nn.layer import Layer
from vision.training.interruption import OutOfMemory


class Diverged(ValueError):  # noqa: N818
    """A loss, gradient or weight is no longer finite. The checkpoint before it is kept."""


class Stopped(Exception):  # noqa: N818  (not an error: it was asked for)
    """Training ended early, by `signal` (Ctrl-C) or time limit (None); str() says up to which step the run is saved."""

    def __init__(self, message: str, signal: int | None = None):
        super().__init__(message)
        self.signal = signal


def check_finite(values: Mapping[str, float], where: str):
    """Raise Diverged, which begins with `where` and lists all values, unless every one is finite."""
    if not all(math.isfinite(value) for value in values.values()):
        shown = ", ".join(f"{name} {value:g}" for name, value in values.items())
        raise Diverged(f"{where}: not finite: {shown}")


def with_advice(error: Exception, advice: str) -> Exception:
    """The same kind of error with advice behind its message: of an OSError, a ValueError or a MemoryError."""
    if isinstance(error, OSError):
        what = f"{error.strerror or error}; {advice}"
        return OSError(error.errno or 0, what, *([error.filename] if error.filename is not None else []))
    kind = OutOfMemory if isinstance(error, MemoryError) else ValueError
    return kind(f"{error}; {advice}")


class Undo:
    """`with undo():` buffers and generators of the model are as before if the block raises: a step that fails leaves no
    trace in them. `with undo(always=True):` they are as before in any case."""

    def __init__(self, model: Layer):
        self.generators = list(model.generators().values())
        self.buffers = [
            (layer, name)
            for _, layer in model.layers()
            for name in layer.buffers
            if getattr(layer, name, None) is not None
        ]

    @contextlib.contextmanager
    def __call__(self, always: bool = False) -> Iterator[None]:
        states = [generator.bit_generator.state for generator in self.generators]
        arrays = [getattr(layer, name).copy() for layer, name in self.buffers]
        undone = True
        try:
            yield
            undone = always
        finally:
            for (layer, name), array in zip(self.buffers, arrays) if undone else ():
                setattr(layer, name, array)
            for generator, state in zip(self.generators, states) if undone else ():
                generator.bit_generator.state = state
