"""One forward and one backward pass of a model, recorded; and the same backward for the gradient of one output."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import nn
from nn.record import Pass, arrays_in, rewind
from vision import Model, Stage
from vision.backbones import Backbone

QUIET = (  # layers, and the value of their attribute with which they do as in testing
    ((nn.BatchNorm1d, nn.BatchNorm2d), "frozen", True),
    ((nn.Dropout, nn.Dropout2d, nn.DropPath), "p", 0.0),
    ((nn.RNN, nn.LSTM, nn.GRU), "dropout", 0.0),
)
DATA = "data"  # stands for the images among passes


class Seen(NamedTuple):
    """A model, a batch, the stage of training whose loss it is, the recorded passes, losses and cache."""

    model: Model
    batch: tuple
    stage: Stage
    passes: list[Pass]
    losses: dict[str, float]
    cache: Any
    seconds: tuple[float, float]  # of the loss, of its backward

    @property
    def leaves(self) -> list[Pass]:
        """The passes that call no other layer, in the order of the forward pass."""
        callers = {id(p.parent) for p in self.passes}
        return [p for p in self.passes if id(p) not in callers]

    @property
    def data_gradient(self):
        """That of the images (N, 1 or 3, H, W), where they first come in; None where there is none."""
        return next((a for p in self.leaves for a in arrays_in(p.dx) if a.ndim == 4 and a.shape[1] in (1, 3)), None)


@contextmanager
def looked_into(model: Model, batch: tuple, stage: str | None = None, testing: bool = False) -> Iterator[Seen]:
    """The pass of a loss of the batch and back. In the block gradients_of may go back once more.

    testing: batch normalisation uses its running statistics, and nothing is dropped.

    What is frozen is trained in this pass, so that its gradients are seen; nothing is stepped.
    """
    chosen = stage_of(model, stage)
    model.zero_grad()
    with unfrozen(model), quiet(model, testing), nn.record(model, to_data=True) as passes:
        began = time.perf_counter()
        losses, cache = getattr(model, chosen.loss)(batch, np.random.default_rng(0))
        turned = time.perf_counter()
        getattr(model, chosen.backward)(cache)
        yield Seen(model, batch, chosen, passes, losses, cache, (turned - began, time.perf_counter() - turned))


@contextmanager
def quiet(model: Model, wanted: bool) -> Iterator[None]:
    """In the block, if wanted, layers do as in testing, though they keep what backward needs."""
    before = []
    for _, layer in model.layers() if wanted else ():
        for kinds, name, value in QUIET:
            if isinstance(layer, kinds) and getattr(layer, "track_running_stats", True):
                before.append((layer, name, getattr(layer, name)))
                setattr(layer, name, value)
    try:
        yield
    finally:
        for layer, name, value in before:
            setattr(layer, name, value)


def stage_of(model: Model, name: str | None) -> Stage:
    """The stage of training of this name; else the first one by gradients, which mostly goes down to the data."""
    stages = [each for each in model.stages() if not each.fit]
    if name is None:
        return stages[0] if stages else Stage()
    known = {each.name: each for each in stages}
    if name not in known:
        raise ValueError(f"--stage {name}: the stages of {model.name} by gradients are {', '.join(known) or 'none'}")
    return known[name]


def output_and_gradient(p: Pass) -> tuple[Any, Any]:
    """(y, dy): of several outputs the first one with a gradient, else the first one; None where there is no array."""
    outputs, gradients = (tree if isinstance(tree, tuple) else (tree,) for tree in (p.y, p.dy))
    pairs = [(next(arrays_in(y), None), next(arrays_in(dy), None)) for y, dy in zip(outputs, gradients)]
    both = (pair for pair in pairs if pair[0] is not None and pair[1] is not None and pair[0].shape == pair[1].shape)
    return next(both, (next(arrays_in(p.y), None), next(arrays_in(p.dy), None)))


@contextmanager
def unfrozen(model: Model) -> Iterator[None]:
    """All parameters are trainable in the block, and no stage of a backbone is cut off."""
    frozen = [p for p in model.parameters().values() if not p.trainable]
    cut = [(each, each.frozen) for _, each in model.layers() if isinstance(each, Backbone) and each.frozen]
    try:
        for p in frozen:
            p.trainable = True
        for backbone, _ in cut:
            backbone.frozen = 0
        yield
    finally:
        for p in frozen:
            p.trainable = False
        for backbone, stages in cut:
            backbone.frozen = stages


def gradients_of(seen: Seen, at: Pass, indices: list[tuple]) -> Iterator[dict[Pass | str, Any]]:
    """For each index {pass: gradient of y[index] of the pass `at` with respect to the pass's y}, and {DATA: that of the
    images}.

    Backward is linear in dy. It runs from the losses' gradients with the dy of `at` exchanged: once for 0, and for each
    index for 1 at this element. The difference is the gradient of the element alone, whatever else flows back.
    """
    first = next(arrays_in(at.y))
    without = _backward_with(seen, at, np.zeros_like(first))
    for index in indices:
        one = np.zeros_like(first)
        one[index] = 1
        with_one = _backward_with(seen, at, one)
        yield {p: with_one[p] - without[p] for p in with_one if p in without}


def _backward_with(seen, at, dy):
    """{pass: (first array of) dy} of a backward in which the pass `at` is given this dy."""
    layer, watched = at.layer, at.layer.backward

    def exchanged(given, cache):
        if cache is at.cache:
            given = (dy, *given[1:]) if isinstance(given, tuple) else dy
        return watched(given, cache)

    noted = [vars(p).copy() for p in seen.passes]
    rewind(seen.passes)
    layer.backward = exchanged
    try:
        getattr(seen.model, seen.stage.backward)(seen.cache)
        firsts = {p: output_and_gradient(p)[1] for p in seen.passes}
        firsts[DATA] = seen.data_gradient
        return {p: a for p, a in firsts.items() if a is not None}
    finally:
        layer.backward = watched
        for p, before in zip(seen.passes, noted):
            vars(p).update(before)
