"""Cases of the losses: every option, values below and above every kink and none close to one."""

from collections.abc import Callable

import numpy as np

from nn.cases.base import LossCase
from nn.losses.classification import (
    binary_cross_entropy_with_logits,
    hinge,
    multiclass_hinge,
    softmax_cross_entropy,
)
from nn.losses.metric import contrastive, triplet
from nn.losses.regression import l1, l2, smooth_l1

RNG = np.random.default_rng(43)


def normal(*shape):
    """Standard normal values of a shape."""
    return RNG.standard_normal(shape)


LABELS = RNG.integers(0, 5, (3, 2, 4))
IGNORED = np.where(RNG.random(LABELS.shape) < 0.4, -1, LABELS)
CLASS_WEIGHTS = np.array([0.5, 2.0, 0.0, 1.25, 3.0])
WEIGHTED = {"class_weights": CLASS_WEIGHTS}
PROBABILITY, WEIGHTS = RNG.random((3, 4)), RNG.random((3, 4)) * (RNG.random((3, 4)) < 0.7)
TARGET, SIGNS = normal(3, 4), RNG.choice([-1, 1], (3, 4))
SIMILAR = np.array([1, 0, 1, 0, 0, 1, 0])
PAIR_WEIGHTS = np.array([0.5, 2.0, 0.0, 1.25, 0.0, 3.0, 0.7])


def distances():
    """The cases of every loss of a prediction and a target of one shape."""
    return {
        "mean": LossCase(normal(3, 4), (TARGET,)),
        "images": LossCase(normal(2, 3, 4, 5), (normal(2, 3, 4, 5),)),
        "weights": LossCase(normal(3, 4), (TARGET,), {"weights": WEIGHTS}),
        "weights that broadcast, sum": LossCase(
            normal(3, 4), (TARGET,), {"weights": WEIGHTS[:, :1], "reduction": "sum"}
        ),
        "normaliser": LossCase(normal(3, 4), (TARGET,), {"normaliser": 7, "weights": WEIGHTS}),
        "batch of 1": LossCase(normal(1, 4), (TARGET[:1],)),
    }


def pairs(n, d, **options):
    """Pairs; some of the dissimilar ones are closer than the margin of 2.5."""
    return LossCase((normal(n, d), normal(n, d)), (SIMILAR[:n],), {"margin": 2.5} | options)


def triplets(n, d, **options):
    """Anchors, positives and negatives (n, d)."""
    return LossCase((normal(n, d), normal(n, d), normal(n, d)), (), options)


