"""Clipping: all gradients of a model scaled by one factor where their common norm is too large."""

import math

import numpy as np

from nn.dispatch import functions
from nn.layer import Parameter
from nn.optim.optimiser import unique


def clip_gradient_norm(parameters: dict[str, Parameter], max_norm: float) -> float:
    """Scale all gradients by one factor so that their common norm is at most max_norm; returns the norm before that.

    norm = sqrt(sum over all elements of all gradients of g^2)
    g *= min(1, max_norm / norm)

    Frozen parameters are left out, tied ones counted once. A norm that is not finite is returned as it is, and nothing
    is scaled: the caller has to stop. max_norm=math.inf measures only. Raises ValueError unless max_norm > 0.
    Reference: Pascanu et al. 2013, arXiv:1211.5063, algorithm 1.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_gradient_norm: max_norm must be positive, got {max_norm}")
    different = unique("clip_gradient_norm", parameters).values()
    grads = [parameter.grad for parameter in different if parameter.trainable]
    ops = functions(__name__, *grads)
    norm = ops.common_norm(grads)
    if max_norm < norm < math.inf:
        ops.scale(grads, max_norm / norm)
    return norm


def common_norm(grads) -> float:
    """sqrt of the sum of the squares of all elements, in float64."""
    return math.sqrt(sum(float((grad.astype(np.float64) ** 2).sum()) for grad in grads))


def scale(grads, factor):
    """Multiply all gradients by the factor, in place."""
    for grad in grads:
        grad *= factor
