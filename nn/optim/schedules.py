"""Learning-rate schedules: functions step -> factor, for `optimiser.step(rate=schedule(step))`.

Steps count from 0. The factor multiplies the learning rate of every group. A schedule holds no state, so a training run
that resumes at step k goes on with exactly the rates of one that was never interrupted.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

Schedule = Callable[[int], float]


def constant(factor: float = 1.0) -> Schedule:
    """The same factor at every step."""
    return lambda step: factor


def step_decay(milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """Multiply by gamma at every milestone: factor = gamma^(number of milestones <= step).

    Raises ValueError unless milestones rise and gamma > 0.
    """
    milestones = list(milestones)
    if any(later <= earlier for earlier, later in pairwise(milestones)):
        raise ValueError(f"step_decay: milestones must rise from one to the next, got {milestones}")
    if not gamma > 0:
        raise ValueError(f"step_decay: gamma must be positive, got {gamma}")
    return lambda step: gamma ** bisect_right(milestones, step)


def polynomial(total_steps: int, power: float = 0.9, end: float = 0.0) -> Schedule:
    """Fall from 1 at step 0 to `end` at total_steps, and stay: end + (1 - end) * (1 - step / total_steps)^power.

    power=1 is a straight line; 0.9 is usual for segmentation. Raises ValueError unless total_steps >= 1 and power > 0.
    Reference: Chen et al. 2016, arXiv:1606.00915, the "poly" policy.
    """
    if not total_steps >= 1:
        raise ValueError(f"polynomial: total_steps must be at least 1, got {total_steps}")
    if not power > 0:
        raise ValueError(f"polynomial: power must be positive, got {power}")
    return lambda step: end + (1 - end) * (1 - min(step, total_steps) / total_steps) ** power


def cosine(total_steps: int, start: int = 0, end: float = 0.0) -> Schedule:
    """Fall from 1 at step `start` to `end` at total_steps along half a cosine, and stay; before `start` it is 1.

    factor = end + (1 - end) * (1 + cos(pi * (step - start) / (total_steps - start))) / 2

    After a warm-up: warm_up(cosine(total_steps, start=steps), steps). Raises ValueError unless
    0 <= start < total_steps. Reference: Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5 (without restarts).
    """
    if not 0 <= start < total_steps:
        raise ValueError(f"cosine: start must lie in [0, total_steps), got {start} for total_steps {total_steps}")

    def factor(step):
        done = (min(max(step, start), total_steps) - start) / (total_steps - start)
        return end + (1 - end) * (1 + math.cos(math.pi * done)) / 2

    return factor


def warm_up(schedule: Schedule, steps: int, start: float = 0.001) -> Schedule:
    """`schedule`, multiplied for the first `steps` steps by a line from `start` (at step 0) to 1 (at step `steps`).

    The schedule below counts from step 0 as well, so there is no jump where the warm-up ends. steps=0 changes nothing.
    Raises ValueError unless steps >= 0 and 0 <= start <= 1. Reference: Goyal et al. 2017, arXiv:1706.02677, sec. 2.2.
    """
    if not steps >= 0:
        raise ValueError(f"warm_up: steps must be at least 0, got {steps}")
    if not 0 <= start <= 1:
        raise ValueError(f"warm_up: start must lie in [0, 1], got {start}")
    return lambda step: schedule(step) * (1.0 if step >= steps else start + (1 - start) * step / steps)
