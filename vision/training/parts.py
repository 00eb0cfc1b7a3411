"""The gradient of a batch that is computed in parts, by several processes or one after another in less memory.

A loss divides by the pixels, words or regions of the whole batch, see nn/losses/parts.py. Processes tell each other
their counts when a loss is computed. For parts that come one after another a first pass counts and a second one
computes; both draw the same random numbers. What a network takes from a batch as a whole stays that of a part: the
statistics of batch normalisation, and what is mined in the batch.
"""

import copy
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.gpu.device import to_device
from nn.losses.parts import batch_in_parts
from vision.model import Model, Stage
from vision.training.communicator import Communicator
from vision.training.endings import Undo, check_finite


def add_gradients(
    model: Model,
    stage: Stage,
    parts: Sequence[Any],
    rng: np.random.Generator,
    device: str,
    where: str,
    others: Communicator,
) -> dict[str, float]:
    """The losses by name of the batch that consists of these parts and those of the other processes; the gradients are
    added to the parameters'.

    parts: none where the batch has fewer samples than there are processes. Raises Diverged, which begins with `where`,
    before the backward of a part whose losses are not finite.
    """
    if len(parts) > 1:
        losses = _one_after_another(model, stage, parts, rng, device, where, others)
    elif parts and others.size > 1:
        with batch_in_parts(others.count):
            losses = _add_gradient(model, stage, to_device(parts[0], device), rng, where)
    else:
        losses = _add_gradient(model, stage, to_device(parts[0], device), rng, where) if parts else {}
    return _summed(model, losses, others) if others.size > 1 else losses


def _one_after_another(model, stage, parts, rng, device, where, others):
    counts, losses = _counts(model, stage, parts, copy.deepcopy(rng), device), {}
    counts = [others.count(each) for each in counts]
    for part in parts:
        following = iter(counts)
        with batch_in_parts(lambda count, following=following: next(following)):
            values = _add_gradient(model, stage, to_device(part, device), rng, where)
        losses = {name: losses.get(name, 0.0) + value for name, value in values.items()}
    return losses


def _summed(model, losses, others):
    """The losses of all processes; gradients become those of all, statistics of normalisation their mean."""
    of_all = others.exchange("losses", losses) if losses else others.stand_by("losses")
    names = dict.fromkeys(name for each in of_all for name in each)
    others.sum_([p.grad for p in model.parameters().values() if p.trainable])
    statistics = [getattr(layer, name) for _, layer in model.layers() for name in layer.buffers]
    statistics = [array for array in statistics if getattr(array, "dtype", np.dtype(int)).kind == "f"]
    others.sum_(statistics)
    for array in statistics:
        array /= others.size
    return {name: sum(each.get(name, 0.0) for each in of_all) for name in names}


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


def check_same_weights(model: Model, others: Communicator):
    """ValueError unless the processes have the same weights, bit for bit: they have made the same steps."""
    if others.size == 1:
        return
    checksum = 0
    for parameter in model.parameters().values():
        checksum = zlib.crc32(np.ascontiguousarray(to_device(parameter.value, "cpu")), checksum)
    others.check_equal("weights (their checksums)", checksum)
