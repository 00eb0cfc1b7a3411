"""The gradient check finds planted errors, says where they are, and leaves the layer as it was."""

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

import nn
from nn import BatchNorm2d, Conv2d, Dropout, Layer, Linear, Parameter, RoIPool, Sequential, l2, smooth_l1
from nn.gradcheck import GradientError, check_contract, check_layer, check_loss, check_model, differentiate
from nn.model_check import is_silent

RNG = np.random.default_rng(140)
X, OTHER = RNG.uniform(0.5, 2, (3, 4)), RNG.uniform(0.5, 2, (2, 4))


class Quadratic(Layer):
    """y = weight * x * x + bias.    x, y (N, 4). Correct; the layers below are wrong in one thing each."""

    def __init__(self):
        self.weight = Parameter(np.array([1.5, -2, 0.5, 3], np.float32))
        self.bias = Parameter(np.array([0.5, 1, -1, 2], np.float32))

    def forward(self, x, training=True):
        return self.weight.value * x * x + self.bias.value, x

    def backward(self, dy, cache):
        x = cache
        self.weight.grad += (dy * x * x).sum(axis=0)
        self.bias.grad += dy.sum(axis=0)
        return 2 * self.weight.value * x * dy


class Softmax(Layer):
    def forward(self, x, training=True):
        e = np.exp(x)
        y = e / e.sum(axis=1, keepdims=True)
        return y, y

    def backward(self, dy, cache):
        y = cache
        return y * (dy - (dy * y).sum(axis=1, keepdims=True))


class DroppedTerm(Softmax):
    def backward(self, dy, cache):
        return dy * cache


class FlippedSign(Quadratic):
    def backward(self, dy, cache):
        return -super().backward(dy, cache)


class ForgottenFactor(Quadratic):
    def backward(self, dy, cache):
        return super().backward(dy, cache) / 2


class SlightlyWrong(Quadratic):
    def backward(self, dy, cache):
        return super().backward(dy, cache) * (1 + 1e-6)


class OneElementWrong(Quadratic):
    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        dx[1, 2] *= 1.001
        return dx


class NaN(Quadratic):
    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        dx[0, 3] = np.nan
        return dx


class ForgottenBias(Quadratic):
    def backward(self, dy, cache):
        self.weight.grad += (dy * cache * cache).sum(axis=0)
        return 2 * self.weight.value * cache * dy


class OnesForDy(Quadratic):
    def backward(self, dy, cache):
        return super().backward(np.ones_like(dy), cache)


class WrongShape(Quadratic):
    def backward(self, dy, cache):
        return super().backward(dy, cache)[:1]


class NothingReturned(Quadratic):
    def backward(self, dy, cache):
        super().backward(dy, cache)


class TooMany(Quadratic):
    def backward(self, dy, cache):
        return super().backward(dy, cache), None


class FlippedKernel(Conv2d):
    def backward(self, dy, cache):
        wrong = Conv2d(2, 3, 2).astype(dy.dtype)
        wrong.weight.value = self.weight.value[..., ::-1, ::-1]
        super().backward(dy, cache)
        return wrong.backward(dy, cache)


class NewMaskInBackward(Dropout):
    def backward(self, dy, cache):
        return dy * (np.random.default_rng(99).random(dy.shape) > self.p) / (1 - self.p)


