"""Optimisers against their formulas written out in plain floats, and what they promise about state, groups and ties."""

import math

import numpy as np
import pytest

from nn import BatchNorm2d, Conv2d, Linear
from nn.config import config
from nn.layer import Layer, Parameter
from nn.optim.adaptive import AdaGrad, Adam, AdamW, RMSProp
from nn.optim.optimiser import Optimiser, decay_groups
from nn.optim.schedules import step_decay, warm_up
from nn.optim.sgd import SGD

OPTIMISERS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "weight_decay": 0.3}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3}),
    (SGD, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3, "nesterov": True}),
    (Adam, {"lr": 0.1}),
    (Adam, {"lr": 0.1, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    (AdamW, {"lr": 0.1}),
    (AdamW, {"lr": 0.1, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.3}),
    (AdaGrad, {"lr": 0.1}),
    (AdaGrad, {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.3, "initial_accumulator_value": 0.5, "eps": 1e-2}),
    (RMSProp, {"lr": 0.01}),
    (RMSProp, {"lr": 0.01, "alpha": 0.7, "eps": 1e-2, "weight_decay": 0.3}),
    (RMSProp, {"lr": 0.01, "alpha": 0.7, "momentum": 0.8}),
    (RMSProp, {"lr": 0.01, "alpha": 0.8, "eps": 1e-2, "centered": True}),
    (RMSProp, {"lr": 0.01, "alpha": 0.8, "eps": 1e-2, "weight_decay": 0.3, "momentum": 0.5, "centered": True}),
]


def model(seed=0, dtype=np.float64):
    """Parameters of assorted shapes, a scalar and an empty one among them."""
    rng = np.random.default_rng(seed)
    shapes = {"weight": (4, 3), "bias": (4,), "scale": (), "kernel": (2, 3, 1, 2), "empty": (0, 3)}
    return {name: Parameter(np.asarray(rng.normal(size=shape), dtype)) for name, shape in shapes.items()}


def set_gradients(parameters, step):
    rng = np.random.default_rng([7, step])
    for parameter in parameters.values():
        parameter.grad[...] = rng.normal(size=parameter.grad.shape) * 3


def run(parameters, optimiser, steps, rate=lambda step: 1.0):
    for step in steps:
        set_gradients(parameters, step)
        optimiser.step(rate(step))


def values(parameters):
    return {name: parameter.value.copy() for name, parameter in parameters.items()}


def identical(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def sgd_by_hand(w, gradients, rates, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    v = 0.0
    for gradient, rate in zip(gradients, rates, strict=True):
        g = gradient + weight_decay * w
        v = momentum * v + g
        w = w - lr * rate * (g + momentum * v if nesterov else v)
    return w


def adam_by_hand(w, gradients, rates, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m = v = 0.0
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        g = gradient + weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        w = w - lr * rate * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
    return w


def adamw_by_hand(w, gradients, rates, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    m = v = 0.0
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        step = (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
        w = w - lr * rate * (step + weight_decay * w)
    return w


def adagrad_by_hand(w, gradients, rates, lr, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    s = initial_accumulator_value
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        g = gradient + weight_decay * w
        s += g**2
        w = w - lr * rate / (1 + (t - 1) * lr_decay) * g / (math.sqrt(s) + eps)
    return w


def rmsprop_by_hand(w, gradients, rates, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    v = m = b = 0.0
    for gradient, rate in zip(gradients, rates, strict=True):
        g = gradient + weight_decay * w
        v = alpha * v + (1 - alpha) * g**2
        m = alpha * m + (1 - alpha) * g
        b = momentum * b + g / (math.sqrt(v - m**2 if centered else v) + eps)
        w = w - lr * rate * b
    return w


BY_HAND = {
    SGD: sgd_by_hand,
    Adam: adam_by_hand,
    AdamW: adamw_by_hand,
    AdaGrad: adagrad_by_hand,
    RMSProp: rmsprop_by_hand,
}


@pytest.mark.parametrize("optimiser, options", OPTIMISERS)
def test_twenty_steps_equal_the_formula_in_every_element(optimiser, options):
    parameters, schedule = model(), warm_up(step_decay([8, 15]), 5, start=0.1)
    start, gradients = values(parameters), []
    made = optimiser(parameters, **options)
    for step in range(20):
        set_gradients(parameters, step)
        gradients.append({name: parameter.grad.copy() for name, parameter in parameters.items()})
        made.step(schedule(step))
        assert identical(gradients[-1], {name: parameter.grad for name, parameter in parameters.items()})
    by_hand = BY_HAND[optimiser]
    for name, parameter in parameters.items():
        for index in np.ndindex(parameter.value.shape):
            history = [gradient[name][index] for gradient in gradients]
            expected = by_hand(start[name][index], history, [schedule(step) for step in range(20)], **options)
            assert parameter.value[index] == pytest.approx(expected, rel=1e-12, abs=1e-13), (name, index)


def test_worked_examples():
    w = Parameter(np.array([1.0]))
    optimiser = SGD({"w": w}, lr=0.1, momentum=0.5)
    for expected in (0.8, 0.5, 0.15):  # v = 2, 3, 3.5
        w.grad[...] = 2
        optimiser.step()
        assert w.value[0] == pytest.approx(expected)
    for gradient in (1e-4, 1.0, 1e4):  # the first step of Adam is lr, whatever the gradient's size
        w = Parameter(np.array([1.0]))
        w.grad[...] = -gradient
        Adam({"w": w}, lr=0.01).step()
        assert w.value[0] == pytest.approx(1.01, abs=2e-6)


def test_worked_examples_of_the_adaptive_ones():
    w = Parameter(np.array([1.0]))
    optimiser = AdaGrad({"w": w}, lr=0.1)
    for gradient, expected in [(3, 0.9), (4, 0.9 - 0.1 * 4 / 5)]:  # s = 9, 25
        w.grad[...] = gradient
        optimiser.step()
        assert w.value[0] == pytest.approx(expected)
    w = Parameter(np.array([1.0]))
    w.grad[...] = 7
    RMSProp({"w": w}, lr=0.1, alpha=0.75).step()  # v = 49 / 4
    assert w.value[0] == pytest.approx(1 - 0.1 * 2)
    w = Parameter(np.array([1.0]))
    w.grad[...] = 7
    RMSProp({"w": w}, lr=0.1, alpha=0.5, centered=True).step()  # variance 49 / 2 - (7 / 2)^2 = (7 / 2)^2
    assert w.value[0] == pytest.approx(1 - 0.1 * 2)
    w = Parameter(np.array([2.0]))
    w.grad[...] = 7
    AdamW({"w": w}, lr=0.1, weight_decay=0.5).step()  # the decay does not pass through the root mean square
    assert w.value[0] == pytest.approx(2 * (1 - 0.05) - 0.1)
    w.grad[...] = 0
    AdamW({"w": w}, lr=0.1, weight_decay=0.5).step(rate=0.5)
    assert w.value[0] == pytest.approx(1.8 * (1 - 0.025))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_centered_rmsprop_survives_a_gradient_that_never_changes(dtype):
    """The variance goes to 0, and rounding takes v - m^2 below it: a root of that would be NaN."""
    w = Parameter(np.zeros(50, dtype))
    w.grad[...] = np.random.default_rng(0).normal(size=50)
    optimiser = RMSProp({"w": w}, lr=1e-6, alpha=0.9, centered=True)
    for _ in range(600):
        optimiser.step()
    state = optimiser.state_dict()
    assert (state["w.v"] - state["w.m"] ** 2 < 0).any() and np.isfinite(w.value).all()


def test_all_find_the_minimum_of_a_bent_valley():
    scales = np.array([1.0, 10.0, 0.3])
    for optimiser, options in [
        (SGD, {"lr": 0.05, "momentum": 0.9}),
        (Adam, {"lr": 0.05}),
        (AdamW, {"lr": 0.05, "weight_decay": 0.0}),
        (AdaGrad, {"lr": 1.0}),
        (RMSProp, {"lr": 0.01, "alpha": 0.9, "momentum": 0.9, "eps": 0.1}),
    ]:
        w = Parameter(np.array([3.0, -2.0, 1.0]))
        made = optimiser({"w": w}, **options)
        for _ in range(1000):
            w.grad[...] = scales * (w.value - [1, 2, 3])
            made.step()
        np.testing.assert_allclose(w.value, [1, 2, 3], atol=1e-6)


@pytest.mark.parametrize("optimiser, options", OPTIMISERS)
def test_state_that_is_saved_and_loaded_midway_continues_bit_exactly(optimiser, options):
    parameters = model(dtype=np.float32)
    made = optimiser(parameters, **options)
    run(parameters, made, range(8))
    saved_values, saved = values(parameters), {name: array.copy() for name, array in made.state_dict().items()}
    run(parameters, made, range(8, 20))

    resumed = model(seed=1, dtype=np.float32)
    for name, parameter in resumed.items():
        parameter.value[...] = saved_values[name]
    fresh = optimiser(resumed, **options)
    fresh.load_state_dict(saved)
    run(resumed, fresh, range(8, 20))
    assert identical(values(resumed), values(parameters))
    assert identical(fresh.state_dict(), made.state_dict())
    assert not any(np.shares_memory(array, saved[name]) for name, array in fresh.state_dict().items())


@pytest.mark.parametrize("optimiser, options", OPTIMISERS)
def test_float32_stays_float32_and_arrays_are_changed_in_place(optimiser, options):
    parameters, twin, exact = model(dtype=np.float32), model(dtype=np.float32), model()
    arrays = {name: parameter.value for name, parameter in parameters.items()}
    made = optimiser(parameters, **options)
    run(parameters, made, range(5), rate=lambda step: np.float64(0.3))  # a NumPy number must not widen anything
    run(twin, optimiser(twin, **options), range(5), rate=lambda step: 0.3)
    run(exact, optimiser(exact, **options), range(5), rate=lambda step: 0.3)
    assert identical(values(parameters), values(twin))
    for name, parameter in parameters.items():
        assert parameter.value is arrays[name] and parameter.value.dtype == np.float32
        np.testing.assert_allclose(parameter.value, exact[name].value, rtol=1e-4, atol=1e-5)
    assert all(array.dtype in (np.float32, np.int64) for array in made.state_dict().values())


@pytest.mark.parametrize("optimiser, options", OPTIMISERS)
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_large_arrays_of_any_layout_are_stepped_whole(optimiser, options, layout):
    """Arrays above the block size, in blocks, equal the same numbers in arrays below it."""
    rng = np.random.default_rng(3)
    value = rng.normal(size=(301, 450))
    if layout == "strided":
        value = np.repeat(value, 2, axis=1)[:, ::2]
    whole = Parameter(np.asarray(value, order="F") if layout == "F" else value)
    rows = {str(i): Parameter(row.copy()) for i, row in enumerate(value)}
    made_whole, made_rows = optimiser({"w": whole}, **options), optimiser(rows, **options)
    for _ in range(3):
        whole.grad[...] = rng.normal(size=value.shape)
        for row, grad in zip(rows.values(), whole.grad, strict=True):
            row.grad[...] = grad
        made_whole.step()
        made_rows.step()
    np.testing.assert_array_equal(whole.value, [row.value for row in rows.values()])


@pytest.mark.parametrize("optimiser, options", OPTIMISERS)
def test_the_textbook_gives_the_same_bits(optimiser, options, monkeypatch):
    states = []
    for plain in (True, False):
        monkeypatch.setattr(config, "plain", plain)
        rng = np.random.default_rng(5)
        parameters = {"w": Parameter(rng.normal(size=(301, 450)).astype(np.float32)), **model()}
        made = optimiser(parameters, **options)
        run(parameters, made, range(3))
        states.append(values(parameters) | made.state_dict())
    assert identical(*states)


@pytest.mark.parametrize("optimiser, options", OPTIMISERS)
def test_a_tied_parameter_is_stepped_once(optimiser, options):
    single, tied = model(), model()
    tied = {"weight": tied["weight"], "again": tied["weight"], **tied, "third": tied["bias"]}
    made = optimiser(tied, **options)
    run({name: tied[name] for name in single}, made, range(4))
    run(single, optimiser(single, **options), range(4))
    assert all(np.array_equal(single[name].value, tied[name].value) for name in single)
    assert not any(name.startswith(("again", "third")) for name in made.state_dict())


@pytest.mark.parametrize("optimiser, options", OPTIMISERS)
def test_frozen_parameters_are_untouched_and_start_afresh_when_set_free(optimiser, options):
    parameters, fresh = model(), model()
    made = optimiser(parameters, **options)
    parameters["weight"].trainable = False
    before = parameters["weight"].value.copy()
    run(parameters, made, range(6))
    assert np.array_equal(parameters["weight"].value, before)
    untouched = optimiser(model(), **options).state_dict()
    assert all(np.array_equal(made.state_dict()[name], untouched[name]) for name in untouched if "weight." in name)
    assert not np.array_equal(parameters["bias"].value, fresh["bias"].value)

    parameters["weight"].trainable = True  # from here on exactly as a new optimiser would do
    run(parameters, made, range(6, 9))
    run(fresh, optimiser(fresh, **options), range(6, 9))
    assert np.array_equal(parameters["weight"].value, fresh["weight"].value)


def test_groups_have_their_own_options():
    parameters, alone = model(), model()
    made = SGD(
        [
            {"parameters": {"weight": parameters["weight"]}, "lr": 0.01, "weight_decay": 0.0},
            {"parameters": {"bias": parameters["bias"]}, "momentum": 0.0},
            {"parameters": {"kernel": parameters["kernel"]}},
        ],
        lr=0.1,
        momentum=0.9,
        weight_decay=0.2,
    )
    run(parameters, made, range(5), rate=lambda step: 0.5)
    for name, options in [
        ("weight", {"lr": 0.005, "momentum": 0.9}),
        ("bias", {"lr": 0.05, "weight_decay": 0.2}),
        ("kernel", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.2}),
    ]:
        other = model()
        run(other, SGD({name: other[name]}, **options), range(5))
        np.testing.assert_allclose(parameters[name].value, other[name].value, rtol=1e-13)
    assert np.array_equal(parameters["scale"].value, alone["scale"].value)  # in no group
    assert set(made.state_dict()) == {"weight.v", "kernel.v"}


def test_the_callers_groups_are_not_changed():
    parameters = model()
    group = {"parameters": parameters, "lr": 0.5}
    made = Adam([group], lr=0.1)
    assert group == {"parameters": parameters, "lr": 0.5} and made.groups[0]["lr"] == 0.5


def test_rate_zero_moves_nothing_and_zero_grad_clears_in_place():
    parameters = model()
    made, before = SGD(parameters, lr=0.1, weight_decay=0.1), values(parameters)
    grads = [parameter.grad for parameter in parameters.values()]
    run(parameters, made, [0], rate=lambda step: 0.0)
    assert identical(values(parameters), before) and any(grad.any() for grad in grads)
    made.zero_grad()
    assert not any(grad.any() for grad in grads)
    assert all(parameter.grad is grad for parameter, grad in zip(parameters.values(), grads, strict=True))


class Block(Layer):
    """Every kind of parameter: convolution, linear, norms of one and of several axes, a slope, a bias of two axes."""

    def __init__(self):
        self.conv = Conv2d(2, 3, 3)
        self.norm = BatchNorm2d(3)
        self.layer_norm = PlaneNorm()
        self.head = Linear(4, 5)
        self.tied = self.head
        self.slope = Parameter(np.zeros(3))
        self.temperature = Parameter(np.zeros(()))
        self.bias_map = Parameter(np.zeros((4, 5)))
        self.embedding = Parameter(np.zeros((7, 2)))


class PlaneNorm(Layer):
    """A normalisation over several axes: its scale has as many."""

    def __init__(self):
        self.weight = Parameter(np.ones((3, 4, 5)))


def test_decay_groups_of_a_layer():
    block = Block()
    decayed, spared = decay_groups(block, 0.1)
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0
    assert list(decayed["parameters"]) == ["embedding", "conv.weight", "head.weight"]
    assert list(spared["parameters"]) == [
        "slope", "temperature", "bias_map", "conv.bias", "norm.weight", "norm.bias", "layer_norm.weight", "head.bias"
    ]  # fmt: skip
    own = block.parameters()
    assert all(own[name] is p for group in (decayed, spared) for name, p in group["parameters"].items())


def test_decay_groups_of_a_dict_of_a_norm_and_of_nothing():
    parameters = Block().parameters()
    decayed, spared = decay_groups({f"net.{name}": p for name, p in parameters.items()}, 0.1)
    assert set(decayed["parameters"]) == {
        "net.conv.weight", "net.layer_norm.weight", "net.head.weight", "net.embedding"
    }  # fmt: skip
    assert len(spared["parameters"]) == 7
    assert decay_groups(Linear(2, 3, bias=False), 0.1)[0].keys() == {"parameters", "weight_decay"}
    assert len(decay_groups(Linear(2, 3, bias=False), 0.1)) == 1
    assert [list(g["parameters"]) for g in decay_groups(PlaneNorm(), 0.1)] == [["weight"]]
    assert decay_groups(PlaneNorm(), 0.1)[0]["weight_decay"] == 0
    assert decay_groups({}, 0.1) == []
    with pytest.raises(TypeError, match="decay_groups: w must be a Parameter, got ndarray"):
        decay_groups({"w": np.zeros(3)}, 0.1)


def test_decay_groups_decay_weights_alone():
    block = Block()
    for parameter in block.parameters().values():
        parameter.value[...] = 1
    made = AdamW(decay_groups(block, 0.5), lr=0.1, weight_decay=7.0)  # the groups' own holds
    made.step()
    for name, parameter in block.parameters().items():
        decays = name in ("conv.weight", "head.weight", "tied.weight", "embedding")
        np.testing.assert_allclose(parameter.value, 0.95 if decays else 1, rtol=1e-6)


def test_a_state_that_does_not_fit_is_refused_whole():
    parameters = model()
    made = SGD(parameters, lr=0.1, momentum=0.9)
    run(parameters, made, [0])
    good = {name: array.copy() for name, array in made.state_dict().items()}
    other = {name: array + 1 for name, array in good.items()}
    for bad, message in [
        ({name: other[name] for name in other if name != "bias.v"}, "SGD: the state does not fit .*: missing bias.v"),
        ({**other, "head.v": np.zeros(3)}, "unexpected head.v"),
        ({**other, "kernel.v": np.zeros((4, 3))}, r"kernel.v has shape \(4, 3\), wanted \(2, 3, 1, 2\)"),
        ({f"x.{i}": np.zeros(1) for i in range(20)}, "missing weight.v; .*; and 20 more"),
    ]:
        with pytest.raises(ValueError, match=message):
            made.load_state_dict(bad)
        assert identical(made.state_dict(), good)
    with pytest.raises(ValueError, match="Adam: the state does not fit this optimiser: missing weight.m"):
        Adam(model()).load_state_dict(good)


def test_bad_options():
    w = {"w": Parameter(np.zeros(3))}
    for options, message in [
        ({"lr": -1}, "SGD: lr must be a number of at least 0, got -1"),
        ({"lr": math.nan}, "SGD: lr must be a number of at least 0, got nan"),
        ({"lr": 1, "weight_decay": -0.1}, "SGD: weight_decay must be a number of at least 0, got -0.1"),
        ({"lr": 1, "momentum": 1}, r"SGD: momentum must lie in \[0, 1\), got 1"),
        ({"lr": 1, "nesterov": True}, "SGD: nesterov needs a momentum above 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            SGD(w, **options)
        with pytest.raises(ValueError, match=message):
            SGD([{"parameters": w, **options}], lr=0.1)
    for options, message in [
        ({"betas": (0.9, 1.0)}, r"Adam: betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"),
        ({"betas": (0.9,)}, r"Adam: betas must be two numbers in \[0, 1\), got \(0.9,\)"),
        ({"eps": 0}, "Adam: eps must be positive, got 0"),
    ]:
        for optimiser in (Adam, AdamW):
            with pytest.raises(ValueError, match=message.replace("Adam", optimiser.__name__)):
                optimiser(w, **options)
    for options, message in [
        ({"lr_decay": -1}, "AdaGrad: lr_decay must be a number of at least 0, got -1"),
        ({"initial_accumulator_value": math.inf}, "initial_accumulator_value must be a number of at least 0, got inf"),
        ({"eps": 0}, "AdaGrad: eps must be positive, got 0"),
        ({"lr": -1}, "AdaGrad: lr must be a number of at least 0, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            AdaGrad(w, **options)
    for options, message in [
        ({"alpha": 1}, r"RMSProp: alpha must lie in \[0, 1\), got 1"),
        ({"momentum": -0.1}, r"RMSProp: momentum must lie in \[0, 1\), got -0.1"),
        ({"eps": math.nan}, "RMSProp: eps must be positive, got nan"),
        ({"weight_decay": -1}, "RMSProp: weight_decay must be a number of at least 0, got -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            RMSProp([{"parameters": w, **options}])


def test_bad_parameters_and_groups():
    w = Parameter(np.zeros(3))
    for nothing in ({}, [], [{"parameters": {}}]):
        with pytest.raises(ValueError, match="SGD: there are no parameters to learn"):
            SGD(nothing, lr=0.1)
    with pytest.raises(TypeError, match=r"SGD: parameters must be a dict name -> Parameter, .*, got Parameter"):
        SGD(w, lr=0.1)
    with pytest.raises(TypeError, match=r"SGD: parameters must be a dict name -> Parameter, .*, got Parameter"):
        SGD([w], lr=0.1)
    with pytest.raises(TypeError, match=r"SGD: parameters must be a dict name -> Parameter, .*, got NoneType"):
        SGD([{"lr": 0.1}], lr=0.1)
    with pytest.raises(TypeError, match="SGD: w must be a Parameter, got ndarray"):
        SGD({"w": w.value}, lr=0.1)
    with pytest.raises(ValueError, match="SGD: a group has the unknown option 'rate', wanted one of lr, momentum"):
        SGD([{"parameters": {"w": w}, "rate": 0.1}], lr=0.1)
    with pytest.raises(ValueError, match="SGD: b is in two groups, before this one as a"):
        SGD([{"parameters": {"a": w}}, {"parameters": {"b": w}}], lr=0.1)
    with pytest.raises(ValueError, match="SGD: two parameters have the name a, give one a prefix"):
        SGD([{"parameters": {"a": w}}, {"parameters": {"a": Parameter(np.zeros(2))}}], lr=0.1)


def test_the_base_class_says_what_a_new_optimiser_must_define():
    class Unfinished(Optimiser):
        def _new_state(self, parameter, options):
            return {}

    w = {"w": Parameter(np.zeros(3))}
    with pytest.raises(NotImplementedError, match="Unfinished has no _rule_options"):
        Unfinished(w, lr=0.1, weight_decay=0.0).step()
    with pytest.raises(NotImplementedError, match="Optimiser has no _new_state"):
        Optimiser(w, lr=0.1, weight_decay=0.0)
