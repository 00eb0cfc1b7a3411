"""At a tie or a kink a gradient check says so: the slopes on both sides, and what to do."""

import re

import numpy as np
import pytest

from nn import LeakyReLU, MaxPool2d, ReLU, RoIPool, l1, multiclass_hinge
from nn.differences import kink, sides
from nn.gradcheck import GradientError, check_layer, check_loss, check_model
from tests.nn.test_gradcheck import BATCH, Model

SIDES = r"the one-sided differences disagree, (\S+) to the left and (\S+) to the right"
DY = np.random.default_rng(0).standard_normal(1)[0]  # of the check of a layer with one output


def row(*values):
    return np.array(values, float).reshape(1, 1, 1, -1)


def failure(check, *args, **options):
    with pytest.raises(GradientError) as error:
        check(*args, **options)
    return str(error.value)


def slopes(message):
    return tuple(map(float, re.search(SIDES, message).groups()))


@pytest.mark.parametrize(
    "layer, x, wanted",
    [
        (MaxPool2d((1, 2)), row(1, 1), (0, DY)),  # PyTorch issue 114219: backward gives all to one of them
        (MaxPool2d((1, 2)), row(1, 1 + 1e-7), (0, 0.99 * DY)),  # the second largest is within the step
        (ReLU(), row(0.0), (0, DY)),
        (ReLU(), row(5e-6), (0.5 * DY, DY)),
        (LeakyReLU(0.1), row(0.0), (0.1 * DY, DY)),
    ],
)
def test_a_tie_or_a_kink_is_named_with_the_slopes_on_both_sides(layer, x, wanted):
    message = failure(check_layer, layer, x)
    np.testing.assert_allclose(sorted(slopes(message)), sorted(wanted), rtol=1e-4, atol=1e-9)
    assert "a tie (of a maximum) or a kink (a ReLU at 0) is the likelier cause than a wrong backward" in message
    assert "Check at other inputs" in message
    assert check_layer(layer, x + row(*range(1, 1 + x.size)))  # ... as the message says


def test_the_complex_step_does_not_mind():
    for layer, x in ((MaxPool2d((1, 2)), row(1, 1)), (ReLU(), row(0.0))):
        assert check_layer(layer, x, complex_step=True, tolerance=1e-12)["x"] == 0


class OneForHalf(ReLU):
    """A complex step at the kink follows one side; this backward takes the middle."""

    def backward(self, dy, cache):
        return super().backward(dy, cache) + 0.5 * dy


class Tripled(ReLU):
    def backward(self, dy, cache):
        return super().backward(dy, cache) + 3 * dy


def test_the_complex_step_at_a_kink_names_it_too():
    assert "likelier cause" in failure(check_layer, OneForHalf(), row(0.0), complex_step=True)


@pytest.mark.parametrize("x", [0.0, 5e-6, -5e-6])
@pytest.mark.parametrize("complex_step", [False, True])
def test_a_wrong_backward_is_not_excused_by_a_kink(x, complex_step):
    message = failure(check_layer, Tripled(), row(x), complex_step=complex_step)
    assert "but backward is wrong nearer to it, too" in message and "likelier" not in message


def test_regions_whose_corners_are_rounded_within_the_step():
    x, boxes = np.arange(40.0).reshape(1, 2, 4, 5), np.array([[0.5, 1.3, 3.1, 2.2]])  # 0.5 is rounded up
    message = failure(check_layer, RoIPool(2, 1.0), x, boxes, np.array([0]))
    assert "RoIPool: backward gave None: gradient of x1[0, 0]" in message and "likelier cause" in message


def test_losses():
    at_the_margin = failure(check_loss, multiclass_hinge, np.array([[1.0, 0.0]]), np.array([0]))
    assert slopes(at_the_margin) == pytest.approx((0, 1)) and "likelier cause" in at_the_margin

    def one_sided(prediction, target):
        return l1(prediction, target)[0], np.ones(1)  # the slope to the right of |0|

    message = failure(check_loss, one_sided, np.zeros(1), np.zeros(1))
    assert slopes(message) == pytest.approx((-1, 1)) and "likelier cause" in message


def test_whole_models():
    class AtAKink(Model):
        """With a third loss that is max(b, 0) of a bias that is 0; backward knows nothing of it."""

        def loss(self, batch, rng, sampled=None):
            losses, cache = super().loss(batch, rng, sampled)
            bias = self.last.bias.value[0]
            losses["kink"] = bias * (np.real(bias) > 0)
            return losses, cache

    message = failure(check_model, AtAKink(), BATCH, complex_step=False)
    assert "random direction of last.bias" in message and "likelier cause" in message
    assert abs(np.subtract(*slopes(message))) > 1e-3


def test_a_strong_curvature_is_no_kink():
    def curved(t):
        return np.exp(1000 * t)

    left, right = sides(curved)[0]
    assert right - left > 0.005 * right
    assert kink(2000.0, *sides(curved)) == ""


def test_a_small_kink_on_one_side_is_found():
    def bent(t):
        return np.exp(t) + 0.002 * max(t - 3e-6, 0)

    assert "likelier cause" in kink(1.0, *sides(bent))
    assert "backward is wrong nearer to it, too" in kink(1.1, *sides(bent))
