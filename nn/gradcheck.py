"""Numerical checks of handwritten gradients, for the layers here and for your own.

    from nn.gradcheck import check_layer
    check_layer(MyLayer(3, 4), np.random.default_rng(0).standard_normal((2, 3)))

A layer's backward is compared with differences of its forward, for loss = sum(y * dy) with a random dy (a dy of ones
accepts a wrong softmax, a wrong batch normalisation and a flipped convolution). There are two kinds of differences:

- central differences, (f(x + h) - f(x - h)) / 2h with h = 1e-5, reach about 1e-10 on smooth layers;
- the complex step, Im f(x + ih) / h with h = 1e-30, has no subtraction and so no step error, for forwards that are
  analytic. Comparisons use the real part, so kinks (max, ReLU) do no harm unless x is at one.

The relative error of a tensor is max |backward - numerical| / max(|backward|, |numerical|), both maxima over the
tensor. The denominator is at least 1e-3 of the layer's largest gradient, since some gradients are 0 (that of a bias
before a normalisation).

Every check takes device="gpu" (default: the layer's device) and then computes there, also the numerical derivatives.
CUDA kernels have no complex arithmetic: for the complex step, layers run as array code there.
"""

import typing

import numpy as np

from nn.checking import GradientError, State, as_tuple, borrowed, copied, forward, pack
from nn.contract import check_contract
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import Layer

__all__ = ["GradientError", "check_contract", "check_layer", "check_loss", "check_model", "differentiate", "is_loss"]

STEP, COMPLEX_STEP = 1e-5, 1e-30


def check_layer(
    layer: Layer,
    *inputs,
    rng=None,
    tolerance=1e-7,
    complex_step=False,
    training=True,
    constants=(),
    device: str | None = None,
) -> dict[str, float]:
    """Compare backward with differences of forward, for every element of every input and parameter.

    The layer runs in float64 and is restored afterwards. Inputs of integers or bools are not changed. None from
    backward means zeros, which is right for coordinates that are rounded. `constants`: indices of inputs that the layer
    takes as constant although its outputs depend on them; they are not checked. Inputs should have no ties and no value
    near a kink. Stochastic layers get the same random numbers at each call.

    Returns {name: relative error} for "x" (or "x0", "x1", ...) and each parameter. Raises GradientError naming the
    tensor, the worst index and both values.
    """
    owner, rng, device = type(layer).__name__, rng or np.random.default_rng(0), device or device_of(layer)
    inputs = {f"x{i}" if len(inputs) > 1 else "x": copied(x, np.float64, device) for i, x in enumerate(inputs)}
    with borrowed(layer, np.float64, device):
        outputs, cache = forward(layer, inputs.values(), training)
        dys = [to_device(rng.standard_normal(y.shape), device) for y in outputs]
        layer.zero_grad()
        dxs = as_tuple(layer.backward(pack(dys), cache))
        if len(dxs) != len(inputs):
            raise GradientError(f"{owner}: backward gave {len(dxs)} gradients for {len(inputs)} inputs")
        analytic, rounded = {}, []
        for i, (name, dx) in enumerate(zip(inputs, dxs)):
            dtype = getattr(inputs[name], "dtype", np.dtype(object))  # of None: an optional input left out
            if dx is not None and dtype.kind != "f":
                raise GradientError(f"{owner}: {name} holds {dtype}: backward must give None for it")
            if dx is None and dtype.kind == "f" and i not in constants:
                rounded.append(name)
            elif dx is not None:
                analytic[name] = dx
        analytic |= {name: parameter.grad.copy() for name, parameter in layer.parameters().items()}
        analytic = to_device(analytic, "cpu")

        numerical = _numerical(layer, inputs, dys, training, analytic, complex_step)
        floor = 1e-3 * max((abs(n).max(initial=0) for n in numerical.values()), default=0)
        for name, n in _numerical(layer, inputs, dys, training, rounded, False).items():
            _compare(f"{owner}: backward gave None", name, np.zeros(n.shape), n, tolerance, floor)
        return {name: _compare(owner, name, analytic[name], n, tolerance, floor) for name, n in numerical.items()}


def _numerical(layer, inputs, dys, training, wanted, complex_step):
    """{name: gradient of sum(y * dy) by differences} for the wanted names of inputs and parameters."""
    dtype = np.complex128 if complex_step else np.float64
    with borrowed(layer, dtype):
        values = {name: copied(x, dtype, device_of(x)) if name in wanted else x for name, x in inputs.items()}
        arrays = values | {name: parameter.value for name, parameter in layer.parameters().items()}
        state = State(layer)

        def loss():
            return sum((y * dy).sum() for y, dy in zip(forward(layer, values.values(), training, state)[0], dys))

        return to_device({name: differentiate(loss, arrays[name], complex_step) for name in wanted}, "cpu")


def check_loss(
    function, prediction, *args, tolerance=1e-7, complex_step=False, device: str | None = None, **options
) -> float:
    """Compare the gradient of function(prediction, *args, **options) -> (value, gradient) with differences of value.

    A tuple of predictions, such as the embeddings of a triplet, is unpacked; such a loss returns a tuple of as many
    gradients. Returns the largest relative error.
    """
    owner = getattr(function, "__name__", "loss")
    device = device or device_of(prediction)
    predictions = [copied(x, np.float64, device) for x in as_tuple(prediction)]
    args, options = to_device((args, options), device)
    gradients = to_device(as_tuple(function(*predictions, *args, **options)[1]), "cpu")
    if len(gradients) != len(predictions):
        raise GradientError(f"{owner}: {len(gradients)} gradients for {len(predictions)} predictions")
    at = [x.astype(np.complex128 if complex_step else np.float64) for x in predictions]
    numerical = [differentiate(lambda: function(*at, *args, **options)[0], x, complex_step) for x in at]
    numerical = to_device(numerical, "cpu")
    names = [f"prediction {i}" for i in range(len(at))] if len(at) > 1 else ["prediction"]
    return max(_compare(owner, *of_one, tolerance) for of_one in zip(names, gradients, numerical))


