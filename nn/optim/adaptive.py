"""Optimisers that adapt the step of each element to the size of its gradients: AdaGrad, RMSProp, Adam, AdamW.

Each is a rule, a function of arrays, and below it the class with its options and state. The conventions are PyTorch's.
"""

import math

import numpy as np

from nn.dispatch import array_module
from nn.layer import Parameter
from nn.optim.optimiser import Optimiser


def adagrad(value, grad, s, lr, weight_decay, eps):
    """value and s after one step."""
    g = grad + weight_decay * value
    s = s + g * g
    return value - lr * g / (array_module(s).sqrt(s) + eps), s


class AdaGrad(Optimiser):
    """Steps that shrink with all the gradients an element has had: rare features keep large ones.

    g = gradient + weight_decay * value
    s = s + g^2                                (s = initial_accumulator_value before the first step)
    value -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)               for the t-th step of this parameter

    Raises ValueError for options out of range, and what Optimiser names. Reference: Duchi et al. 2011, Adaptive
    subgradient methods for online learning and stochastic optimization, fig. 1 (diagonal).
    """

    rule = staticmethod(adagrad)
    keys = ("s",)

    def __init__(
        self,
        parameters: dict[str, Parameter] | list[dict],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ):
        options = {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(parameters, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, **options)

    def _check_options(self, owner, options):
        super()._check_options(owner, options)
        _check_eps(owner, options)
        for name in ("lr_decay", "initial_accumulator_value"):
            if not 0 <= options[name] < math.inf:
                raise ValueError(f"{owner}: {name} must be a number of at least 0, got {options[name]}")

    def _new_state(self, parameter, options):
        start = float(options["initial_accumulator_value"])
        return {"s": array_module(parameter.value).full_like(parameter.value, start), "t": np.zeros((), np.int64)}

    def _rule_options(self, t, lr, group):
        lr /= 1 + (t - 1) * float(group["lr_decay"])
        return lr, float(group["weight_decay"]), float(group["eps"])


def rmsprop(value, grad, v, m, b, lr, alpha, eps, weight_decay, momentum):
    """value, v, m and b after one step; m is None unless centered, b is None without momentum."""
    xp = array_module(value)
    g = grad + weight_decay * value
    v = variance = alpha * v + (1 - alpha) * g * g
    if m is not None:
        m = alpha * m + (1 - alpha) * g
        variance = xp.maximum(v - m * m, 0)
    u = g / (xp.sqrt(variance) + eps)
    if b is not None:
        b = u = momentum * b + u
    return value - lr * u, v, m, b


class RMSProp(Optimiser):
    """Steps of about lr in every element: the gradient over its root mean square, a moving average.

    g = gradient + weight_decay * value
    v = alpha * v + (1 - alpha) * g^2          (v = m = b = 0 before the first step)
    m = alpha * m + (1 - alpha) * g            with centered=True alone; else m = 0
    u = g / (sqrt(v - m^2) + eps)              v - m^2 is the variance, where rounding makes it less than 0 it is 0
    b = momentum * b + u
    value -= lr * b

    Raises ValueError for options out of range, and what Optimiser names. Reference: Tieleman and Hinton 2012, lecture
    6.5; centered: Graves 2013, arXiv:1308.0850, eq. 38-45 (there eps stands under the root).
    """

    rule = staticmethod(rmsprop)
    keys = ("v", "m", "b")

    def __init__(
        self,
        parameters: dict[str, Parameter] | list[dict],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        options = {"alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered}
        super().__init__(parameters, lr=lr, **options)

    def _check_options(self, owner, options):
        super()._check_options(owner, options)
        _check_eps(owner, options)
        for name in ("alpha", "momentum"):
            if not 0 <= options[name] < 1:
                raise ValueError(f"{owner}: {name} must lie in [0, 1), got {options[name]}")

    def _new_state(self, parameter, options):
        names = ["v"] + ["m"] * bool(options["centered"]) + ["b"] * bool(options["momentum"])
        return {name: _zeros(parameter) for name in names}

    def _rule_options(self, t, lr, group):
        return lr, *(float(group[name]) for name in ("alpha", "eps", "weight_decay", "momentum"))


def adam(value, grad, m, v, lr, beta1, beta2, eps, weight_decay, t):
    """value, m and v after the t-th step."""
    return _moment_step(value, grad + weight_decay * value, m, v, lr, beta1, beta2, eps, t)


def adamw(value, grad, m, v, lr, beta1, beta2, eps, weight_decay, t):
    """value, m and v after the t-th step."""
    return _moment_step(value * (1 - lr * weight_decay), grad, m, v, lr, beta1, beta2, eps, t)


def _moment_step(value, g, m, v, lr, beta1, beta2, eps, t):
    """m and v, the means of g and g^2, without their bias, make the step."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    root = array_module(v).sqrt(v / (1 - beta2**t))
    return value - lr / (1 - beta1**t) * m / (root + eps), m, v


class Adam(Optimiser):
    """Steps of about lr in every element, whatever the size of the gradient: its mean over its root mean square.

    g = gradient + weight_decay * value        (weight decay as an L2 penalty; it is divided by sqrt(v) too)
    m = beta1 * m + (1 - beta1) * g            (m = v = 0 before the first step)
    v = beta2 * v + (1 - beta2) * g^2
    value -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)        for the t-th step of this parameter

    The divisions by 1 - beta^t make up for the zeros that m and v started from. Raises ValueError for options out of
    range, and what Optimiser names. Reference: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    rule = staticmethod(adam)
    keys = ("m", "v")

    def __init__(
        self,
        parameters: dict[str, Parameter] | list[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _check_options(self, owner, options):
        super()._check_options(owner, options)
        if len(options["betas"]) != 2 or not all(0 <= beta < 1 for beta in options["betas"]):
            raise ValueError(f"{owner}: betas must be two numbers in [0, 1), got {options['betas']}")
        _check_eps(owner, options)

    def _new_state(self, parameter, options):
        return {"m": _zeros(parameter), "v": _zeros(parameter), "t": np.zeros((), np.int64)}

    def _rule_options(self, t, lr, group):
        return lr, *map(float, group["betas"]), float(group["eps"]), float(group["weight_decay"]), t


class AdamW(Adam):
    """Adam whose weight decay is apart from the gradient, so that it is the same for all elements.

    value -= lr * weight_decay * value
    then Adam's step, with g = gradient

    Raises ValueError for options out of range, and what Optimiser names. Reference: Loshchilov and Hutter 2019,
    arXiv:1711.05101, algorithm 2, with lr times weight_decay for the decay, as in PyTorch.
    """

    rule = staticmethod(adamw)

    def __init__(
        self,
        parameters: dict[str, Parameter] | list[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay)


def _zeros(parameter):
    return array_module(parameter.value).zeros_like(parameter.value)


def _check_eps(owner, options):
    if not options["eps"] > 0:
        raise ValueError(f"{owner}: eps must be positive, got {options['eps']}")