LOSSES: dict[Callable, dict[str, LossCase]] = {
    softmax_cross_entropy: {
        "rows": LossCase(normal(4, 3), (RNG.integers(0, 3, 4),)),
        "sequences": LossCase(normal(3, 5, 4), (RNG.integers(0, 5, (3, 4)),)),
        "images": LossCase(normal(3, 5, 2, 4), (LABELS,)),
        "ignored": LossCase(normal(3, 5, 2, 4), (IGNORED,)),
        "class weights": LossCase(normal(3, 5, 2, 4), (IGNORED,), WEIGHTED),
        "sum": LossCase(normal(3, 5, 2, 4), (LABELS,), {"reduction": "sum", "ignore_index": 2}),
        "normaliser": LossCase(normal(3, 5, 2, 4), (LABELS,), {"normaliser": 7}),
        "smoothing": LossCase(normal(4, 3), (RNG.integers(0, 3, 4),), {"label_smoothing": 0.3}),
        "smoothing, ignored": LossCase(normal(3, 5, 2, 4), (IGNORED,), {"label_smoothing": 0.1}),
        "smoothing, class weights": LossCase(normal(3, 5, 2, 4), (IGNORED,), WEIGHTED | {"label_smoothing": 0.4}),
        "smoothing, sum": LossCase(
            normal(3, 5, 2, 4), (LABELS,), WEIGHTED | {"label_smoothing": 0.2, "reduction": "sum", "ignore_index": 2}
        ),
        "smoothing, normaliser": LossCase(normal(2, 6), (np.array([4, 0]),), {"label_smoothing": 1.0, "normaliser": 7}),
        "one class": LossCase(normal(3, 1, 2), (np.zeros((3, 2), int),), {"label_smoothing": 0.2}),
        "batch of 1": LossCase(normal(1, 6), (np.array([4]),)),
    },
    binary_cross_entropy_with_logits: {
        "mean": LossCase(normal(3, 4), (PROBABILITY,)),
        "bools": LossCase(normal(3, 4), (PROBABILITY > 0.5,)),
        "weights": LossCase(normal(3, 4), (PROBABILITY, WEIGHTS)),
        "weights, sum": LossCase(normal(3, 4), (PROBABILITY, WEIGHTS[:, :1]), {"reduction": "sum"}),
        "normaliser": LossCase(normal(3, 4), (PROBABILITY,), {"normaliser": 7}),
        "batch of 1": LossCase(normal(1, 4), (PROBABILITY[:1],)),
    },
    smooth_l1: distances()
    | {
        "small beta": LossCase(normal(3, 4), (TARGET, 0.2)),
        "large beta": LossCase(normal(3, 4), (TARGET,), {"weights": WEIGHTS, "beta": 3.0}),
    },
    l1: distances(),
    l2: distances(),
    hinge: {
        "mean": LossCase(normal(3, 4), (SIGNS,)),
        "squared": LossCase(normal(3, 4), (SIGNS,), {"squared": True}),
        "images, margin": LossCase(normal(2, 3, 4, 5), (RNG.choice([-1.0, 1.0], (2, 3, 4, 5)),), {"margin": 0.3}),
        "weights": LossCase(normal(3, 4), (SIGNS,), {"weights": WEIGHTS, "squared": True, "margin": 2.0}),
        "weights that broadcast, sum": LossCase(
            normal(3, 4), (SIGNS,), {"weights": WEIGHTS[:, :1], "reduction": "sum"}
        ),
        "normaliser": LossCase(normal(3, 4), (SIGNS,), {"normaliser": 7}),
        "batch of 1": LossCase(normal(1, 4), (SIGNS[:1],)),
    },
    multiclass_hinge: {
        "rows": LossCase(normal(4, 3), (RNG.integers(0, 3, 4),)),
        "squared": LossCase(normal(4, 5), (RNG.integers(0, 5, 4),), {"squared": True}),
        "images": LossCase(normal(3, 5, 2, 4), (LABELS,), {"margin": 0.4}),
        "ignored": LossCase(normal(3, 5, 2, 4), (IGNORED,)),
        "class weights": LossCase(normal(3, 5, 2, 4), (IGNORED,), WEIGHTED),
        "class weights, squared": LossCase(normal(3, 5, 2, 4), (IGNORED,), WEIGHTED | {"squared": True, "margin": 2.0}),
        "sum": LossCase(normal(3, 5, 2, 4), (LABELS,), {"reduction": "sum", "ignore_index": 2}),
        "normaliser": LossCase(normal(3, 5, 2, 4), (LABELS,), {"normaliser": 7}),
        "batch of 1": LossCase(normal(1, 6), (np.array([4]),)),
    },
    contrastive: {
        "mean": pairs(7, 3),
        "margin": pairs(7, 3, margin=1.5),
        "weights": pairs(7, 4, weights=PAIR_WEIGHTS),
        "weight for all, sum": pairs(7, 4, weights=0.6, reduction="sum"),
        "normaliser": pairs(7, 2, normaliser=3),
        "all similar": pairs(1, 5),
        "batch of 1": LossCase((normal(1, 3), normal(1, 3)), (np.array([False]),), {"margin": 9.0}),
    },
    triplet: {
        "mean": triplets(7, 3),
        "margin": triplets(7, 3, margin=2.0),
        "weights": triplets(7, 4, weights=PAIR_WEIGHTS),
        "sum": triplets(7, 4, reduction="sum", weights=0.6),
        "normaliser": triplets(7, 2, normaliser=3),
        "plain distances": triplets(7, 3, squared=False, margin=1.0),
        "plain distances, weights": triplets(7, 4, squared=False, weights=PAIR_WEIGHTS, reduction="sum"),
        "plain distances, eps": triplets(7, 4, squared=False, eps=0.5),
        "plain distances, no eps": triplets(7, 4, squared=False, eps=0.0),
        "batch of 1": triplets(1, 5, margin=50.0),
        "batch of 1, plain distances": triplets(1, 5, squared=False, margin=50.0),
    },
}
