"""Stochastic gradient descent, with momentum and Nesterov's momentum."""

from nn.dispatch import array_module
from nn.layer import Parameter
from nn.optim.optimiser import Optimiser


def sgd(value, grad, v, lr, weight_decay, momentum, nesterov):
    """value and v after one step; without momentum v is None."""
    g = grad + weight_decay * value
    if v is None:
        return value - lr * g, None
    v = momentum * v + g
    return value - lr * (g + momentum * v if nesterov else v), v


class SGD(Optimiser):
    """Stochastic gradient descent, with momentum on request.

    g = gradient + weight_decay * value
    v = momentum * v + g                       (v = 0 before the first step)
    value -= lr * v                            or lr * (g + momentum * v) with nesterov=True

    lr stands outside v, so that a schedule takes effect at once. Raises ValueError for options out of range, and what
    Optimiser names. Reference: Sutskever et al. 2013, On the importance of initialization and momentum in deep
    learning; there lr stands inside v.
    """

    rule = staticmethod(sgd)
    keys = ("v",)

    def __init__(
        self,
        parameters: dict[str, Parameter] | list[dict],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)

    def _check_options(self, owner, options):
        super()._check_options(owner, options)
        if not 0 <= options["momentum"] < 1:
            raise ValueError(f"{owner}: momentum must lie in [0, 1), got {options['momentum']}")
        if options["nesterov"] and options["momentum"] == 0:
            raise ValueError(f"{owner}: nesterov needs a momentum above 0")

    def _new_state(self, parameter, options):
        return {"v": array_module(parameter.value).zeros_like(parameter.value)} if options["momentum"] else {}

    def _rule_options(self, t, lr, group):
        return lr, float(group["weight_decay"]), float(group["momentum"]), bool(group["nesterov"])
