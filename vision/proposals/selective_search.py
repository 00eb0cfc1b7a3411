"""Selective Search: segments grow together, most similar neighbours first; the box of every segment is a proposal.

Reference: Uijlings, van de Sande, Gevers and Smeulders 2013, Selective search for object recognition, IJCV 104 (2),
doi:10.1007/s11263-013-0620-5. The segments to begin with: Felzenszwalb and Huttenlocher 2004.
"""

from dataclasses import dataclass

import numpy as np

from vision.proposals.colour import SPACES
from vision.proposals.grouping import Regions, group
from vision.proposals.method import ProposalOptions, method, ranked
from vision.segmentation.segment_tree import superpixels

COLOUR_BINS, TEXTURE_BINS, ORIENTATIONS = 25, 10, 8  # sec. 3.2: 25 bins a channel; 8 orientations of 10 bins a channel


@dataclass(frozen=True)
class FastOptions(ProposalOptions):
    """Sec. 5.3, table 4, "fast": 8 strategies."""

    spaces: tuple[str, ...] = ("hsv", "lab")  # colour spaces
    measures: tuple[str, ...] = ("CTSF", "TSF")  # similarities added up: colour, texture, size, fill
    scales: tuple[int, ...] = (50, 100)  # k of the graph segmentation, and its smallest segment in pixels
    min_side: int = 20  # narrower and lower boxes are left out, in pixels, as by the authors' code


@dataclass(frozen=True)
class QualityOptions(FastOptions):
    """Sec. 5.3, table 4, "quality": 80 strategies."""

    spaces: tuple[str, ...] = ("hsv", "lab", "rgi", "hue", "intensity")  # colour spaces
    measures: tuple[str, ...] = ("CTSF", "TSF", "F", "S")  # similarities added up: colour, texture, size, fill
    scales: tuple[int, ...] = (50, 100, 150, 300)  # k of the graph segmentation, and its smallest segment in pixels
    count: int = 10000  # boxes at most


PAPER = "Uijlings et al. 2013, doi:10.1007/s11263-013-0620-5"


@method("selective_search_quality", QualityOptions, needs=("skimage",), paper=PAPER)
@method("selective_search_fast", FastOptions, needs=("skimage",), paper=PAPER)
def selective_search(options: FastOptions):
    """Selective Search of an image by all its strategies."""
    _check("colour space", options.spaces, SPACES)
    for measure in options.measures:
        _check("similarity", measure, "CTSF")
    if min(options.scales, default=0) < 1:
        raise ValueError(f"selective_search: scales must be at least 1, got {list(options.scales)}")
    return lambda image: propose(image, options)


def propose(image: np.ndarray, options: FastOptions) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (K, 4) and scores (K,), minus their rank values, of (H, W, 3) uint8.

    A box that was found more than once keeps its lowest rank value: see rank_values.
    """
    rng, found = np.random.default_rng(options.seed), []
    for space in options.spaces:
        pixels = SPACES[space](image)
        channels = histogram_channels(pixels)
        for scale in options.scales:
            regions = describe(initial_segments(pixels, scale), *channels)
            for measure in options.measures:
                boxes = group(regions, measure).boxes
                found.append((boxes, -rank_values(len(boxes), rng)))
    return ranked(*map(np.concatenate, zip(*found)), options.min_side)


def rank_values(nodes: int, rng: np.random.Generator) -> np.ndarray:
    """(nodes,): the position of each region of a tree of merging times a random number, so that large regions do not
    always come first (sec. 4.3).

    The region merged last, the whole image, has position 1, the one before it 2, and so on. The initial segments, which
    nothing puts in order, all have the position behind the merged ones, as in the authors' code.
    """
    return np.minimum(np.arange(nodes, 0, -1), (nodes + 1) // 2) * rng.random(nodes)


def initial_segments(pixels: np.ndarray, scale: int) -> np.ndarray:
    """(H, W): the graph segments of (H, W, C) in 0 .. 1, C 1 or 3; by Euclidean distances, of one channel three times
    over, as in the authors' code."""
    return superpixels(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), scale)


