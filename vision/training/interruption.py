"""Around a training loop: interrupts wait for the end of a step, and an out-of-memory error names its layer."""

import contextlib
import linecache
import os
import signal
import threading
import traceback
import warnings

from nn.layer import Layer

MESSAGE = b"\nfinishing this step and saving (once more: stop at once) ...\n"


@contextlib.contextmanager
def interrupts_wait():
    """Yields a list. Ctrl-C or SIGTERM adds its number to it instead of interrupting the block; a second one does."""
    caught = []

    def note(number, frame):
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        os.write(2, MESSAGE)  # print is not safe in a handler

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield caught
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def overflow_unwarned():
    """No NumPy warnings of overflow and NaN: Diverged names both. (np.errstate does not reach the layers' threads.)"""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(overflow|invalid value|divide by zero) encountered", RuntimeWarning)
        yield


class OutOfMemory(MemoryError):  # noqa: N818  (a name like that of vision.training.trainer.Diverged)
    """No memory is left, on the CPU or the GPU: str() says for what, in which layer, and what to reduce."""


@contextlib.contextmanager
def memory_explained(model: Layer):
    """Turn a MemoryError of NumPy or CuPy in the block into OutOfMemory, with the layer at work from the traceback."""
    try:
        yield
    except MemoryError as error:  # CuPy's error is one, too
        raise OutOfMemory(_explained(error, model)) from error


def _explained(error, model):
    """The error's text (how much was wanted), the layer with its inputs, the line, and what to do."""
    names = {id(layer): name or "the model itself" for name, layer in model.layers()}
    layer, line, last = "no layer (gradients, optimiser or batch)", "", None
    for frame, number in traceback.walk_tb(error.__traceback__):
        package, code = frame.f_globals.get("__name__", "").split(".")[0], frame.f_code
        owner, given = frame.f_locals.get("self"), code.co_varnames[1 : code.co_argcount]
        if id(owner) in names and owner is not last:  # not the helpers that its forward calls
            last = owner
            arrays = [(name, frame.f_locals.get(name)) for name in given]
            shapes = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in arrays if hasattr(a, "shape"))
            layer = f"{names[id(owner)]} ({type(owner).__name__}.{code.co_name}{f' of {shapes}' if shapes else ''})"
        if package in ("nn", "vision"):
            source = linecache.getline(code.co_filename, number).strip()
            line = f", at {os.path.basename(code.co_filename)}:{number}: {source}"
    return (
        f"{str(error).rstrip('.')}: in {layer}{line}; make the batch or its images (texts) smaller, or take a "
        "smaller model"
    )
