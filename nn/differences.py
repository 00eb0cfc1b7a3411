"""Numerical derivatives: central differences, the complex step, and what the two sides of a kink have to say."""

import numpy as np

from nn.dispatch import array_module

STEP, COMPLEX_STEP = 1e-5, 1e-30
KINK = 1e-4  # relative; by less the slopes on two sides may differ from rounding


def differentiate(loss, array, complex_step=False):
    """d loss() / d array, float64 of the shape of `array`: each element of `array` is changed in place and restored."""
    gradient = array_module(array).zeros(array.shape)
    for index in np.ndindex(array.shape):
        if complex_step:
            gradient[index] = at(loss, array, index, 1j * COMPLEX_STEP).imag / COMPLEX_STEP
        else:
            gradient[index] = (at(loss, array, index, STEP) - at(loss, array, index, -STEP)) / (2 * STEP)
    return gradient


def at(loss, array, index, t):
    """loss() with t added to one element of `array`, which is restored."""
    value = array[index].copy()  # on the GPU an element is a view
    array[index] = value + t
    result = loss()
    array[index] = value
    return result


def sides(f, step=STEP) -> tuple[tuple[float, float], tuple[float, float]]:
    """The slopes of f(t) to the left and right of t = 0, by one-sided differences; the same with 1/100 of the step."""
    here = float(f(0.0))
    return tuple(((here - float(f(-h))) / h, (float(f(h)) - here) / h) for h in (step, step / 100))


def kink(backward: float, slopes: tuple[float, float], near: tuple[float, float]) -> str:
    """What a check that failed has to add where there is a kink within the step, otherwise nothing.

    There the slopes of both sides disagree; so they do by curvature, but then their mean is that of the nearer ones.
    The nearer ones tell whether backward is right: equal to both, or between them if x is at the kink.
    """
    apart, low, high, scale = abs(slopes[0] - slopes[1]), min(near), max(near), max(map(abs, (backward, *slopes)))
    curved = 20 * max(abs(sum(slopes) - sum(near)) / 2, high - low) < apart
    if curved or not apart > KINK * scale:
        return ""
    differ = ": the one-sided differences disagree, {:.6g} to the left and {:.6g} to the right".format(*slopes)
    if low - KINK * scale <= backward <= high + KINK * scale:
        return (
            f"{differ}, and backward agrees with those nearest: a tie (of a maximum) or a kink (a ReLU at 0) is the "
            "likelier cause than a wrong backward. Check at other inputs: no two equal where a maximum is taken, none "
            f"within {STEP:.0e} of a kink"
        )
    return (
        f"{differ}, as at a tie or a kink; but backward is wrong nearer to it, too: {near[0]:.6g} to the left and "
        f"{near[1]:.6g} to the right"
    )


def disagree(what, analytic, numerical, error, tolerance, slopes):
    """The message of a failed check."""
    return (
        f"{what} is {analytic:.12g} by backward, {numerical:.12g} numerically (relative error {error:.1e}, wanted "
        f"{tolerance:.0e}){kink(analytic, *slopes)}"
    )
