"""Optimisers: SGD (momentum, Nesterov) here, and all the others by name, with PyTorch's conventions.

Those that adapt the step of each element (AdaGrad, RMSProp, Adam, AdamW) are in nn/optim/adaptive.py; groups, state,
weight decay for some parameters and clipping of the gradient's norm are in nn/optim/optimiser.py.
"""

from nn.dispatch import array_module
from nn.layer import Parameter
from nn.optim.adaptive import AdaGrad, Adam, AdamW, RMSProp
from nn.optim.optimiser import Optimiser, blocks, clip_gradient_norm, decay_groups

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "Optimiser", "RMSProp", "clip_gradient_norm", "decay_groups"]


class SGD(Optimiser):
    """Stochastic gradient descent, with momentum if asked for.

    g = gradient + weight_decay * value
    v = momentum * v + g                       (v = 0 before the first step)
    value -= lr * v                            or lr * (g + momentum * v) with nesterov=True

    lr stands outside v, so that a schedule takes effect at once. Raises ValueError for options out of range, and what
    Optimiser names. Reference: Sutskever et al. 2013, On the importance of initialization and momentum in deep
    learning; there lr stands inside v.
    """

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

    kernel = "sgd", ("v",)

    def _numbers(self, t, lr, options):
        return lr, float(options["weight_decay"]), float(options["momentum"]), bool(options["nesterov"])

    def _update(self, parameter, state, lr, options):
        momentum, weight_decay = float(options["momentum"]), float(options["weight_decay"])
        if not momentum:
            for value, grad in blocks(parameter.value, parameter.grad):
                value -= lr * (grad + weight_decay * value)
            return
        for value, grad, v in blocks(parameter.value, parameter.grad, state["v"]):
            g = grad + weight_decay * value
            v *= momentum
            v += g
            value -= lr * (g + momentum * v if options["nesterov"] else v)
