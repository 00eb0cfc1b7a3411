"""How the time of a training step grows with its sizes, set against its arithmetic."""

import statistics
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import NamedTuple

from scripts.benchmarks import steps
from scripts.benchmarks.work import StepWork

DOUBLINGS, CALLS, LEAST = 4, 3, 0.5  # calls of a step at least, and seconds that they are to take together


class Growth(NamedTuple):
    """One size of a training step that is doubled, all others staying as they are."""

    what: str
    first: int
    make: Callable[[int], StepWork]


def detector(n=1, height=240, width=320, **options):
    return steps.faster_rcnn(SimpleNamespace(n=n, height=height, width=width, options=options))


def resnet(n):
    return steps.resnet20(SimpleNamespace(n=n, size=32, classes=10, blocks=3, width=16))


def language_model(length):
    return steps.language_model(SimpleNamespace(steps=length, n=16, characters=96, embedding=64, hidden=256, layers=2))


GROWTHS = [
    Growth("ResNet-20 at 32x32, batch size", 8, resnet),
    Growth("Faster R-CNN small, image height (width is 4/3 of it)", 60, lambda h: detector(height=h, width=h * 4 // 3)),
    Growth("Faster R-CNN small at 320x240, regions sampled", 16, lambda k: detector(roi_samples=k)),
    Growth("LSTM language model, sequence length", 16, language_model),
]


def run_growths(growths: Iterable[Growth] = GROWTHS, doublings: int = DOUBLINGS) -> float:
    """Print a table for each; the worst growth of time relative to that of the arithmetic, over all of them."""
    worst = []
    for growth in growths:
        print(f"{growth.what}\n{'':>8}{'ms':>12}{'million multiply-adds':>24}{'ps each':>10}")
        each = []
        for i in range(doublings + 1):
            seconds, multiply_adds = measured(growth.make(growth.first << i))
            each.append(seconds / multiply_adds)
            size, ms, millions, ps = growth.first << i, 1e3 * seconds, multiply_adds / 1e6, 1e12 * each[-1]
            print(f"{size:8}{ms:12.1f}{millions:24.1f}{ps:10.1f}", flush=True)
        worst.append(worst_growth(each))
        print(f"{'':8}time grows at most {worst[-1]:.2f} times as much as the arithmetic\n")
    print(f"worst of all: {max(worst):.2f}")
    return max(worst)


def worst_growth(each: list[float]) -> float:
    """The greatest rise of the time per multiply-add from a size to a larger one: at most 1 if nothing grows faster."""
    return max(later / earlier for i, earlier in enumerate(each) for later in each[i + 1 :])


def measured(work: StepWork) -> tuple[float, int]:
    """Median seconds of a step, and its multiply-adds."""
    multiply_adds, seconds = work.multiply_adds(), []
    work()  # to warm up
    while len(seconds) < CALLS or sum(seconds) < LEAST:
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), multiply_adds
