"""How long a detector takes for one image."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vision.detection.detector import Detector


class Seconds(NamedTuple):
    """Of one image, medians: of its proposals (0.0 for a detector that wants none), and of all the rest."""

    proposals: float
    detector: float


def seconds_an_image(model: Detector, image: np.ndarray, repeat: int = 3) -> Seconds:
    """Median times of a photograph (H, W, 3) uint8: of its proposals, and of `detect` when it is given them."""
    proposals, took = None, 0.0
    if model.proposals:
        took = _median(lambda: model.proposer(image), repeat)
        proposals = model.proposer(image)[0]
    return Seconds(took, _median(lambda: model.detect(image, proposals), repeat))


def _median(call: Callable, repeat: int) -> float:
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
