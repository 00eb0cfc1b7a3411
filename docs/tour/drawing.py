"""The few lines of drawing that the steps share. There is nothing to learn here."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle


def new(rows=1, columns=1, width=4.5, height=3.6):
    """A figure and its axes, row by row in one list."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def show(axes, picture, title="", **options):
    """A picture (H, W) in grey or (H, W, 3) in colour, without ticks."""
    axes.imshow(picture, **({"cmap": "gray"} | options))
    axes.set_title(title, fontsize="medium")
    axes.axis("off")


def draw_boxes(axes, boxes, colour, labels=(), style="-", width=1.5):
    """The outlines of boxes (K, 4), x1 y1 x2 y2 in pixels. imshow has the centre of pixel 0 at 0: half is taken off."""
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        corner = (x1 - 0.5, y1 - 0.5)
        axes.add_patch(
            Rectangle(corner, x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=style, linewidth=width)
        )
        if i < len(labels):
            axes.text(*corner, labels[i], color="white", backgroundcolor=colour, fontsize="x-small", clip_on=True)


def save(figure, out, name):
    """Write the figure to the folder `out`, with a legend wherever curves have labels, and say so."""
    for axes in figure.axes:
        if axes.get_legend_handles_labels()[0] and axes.get_legend() is None:
            axes.legend(fontsize="small")
    path = Path(out) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)
    print(f"the picture is {path}")


def save_scenes(out, name, scenes, boxes):
    """The first eight scenes with boxes found in green, the true ones in dashed white."""
    figure, axes = new(2, 4, width=2.5, height=2.5)
    for panel, scene, found in zip(axes, scenes, boxes):
        show(panel, scene["image"])
        draw_boxes(panel, found, "tab:green", width=3)
        draw_boxes(panel, scene["boxes"], "white", style="--")
    save(figure, out, name)


def save_masks(out, name, scenes, masks):
    """The first eight scenes, each with its masks (K, H, W) in red, green, blue, red, ..."""
    figure, axes = new(2, 4, width=2.5, height=2.5)
    for panel, scene, found in zip(axes, scenes, masks):
        picture = scene["image"] / 255
        for i, mask in enumerate(found):
            picture[mask] = 0.5 * picture[mask] + 0.5 * np.eye(3)[i % 3]
        show(panel, picture)
    save(figure, out, name)
