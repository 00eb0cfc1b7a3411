"""The step of nn/optim/optimiser.py by the kernels of multi_tensor.cu: one launch for all parameters."""

from nn.gpu.multi_tensor import for_kernels, launch_all
from nn.optim import optimiser as textbook
from nn.optim.adaptive import adagrad, adam, adamw, rmsprop
from nn.optim.sgd import sgd


def takes(*arrays) -> bool:
    """All arrays: rows that are not for the kernels are stepped by the rule itself."""
    return True


def update(rule, rows, options):
    """One step of each row (value, grad, *state arrays), in place."""
    kernel, arguments = KERNELS.get(rule, (None, None))
    by_kernel = [row for row in rows if kernel and for_kernels(*row)]
    if by_kernel:
        launch_all(kernel, by_kernel, *arguments(*options))
    textbook.update(rule, [row for row in rows if not (kernel and for_kernels(*row))], options)


def _same(*options):
    return options


def _rmsprop(lr, alpha, eps, weight_decay, momentum):
    return lr, weight_decay, eps, alpha, 1 - alpha, momentum


def _adam(lr, beta1, beta2, eps, weight_decay, t):
    return lr / (1 - beta1**t), weight_decay, 1.0, beta1, 1 - beta1, beta2, 1 - beta2, 1 - beta2**t, eps


def _adamw(lr, beta1, beta2, eps, weight_decay, t):
    """The decay is a factor of the value, nothing is added to the gradient."""
    rate, _, _, *others = _adam(lr, beta1, beta2, eps, weight_decay, t)
    return rate, 0.0, 1 - lr * weight_decay, *others


KERNELS = {  # rule: (the kernel's name, the kernel's arguments from the rule's options)
    sgd: ("sgd", _same),
    adagrad: ("adagrad", _same),
    rmsprop: ("rmsprop", _rmsprop),
    adam: ("adam", _adam),
    adamw: ("adam", _adamw),
}
