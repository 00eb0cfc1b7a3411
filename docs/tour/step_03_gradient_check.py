"""Step 3. Checking a gradient.

Question: my backward looks right. How do I know that it is?

A derivative is a limit of differences, so we can measure it: change one number by h, and see what the loss does. By
Taylor's formula f(x + h) = f + h f' + h^2/2 f'' + h^3/6 f''' + ... Two ways to get f' from that:

    forward difference    (f(x + h) - f(x)) / h            = f' + h/2 f'' + ...       wrong by about h
    central difference    (f(x + h) - f(x - h)) / (2 h)    = f' + h^2/6 f''' + ...    wrong by about h^2

A smaller h is better, until rounding takes over. A float64 has 16 digits: f is known up to about 1e-16, and dividing by
h makes 1e-16 / h of it. The sum h^2 + 1e-16 / h is least near h = 1e-5, where it is about 1e-10. A float32 has 7
digits: the error is 1e-5 at best, and a small mistake hides in it. So gradients are checked in float64.

A third way has no subtraction at all, so h can be as small as we like. Put in x + ih, with i^2 = -1:

    complex step          Im f(x + ih) / h                 = f' - h^2/6 f''' + ...    h = 1e-30: exact

It needs an f that works for complex numbers: no max, no absolute value.

A layer has many outputs. To check it we need ONE number, so we take loss = sum(y * dy), whose gradient by y is dy. The
dy must be random. With dy = 1 the loss is sum(y), and some mistakes vanish in a sum, as `Centre` below shows.
"""

import sys

import numpy as np

from docs.tour import drawing
from nn import Layer, Linear, ReLU, Sequential, Sigmoid
from nn.gradcheck import GradientError, check_layer


def numerical_gradient(loss, array, h=1e-5):
    """d loss() / d array by central differences: each element is changed in place, and put back."""
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + h
        above = loss()
        array[index] = value - h
        below = loss()
        array[index] = value
        gradient[index] = (above - below) / (2 * h)
    return gradient


def relative_error(a, b):
    """The largest difference over the largest element (or 0.001): 0.01 is a wrong formula, 1e-8 a right one."""
    return abs(a - b).max() / max(abs(a).max(), abs(b).max(), 1e-3)


def error_of_input(layer, x, dy):
    """How far the dx of a layer is from the measured one, for loss = sum(y * dy)."""
    _, cache = layer.forward(x)
    return relative_error(layer.backward(dy, cache), numerical_gradient(lambda: (layer.forward(x)[0] * dy).sum(), x))


class Centre(Layer):  # nn.Layer: what all layers of the library are made from; it finds their parameters
    """y = x - mean of its row. Backward has a wrong sign."""

    def forward(self, x, training=True):  # training: some layers differ then, from step 8 on; here it says nothing
        return x - x.mean(axis=1, keepdims=True), None

    def backward(self, dy, cache):
        return dy.mean(axis=1, keepdims=True) - dy  # right: dy - mean(dy)


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))
    layer, ones = Linear(5, 5).astype(np.float64), np.ones((4, 5))
    blind, wrong, right = (
        error_of_input(Centre(), x, ones),
        error_of_input(Centre(), x, dy),
        error_of_input(layer, x, dy),
    )
    print(f"a wrong sign, dy = 1:       {blind:.0e}   not found: dx is 0 by either sign")
    print(f"a wrong sign, random dy:    {wrong:.0e}   found")
    print(f"nn.Linear, random dy:       {right:.0e}   right")
    assert blind < 1e-6 and wrong > 1 and right < 1e-8

    network = Sequential(Linear(5, 4), ReLU(), Linear(4, 2), Sigmoid())
    print("the library's check, relative errors of the input and of all weights:")
    print({name: f"{error:.0e}" for name, error in check_layer(network, x).items()})
    try:
        check_layer(Centre(), x)
        raise AssertionError("the wrong sign was not found")
    except GradientError as error:
        print(error)

    h = 10.0 ** np.arange(-16, 0)
    f, at, slope = (lambda x: np.exp(np.sin(x))), 1.0, np.cos(1.0) * np.exp(np.sin(1.0))  # f' = cos(x) exp(sin(x))
    single, h_single = np.float32(at), h.astype(np.float32)
    methods = {
        "forward difference": (f(at + h) - f(at)) / h,
        "central difference": (f(at + h) - f(at - h)) / (2 * h),
        "central difference, float32": (f(single + h_single) - f(single - h_single)) / (2 * h_single),
        "complex step": f(at + 1j * h).imag / h,
    }
    errors = {name: np.maximum(abs(value - slope) / slope, 1e-17) for name, value in methods.items()}
    figure, (axes,) = drawing.new(width=6, height=4)
    for name, error in errors.items():
        axes.loglog(h, error, marker=".", label=f"{name}: {error.min():.0e} at best")
    axes.set(xlabel="h", ylabel="relative error", title="the slope of exp(sin(x)) at 1", ylim=(1e-18, 1e9))
    axes.legend(fontsize="small", loc="upper center")
    drawing.save(figure, out, "step_03.png")
    assert errors["central difference"].min() < 1e-9 < 1e-6 < errors["central difference, float32"].min()


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_03_gradient_check.py)
# 1. Check ReLU at an x with a zero in it. Who is right, backward or the differences? What should a test avoid?
# 2. Write the complex-step version of numerical_gradient. Show that it finds a factor of 1 + 1e-12 in a backward.
