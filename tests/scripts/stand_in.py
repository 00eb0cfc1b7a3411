"""A detector that trains in almost no time, for tests of the scripts: finds one object, from a 4 x 4 thumbnail.

`python tests/scripts/stand_in.py train ARGUMENTS` runs scripts.train (or evaluate, predict) with it registered.
"""

import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import vision
from nn import Dropout, Linear, ReLU, Sequential
from nn.losses.classification import softmax_cross_entropy
from nn.losses.regression import l2
from vision.detection import Detector
from vision.options import ImageOptions
from vision.registry import Entry, Tiny


@dataclass(frozen=True)
class Options(ImageOptions):
    short_side: int = 32  # pixels of the shorter side
    max_side: int = 64  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (120, 120, 120)  # subtracted
    std: float | tuple[float, float, float] = (60, 60, 60)  # divided by
    hidden: int = 8  # units
    nan_at: int | None = None  # step from which on the loss is NaN
    pause: float = 0.0  # seconds that a loss takes


class StandIn(Detector):
    """Has everything that a checkpoint must hold: weights, a buffer, a layer with a generator; loss samples."""

    buffers = ("running_mean", "steps")

    def __init__(self, classes, options, rng):
        super().__init__(classes, options, options.preprocess())
        hidden = options.hidden
        self.body = Sequential(Linear(48, hidden, rng=rng), ReLU(), Dropout(0.2, rng=rng.spawn(1)[0]))
        self.box, self.label = Linear(hidden, 4, rng=rng), Linear(hidden, len(classes), rng=rng)
        self.running_mean = np.zeros(48, np.float32)
        self.steps = np.zeros((), np.int64)

    def forward(self, x, training=True):
        n, _, h, w = x.shape
        if min(h, w) < 4:
            raise ValueError(f"StandIn: the input is too small, got {x.shape}")
        small = x[:, :, : h // 4 * 4, : w // 4 * 4].reshape(n, 3, 4, h // 4, 4, w // 4).mean(axis=(3, 5)).reshape(n, 48)
        if training:
            self.running_mean += np.float32(0.1) * (small.mean(axis=0) - self.running_mean)
        hidden, c_body = self.body.forward(small - self.running_mean, training)
        box, c_box = self.box.forward(hidden, training)
        logits, c_label = self.label.forward(hidden, training)
        return (box, logits), (c_body, c_box, c_label)

    def backward(self, cache):
        (dbox, dlogits), (c_body, c_box, c_label) = cache
        return self.body.backward(self.box.backward(dbox, c_box) + self.label.backward(dlogits, c_label), c_body)

    def loss(self, batch, rng, sampled=None):
        images, targets = batch
        time.sleep(self.options.pause)
        (box, logits), cache = self.forward(images)
        wanted, labels, (h, w) = box.copy(), np.full(len(images), -1), images.shape[2:]
        for i, target in enumerate(targets):
            if len(target["boxes"]):
                k = rng.integers(len(target["boxes"]))
                wanted[i], labels[i] = target["boxes"][k] / np.array([w, h, w, h], np.float32), target["labels"][k] - 1
        box_loss, dbox = l2(box, wanted)
        label_loss, dlogits = softmax_cross_entropy(logits, labels)
        self.steps += 1
        if self.options.nan_at is not None and self.steps >= self.options.nan_at:
            label_loss = np.float32("nan")
        return {"box": box_loss, "label": label_loss}, ((dbox, dlogits), cache)

    def predict(self, images, image_sizes=None):
        (box, logits), _ = self.forward(images, training=False)
        box = np.sort(box.reshape(-1, 2, 2), axis=1).reshape(-1, 4)  # x1 <= x2, y1 <= y2
        h, w = images.shape[2:]
        probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return [
            {
                "boxes": b[None] * np.array([w, h, w, h], np.float32),
                "labels": p.argmax()[None] + 1,
                "scores": p.max()[None],
            }
            for b, p in zip(box, probability)
        ]


RECIPE = {"epochs": 2, "batch_size": 4, "lr": 0.02, "warm_up": 2, "zoom": [0.8, 1.2]}
NAMES = ("stand_in", "other_stand_in")
ENTRIES = {name: Entry(name, "detection", StandIn, Options, RECIPE, Tiny(), name, "", "") for name in NAMES}

if __name__ == "__main__":
    vision.MODELS.update(ENTRIES)
    sys.exit(importlib.import_module(f"scripts.{sys.argv[1]}").main(sys.argv[2:]))
