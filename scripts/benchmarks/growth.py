"""How the time of a training step grows with its sizes, set against its arithmetic."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from scripts.benchmarks import steps
from scripts.benchmarks.work import StepWork

DOUBLINGS, CALLS, LEAST = 4, 3, 0.5  # calls of a step at least, and seconds that they are to take together


class Growth(NamedTuple):
    """One size of a training step that is doubled, all others staying as they are."""

    what: str
    first: int
    make: Callable[[int], StepWork]


LSTM_SIZES = {"n": 16, "characters": 96, "embedding": 64, "hidden": 256, "layers": 2}
GROWTHS = [
    Growth("ResNet-20 at 32x32, batch size", 8, lambda n: steps.images("resnet20_cifar", (n, 3, 32, 32), 10)),
    Growth("Faster R-CNN small, image height (width is 4/3 of it)", 60, lambda h: steps.scenes(1, (h, h * 4 // 3))),
    Growth("Faster R-CNN small at 320x240, regions", 16, lambda k: steps.scenes(1, (240, 320), roi_samples=k)),
    Growth("LSTM language model, sequence length", 16, lambda length: steps.texts(length, **LSTM_SIZES)),
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
