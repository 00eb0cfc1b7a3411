"""Figures of matplotlib as arrays, and as PNG files."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nn.io.checkpoint import replacing


def pixels(figure) -> np.ndarray:
    """The figure as (H, W, 3) uint8."""
    canvas = _canvas(figure)
    with _any_letters():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_png(figure, path: Path) -> None:
    """Write the figure to a file, whole or not at all; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _any_letters(), replacing(path) as file:
        _canvas(figure).print_png(file)


def _canvas(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # imported here: matplotlib takes long to load

    return FigureCanvasAgg(figure)


@contextmanager
def _any_letters() -> Iterator[None]:
    """No warning about letters, such as those of a Korean folder, that the font does not have: they become boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield
