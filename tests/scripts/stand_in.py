"""A detector that trains in no time, for testing the scripts: finds one object, from a 4 x 4 thumbnail of the image.

`python tests/scripts/stand_in.py train ARGUMENTS` runs scripts.train (or evaluate, predict) with it registered.
"""

import importlib
import sys
import time
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import vision
from nn import Dropout, Linear, ReLU, Sequential
from nn.layer import Layer
from nn.losses.classification import softmax_cross_entropy
from nn.losses.regression import l2
from vision.registry import Entry


class StandIn(Layer):
    """Everything that a checkpoint must hold is here: weights, a buffer, a layer with a generator, sampling in loss."""

    buffers = ("running_mean", "steps")

    def __init__(self, classes, rng, hidden=8, nan_at=None, pause=0.0):
        self.classes, self.nan_at, self.pause = classes, nan_at, pause
        self.body = Sequential(Linear(48, hidden, rng=rng), ReLU(), Dropout(0.2, rng=rng.spawn(1)[0]))
        self.box, self.label = Linear(hidden, 4, rng=rng), Linear(hidden, len(classes), rng=rng)
        self.running_mean = np.zeros(48, np.float32)
        self.steps = np.zeros((), np.int64)
        self.preprocess = {"short_side": 32, "max_side": 64, "mean": (120, 120, 120), "std": (60, 60, 60)}

    def forward(self, x, training=True):
        n, _, h, w = x.shape
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

    def loss(self, batch, rng):
        images, targets = batch
        time.sleep(self.pause)
        (box, logits), cache = self.forward(images)
        wanted, labels, (h, w) = box.copy(), np.full(len(images), -1), images.shape[2:]
        for i, target in enumerate(targets):
            if len(target["boxes"]):
                k = rng.integers(len(target["boxes"]))
                wanted[i], labels[i] = target["boxes"][k] / np.array([w, h, w, h], np.float32), target["labels"][k] - 1
        box_loss, dbox = l2(box, wanted)
        label_loss, dlogits = softmax_cross_entropy(logits, labels)
        self.steps += 1
        if self.nan_at is not None and self.steps >= self.nan_at:
            label_loss = np.float32("nan")
        return {"box": box_loss, "label": label_loss}, ((dbox, dlogits), cache)

    def predict(self, images):
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
ENTRIES = {name: Entry("detection", StandIn, RECIPE) for name in ("stand_in", "other_stand_in")}

if __name__ == "__main__":
    vision.MODELS.update(ENTRIES)
    sys.exit(importlib.import_module(f"scripts.{sys.argv[1]}").main(sys.argv[2:]))