@pytest.mark.parametrize("complex_step", [False, True])
@pytest.mark.parametrize(
    "layer, message",
    [
        (DroppedTerm(), r"DroppedTerm: gradient of x\[\d, \d\] is "),
        (FlippedSign(), r"FlippedSign: gradient of x\[\d, \d\] is "),
        (ForgottenFactor(), r"ForgottenFactor: gradient of x\[\d, \d\] is "),
        (SlightlyWrong(), r"SlightlyWrong: gradient of x\[\d, \d\] is .* \(relative error 1.0e-06, wanted 1e-07\)$"),
        (OneElementWrong(), r"OneElementWrong: gradient of x\[1, 2\] is "),
        (NaN(), r"NaN: gradient of x\[0, 3\] is nan by backward, -?\d+\.\d+ numerically \(relative error nan, wanted"),
        (ForgottenBias(), r"ForgottenBias: gradient of bias\[\d\] is 0 by backward, "),
        (OnesForDy(), r"OnesForDy: gradient of x\[\d, \d\] is "),
        (WrongShape(), r"WrongShape: gradient of x has shape \(1, 4\), wanted \(3, 4\)"),
        (NothingReturned(), r"NothingReturned: backward gave None: gradient of x\[\d, \d\] is 0 by backward, -?\d"),
        (TooMany(), "TooMany: backward gave 2 gradients for 1 inputs"),
    ],
)
def test_planted_errors_are_noticed(layer, message, complex_step):
    with pytest.raises(GradientError, match=f"^{message}"):
        check_layer(layer, X, complex_step=complex_step)


@pytest.mark.parametrize("layer, shape", [(FlippedKernel(2, 3, 2), (1, 2, 4, 5)), (NewMaskInBackward(), (3, 4))])
def test_planted_errors_in_subclasses_of_our_layers(layer, shape):
    with pytest.raises(GradientError, match=rf"^{type(layer).__name__}: gradient of x\["):
        check_layer(layer, RNG.normal(size=shape))


def test_the_message_names_tensor_worst_index_and_both_values():
    dy = np.random.default_rng(7).standard_normal((3, 4))
    right = 2 * 0.5 * X[1, 2] * dy[1, 2]  # weight[2] = 0.5
    with pytest.raises(GradientError) as error:
        check_layer(OneElementWrong(), X, rng=np.random.default_rng(7))
    found = re.fullmatch(
        r"OneElementWrong: gradient of x\[1, 2\] is (\S+) by backward, (\S+) numerically "
        r"\(relative error (\S+), wanted 1e-07\)",
        str(error.value),
    )
    largest = abs(2 * np.array([1.5, -2, 0.5, 3]) * X * dy).max()
    assert float(found[1]) == pytest.approx(1.001 * right, rel=1e-11)
    assert float(found[2]) == pytest.approx(right, rel=1e-8)
    assert float(found[3]) == pytest.approx(abs(0.001 * right) / largest, rel=0.1)


@pytest.mark.parametrize("layer", [Quadratic(), Softmax(), Sequential(Quadratic(), Softmax(), Quadratic())])
def test_correct_layers_pass_and_both_versions_agree(layer):
    central, complex_step = check_layer(layer, X), check_layer(layer, X, complex_step=True, tolerance=1e-12)
    assert central.keys() == complex_step.keys() == {"x", *layer.parameters()}
    assert max(complex_step.values()) < 1e-13 < max(central.values()) < 1e-8
    check_contract(layer, (X,), (OTHER,))


def test_differentiate_gives_the_same_both_ways():
    def by(at, complex_step):
        return differentiate(lambda: (np.exp(at) * at[::-1]).sum(), at, complex_step)

    at, exact = X[0].copy(), np.exp(X[0]) * X[0][::-1] + np.exp(X[0][::-1])
    np.testing.assert_allclose(by(at, False), exact, rtol=1e-8)
    np.testing.assert_allclose(by(at.astype(complex), True), exact, rtol=1e-15)
    assert np.array_equal(at, X[0])  # put back
    scalar = np.array(3.0)
    assert differentiate(lambda: scalar**2, scalar) == pytest.approx(6)


class Several(Layer):
    """(a, b, index) -> (a * b * weight, a[index] + 2 * b): two outputs, and an input without gradient."""

    def __init__(self, wrong=None):
        self.weight, self.wrong = Parameter(np.array(1.5)), wrong

    def forward(self, a, b, index, training=True):
        return (a * b * self.weight.value, a[index] + 2 * b), (a, b, index)

    def backward(self, dy, cache):
        (a, b, index), (dproduct, dsum) = cache, dy
        self.weight.grad += (dproduct * a * b).sum() * (2 if self.wrong == "weight" else 1)
        da, db = dproduct * b * self.weight.value, dproduct * a * self.weight.value
        if self.wrong != "x0":
            np.add.at(da, index, dsum)
        if self.wrong != "x1":
            db = db + 2 * dsum
        return da, db, np.zeros(index.shape) if self.wrong == "index" else None


