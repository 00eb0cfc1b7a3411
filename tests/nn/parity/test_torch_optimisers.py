"""PyTorch as a second opinion on optimisers, the cosine schedule, moving averages and initial weights."""

import numpy as np
import pytest

from nn.init import bilinear_kernel, orthogonal
from nn.layer import Layer, Parameter
from nn.layers.linear import Linear
from nn.optim.adaptive import AdaGrad, Adam, AdamW, RMSProp
from nn.optim.ema import ExponentialMovingAverage
from nn.optim.optimiser import decay_groups
from nn.optim.schedules import cosine, warm_up
from nn.optim.sgd import SGD

torch = pytest.importorskip("torch")

THEIRS = {SGD: "SGD", Adam: "Adam", AdamW: "AdamW", AdaGrad: "Adagrad", RMSProp: "RMSprop"}


def options(optimiser, rng):
    """Random options, under the names that both have."""
    some = {"lr": float(10 ** rng.uniform(-3, -1)), "weight_decay": float(rng.choice([0, 0.01, 0.3]))}
    eps = float(rng.choice([1e-8, 1e-3, 0.1]))
    momentum = float(rng.choice([0, 0.5, 0.9]))
    betas = (float(rng.choice([0, 0.8, 0.9])), float(rng.choice([0.9, 0.99, 0.999])))
    own = {
        SGD: {"momentum": momentum, "nesterov": bool(momentum and rng.random() < 0.5)},
        Adam: {"betas": betas, "eps": eps},
        AdamW: {"betas": betas, "eps": eps},
        AdaGrad: {
            "eps": eps,
            "lr_decay": float(rng.choice([0, 0.1])),
            "initial_accumulator_value": float(rng.choice([0, 0.5])),
        },
        RMSProp: {
            "eps": eps,
            "alpha": float(rng.choice([0.5, 0.9, 0.99])),
            "momentum": momentum,
            "centered": bool(rng.random() < 0.5),
        },
    }
    return some | own[optimiser]


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("ours", THEIRS)
def test_steps_with_gradients_that_depend_on_the_weights(ours, seed):
    rng = np.random.default_rng([70, seed])
    chosen, steps = options(ours, rng), int(rng.integers(1, 15))
    start = {"a": rng.normal(size=tuple(rng.integers(1, 5, 2))), "b": rng.normal(size=3)}
    parameters = {name: Parameter(value.copy()) for name, value in start.items()}
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    groups = [{"parameters": {"a": parameters["a"]}}, {"parameters": {"b": parameters["b"]}, "lr": 0.03}]
    made = ours(groups, **chosen)
    reference = getattr(torch.optim, THEIRS[ours])(
        [{"params": [tensors["a"]]}, {"params": [tensors["b"]], "lr": 0.03}], **chosen
    )
    rates = rng.uniform(0.1, 1, steps)
    lrs = [group["lr"] for group in reference.param_groups]
    for rate in rates:
        for name, parameter in parameters.items():
            parameter.grad[...] = rng.normal(size=parameter.grad.shape) + 0.5 * parameter.value
            tensors[name].grad = torch.tensor(parameter.grad.copy())
        for group, lr in zip(reference.param_groups, lrs):
            group["lr"] = lr * rate
        made.step(rate)
        reference.step()
    for name, parameter in parameters.items():
        np.testing.assert_allclose(parameter.value, tensors[name].detach().numpy(), rtol=1e-9, atol=1e-11)


def test_a_training_run_with_adamw_decay_groups_warm_up_and_cosine():
    """Logistic regression, end to end: 60 steps from the same weights."""
    rng = np.random.default_rng(71)
    x, t = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    ours, theirs = Linear(4, 3).astype(np.float64), torch.nn.Linear(4, 3, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(ours.weight.value))
        theirs.bias.zero_()
    made = AdamW(decay_groups(ours, 0.1), lr=0.05)
    schedule = warm_up(cosine(60, start=10), 10, start=0.1)
    reference = torch.optim.AdamW(
        [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0}], lr=0.05
    )
    of = torch.optim.lr_scheduler
    parts = [of.LinearLR(reference, 0.1, 1.0, 10), of.CosineAnnealingLR(reference, 50)]
    scheduler = of.SequentialLR(reference, parts, [10])
    for step in range(60):
        assert 0.05 * schedule(step) == pytest.approx(reference.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        y, cache = ours.forward(x)
        ours.zero_grad()
        ours.backward((y - t) / len(x), cache)
        made.step(schedule(step))
        reference.zero_grad()
        (((theirs(torch.tensor(x)) - torch.tensor(t)) ** 2).sum() / 2 / len(x)).backward()
        reference.step()
        scheduler.step()
    np.testing.assert_allclose(ours.weight.value, theirs.weight.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(ours.bias.value, theirs.bias.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("total, end", [(1, 0.0), (7, 0.0), (12, 0.3)])
def test_cosine(total, end):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total, eta_min=end)
    for step in range(total + 1):
        assert cosine(total, end=end)(step) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimiser.step()
        scheduler.step()


class Weights(Layer):
    def __init__(self, value):
        self.a = Parameter(value.copy())


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_exponential_moving_average(decay):
    """PyTorch's starts with the first update, as ours at its construction."""
    rng = np.random.default_rng(72)
    history = rng.normal(size=(10, 4, 3))
    ours, theirs = Weights(history[0]), torch.nn.Linear(3, 4, bias=False, dtype=torch.float64)
    average = ExponentialMovingAverage(ours, decay)
    swa = torch.optim.swa_utils
    reference = swa.AveragedModel(theirs, multi_avg_fn=swa.get_ema_multi_avg_fn(decay))
    for i, value in enumerate(history):
        ours.a.value[...] = value
        with torch.no_grad():
            theirs.weight.copy_(torch.tensor(value))
        reference.update_parameters(theirs)
        if i:
            average.update()
    expected = reference.module.weight.detach().numpy()
    np.testing.assert_allclose(average.averages()["a"], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 2, 3, 3)])
def test_orthogonal_from_the_same_normal_numbers(shape):
    rows, columns = shape[0], int(np.prod(shape[1:]))
    numbers = np.random.default_rng(73).standard_normal((max(rows, columns), min(rows, columns)))
    ours = orthogonal(shape, np.random.default_rng(73), np.float64, 1.5)
    q, r = torch.linalg.qr(torch.tensor(numbers))  # what torch.nn.init.orthogonal_ does
    q = q * torch.sign(torch.diagonal(r))
    expected = 1.5 * (q.T if rows < columns else q).reshape(shape)
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-14)


@pytest.mark.parametrize("s", [2, 3, 4])
@pytest.mark.parametrize("groups", [1, 3])
def test_bilinear_kernel_is_bilinear_interpolation_inside_the_image(s, groups):
    x = torch.tensor(np.random.default_rng(74).normal(size=(2, 3, 5, 6)))
    weight = bilinear_kernel((3, 3 // groups, 2 * s - s % 2, 2 * s - s % 2), np.float64)
    y = torch.nn.functional.conv_transpose2d(x, torch.tensor(weight), stride=s, padding=s // 2, groups=groups)
    expected = torch.nn.functional.interpolate(x, scale_factor=s, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(y[..., s:-s, s:-s], expected[..., s:-s, s:-s], atol=1e-12)
