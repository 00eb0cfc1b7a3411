"""Solutions to step 3."""

import numpy as np

from docs.tour.step_03_gradient_check import numerical_gradient
from nn import ReLU, Sigmoid


def complex_gradient(loss, array, h=1e-30):
    """d loss() / d array by the complex step: array is complex, each element is changed in place and put back."""
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + 1j * h
        gradient[index] = loss().imag / h
        array[index] = value
    return gradient


def exercise_1():
    """Neither is wrong: at 0 the ReLU has no derivative. Its slope is 0 on the left and 1 on the right.

    backward takes the left one, 0; central differences give the mean of both, 0.5. A test should use inputs that are
    not within h of a kink.
    """
    relu, x = ReLU(), np.array([[-1.0, 0.0, 1.0]])
    _, cache = relu.forward(x)
    by_backward = relu.backward(np.ones((1, 3)), cache)
    by_differences = numerical_gradient(lambda: relu.forward(x)[0].sum(), x)
    print("backward:", by_backward[0], "differences:", by_differences[0].round(3))
    assert np.allclose(by_backward, [[0, 0, 1]]) and np.allclose(by_differences, [[0, 0.5, 1]])


def exercise_2():
    """The complex step is right to all digits, so a factor of 1 + 1e-12 shows. Central differences cannot see it."""
    rng = np.random.default_rng(0)
    sigmoid, x, dy = Sigmoid(), rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    wrong = (1 + 1e-12) * sigmoid.backward(dy, sigmoid.forward(x)[1])
    z = x.astype(complex)
    by_complex_step = complex_gradient(lambda: (sigmoid.forward(z)[0] * dy).sum(), z)
    by_differences = numerical_gradient(lambda: (sigmoid.forward(x)[0] * dy).sum(), x)
    errors = [abs(wrong / right - 1).max() for right in (by_complex_step, by_differences)]
    print("a factor of 1 + 1e-12: relative error by the complex step {:.1e}, by differences {:.1e}".format(*errors))
    assert 0.9e-12 < errors[0] < 1.1e-12 < 1e-11 < errors[1]


if __name__ == "__main__":
    exercise_1()
    exercise_2()
