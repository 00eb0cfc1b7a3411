"""PyTorch as a second opinion on losses, optimisers, clipping and initialisation; skipped where it is not installed."""

import math
from functools import partial

import numpy as np
import pytest

from nn.init import fans
from nn.layer import Parameter
from nn.losses.classification import binary_cross_entropy_with_logits, softmax_cross_entropy
from nn.losses.regression import l2, smooth_l1
from nn.optim.adaptive import Adam
from nn.optim.clipping import clip_gradient_norm
from nn.optim.schedules import polynomial, step_decay, warm_up
from nn.optim.sgd import SGD

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(30)
LOGITS = RNG.normal(size=(3, 5, 2, 4)) * 3
LABELS = np.where(RNG.random((3, 2, 4)) < 0.3, -1, RNG.integers(0, 5, size=(3, 2, 4)))
CLASS_WEIGHTS = np.array([0.5, 2.0, 0.1, 1.25, 3.0])
X, TARGET = RNG.normal(size=(2, 6, 4)) * 2
WEIGHTS = RNG.random((6, 4))


def agree(ours, prediction, theirs, rel=1e-12):
    """Value and gradient of our loss(prediction) and of PyTorch's."""
    value, gradient = ours(prediction)
    tensor = torch.tensor(prediction, requires_grad=True)
    expected = theirs(tensor)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=rel)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=rel, atol=rel / 100)
    assert gradient.dtype == tensor.grad.numpy().dtype


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("scale", [1, 100])
def test_softmax_cross_entropy(scale, class_weights, reduction):
    agree(
        partial(softmax_cross_entropy, labels=LABELS, class_weights=class_weights, reduction=reduction),
        LOGITS * scale,
        lambda x: F.cross_entropy(
            x,
            torch.tensor(LABELS),
            weight=None if class_weights is None else torch.tensor(class_weights),
            ignore_index=-1,
            reduction=reduction,
        ),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("scale", [1, 100])
def test_binary_cross_entropy_with_logits(scale, reduction):
    targets = RNG.random(X.shape)
    agree(
        partial(binary_cross_entropy_with_logits, targets=targets, reduction=reduction),
        X * scale,
        lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(targets), reduction=reduction),
    )


