"""Optimisers that adapt the step of each element to the size of its gradients: AdaGrad, RMSProp, Adam, AdamW.

Groups, state and checks are those of nn.optim.optimiser.Optimiser, the conventions PyTorch's.
"""

import math

import numpy as np

from nn.dispatch import array_module
from nn.layer import Parameter
from nn.optim.optimiser import Optimiser, blocks


class AdaGrad(Optimiser):
    """Steps that shrink with all the gradients an element has had: rare features keep large ones.

    g = gradient + weight_decay * value
    s = s + g^2                                (s = initial_accumulator_value before the first step)
    value -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)               for the t-th step of this parameter

    Raises ValueError for options out of range, and what Optimiser names. Reference: Duchi et al. 2011, Adaptive
    subgradient methods for online learning and stochastic optimization, fig. 1 (diagonal).
    """

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

    kernel = "adagrad", ("s",)

    def _numbers(self, t, lr, options):
        lr /= 1 + (t - 1) * float(options["lr_decay"])
        return lr, float(options["weight_decay"]), float(options["eps"])

    def _update(self, parameter, state, lr, options):
        xp, weight_decay, eps = array_module(parameter.value), float(options["weight_decay"]), float(options["eps"])
        lr /= 1 + int(state["t"]) * float(options["lr_decay"])
        state["t"] += 1
        for value, grad, s in blocks(parameter.value, parameter.grad, state["s"]):
            g = grad + weight_decay * value
            s += g * g
            value -= lr * g / (xp.sqrt(s) + eps)


class RMSProp(Optimiser):
    """Steps of about lr in every element: the gradient over its running root mean square.

    g = gradient + weight_decay * value
    v = alpha * v + (1 - alpha) * g^2          (v = m = b = 0 before the first step)
    m = alpha * m + (1 - alpha) * g            with centered=True alone; else m = 0
    u = g / (sqrt(v - m^2) + eps)              v - m^2 is the variance, where rounding makes it less than 0 it is 0
    b = momentum * b + u
    value -= lr * b

    Raises ValueError for options out of range, and what Optimiser names. Reference: Tieleman and Hinton 2012, lecture
    6.5; centered: Graves 2013, arXiv:1308.0850, eq. 38-45 (there eps stands under the root).
    """

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

    kernel = "rmsprop", ("v", "m", "b")

    def _numbers(self, t, lr, options):
        alpha = float(options["alpha"])
        return (
            lr,
            *(float(options[key]) for key in ("weight_decay", "eps")),
            alpha,
            1 - alpha,
            float(options["momentum"]),
        )

    def _update(self, parameter, state, lr, options):
        xp, weight_decay, eps = array_module(parameter.value), float(options["weight_decay"]), float(options["eps"])
        alpha, momentum = float(options["alpha"]), float(options["momentum"])
        for value, grad, *arrays in blocks(parameter.value, parameter.grad, *state.values()):
            own = dict(zip(state, arrays))
            g = grad + weight_decay * value
            v = own["v"]
            v *= alpha
            v += (1 - alpha) * g * g
            if "m" in own:
                m = own["m"]
                m *= alpha
                m += (1 - alpha) * g
                v = xp.maximum(v - m * m, 0)
            u = g / (xp.sqrt(v) + eps)
            if "b" in own:
                b = own["b"]
                b *= momentum
                b += u
                u = b
            value -= lr * u


class Adam(Optimiser):
    """Steps of about lr in every element, whatever the size of the gradient: its mean over its root mean square.

    g = gradient + weight_decay * value        (weight decay as an L2 penalty; it is divided by sqrt(v) too)
    m = beta1 * m + (1 - beta1) * g            (m = v = 0 before the first step)
    v = beta2 * v + (1 - beta2) * g^2
    value -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)        for the t-th step of this parameter

    The divisions by 1 - beta^t make up for the zeros that m and v started from. Raises ValueError for options out of
    range, and what Optimiser names. Reference: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
    """

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

    kernel = "adam", ("m", "v")

    def _numbers(self, t, lr, options):
        (beta1, beta2), eps = map(float, options["betas"]), float(options["eps"])
        decay, shrink = self._decays(lr, float(options["weight_decay"]))
        return lr / (1 - beta1**t), decay, shrink, beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta2**t, eps

    def _decays(self, lr, weight_decay):
        """What the kernel adds of the value to the gradient, and what it multiplies the value with."""
        return weight_decay, 1.0

    def _update(self, parameter, state, lr, options):
        xp, eps = array_module(parameter.value), float(options["eps"])
        beta1, beta2 = map(float, options["betas"])
        state["t"] += 1
        t = int(state["t"])
        for value, grad, m, v in blocks(parameter.value, parameter.grad, state["m"], state["v"]):
            g = self._decay(value, grad, lr, float(options["weight_decay"]))
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * g * g
            value -= lr / (1 - beta1**t) * m / (xp.sqrt(v / (1 - beta2**t)) + eps)

    def _decay(self, value, grad, lr, weight_decay):
        """The gradient for the formulas of m and v."""
        return grad + weight_decay * value


class AdamW(Adam):
    """Adam whose weight decay is apart from the gradient, so that it is the same for all elements.

    value -= lr * weight_decay * value
    then Adam's step, with g = gradient

    Raises ValueError for options out of range, and what Optimiser names. Reference: Loshchilov and Hutter 2019,
    arXiv:1711.05101, algorithm 2, with lr times weight_decay for the decay, as in PyTorch.
    """

    def __init__(
        self,
        parameters: dict[str, Parameter] | list[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    kernel = Adam.kernel

    def _decays(self, lr, weight_decay):
        return 0.0, 1 - lr * weight_decay

    def _decay(self, value, grad, lr, weight_decay):
        value *= 1 - lr * weight_decay
        return grad


def _zeros(parameter):
    return array_module(parameter.value).zeros_like(parameter.value)


def _check_eps(owner, options):
    if not options["eps"] > 0:
        raise ValueError(f"{owner}: eps must be positive, got {options['eps']}")