def is_loss(function) -> bool:
    """Whether the return annotation of a function is that of a loss: tuple[float, gradient or gradients]."""
    returned = typing.get_type_hints(function).get("return")
    value, *gradients = typing.get_args(returned) or (None,)
    return value is float and len(gradients) == 1 and np.ndarray in (gradients[0], *typing.get_args(gradients[0]))


def check_model(
    model: Layer, batch, *, seed=0, tolerance=1e-6, complex_step=True, step=STEP, device: str | None = None
) -> dict[str, float]:
    """Compare model.backward with the derivative of the total loss along a random direction, parameter by parameter.

    Samples of the model (proposals, targets) are held fixed: where the cache of `loss` has `sampled`, it is passed to
    loss(batch, rng, sampled=cache.sampled). The error is relative to the larger of the two derivatives, but at least to
    1e-6 of the largest derivative of all parameters, since some are 0 (that of a bias before a batch normalisation);
    for central differences also at least to the rounding error of the loss. Parameters that are not trainable are left
    out. Returns {parameter: relative error}; raises GradientError.
    """
    rng, device, buffers = np.random.default_rng(seed), device or device_of(model), State(model)
    with borrowed(model, np.float64, device):
        batch, within = to_device(batch, device), State(model)
        model.zero_grad()
        losses, cache = model.loss(batch, np.random.default_rng(seed))
        model.backward(cache)
        sampled = {"sampled": cache.sampled} if hasattr(cache, "sampled") else {}

        def total():
            within.restore()
            return sum(model.loss(batch, np.random.default_rng(seed), **sampled)[0].values())

        learned = {name: parameter for name, parameter in model.parameters().items() if parameter.trainable}
        grads = {name: parameter.grad for name, parameter in learned.items()}
        with borrowed(model, np.complex128 if complex_step else np.float64):
            pairs = {
                name: _directional(
                    parameter, grads[name], total, rng, COMPLEX_STEP if complex_step else step, complex_step
                )
                for name, parameter in model.parameters().items()
                if parameter.trainable
            }
    buffers.restore()
    floor = 1e-6 * max(max(abs(a), abs(n)) for a, n in pairs.values())
    if not complex_step:  # the rounding error of a difference of two losses
        floor = max(floor, 4e-16 * abs(sum(losses.values())) / (step * tolerance))
    errors = {name: abs(a - n) / max(abs(a), abs(n), floor, 1e-300) for name, (a, n) in pairs.items()}
    worst = max(errors, key=lambda name: (not errors[name] <= tolerance, errors[name]))  # a NaN is over the tolerance
    if not errors[worst] <= tolerance:
        raise GradientError(
            f"{type(model).__name__}: the derivative along a random direction of {worst} is {pairs[worst][0]:.12g} by "
            f"backward, {pairs[worst][1]:.12g} numerically (relative error {errors[worst]:.1e}, wanted {tolerance:.0e})"
        )
    return errors


def _directional(parameter, grad, total, rng, step, complex_step):
    """The derivative of total() along a random unit direction of one parameter, (by backward, numerically)."""
    direction = rng.standard_normal(parameter.value.shape)
    direction /= max(np.sqrt((direction * direction).sum()), 1e-300)
    direction, value = to_device(direction, device_of(parameter.value)), parameter.value
    if complex_step:
        parameter.value = value + 1j * step * direction
        numerical = total().imag / step
    else:
        parameter.value = value + step * direction
        above = total()
        parameter.value = value - step * direction
        numerical = (above - total()) / (2 * step)
    parameter.value = value
    return float((grad * direction).sum()), float(numerical)


def differentiate(loss, array, complex_step=False):
    """d loss() / d array, float64 of the shape of `array`: each element of `array` is changed in place and restored."""
    gradient = array_module(array).zeros(array.shape)
    for index in np.ndindex(array.shape):
        value = array[index].copy()  # on the GPU an element is a view
        if complex_step:
            array[index] = value + 1j * COMPLEX_STEP
            gradient[index] = loss().imag / COMPLEX_STEP
        else:
            array[index] = value + STEP
            above = loss()
            array[index] = value - STEP
            gradient[index] = (above - loss()) / (2 * STEP)
        array[index] = value
    return gradient


def _compare(owner, tensor, analytic, numerical, tolerance, floor=0.0):
    """The error of one tensor relative to its largest element (or floor); GradientError if above the tolerance."""
    if analytic.shape != numerical.shape:
        raise GradientError(f"{owner}: gradient of {tensor} has shape {analytic.shape}, wanted {numerical.shape}")
    if not analytic.size:
        return 0.0
    difference = abs(analytic - numerical)
    worst = np.unravel_index(np.argmax(difference), difference.shape)  # argmax takes a NaN for the largest
    error = float(difference[worst] / max(abs(analytic).max(), abs(numerical).max(), floor, 1e-300))
    if not error <= tolerance:
        index = ", ".join(map(str, worst))
        raise GradientError(
            f"{owner}: gradient of {tensor}[{index}] is {analytic[worst]:.12g} by backward, {numerical[worst]:.12g} "
            f"numerically (relative error {error:.1e}, wanted {tolerance:.0e})"
        )
    return error
