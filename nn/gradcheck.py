"""Numerical checks of handwritten gradients, for the layers here and for your own.

    from nn.gradcheck import check_layer
    check_layer(MyLayer(3, 4), np.random.default_rng(0).standard_normal((2, 3)))

A layer's backward is compared with differences of its forward, for loss = sum(y * dy) with a random dy (a dy of ones
accepts a wrong softmax, a wrong batch normalisation and a flipped convolution). There are two kinds of differences:

- central differences, (f(x + h) - f(x - h)) / 2h with h = 1e-5, reach about 1e-10 on smooth layers;
- the complex step, Im f(x + ih) / h with h = 1e-30, has no subtraction and so no step error, for forwards that are
  analytic. Comparisons use the real part, so kinks (max, ReLU) do no harm unless x is at one.

A function has no derivative at a tie of a maximum or at a ReLU's 0: central differences give the mean of the slopes on
its two sides, backward gives one of them. Where a check fails, both slopes are taken and shown if they disagree.

The relative error of a tensor is max |backward - numerical| / max(|backward|, |numerical|), both maxima over the
tensor. The denominator is at least 1e-3 of the layer's largest gradient, since some gradients are 0 (that of a bias
before a normalisation).

Every check takes device="gpu" (default: the layer's device) and then computes there, also the numerical derivatives.
CUDA kernels have no complex arithmetic: for the complex step, layers run as array code there.
"""

import typing
from contextlib import contextmanager
from functools import partial

import numpy as np

from nn.checking import GradientError, State, as_tuple, borrowed, copied, forward, pack
from nn.contract import check_contract
from nn.differences import at, differentiate, disagree, sides
from nn.gpu.device import device_of, to_device
from nn.layer import Layer
from nn.model_check import check_model

__all__ = ["GradientError", "check_contract", "check_layer", "check_loss", "check_model", "differentiate", "is_loss"]


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
    near a kink. Stochastic layers draw the same random values at each call.

    Returns {name: relative error} for "x" (or "x0", "x1", ...) and each parameter. Raises GradientError naming the
    tensor, the worst index and both values, and whether a tie or a kink is the likelier cause.
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
        slopes = {name: partial(_sides, layer, inputs, dys, training, name) for name in (*numerical, *rounded)}
        for name, n in _numerical(layer, inputs, dys, training, rounded, False).items():
            who = f"{owner}: backward gave None"
            _compare(who, name, np.zeros(n.shape), n, tolerance, floor, slopes[name])
        return {
            name: _compare(owner, name, analytic[name], n, tolerance, floor, slopes[name])
            for name, n in numerical.items()
        }


@contextmanager
def _loss_of(layer, inputs, dys, training, wanted, dtype):
    """In the block: (loss, {name: array}): loss() = sum(y * dy) depends on the arrays; those wanted are of dtype."""
    with borrowed(layer, dtype):
        values = {name: copied(x, dtype, device_of(x)) if name in wanted else x for name, x in inputs.items()}
        state = State(layer)

        def loss():
            return sum((y * dy).sum() for y, dy in zip(forward(layer, values.values(), training, state)[0], dys))

        yield loss, values | {name: parameter.value for name, parameter in layer.parameters().items()}


def _numerical(layer, inputs, dys, training, wanted, complex_step):
    """{name: gradient of sum(y * dy) by differences} for the wanted names of inputs and parameters."""
    dtype = np.complex128 if complex_step else np.float64
    with _loss_of(layer, inputs, dys, training, wanted, dtype) as (loss, arrays):
        return to_device({name: differentiate(loss, arrays[name], complex_step) for name in wanted}, "cpu")


def _sides(layer, inputs, dys, training, name, index):
    """The slopes of sum(y * dy) on both sides of one element."""
    with _loss_of(layer, inputs, dys, training, (name,), np.float64) as (loss, arrays):
        return sides(partial(at, loss, arrays[name], index))


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
    xs = [x.astype(np.complex128) for x in predictions] if complex_step else predictions

    def value_at(arrays):
        return function(*arrays, *args, **options)[0]

    numerical = [differentiate(partial(value_at, xs), x, complex_step) for x in xs]
    numerical = to_device(numerical, "cpu")
    names = [f"prediction {i}" for i in range(len(xs))] if len(xs) > 1 else ["prediction"]
    slopes = [lambda index, x=x: sides(partial(at, partial(value_at, predictions), x, index)) for x in predictions]
    return max(_compare(owner, *of_one, tolerance, 0.0, s) for *of_one, s in zip(names, gradients, numerical, slopes))


def is_loss(function) -> bool:
    """Whether the return annotation of a function is that of a loss: tuple[float, gradient or gradients]."""
    returned = typing.get_type_hints(function).get("return")
    value, *gradients = typing.get_args(returned) or (None,)
    return value is float and len(gradients) == 1 and np.ndarray in (gradients[0], *typing.get_args(gradients[0]))


def _compare(owner, tensor, analytic, numerical, tolerance, floor=0.0, slopes=None):
    """The error of one tensor relative to its largest element (or floor); GradientError if above the tolerance.

    slopes(index): the slopes on both sides of an element.
    """
    if analytic.shape != numerical.shape:
        raise GradientError(f"{owner}: gradient of {tensor} has shape {analytic.shape}, wanted {numerical.shape}")
    if not analytic.size:
        return 0.0
    difference = abs(analytic - numerical)
    worst = np.unravel_index(np.argmax(difference), difference.shape)  # argmax takes a NaN for the largest
    error = float(difference[worst] / max(abs(analytic).max(), abs(numerical).max(), floor, 1e-300))
    if not error <= tolerance:
        what = f"{owner}: gradient of {tensor}[{', '.join(map(str, worst))}]"
        raise GradientError(disagree(what, analytic[worst], numerical[worst], error, tolerance, slopes(worst)))
    return error