INPUTS = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2)), np.array([2, 0, 2])


@pytest.mark.parametrize("complex_step", [False, True])
def test_several_inputs_and_outputs(complex_step):
    assert check_layer(Several(), *INPUTS, complex_step=complex_step).keys() == {"x0", "x1", "weight"}
    check_contract(Several(), INPUTS, (X[:2], X[1:], np.array([1, 1])))
    for wrong, message in (("x0", r"x0\[[02], "), ("x1", r"x1\[\d, "), ("weight", r"weight\[\] is ")):
        with pytest.raises(GradientError, match=f"^Several: gradient of {message}"):
            check_layer(Several(wrong), *INPUTS, complex_step=complex_step)
    with pytest.raises(GradientError, match="^Several: x2 holds int64: backward must give None for it$"):
        check_layer(Several("index"), *INPUTS, complex_step=complex_step)


class Gate(Layer):
    """y = x * gate, the gate taken as constant."""

    def forward(self, x, gate, training=True):
        return x * gate, gate

    def backward(self, dy, cache):
        return dy * cache, None


@pytest.mark.parametrize("complex_step", [False, True])
def test_none_is_for_inputs_that_have_no_gradient_or_are_said_to_be_constant(complex_step):
    boxes = np.array([[0.2, 1.3, 3.1, 2.2]])
    x = RNG.permutation(40).reshape(1, 2, 4, 5) / 10
    assert check_layer(RoIPool(2, 1.0), x, boxes, np.array([0]), complex_step=complex_step).keys() == {"x0"}
    with pytest.raises(GradientError, match=r"^Gate: backward gave None: gradient of x1\["):
        check_layer(Gate(), X, X + 1, complex_step=complex_step)
    assert check_layer(Gate(), X, X + 1, constants=[1], complex_step=complex_step).keys() == {"x0"}


def test_training_reaches_the_layer():
    norm, x = BatchNorm2d(2), RNG.normal(size=(2, 2, 3, 4))
    check_layer(norm, x, training=True)
    check_layer(norm, x, training=False)

    class InferenceOnly(BatchNorm2d):
        def backward(self, dy, cache):
            return super().backward(dy, (*cache[:3], False))  # as if mean and variance were constants

    check_layer(InferenceOnly(2), x, training=False)
    with pytest.raises(GradientError, match="^InferenceOnly: gradient of x"):
        check_layer(InferenceOnly(2), x)

    class TrainingOnly(Dropout):
        def forward(self, x, training=True):
            y, cache = super().forward(x, training)
            return (y if training else y.astype(np.float64)), cache

    check_contract(TrainingOnly(), (x,), (x[:1],))
    with pytest.raises(GradientError, match="^TrainingOnly: float32 in, got out"):
        check_contract(TrainingOnly(), (x,), (x[:1],), training=False)


@pytest.mark.parametrize("seed", range(8))
def test_a_tensor_without_gradient_does_not_fail_by_rounding(seed):
    """A bias before a batch normalisation has no influence: what is left of its gradient is rounding."""
    rng = np.random.default_rng([142, seed])
    layer, x = Sequential(Conv2d(2, 3, 2, rng=rng), BatchNorm2d(3)), rng.normal(size=(2, 2, 4, 5))
    check_layer(layer, x)
    check_layer(layer, x, complex_step=True, tolerance=1e-12)


class Faint(Layer):
    """y = x0 + scale * x1, with a gradient of x1 wrong by one in a million: noticed however small it is."""

    def __init__(self, scale, all_faint):
        self.scale, self.x0 = scale, scale if all_faint else 1

    def forward(self, x0, x1, training=True):
        return self.x0 * x0 + self.scale * x1, None

    def backward(self, dy, cache):
        return self.x0 * dy, (1 + 1e-6) * self.scale * dy


