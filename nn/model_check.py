"""The gradient check of whole models: one derivative for each parameter, along a random direction."""

import numpy as np

from nn.checking import GradientError, State, borrowed
from nn.differences import COMPLEX_STEP, STEP, disagree, sides
from nn.gpu.device import device_of, to_device
from nn.layer import Layer


def check_model(
    model: Layer, batch, *, seed=0, tolerance=1e-6, complex_step=True, step=STEP, draws=3, device: str | None = None,
    loss: str = "loss", backward: str = "backward",
) -> dict[str, float]:  # fmt: skip
    """Compare model.backward with the derivative of the total loss along a random direction, parameter by parameter.

    Samples of the model (proposals, targets) are held fixed: where the cache of `loss` has `sampled`, it is passed to
    loss(batch, rng, sampled=cache.sampled). The error is relative to the larger of the two derivatives, but at least to
    1e-6 of the largest derivative of all parameters, since some are 0 (that of a bias before a batch normalisation);
    for central differences also at least to the rounding error of the loss. Parameters that are not trainable are left
    out. Returns {parameter: relative error}; raises GradientError.

    A gradient that is 0 in all elements shows nothing: the parameter is tried again, with other samples, and with 0 in
    all `draws` the check fails. loss and backward: names of the model's methods, where a stage of training has its own.
    """
    device, buffers = device or device_of(model), State(model)
    learned = [name for name, parameter in model.parameters().items() if parameter.trainable and parameter.value.size]
    errors, silent, pair = {}, learned, (getattr(model, loss), getattr(model, backward))
    with borrowed(model, np.float64, device):
        batch, state = to_device(batch, device), State(model)
        for draw in range(seed, seed + draws):
            found, silent = _check_draw(model, pair, batch, state, silent, draw, tolerance, complex_step, step)
            errors |= found
            if not silent:
                break
    buffers.restore()
    if silent:
        raise GradientError(
            f"{type(model).__name__}: the gradient of {len(silent)} of {len(learned)} trainable parameters is 0 in all "
            f"elements in each of {draws} draws, so this checks nothing of them: {_some(silent)}. The loss does not "
            "depend on them here (dead ReLUs, no sample of a kind): take another size, batch or seed"
        )
    return errors


def _check_draw(model, pair, batch, state, names, seed, tolerance, complex_step, step):
    """({name: error}, the names whose gradient is 0 in all elements) of these parameters, for one draw of samples."""
    loss, backward = pair
    model.zero_grad()
    state.restore()
    losses, cache = loss(batch, np.random.default_rng(seed))
    backward(cache)
    sampled = {"sampled": cache.sampled} if hasattr(cache, "sampled") else {}

    def total():
        state.restore()
        return sum(loss(batch, np.random.default_rng(seed), **sampled)[0].values())

    rng, parameters = np.random.default_rng(seed), model.parameters()
    grads = {name: parameters[name].grad for name in names}
    lines = {name: _Line(parameters[name], total, rng) for name in names}
    with borrowed(model, np.complex128 if complex_step else np.float64):
        by = {name: line.slope(step, complex_step) for name, line in lines.items()}
    pairs = {name: (lines[name].along(grads[name]), by[name]) for name in names}
    floor = 1e-6 * max(max(abs(a), abs(n)) for a, n in pairs.values())
    if not complex_step:  # the rounding error of a difference of two losses
        floor = max(floor, 4e-16 * abs(sum(losses.values())) / (step * tolerance))
    errors = {name: abs(a - n) / max(abs(a), abs(n), floor, 1e-300) for name, (a, n) in pairs.items()}
    worst = max(errors, key=lambda name: (not errors[name] <= tolerance, errors[name]))  # a NaN is over the tolerance
    if not errors[worst] <= tolerance:
        what = f"{type(model).__name__}: the derivative along a random direction of {worst}"
        raise GradientError(disagree(what, *pairs[worst], errors[worst], tolerance, sides(lines[worst].at, step)))
    return errors, [name for name in names if is_silent(name, parameters)]


def is_silent(name: str, parameters: dict) -> bool:
    """Whether the gradient of a parameter is 0 in all elements, so that comparing it shows nothing.

    Not so for a bias whose weight has a gradient: its own is 0 where a normalisation follows, but for rounding.
    """
    of_layer = (name, name.removesuffix("bias") + "weight") if name.endswith("bias") else (name,)
    return not any(parameters[each].grad.any() for each in of_layer if each in parameters)


class _Line:
    """The loss along a random unit direction of one parameter."""

    def __init__(self, parameter, total, rng):
        self.parameter, self.total = parameter, total
        self.seed = rng.integers(2**63)  # not the direction: those of all parameters would need as much memory

    def direction(self):
        direction = np.random.default_rng(self.seed).standard_normal(self.parameter.value.shape)
        direction /= max(np.sqrt((direction * direction).sum()), 1e-300)
        return to_device(direction, device_of(self.parameter.value))

    def at(self, t):
        """The loss at value + t * direction."""
        value = self.parameter.value
        self.parameter.value = value + t * self.direction()
        try:
            return self.total()
        finally:
            self.parameter.value = value

    def slope(self, step, complex_step):
        if complex_step:
            return float(self.at(1j * COMPLEX_STEP).imag / COMPLEX_STEP)
        return float((self.at(step) - self.at(-step)) / (2 * step))

    def along(self, grad):
        return float((grad * self.direction()).sum())


def _some(names):
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
