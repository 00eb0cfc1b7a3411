"""Proposals that look at the size of the image alone: what every method must beat.

Reference: Hosang, Benenson, Dollar and Schiele 2016, arXiv:1502.05082, sec. 3.3 (baselines).
"""

from dataclasses import dataclass

import numpy as np

from vision.options import check_least
from vision.proposals.method import ProposalOptions, method, ranked

PAPER = "Hosang et al. 2016, arXiv:1502.05082"


@dataclass(frozen=True)
class UniformOptions(ProposalOptions):
    """Boxes with centre, square root of the area and log of the aspect drawn evenly."""

    min_side: int = 20  # least square root of a box's area in pixels
    aspect: float = 2.0  # width to height, and height to width, at most


@dataclass(frozen=True)
class GaussianOptions(ProposalOptions):
    """Boxes drawn from a normal distribution of the objects of photographs."""

    centre_std: float = 0.2  # standard deviation of the centre, around the image's, as a share of the image's sides
    log_size: float = -1.2  # mean log of the square root of area over the image's
    log_size_std: float = 0.7  # its standard deviation
    log_aspect_std: float = 0.5  # standard deviation of the log of width to height


@dataclass(frozen=True)
class WindowOptions(ProposalOptions):
    """A grid of windows at several sizes and aspects."""

    sizes: int = 6  # sizes, each half an octave smaller than the one before; the largest is the image's short side
    aspects: tuple[float, ...] = (0.5, 1.0, 2.0)  # width to height


@method("uniform", UniformOptions, paper=PAPER)
def uniform(options: UniformOptions):
    """Uniform boxes: centre, square root of area and log aspect are drawn evenly; then clipped to the image."""
    if options.aspect < 1 or options.min_side < 1:
        raise ValueError(f"uniform: need aspect >= 1 and min_side >= 1, got {options.aspect:g} and {options.min_side}")

    def propose(image):
        (h, w), n, rng = image.shape[:2], options.count, np.random.default_rng(options.seed)
        centre = rng.uniform(0, (w, h), (n, 2))
        side = rng.uniform(min(options.min_side, h, w), np.sqrt(h * w), n)
        aspect = options.aspect ** rng.uniform(-1, 1, n)
        return drawn(centre, side, aspect, (h, w))

    return propose


@method("gaussian", GaussianOptions, paper=PAPER)
def gaussian(options: GaussianOptions):
    """Gaussian boxes: centre, log size and log aspect are normal; then clipped to the image."""
    check_least("gaussian", options, 0, "centre_std", "log_size_std", "log_aspect_std")

    def propose(image):
        (h, w), n, rng = image.shape[:2], options.count, np.random.default_rng(options.seed)
        centre = (0.5 + options.centre_std * rng.standard_normal((n, 2))) * (w, h)
        side = np.sqrt(h * w) * np.exp(options.log_size + options.log_size_std * rng.standard_normal(n))
        aspect = np.exp(options.log_aspect_std * rng.standard_normal(n))
        return drawn(centre, side, aspect, (h, w))

    return propose


def drawn(centre, side, aspect, image_size):
    """Boxes of centre (n, 2), side (n,) and aspect (n,), clipped; scores keep the order in which they were drawn."""
    half = np.stack([side * np.sqrt(aspect), side / np.sqrt(aspect)], axis=1) / 2
    h, w = image_size
    boxes = np.clip(np.concatenate([centre - half, centre + half], axis=1), 0, [w, h, w, h])
    return ranked(boxes, -np.arange(len(boxes), dtype=float))


@method("sliding_windows", WindowOptions, paper=PAPER)
def sliding_windows(options: WindowOptions):
    """A grid for each size and aspect; their steps are the same share of the window, so that `count` are left."""
    if options.sizes < 1 or min(options.aspects, default=0) <= 0:
        raise ValueError(f"sliding_windows: need sizes >= 1 and aspects > 0, got {options.sizes}, {options.aspects}")

    def propose(image):
        h, w = image.shape[:2]
        low, high = 0.02, 4.0  # the step as a share of the window: the smallest that gives at most `count` windows
        for _ in range(20):
            step = np.sqrt(low * high)
            low, high = (low, step) if len(windows(h, w, step, options)) <= options.count else (step, high)
        boxes = windows(h, w, high, options)
        return ranked(boxes, np.random.default_rng(options.seed).random(len(boxes)))

    return propose


def windows(h: int, w: int, step: float, options: WindowOptions) -> np.ndarray:
    """(K, 4): for each size and aspect windows `step` of their own sides apart, spread from edge to edge."""
    found = []
    for size in min(h, w) * 0.5 ** (np.arange(options.sizes) / 2):
        for aspect in options.aspects:
            across, down = min(size * np.sqrt(aspect), w), min(size / np.sqrt(aspect), h)
            x = np.linspace(0, w - across, 1 + int((w - across) / (step * across)))
            y = np.linspace(0, h - down, 1 + int((h - down) / (step * down)))
            left, top = (grid.ravel() for grid in np.meshgrid(x, y))
            found.append(np.stack([left, top, left + across, top + down], axis=1))
    return np.concatenate(found)