def test_weights_of_elements_agree_in_the_sum():
    """In the mean they do not: PyTorch divides by the number of elements, we by the sum of the weights."""
    targets, weights = RNG.random(X.shape), torch.tensor(WEIGHTS)
    agree(
        partial(binary_cross_entropy_with_logits, targets=targets, weights=WEIGHTS, reduction="sum"),
        X,
        lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(targets), weight=weights, reduction="sum"),
    )
    agree(
        partial(smooth_l1, target=TARGET, weights=WEIGHTS),
        X,
        lambda x: (weights * F.smooth_l1_loss(x, torch.tensor(TARGET), reduction="none")).sum() / weights.sum(),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("beta", [1.0, 1 / 9, 3.0])
def test_smooth_l1(beta, reduction):
    agree(
        partial(smooth_l1, target=TARGET, beta=beta, reduction=reduction),
        X,
        lambda x: F.smooth_l1_loss(x, torch.tensor(TARGET), beta=beta, reduction=reduction),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_l2_is_half_of_mse(reduction):
    agree(
        partial(l2, target=TARGET, reduction=reduction),
        X,
        lambda x: F.mse_loss(x, torch.tensor(TARGET), reduction=reduction) / 2,
    )


def test_losses_in_float32():
    agree(
        partial(softmax_cross_entropy, labels=LABELS, class_weights=CLASS_WEIGHTS),
        LOGITS.astype(np.float32),
        lambda x: F.cross_entropy(x, torch.tensor(LABELS), torch.tensor(CLASS_WEIGHTS).float(), ignore_index=-1),
        rel=3e-6,
    )


OPTIMISERS = [
    (SGD, "SGD", {"lr": 0.05}),
    (SGD, "SGD", {"lr": 0.05, "weight_decay": 0.1}),
    (SGD, "SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    (SGD, "SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    (Adam, "Adam", {"lr": 0.05}),
    (Adam, "Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.1}),
]


@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-11), (np.float32, 1e-5)])
@pytest.mark.parametrize("ours, theirs, options", OPTIMISERS)
def test_twenty_steps_clipped_and_scheduled(ours, theirs, options, dtype, rtol):
    rng = np.random.default_rng(31)
    start = {
        name: rng.normal(size=shape).astype(dtype) for name, shape in [("a", (5, 3)), ("b", (4,)), ("frozen", (3,))]
    }
    parameters = {name: Parameter(value.copy(), trainable=name != "frozen") for name, value in start.items()}
    tensors = {name: torch.tensor(value, requires_grad=name != "frozen") for name, value in start.items()}
    optimiser = ours(parameters, **options)
    reference = getattr(torch.optim, theirs)(tensors.values(), **options)
    schedule = step_decay([7, 14], 0.5)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(reference, [7, 14], 0.5)
    for step in range(20):
        for name in ("a", "b"):
            gradient = (rng.normal(size=start[name].shape) + 0.3 * parameters[name].value).astype(dtype)
            parameters[name].grad[...] = gradient
            tensors[name].grad = torch.tensor(gradient)
        norm = clip_gradient_norm(parameters, 3.0)
        # PyTorch divides by norm + 1e-6: clip there with a norm so much larger that the factor is ours
        expected = torch.nn.utils.clip_grad_norm_(tensors.values(), 3.0 * (norm + 1e-6) / norm)
        assert norm == pytest.approx(expected.item(), rel=1e-6)
        optimiser.step(schedule(step))
        reference.step()
        scheduler.step()
    assert np.array_equal(parameters["frozen"].value, start["frozen"])
    for name, parameter in parameters.items():
        np.testing.assert_allclose(parameter.value, tensors[name].detach().numpy(), rtol=rtol, atol=rtol / 10)


def test_groups_with_their_own_learning_rates():
    rng = np.random.default_rng(32)
    start = {"a": rng.normal(size=(5, 3)), "b": rng.normal(size=4)}
    parameters = {name: Parameter(value.copy()) for name, value in start.items()}
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    own = [{"lr": 0.01, "weight_decay": 0.0}, {"momentum": 0.5}]
    groups = [{"parameters": {name: parameters[name]}, **o} for name, o in zip(parameters, own, strict=True)]
    optimiser = SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.2)
    groups = [{"params": [tensors[name]], **o} for name, o in zip(tensors, own, strict=True)]
    reference = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.2)
    for _ in range(20):
        for name, parameter in parameters.items():
            parameter.grad[...] = rng.normal(size=parameter.grad.shape)
            tensors[name].grad = torch.tensor(parameter.grad.copy())
        optimiser.step()
        reference.step()
    for name, parameter in parameters.items():
        np.testing.assert_allclose(parameter.value, tensors[name].detach().numpy(), rtol=1e-12)


def test_schedules():
    def torch_factors(make, steps):
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler, factors = make(optimiser), []
        for _ in range(steps):
            factors.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
        return factors

    of = torch.optim.lr_scheduler
    for ours, theirs in [
        (step_decay([3, 7]), lambda o: of.MultiStepLR(o, [3, 7])),
        (polynomial(9, power=0.9), lambda o: of.PolynomialLR(o, 9, 0.9)),
        (warm_up(lambda step: 1.0, 5, 0.1), lambda o: of.LinearLR(o, 0.1, 1.0, 5)),
    ]:
        np.testing.assert_allclose([ours(step) for step in range(12)], torch_factors(theirs, 12), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 5), (8, 3, 5, 2), (8, 1, 3, 3)])
def test_fans(shape):
    assert fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


def test_he_gain_of_a_leaky_relu():
    assert math.sqrt(2 / (1 + 0.2**2)) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.2))
