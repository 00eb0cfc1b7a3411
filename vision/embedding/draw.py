"""Pictures of embeddings: maps with thumbnails, and sheets of what is found for each query."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from nn.layer import check_shape
from vision.detection.draw import COLOURS
from vision.figures import pixels

SIDE, FRAME, GAP = 64, 4, 6  # pixels of a thumbnail, of the frame around it, and between two
RIGHT, WRONG, NEUTRAL = (20, 150, 60), (205, 40, 50), (120, 120, 120)
CELLS = 14  # thumbnails along each axis of a map at most


def draw_retrieval(
    queries: Sequence[np.ndarray], found: Sequence[Sequence[np.ndarray]], right: Sequence[Sequence[bool]] | None = None
) -> np.ndarray:
    """A sheet (H, W, 3) uint8: a row for each query, first the query, then what is found, the most similar first.

    queries and found: images (H_i, W_i, 3) uint8. right: frames are green where True, red where False; grey without.
    Raises ValueError for no queries, and for lists of different lengths.
    """
    if not len(queries) or len(found) != len(queries) or (right is not None and len(right) != len(queries)):
        raise ValueError(f"draw_retrieval: needs queries and a list for each, got {len(queries)} and {len(found)}")
    rows = []
    for i, query in enumerate(queries):
        frames = [NEUTRAL] * len(found[i]) if right is None else [RIGHT if hit else WRONG for hit in right[i]]
        images = [thumbnail(query, NEUTRAL), *(thumbnail(*pair) for pair in zip(found[i], frames, strict=True))]
        rows.append(images)
    columns, cell = max(map(len, rows)), SIDE + 2 * FRAME
    sheet = np.full((len(rows) * (cell + GAP) + GAP, columns * (cell + GAP) + 4 * GAP, 3), 255, np.uint8)
    for i, images in enumerate(rows):
        for j, image in enumerate(images):
            y, x = GAP + i * (cell + GAP), GAP + j * (cell + GAP) + (2 * GAP if j else 0)
            sheet[y : y + cell, x : x + cell] = image
    return sheet


def thumbnail(image: np.ndarray, frame: tuple[int, int, int] | None = None, side: int = SIDE) -> np.ndarray:
    """The image (H, W, 3) uint8 in a square (side, side, 3), white around it, and within a frame of a colour if any."""
    scale = side / max(image.shape[:2])
    h, w = (max(1, round(length * scale)) for length in image.shape[:2])
    filter = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BILINEAR
    square, y, x = np.full((side, side, 3), 255, np.uint8), (side - h) // 2, (side - w) // 2
    square[y : y + h, x : x + w] = np.asarray(Image.fromarray(image).resize((w, h), filter))
    if frame is None:
        return square
    framed = np.empty((side + 2 * FRAME, side + 2 * FRAME, 3), np.uint8)
    framed[...] = frame
    framed[FRAME:-FRAME, FRAME:-FRAME] = square
    return framed


def draw_map(
    points: np.ndarray, labels: np.ndarray, classes: Sequence[str], images: Sequence[np.ndarray] = (), title: str = ""
) -> np.ndarray:
    """A map (H, W, 3) uint8: a dot for each of points (N, 2) or (N, 3), in the colour of its label, and thumbnails.

    images: of the points, in their order; one is shown in each cell of a grid over the map that holds points, in a
    frame of its label's colour. Points of three dimensions are turned so that their longest axis is upright, and drawn
    from the side and from above, without thumbnails. Raises ValueError for points of another shape.
    """
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    check_shape("draw_map", points=(points, ("N", None)))
    if points.shape[1] not in (2, 3):
        raise ValueError(f"draw_map: points must have shape (N, 2) or (N, 3), got {points.shape}")
    figure = Figure(figsize=(10, 10) if points.shape[1] == 2 else (16, 8), layout="constrained")
    if points.shape[1] == 2:
        _flat(figure.subplots(), points, labels, classes, images)
    else:
        points = upright(points)
        for k, (elevation, azimuth) in enumerate(((15, 30), (90, 0))):
            view = {"elev": elevation, "azim": azimuth, "proj_type": "ortho"}
            axes = figure.add_subplot(1, 2, k + 1, projection="3d", **view)
            axes.set_box_aspect(np.ptp(points, axis=0) + 1e-9)
            for label in np.unique(labels):
                axes.scatter(*points[labels == label].T, color=colour_of(label, classes), s=8)
        axes.set_zticks([])  # seen from above
    figure.suptitle(title)
    return pixels(figure)


def _flat(axes, points, labels, classes, images):
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    for label in np.unique(labels):
        name = classes[label] if len(classes) <= len(COLOURS) else None
        axes.scatter(*points[labels == label].T, color=colour_of(label, classes), s=6, label=name)
    for i in spread_out(points) if len(images) else ():
        frame = {"edgecolor": colour_of(labels[i], classes), "linewidth": 1.5, "boxstyle": "square,pad=0"}
        picture = OffsetImage(thumbnail(images[i], side=28), zoom=1)
        axes.add_artist(AnnotationBbox(picture, points[i], pad=0, bboxprops=frame))
    axes.set_aspect("equal", "datalim")
    if len(classes) <= len(COLOURS):
        axes.legend(markerscale=4)


def upright(points: np.ndarray) -> np.ndarray:
    """Points (N, 3) from their mean, turned so that the third coordinate is their longest principal axis."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    return centred @ axes[[1, 2, 0]].T


def colour_of(label: int, classes: Sequence[str]) -> tuple[float, float, float]:
    """The colour of a label, 0 .. 1: of few classes far apart, of many around the circle of hues."""
    if len(classes) <= len(COLOURS):
        return tuple(value / 255 for value in COLOURS[label])
    from matplotlib.colors import hsv_to_rgb

    return tuple(hsv_to_rgb((label / len(classes), 0.9, 0.8)))


def spread_out(points: np.ndarray) -> list[int]:
    """For each cell of a grid over points (N, 2) that holds some, the index of the first one in it."""
    low, high = points.min(axis=0), points.max(axis=0)
    cells = np.minimum((points - low) / np.maximum(high - low, 1e-12).max() * CELLS, CELLS - 1).astype(int)
    return np.unique(cells, axis=0, return_index=True)[1].tolist()


def draw_roc(wrong: np.ndarray, right: np.ndarray, area: float) -> np.ndarray:
    """The ROC (H, W, 3) uint8 of verification: rates of false and of true acceptance."""
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    axes.plot(wrong, right, color="black")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.set(xlabel="false acceptance", ylabel="true acceptance", title=f"verification: area {area:.4f}")
    axes.grid(alpha=0.3)
    return pixels(figure)
