"""The losses on unseen data: of the same batches after each epoch, with nothing learned from them."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from nn import GRU, LSTM, RNN, BatchNorm1d, BatchNorm2d, Dropout
from nn.gpu.device import to_device
from nn.layer import Layer
from vision.model import Model, Stage
from vision.training.endings import Undo
from vision.training.interruption import memory_explained


class ValidationLoss:
    """The mean of each loss over the first `batches` batches of a loader's epoch 0, which are the same at each call.

    loader: see Trainer. Without augmentation its batches differ by nothing; what a model samples in its loss is drawn
    with the seed and the batch alone. Normalisations use their running statistics, and nothing is dropped.
    """

    def __init__(self, loader: Any, batches: int, seed: int):
        self.loader, self.batches, self.seed = loader, batches, seed

    def __call__(self, model: Model, stage: Stage, device: str = "cpu") -> dict[str, float | None]:
        """{name: mean}, None where it is not finite. The model is as before."""
        values: dict[str, list[float]] = {}
        with Undo(model)(always=True), as_in_inference(model), memory_explained(model):
            for k, batch in enumerate(islice(self.loader.epoch(0), self.batches)):
                rng = np.random.default_rng([self.seed, k, 0, 3])  # another stream than those of steps and weights
                with self.samples_named(k):
                    losses, _ = getattr(model, stage.loss)(to_device(batch, device), rng)
                for name, value in losses.items():
                    values.setdefault(name, []).append(float(value))
        means = {name: float(np.mean(each)) for name, each in values.items()}
        return {name: mean if np.isfinite(mean) else None for name, mean in means.items()}

    @contextmanager
    def samples_named(self, batch: int) -> Iterator[None]:
        """A ValueError of the block begins with the names of the samples in a batch."""
        try:
            yield
        except ValueError as error:
            names = self.loader.names(0, batch) if hasattr(self.loader, "names") else []
            raise ValueError(f"{', '.join(names)}: {error}" if names else str(error)) from error


@contextmanager
def as_in_inference(model: Layer) -> Iterator[None]:
    """In the block a forward with training=True normalises by running statistics, and drops nothing."""
    before = []
    for _, layer in model.layers():
        if isinstance(layer, (BatchNorm1d, BatchNorm2d)) and layer.track_running_stats:
            before.append((layer, "frozen", True))
        elif isinstance(layer, Dropout):
            before.append((layer, "p", 0.0))
        elif isinstance(layer, (RNN, LSTM, GRU)):
            before.append((layer, "dropout", 0.0))
    before = [(layer, name, getattr(layer, name), value) for layer, name, value in before]
    try:
        for layer, name, _, value in before:
            setattr(layer, name, value)
        yield
    finally:
        for layer, name, own, _ in before:
            setattr(layer, name, own)