def histogram_channels(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bins of each pixel in its histograms: colour (H, W, C) and texture (H, W, 8 C), of (H, W, C) in 0 .. 1.

    Texture: derivatives by a Gaussian of sigma 1 along 8 directions, 45 degrees apart, each where it is positive; the
    bins reach from 0 to the largest of the image. The paper does not say how far they reach; the authors' code takes
    sigma 0.8 and bins up to 0.43, and the first channel in place of each.
    """
    colour = np.minimum((np.clip(pixels, 0, 1) * COLOUR_BINS).astype(np.int64), COLOUR_BINS - 1)
    dx, dy = gaussian_derivative(pixels, axis=1), gaussian_derivative(pixels, axis=0)
    angles = 2 * np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS
    slopes = [np.maximum(np.cos(a) * dx + np.sin(a) * dy, 0) for a in angles]
    largest = max(np.max(slopes), 1e-12)
    texture = np.concatenate([(s * (TEXTURE_BINS / largest)).astype(np.int64) for s in slopes], axis=2)
    return colour, np.minimum(texture, TEXTURE_BINS - 1)


def gaussian_derivative(x: np.ndarray, axis: int, sigma: float = 1.0) -> np.ndarray:
    """The derivative of x (H, W, C), smoothed by a Gaussian, along axis 0 or 1; the border is repeated outwards."""
    taps = np.arange(-4, 5) * 1.0
    smooth = np.exp(-(taps**2) / (2 * sigma**2))
    smooth /= smooth.sum()
    slope = taps / sigma**2 * smooth  # correlated with x: sum over t of t g(t) / sigma^2 x(at + t)
    return correlate(correlate(x, slope, axis), smooth, 1 - axis)


def correlate(x: np.ndarray, taps: np.ndarray, axis: int) -> np.ndarray:
    """y[i] = sum over t of taps[t] x[i + t - len(taps) // 2] along an axis of (H, W, C)."""
    n, radius = x.shape[axis], len(taps) // 2
    return sum(tap * x.take(np.clip(np.arange(n) + t - radius, 0, n - 1), axis) for t, tap in enumerate(taps))


def describe(labels: np.ndarray, colour: np.ndarray, texture: np.ndarray) -> Regions:
    """Sizes, boxes, histograms (each summing to 1) and neighbours of the segments of labels (H, W), 0 .. R - 1."""
    histograms = (region_histograms(labels, colour, COLOUR_BINS), region_histograms(labels, texture, TEXTURE_BINS))
    return Regions(np.bincount(labels.ravel()), region_boxes(labels), *histograms, neighbours(labels))


def region_boxes(labels: np.ndarray) -> np.ndarray:
    """(R, 4): the boxes around the segments of labels (H, W)."""
    (h, w), count = labels.shape, labels.max() + 1
    boxes = np.tile([w, h, 0, 0], (count, 1))
    rows, columns = np.indices(labels.shape).reshape(2, h * w)
    for side, (extreme, at) in enumerate(
        [(np.minimum, columns), (np.minimum, rows), (np.maximum, columns + 1), (np.maximum, rows + 1)]
    ):
        extreme.at(boxes[:, side], labels.ravel(), at)
    return boxes


def region_histograms(labels: np.ndarray, bins: np.ndarray, count: int) -> np.ndarray:
    """(R, C count): the histograms of the bins (H, W, C) over each segment, side by side, together of sum 1."""
    regions, flat = labels.max() + 1, labels.ravel() * count
    columns = [
        np.bincount(flat + bins[..., c].ravel(), minlength=regions * count).reshape(regions, count)
        for c in range(bins.shape[2])
    ]
    histograms = np.concatenate(columns, axis=1).astype(np.float64)
    return histograms / histograms.sum(axis=1, keepdims=True)


def neighbours(labels: np.ndarray) -> list[set[int]]:
    """The segments that touch each segment, side by side or one above the other."""
    a = np.concatenate([labels[:, :-1].ravel(), labels[:-1].ravel()])
    b = np.concatenate([labels[:, 1:].ravel(), labels[1:].ravel()])
    apart, count = a != b, labels.max() + 1
    touching = [set() for _ in range(count)]
    for key in np.unique(a[apart] * count + b[apart]).tolist():
        one, other = divmod(key, count)
        touching[one].add(other)
        touching[other].add(one)
    return touching


def _check(what, names, known):
    if not names or (unknown := [name for name in names if name not in known]):
        got = unknown[0] if names else "none"
        raise ValueError(f"selective_search: {what} must be of {', '.join(known)}, got {got}")