@pytest.mark.parametrize("complex_step", [False, True])
@pytest.mark.parametrize("scale, all_faint", [(0.005, False), (1e-9, True)])
def test_errors_of_small_gradients_are_noticed(scale, all_faint, complex_step):
    with pytest.raises(GradientError, match=r"^Faint: gradient of x1\[\d, \d\] .* \(relative error 1.0e-06, wanted"):
        check_layer(Faint(scale, all_faint), X, X + 1, complex_step=complex_step)


def test_inputs_of_size_0():
    assert check_layer(Quadratic(), X[:0]) == {"x": 0, "weight": 0, "bias": 0}


class ReplacesGradient(Quadratic):
    def backward(self, dy, cache):
        self.bias.grad = dy.sum(axis=0)
        self.weight.grad += (dy * cache * cache).sum(axis=0)
        return 2 * self.weight.value * cache * dy


class LosesSome(Quadratic):
    def backward(self, dy, cache):
        self.weight.grad *= 0.99
        return super().backward(dy, cache)


class KeepsState(Quadratic):
    def forward(self, x, training=True):
        self.x = x
        return super().forward(x)

    def backward(self, dy, cache):
        return super().backward(dy, self.x)


class KeepsStateBelow(Layer):
    def __init__(self):
        self.inner = KeepsState()

    def forward(self, x, training=True):
        return self.inner.forward(x)

    def backward(self, dy, cache):
        return self.inner.backward(dy, cache)


class Counts(Quadratic):
    calls = 0

    def forward(self, x, training=True):
        self.calls += 1
        return super().forward(x)


class LastShape(Quadratic):
    shape: dict = {}  # noqa: RUF012  (shared on purpose: state that no attribute shows)

    def forward(self, x, training=True):
        self.shape["last"] = len(x)
        return super().forward(x)

    def backward(self, dy, cache):
        return super().backward(dy, cache) * (len(dy) / self.shape["last"])


class ChangesInput(Quadratic):
    def forward(self, x, training=True):
        np.minimum(x, 1, out=x)  # once only: the second call finds nothing to change
        return super().forward(x)


class ChangesDy(Quadratic):
    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        dy *= 0.5
        return dx


class ChangesParameter(Quadratic):
    def forward(self, x, training=True):
        self.weight.value *= 1.01
        return super().forward(x)


class ChangesCache(Quadratic):
    def forward(self, x, training=True):
        return super().forward(x)[0], x.copy()

    def backward(self, dy, cache):
        dx = super().backward(dy, cache)
        cache *= 2
        return dx


class DoublePrecision(Quadratic):
    def forward(self, x, training=True):
        return super().forward(x)[0] * np.float64(1), x


class DoublePrecisionGradient(Quadratic):
    def backward(self, dy, cache):
        return super().backward(dy, cache) * np.float64(1)


class ReadsMemory(Quadratic):
    def forward(self, x, training=True):
        contiguous = np.lib.stride_tricks.as_strided(x, x.shape, (x.shape[1] * x.itemsize, x.itemsize))
        return super().forward(contiguous)


class OtherParameters(Quadratic):
    def backward_parameters(self, dy, cache):
        self.weight.grad += (dy * cache * cache).sum(axis=0)


class DrawsInBackward(Dropout):
    def backward(self, dy, cache):
        return super().backward(dy, super().forward(dy)[1])


