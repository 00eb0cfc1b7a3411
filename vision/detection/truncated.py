"""Fully connected layers truncated by their singular values, for faster detection.

Reference: Girshick 2015, Fast R-CNN, arXiv:1504.08083, sec. 3.1.
"""

from copy import copy

from nn import Linear, Sequential
from nn.dispatch import array_module
from nn.layer import Layer
from vision.boxes import RegionHead


class Truncated:
    """A head whose fc6 and fc7 are two layers each. It is no layer itself: its weights belong to no checkpoint."""

    def __init__(self, head: RegionHead, fc6: int, fc7: int):
        first, relu, dropout, second, *rest = head.classifier
        self.head = copy(head)
        self.head.classifier = Sequential(truncated(first, fc6), relu, dropout, truncated(second, fc7), *rest)


def truncated(layer: Linear, t: int) -> Layer:
    """W (O, I) as U_t (S_t V_t'), the t largest singular values: t (O + I) products instead of O I.

    Raises ValueError unless 1 <= t <= min(O, I). Reference: sec. 3.1, eq. 5.
    """
    weight, xp = layer.weight.value, array_module(layer.weight.value)
    if not 1 <= t <= min(weight.shape):
        raise ValueError(f"truncated: svd must be within 1 .. {min(weight.shape)}, got {t}")
    u, s, v = xp.linalg.svd(weight, full_matrices=False)
    into, out = Linear(weight.shape[1], t, bias=False), Linear(t, weight.shape[0])
    into.weight.value, out.weight.value = s[:t, None] * v[:t], u[:, :t]
    out.bias = layer.bias
    return Sequential(into, out)
