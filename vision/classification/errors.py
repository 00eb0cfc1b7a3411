"""What a classifier takes for what: the confusion matrix, and its worst errors as pictures."""

from collections.abc import Iterable, Sequence
from heapq import heappush, heappushpop
from typing import NamedTuple

import numpy as np

from vision.classification.draw import draw_label
from vision.detection.draw import grid
from vision.sequence.draw import draw_attention

WORST, MOST = 12, 40  # errors shown; rows and columns of a drawn matrix at most


class Errors(NamedTuple):
    """confusion (classes, classes): images of class [row] taken for [column]. worst: pictures, the worst first."""

    confusion: np.ndarray
    worst: list[np.ndarray]


def collect_errors(pairs: Iterable[tuple[dict, np.ndarray]], classes: Sequence[str], worst: int = WORST) -> Errors:
    """The errors of (sample, probabilities (classes,)) pairs; the worst are those of the most probable wrong class."""
    confusion, kept = np.zeros((len(classes), len(classes)), np.int64), []
    for number, (sample, probabilities) in enumerate(pairs):
        found, truth = int(np.argmax(probabilities)), sample["label"]
        confusion[truth, found] += 1
        if found != truth:
            item = (float(probabilities[found]), -number, found, truth, sample["image"])
            heappush(kept, item) if len(kept) < worst else heappushpop(kept, item)
    pictures = [
        draw_label(image, f"{classes[found]} {p:.2f}", classes[truth], False)
        for p, _, found, truth, image in sorted(kept, key=lambda item: item[:2], reverse=True)
    ]
    return Errors(confusion, pictures)


def draw_confusion(confusion: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The matrix as shares of each row, white: all. Of more than 40 classes those with the most errors, in order."""
    wrong = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * confusion.diagonal()
    shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST])
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    names = [classes[k] for k in shown]
    return draw_attention(shares[np.ix_(shown, shown)], names, names)


def draw_errors(errors: Errors, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """{confusion: picture}, and worst where there is an error."""
    drawn = {"confusion": draw_confusion(errors.confusion, classes)}
    return drawn | ({"worst": grid(errors.worst)} if errors.worst else {})