@pytest.mark.parametrize(
    "layer, message",
    [
        (ReplacesGradient(), "gradients of bias do not add up"),
        (LosesSome(), "gradients of weight do not add up"),
        (KeepsState(), "forward or backward set the attribute x"),
        (KeepsStateBelow(), "forward or backward set the attribute inner.x"),
        (Counts(), "forward or backward set the attribute calls"),
        (LastShape(), r"backward after two forwards differs: state beside the cache\?"),
        (ChangesInput(), "forward or backward changed one of its arguments"),
        (ChangesDy(), "forward or backward changed one of its arguments"),
        (ChangesParameter(), "forward or backward changed one of its arguments"),
        (ChangesCache(), r"a second backward differs: did the first one change the cache\?"),
        (DoublePrecision(), r"float32 in, got out \['float32', 'float64'\]"),
        (DoublePrecisionGradient(), r"float32 in, got out \['float32', 'float64'\]"),
        (ReadsMemory(), "non-contiguous arrays give other results"),
        (OtherParameters(), "backward_parameters: other gradients of bias"),
        (DrawsInBackward(), r"backward after two forwards differs: state beside the cache\?"),
    ],
)
def test_breaches_of_the_contract_are_noticed(layer, message):
    with pytest.raises(GradientError, match=f"^{type(layer).__name__}: {message}$"):
        check_contract(layer, (X,), (OTHER,))


def test_a_stack_on_the_layer_is_noticed():
    """Backwards in reverse order alone would not: a stack serves them well."""

    class Stack(Softmax):
        def __init__(self):
            self.stack = []

        def forward(self, x, training=True):
            y, _ = super().forward(x)
            self.stack.append(y)
            return y, None

        def backward(self, dy, cache):
            return super().backward(dy, self.stack.pop())

    with pytest.raises((GradientError, IndexError, ValueError)):
        check_contract(Stack(), (X,), (OTHER,))


@pytest.mark.parametrize("check", [check_layer, lambda layer, x: check_contract(layer, (x,), (x[:1],))])
def test_the_layer_is_given_back_as_it_was(check):
    layer = Sequential(Conv2d(2, 3, 2), BatchNorm2d(3), Dropout(0.5))
    for parameter in layer.parameters().values():
        parameter.grad += 5
    layer[1].running_mean += 3
    x = RNG.normal(size=(2, 2, 3, 4))
    arrays = {**layer.state_dict(), **{f"{name} grad": p.grad for name, p in layer.parameters().items()}}
    copies, x_copy = {name: array.copy() for name, array in arrays.items()}, x.copy()
    generator = layer[2].rng.bit_generator.state

    check(layer, x)
    after = {**layer.state_dict(), **{f"{name} grad": p.grad for name, p in layer.parameters().items()}}
    assert all(after[name] is array for name, array in arrays.items())
    assert all(np.array_equal(after[name], copy) for name, copy in copies.items())
    assert np.array_equal(x, x_copy) and layer[2].rng.bit_generator.state == generator
    with pytest.raises(ValueError, match="^Conv2d: x must have shape"):
        check(layer, x[:, :1])
    assert all(array is arrays[name] for name, array in layer.state_dict().items())


def test_check_loss():
    assert check_loss(smooth_l1, X, np.ones_like(X), beta=0.3, tolerance=1e-12, complex_step=True) < 1e-14
    assert check_loss(l2, X, np.ones_like(X), normaliser=3) < 1e-8

    def no_half(prediction, target):
        return l2(prediction, target)[0] * 2, l2(prediction, target)[1]

    for complex_step in (False, True):
        with pytest.raises(GradientError, match=r"^no_half: gradient of prediction\[\d, \d\] is \S+ by backward, \S+ "):
            check_loss(no_half, X, np.ones_like(X), complex_step=complex_step)

    with pytest.raises(GradientError, match=r"\(relative error 1.0e-06, wanted 1e-07\)$"):
        check_loss(lambda p, t: (l2(p, t)[0], l2(p, t)[1] * (1 + 1e-6)), X, np.ones_like(X))


class Cache(NamedTuple):
    layers: Any
    drawn: np.ndarray
    sampled: np.ndarray


