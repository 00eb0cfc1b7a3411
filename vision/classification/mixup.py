"""Mixup: training on mixtures of two images and of their labels.

Reference: Zhang et al. 2018, mixup: beyond empirical risk minimization, arXiv:1710.09412.
"""

from typing import NamedTuple

import numpy as np

from nn import softmax_cross_entropy
from nn.dispatch import array_module


class Mix(NamedTuple):
    """What an image is mixed with: x = weight x[i] + (1 - weight) x[partner[i]], partner (N,) a permutation."""

    weight: float
    partner: np.ndarray


def draw_mix(n: int, alpha: float, rng: np.random.Generator) -> Mix | None:
    """One weight from Beta(alpha, alpha) and the partners for a batch of n images; None for alpha = 0."""
    return Mix(float(rng.beta(alpha, alpha)), rng.permutation(n)) if alpha else None


def mixed(images, mix: Mix | None):
    """The images (N, ...) mixed with their partners."""
    if mix is None:
        return images
    partner = array_module(images).asarray(mix.partner)
    return mix.weight * images + (1 - mix.weight) * images[partner]


def mixed_cross_entropy(logits, labels, mix: Mix | None, smoothing: float = 0.0):
    """value, dlogits (N, C): the cross-entropy with the labels and with those of the partners, mixed likewise."""
    value, dlogits = softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    if mix is None:
        return value, dlogits
    partner = array_module(labels).asarray(mix.partner)
    other, dother = softmax_cross_entropy(logits, labels[partner], label_smoothing=smoothing)
    return mix.weight * value + (1 - mix.weight) * other, mix.weight * dlogits + (1 - mix.weight) * dother
