"""The proposal methods by name: each is a function of an image that gives boxes and scores, best first.

    proposer = build_proposer("selective_search_fast", cache="runs/mine/proposals")
    boxes, scores = proposer(image)

A method is one function proposals(image, options), with the decorator `method` above it.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vision.options import check_least, complete


@dataclass(frozen=True)
class ProposalOptions:
    """What all methods share."""

    count: int = 2000  # boxes at most
    seed: int = 0  # of what is drawn at random: each image begins a new stream
    width: int | None = None  # pixels that images are scaled to before, as R-CNN does (sec. 4.2: 500); none: not


class Method(NamedTuple):
    """A registered method. make(options) -> a function image -> (boxes, scores); needs: packages it imports."""

    name: str
    make: Callable[[Any], Callable]
    options: type
    needs: tuple[str, ...]
    paper: str


METHODS: dict[str, Method] = {}


def method(name: str, options: type = ProposalOptions, needs: tuple[str, ...] = (), paper: str = ""):
    """Decorator of a function make(options): registers it. Raises ValueError if the name is taken."""

    def enter(make):
        if name in METHODS:
            raise ValueError(f"method: there is a proposal method named {name!r} already")
        METHODS[name] = Method(name, make, options, needs, paper)
        return make

    return enter


def find_method(name: str) -> Method:
    """The method of a name. Raises ValueError, with the nearest names, if there is none."""
    if name not in METHODS:
        near = get_close_matches(name, METHODS, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(METHODS)}"
        raise ValueError(f"there is no proposal method {name!r}: {hint}")
    return METHODS[name]


def named(text: str) -> tuple[str, dict[str, Any]]:
    """(name, options) of a method and its options in words, such as "rpn run=runs/mine count=300".

    A value is JSON or, where it is not, a word. Raises ValueError for what is no NAME=VALUE.
    """
    name, *rest = text.split()
    options = {}
    for each in rest:
        key, equals, value = each.partition("=")
        if not equals:
            raise ValueError(f"proposals must be METHOD NAME=VALUE ..., got {text!r}")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return name, options


class Proposer:
    """A method with its options. proposer(image (H, W, 3) uint8) -> boxes (K, 4) float32, scores (K,) float32.

    Boxes are in the image's pixels, best first, K <= options.count, possibly 0. Scores rank the boxes of one image;
    their scale is the method's. Raises ValueError for another kind of image.
    """

    def __init__(self, method: Method, options: Any):
        self.method, self.options, self.function = method, options, method.make(options)

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_picture(self.method.name, image)
        scaled = scaled_to_width(image, self.options.width or image.shape[1])
        boxes, scores = self.function(scaled)
        if scaled is not image:
            boxes = boxes * (np.array(image.shape[1::-1] * 2) / np.array(scaled.shape[1::-1] * 2))
        best = np.argsort(-scores, kind="stable")[: self.options.count]
        return boxes[best].astype(np.float32), scores[best].astype(np.float32)


def build_proposer(name: str, cache: str | os.PathLike | None = None, **options) -> Callable:
    """A proposer by name; with a folder `cache` it keeps what it has computed: see vision.proposals.cache.

    Raises ValueError before any work: for an unknown name or option, a value of another kind, a package that is not
    installed.
    """
    found = find_method(name)
    for package in found.needs:
        require(name, package)
    options = complete(name, found.options, options)
    check_least(name, options, 1, "count", "width")
    check_least(name, options, 0, "seed")
    proposer = Proposer(found, options)
    if cache is None or name == "files":  # these are files already
        return proposer
    from vision.proposals.cache import CachedProposer  # here, since it imports this file

    return CachedProposer(proposer, cache)


def require(owner: str, package: str):
    """ValueError that says what to install, if a package is missing."""
    names = {"skimage": "scikit-image"}
    try:
        import_module(package)
    except ImportError:
        install = names.get(package, package)
        raise ValueError(f"{owner} needs {install}, which is not installed: pip install {install}") from None


def scaled_to_width(image: np.ndarray, width: int) -> np.ndarray:
    """(h, width, 3) uint8 of an image (H, W, 3), antialiased."""
    h, w = image.shape[:2]
    size = width, max(1, int(h * width / w + 0.5))
    return image if w == width else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def check_picture(owner: str, image: np.ndarray):
    """ValueError unless image is (H, W, 3) uint8 and not empty."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{getattr(image, 'dtype', type(image).__name__)} {np.shape(image)}"
        raise ValueError(f"{owner}: image must be (H, W, 3) uint8, got {got}")
    if 0 in image.shape:
        raise ValueError(f"{owner}: image has no pixels, got {image.shape}")


def ranked(boxes: np.ndarray, scores: np.ndarray, min_side: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (K, 4) by falling score, each different box once, those narrower or lower than min_side left out."""
    order = np.argsort(-scores, kind="stable")
    order = order[(boxes[order, 2:] - boxes[order, :2] >= min_side).all(axis=1)]
    first = np.sort(np.unique(boxes[order], axis=0, return_index=True)[1])
    return boxes[order[first]], scores[order[first]]