class Model(Layer):
    """Two layers, losses of rows that are sampled, by values that the parameters decide. `wrong` names an error."""

    def __init__(self, wrong=None):
        rng = np.random.default_rng(141)
        self.first, self.norm, self.drop = Linear(4, 6, rng=rng), BatchNorm2d(6), Dropout(0.3, rng=rng)
        self.last, self.stem, self.wrong = Linear(6, 3, rng=rng), Linear(4, 4, rng=rng), wrong
        for parameter in self.stem.parameters().values():
            parameter.trainable = False

    def loss(self, batch, rng, sampled=None):
        x, target = batch
        x = self.stem(x)  # frozen: no gradient
        hidden, c_first = self.first.forward(x)
        normal, c_norm = self.norm.forward(hidden[:, :, None, None])
        dropped, c_drop = self.drop.forward(normal)
        y, c_last = self.last.forward(dropped[:, :, 0, 0])
        if sampled is None:
            sampled = (y.real.sum(axis=1) > 0) * rng.random(len(y))
        value, dy = l2(y, target, weights=sampled[:, None])
        square, dsquare = l2(y, 0 * target)
        return {"l2": value, "square": square}, Cache((c_first, c_norm, c_drop, c_last), dy + dsquare, sampled)

    def backward(self, cache):
        c_first, c_norm, c_drop, c_last = cache.layers
        d = self.last.backward(cache.drawn, c_last)[:, :, None, None]
        d = self.norm.backward(self.drop.backward(d, c_drop), c_norm)
        self.first.backward(d[:, :, 0, 0], c_first)
        if self.wrong == "sign":
            self.last.bias.grad *= -1
        elif self.wrong == "element":
            self.first.weight.grad[2, 3] *= 1.01
        elif self.wrong == "forgotten":
            self.norm.bias.grad[...] = 0
        elif self.wrong == "nan":
            self.norm.weight.grad[1] = np.nan


BATCH = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 3))


@pytest.mark.parametrize("complex_step", [False, True])
def test_check_model(complex_step):
    model = Model()
    state = {name: array.copy() for name, array in model.state_dict().items()}
    for parameter in model.parameters().values():
        parameter.grad += 5
    generator = model.drop.rng.bit_generator.state
    errors = check_model(model, BATCH, complex_step=complex_step)
    learned = ["first.weight", "first.bias", "norm.weight", "norm.bias", "last.weight", "last.bias"]
    assert list(errors) == learned  # the frozen stem is left out
    del errors["first.bias"]  # has no influence before a normalisation: what is left is rounding
    assert max(errors.values()) < (1e-13 if complex_step else 1e-7)
    assert all(np.array_equal(array, state[name]) for name, array in model.state_dict().items())
    assert all((parameter.grad == 5).all() for parameter in model.parameters().values())
    assert model.drop.rng.bit_generator.state == generator and model.first.weight.value.dtype == np.float32


@pytest.mark.parametrize("complex_step", [False, True])
@pytest.mark.parametrize(
    "wrong, name",
    [("sign", "last.bias"), ("element", "first.weight"), ("forgotten", "norm.bias"), ("nan", "norm.weight")],
)
def test_check_model_names_the_one_wrong_parameter(wrong, name, complex_step):
    message = rf"^Model: the derivative along a random direction of {name} is \S+ by backward, -?\d\S+ numerically \("
    with pytest.raises(GradientError, match=message):
        check_model(Model(wrong), BATCH, complex_step=complex_step)


def test_check_model_holds_what_the_model_sampled():
    class Recorded(Model):
        def loss(self, batch, rng, sampled=None):
            given.append(sampled)
            losses, cache = super().loss(batch, rng, sampled)
            made.append(cache.sampled)
            return losses, cache

    given, made = [], []
    check_model(Recorded(), BATCH)
    assert given[0] is None and len(given) == 7 and all(sampled is made[0] for sampled in given[1:])


def test_check_model_of_a_model_that_decides_nothing():
    class Plain(Linear):
        normaliser, factor, faint = 1, 1, 1

        def loss(self, batch, rng):
            y, cache = self.forward(batch[0])
            y = y + (self.faint - 1) * self.bias.value
            value, dy = l2(y, batch[1], normaliser=self.normaliser)
            return {"l2": value}, (dy, cache)

        def backward(self, cache):
            super().backward(*cache)
            self.bias.grad *= self.faint * self.factor

    model = Plain(4, 3)
    assert check_model(model, BATCH, tolerance=1e-12).keys() == {"weight", "bias"}
    model.factor = 1.00001
    for model.normaliser, model.faint in ((1, 1), (1e9, 1), (1, 1e-3)):  # noticed, small as loss or gradient may be
        for complex_step in (False, True):
            with pytest.raises(GradientError, match=r"random direction of bias is .* error 1.0e-05, wanted 1e-06\)$"):
                check_model(model, BATCH, complex_step=complex_step)


