"""The gradient of a batch that is computed in parts, one after another: that of the whole batch, in less memory.

A first pass counts: a loss divides by the pixels, words or regions of the whole batch, see nn/losses/parts.py. The
second pass computes. Both draw the same random numbers. What a network takes from a batch as a whole stays that of a
part: the statistics of batch normalisation, and what is mined in the batch.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.gpu.device import to_device
from nn.losses.parts import batch_in_parts
from vision.model import Model, Stage
from vision.training.endings import Undo, check_finite


def add_gradients(
    model: Model, stage: Stage, parts: Sequence[Any], rng: np.random.Generator, device: str, where: str
) -> dict[str, float]:
    """The losses by name of the batch that consists of these parts; their gradients are added to the parameters'.

    Raises Diverged, which begins with `where`, before the backward of a part whose losses are not finite.
    """
    if len(parts) == 1:
        return _add_gradient(model, stage, to_device(parts[0], device), rng, where)
    counts, losses = _counts(model, stage, parts, copy.deepcopy(rng), device), {}
    for part in parts:
        following = iter(counts)
        with batch_in_parts(lambda count, following=following: next(following)):
            values = _add_gradient(model, stage, to_device(part, device), rng, where)
        losses = {name: losses.get(name, 0.0) + value for name, value in values.items()}
    return losses


def _add_gradient(model, stage, batch, rng, where):
    """The losses of one part; its cache is forgotten before the next one is computed."""
    losses, cache = getattr(model, stage.loss)(batch, rng)
    losses = {name: float(value) for name, value in losses.items()}
    check_finite(losses, where)
    getattr(model, stage.backward)(cache)
    return losses


def _counts(model, stage, parts, rng, device):
    """What each loss counts in the whole batch, in the order in which the model computes its losses."""
    total = None
    with Undo(model)(always=True):
        for part in parts:
            counts = []

            def count(value, counts=counts):
                counts.append(value)
                return value

            with batch_in_parts(count):
                getattr(model, stage.loss)(to_device(part, device), rng)
            if total is not None and len(total) != len(counts):
                raise ValueError(
                    f"{model.name}: computes {len(total)} losses of one part of a batch and {len(counts)} of another; "
                    "train it without --accumulate"
                )
            total = counts if total is None else [a + b for a, b in zip(total, counts)]
    return total
