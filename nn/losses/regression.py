"""Losses of regression: distances between a prediction and a target of one shape.

They return (value, gradient), and weigh and average as nn/losses/common.py explains. Each is a pair, as in
nn/losses/classification.py: the public function, and below it the mathematics.
"""

import math

import numpy as np

from nn.dispatch import array_module, functions
from nn.losses.common import check_target, loss_scale


def smooth_l1(
    prediction: np.ndarray,
    target: np.ndarray,
    beta: float = 1.0,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Squared error near 0, absolute error beyond beta; also known as the Huber loss divided by beta.

    d = prediction - target
    loss = 0.5 * d * d / beta   where |d| < beta
           |d| - 0.5 * beta     elsewhere

    prediction and target of one shape; weights: anything that broadcasts to it, such as (K, 1) for boxes (K, 4).
    The mean is over elements: give normaliser=K for the sum over the 4 coordinates per box. Returns value, dprediction.

    Raises ValueError for shapes that do not match, beta <= 0, or bad weights, reduction or normaliser.
    Reference: Girshick 2015, arXiv:1504.08083, eq. 3; beta is 1 / sigma^2 of the py-faster-rcnn code.
    """
    target = check_target("smooth_l1", prediction, "target", target, "prediction")
    if not (beta > 0 and math.isfinite(beta)):
        raise ValueError(f"smooth_l1: beta must be a positive number, got {beta}: for a plain L1 loss take l1")
    ops = functions(__name__, prediction)
    return ops.smooth_absolute_error(prediction, target, float(beta), weights, reduction, normaliser)


def smooth_absolute_error(prediction, target, beta, weights, reduction, normaliser):
    """value, dprediction of loss = 0.5 d^2 / beta or |d| - 0.5 beta: the derivative is d / beta, or the sign of d."""
    scale = loss_scale("smooth_l1", prediction, weights, reduction, normaliser)
    d = prediction - target
    slope = array_module(d).clip(d / beta, -1, 1)  # d / beta near 0, the sign of d beyond
    loss = slope * (d - 0.5 * beta * slope)  # both cases of the formula: put in either slope to see it

    # loss = 0.5 * d * d / beta or |d| - 0.5 * beta: the derivative is the slope
    return (scale * loss).sum().item(), scale * slope


def l1(
    prediction: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Absolute error; its gradient is the sign of the difference, 0 where there is none.

    d = prediction - target
    loss = |d|

    prediction and target of one shape; weights: anything that broadcasts to it. The mean is over elements. Returns
    value, dprediction.

    Raises ValueError for shapes that do not match, or bad weights, reduction or normaliser.
    """
    target = check_target("l1", prediction, "target", target, "prediction")
    return functions(__name__, prediction).absolute_error(prediction, target, weights, reduction, normaliser)


def absolute_error(prediction, target, weights, reduction, normaliser):
    """value, dprediction of loss = |d|: the derivative is the sign of d."""
    scale = loss_scale("l1", prediction, weights, reduction, normaliser)
    d = prediction - target
    sign = array_module(d).sign(d.real)
    loss = sign * d

    # loss = sign * d
    return (scale * loss).sum().item(), scale * sign


def l2(
    prediction: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None = None,
    reduction: str = "mean",
    normaliser: float | None = None,
) -> tuple[float, np.ndarray]:
    """Half the squared error, so that its gradient is the plain difference.

    d = prediction - target
    loss = 0.5 * d * d

    prediction and target of one shape; weights: anything that broadcasts to it. The mean is over elements, and half
    of what is called the mean squared error. Returns value, dprediction.

    Raises ValueError for shapes that do not match, or bad weights, reduction or normaliser.
    """
    target = check_target("l2", prediction, "target", target, "prediction")
    return functions(__name__, prediction).squared_error(prediction, target, weights, reduction, normaliser)


def squared_error(prediction, target, weights, reduction, normaliser):
    """value, dprediction of loss = 0.5 d^2: the derivative is d."""
    scale = loss_scale("l2", prediction, weights, reduction, normaliser)
    d = prediction - target
    loss = 0.5 * d * d

    # loss = 0.5 * d * d
    return (scale * loss).sum().item(), scale * d