class Dead(Model):
    """What comes behind a ReLU that is dead has no influence on the loss, as in a network that is too narrow."""

    alive = 0  # the draw of the samples from which on it lives, if any

    def loss(self, batch, rng, sampled=None):
        losses, cache = super().loss(batch, rng, sampled)
        y, c_extra = self.extra.forward(batch[0])
        self.lives = self.alive and rng.bit_generator.seed_seq.entropy >= self.alive
        value, dy = l2(y * self.lives, np.zeros(y.shape))
        return losses | {"extra": value}, Cache((cache, c_extra), dy * self.lives, cache.sampled)

    def backward(self, cache):
        c_model, c_extra = cache.layers
        super().backward(c_model)
        self.extra.backward(cache.drawn, c_extra)


def test_a_model_fails_where_a_gradient_is_0_in_all_draws():
    model = Dead()
    model.extra = Linear(4, 2, rng=np.random.default_rng(0))
    message = "^Dead: the gradient of 2 of 8 trainable parameters is 0 in all elements in each of 3 draws, so this "
    with pytest.raises(GradientError, match=message + "checks nothing of them: extra.weight, extra.bias. The loss"):
        check_model(model, BATCH)
    with pytest.raises(GradientError, match="in each of 1 draws"):
        check_model(model, BATCH, draws=1)
    for parameter in model.extra.parameters().values():
        parameter.trainable = False
    check_model(model, BATCH)  # what is frozen need not be checked


def test_a_bias_that_a_normalisation_takes_away_is_not_called_dead():
    """Its gradient may be 0 to the last bit, or not, as the rounding falls; that of a dead layer's weight is 0, too."""
    names = "conv.weight", "conv.bias", "dead.weight", "dead.bias", "scale"
    parameters = {name: Parameter(np.zeros(2)) for name in names}
    parameters["conv.weight"].grad[1] = 0.5
    assert [name for name in names if is_silent(name, parameters)] == ["dead.weight", "dead.bias", "scale"]


def test_a_gradient_that_is_0_in_one_draw_is_checked_in_another():
    model = Dead()
    model.extra, model.alive = Linear(4, 2, rng=np.random.default_rng(0)), 2
    assert check_model(model, BATCH)["extra.weight"] < 1e-12
    model.extra.backward = lambda dy, cache: Linear.backward(model.extra, 2 * dy, cache)
    with pytest.raises(GradientError, match="random direction of extra"):
        check_model(model, BATCH)


def test_a_stage_may_have_a_loss_of_its_own():
    class TwoStages(Model):
        def second(self, batch, rng):
            value, dy = l2(self.last.bias.value[None] * batch[1], 0 * batch[1])
            return {"l2": value}, (dy * batch[1]).sum(axis=0)

        def second_backward(self, cache):
            self.last.bias.grad += 2 * cache

    model = TwoStages()
    model.last.bias.value += 1
    for name, parameter in model.parameters().items():
        parameter.trainable = name == "last.bias"
    check_model(model, BATCH)
    with pytest.raises(GradientError, match=r"error 5.0e-01, wanted"):
        check_model(model, BATCH, loss="second", backward="second_backward")


def test_config_plain_passes_the_same_checks(monkeypatch):
    monkeypatch.setattr(nn.config, "plain", True)
    with pytest.raises(GradientError, match="^FlippedKernel: gradient of x"):
        check_layer(FlippedKernel(2, 3, 2), RNG.normal(size=(1, 2, 4, 5)))
    check_layer(Conv2d(2, 3, 2), RNG.normal(size=(1, 2, 4, 5)))
