"""A linear classifier on stored features: softmax cross-entropy and weight decay, by descent; cross-validated decay.

Descent sees the features centred and scaled to about unit length, f' = (f - mean) / scale, which makes the loss curve
alike in all directions: its curvature is at most |f'|^2 / 2, so a rate of 2 / mean |f'|^2 is safe. With weight' =
weight scale and bias' = bias + weight mean the logits are the same.
"""

from typing import NamedTuple

import numpy as np

from nn import softmax_cross_entropy
from nn.dispatch import array_module

TOGETHER = 64  # features in a step
FOLDS = 5
DECAYS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


class Standard(NamedTuple):
    """What makes features (M, D) those that descent sees: mean and scale (D,)."""

    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, features):
        return (features - self.mean) / self.scale


def standard(features) -> Standard:
    """The Standard of features (M, D); those that hardly vary are not blown up.

    Raises ValueError where none varies, as with a single row: nothing can be told apart by them.
    """
    std = features.std(axis=0)
    if not std.any():
        raise ValueError(f"a linear classifier needs features that differ, got {len(features)} alike")
    return Standard(features.mean(axis=0), (std + 0.1 * std.mean()) * features.shape[1] ** 0.5)


def descend(weight, bias, rows, labels, k: int, rounds: int, decay: float):
    """(weight, bias, loss) after round k of descent: each of the standardised rows (M, D) once, in an order drawn by k.

    weight (classes, D), bias (classes,). The rate falls in a half cosine over the rounds.
    """
    rate = 2 / float((rows * rows).sum(axis=1).mean()) * (1 + np.cos(np.pi * k / rounds)) / 2
    order, losses = np.random.default_rng([k, len(labels)]).permutation(len(labels)), []
    for chosen in (order[i : i + TOGETHER] for i in range(0, len(order), TOGETHER)):
        loss, dlogits = softmax_cross_entropy(rows[chosen] @ weight.T + bias, labels[chosen])
        weight = weight - rate * (dlogits.T @ rows[chosen] + decay * weight)
        bias = bias - rate * dlogits.sum(axis=0)
        losses.append(loss)
    return weight, bias, float(np.mean(losses))


def cross_validate(features, labels, images, classes: int, rounds: int) -> dict[float, float]:
    """{decay: accuracy} by five-fold cross-validation: each fifth of the images predicted from the other four.

    images (M,) says of which image each row is: versions of one image are in one fold, and their logits are added up.
    Raises ValueError for a single image.
    """
    xp, names = array_module(features), np.unique(images)
    if len(names) < 2:
        raise ValueError("cross-validation needs two images at least, got one")
    fold = dict(zip(names.tolist(), (np.random.default_rng(0).permutation(len(names)) % FOLDS).tolist()))
    fold, right = np.array([fold[i] for i in images.tolist()]), dict.fromkeys(DECAYS, 0)
    for number in range(min(FOLDS, len(names))):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        to_rows = standard(features[train])
        rows, tested = to_rows(features[train]), to_rows(features[test])
        for decay in DECAYS:
            weight, bias = xp.zeros((classes, rows.shape[1]), rows.dtype), xp.zeros(classes, rows.dtype)
            for k in range(rounds):
                weight, bias, _ = descend(weight, bias, rows, labels[train], k, rounds, decay)
            logits, truth = np.asarray((tested @ weight.T + bias).tolist()), np.asarray(labels.tolist())[test]
            for image in np.unique(images[test]):
                of_it = images[test] == image
                right[decay] += logits[of_it].sum(axis=0).argmax() == truth[of_it][0]
    return {decay: float(count / len(names)) for decay, count in right.items()}
