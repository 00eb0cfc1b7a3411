"""Numerical proof of handwritten gradients, for the layers here and for your own.

    from nn.gradcheck import check_layer
    check_layer(MyLayer(3, 4), np.random.default_rng(0).standard_normal((2, 3)))

A layer's backward is compared with differences of its forward, for loss = sum(y * dy) with a random dy (a dy of ones
accepts a wrong softmax, a wrong batch normalisation and a flipped convolution). Two ways to differ:

- central differences, (f(x + h) - f(x - h)) / 2h with h = 1e-5, reach about 1e-10 on smooth layers;
- the complex step, Im f(x + ih) / h with h = 1e-30, subtracts nothing and so has no step error at all, for forwards
  that are analytic. Comparisons go by the real part, so kinks (max, ReLU) do no harm unless x stands on one.

The relative error of a tensor is max |backward - numerical| / max(|backward|, |numerical|), both maxima over the
tensor; a tensor whose gradients are all under 1e-3 of the layer's largest (a bias before a normalisation has none) is
compared with that.
"""

import copy
import typing
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from nn.layer import Layer

STEP, COMPLEX_STEP = 1e-5, 1e-30


class GradientError(AssertionError):
    """A backward that does not differentiate its forward, or a layer that breaks the layer contract."""


def check_layer(
    layer: Layer, *inputs, rng=None, tolerance=1e-7, complex_step=False, training=True, constants=()
) -> dict[str, float]:
    """Compare backward with differences of forward, for every element of every input and parameter.

    The layer is used in float64 and given back as it was. Inputs of integers or bools are passed on as they are. None
    from backward stands for zeros, as it is right for coordinates that get rounded; the numbers (from 0) of inputs that
    a layer takes as constant although its outputs do depend on them are given in `constants` and not checked. Inputs
    should have no ties and no value near a kink. Stochastic layers get the same random numbers at each call.

    Returns {name: relative error} for "x" (or "x0", "x1", ...) and each parameter. Raises GradientError naming the
    tensor, the worst index and both values.
    """
    owner, rng = type(layer).__name__, rng or np.random.default_rng(0)
    inputs = {f"x{i}" if len(inputs) > 1 else "x": _as(x, np.float64) for i, x in enumerate(inputs)}
    with _borrowed(layer, np.float64):
        outputs, cache = _forward(layer, inputs.values(), training)
        dys = [rng.standard_normal(y.shape) for y in outputs]
        layer.zero_grad()
        dxs = _as_tuple(layer.backward(_pack(dys), cache))
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

        numerical = _numerical(layer, inputs, dys, training, analytic, complex_step)
        floor = 1e-3 * max((abs(n).max(initial=0) for n in numerical.values()), default=0)
        for name, n in _numerical(layer, inputs, dys, training, rounded, False).items():
            _compare(f"{owner}: backward gave None", name, np.zeros(n.shape), n, tolerance, floor)
        return {name: _compare(owner, name, analytic[name], n, tolerance, floor) for name, n in numerical.items()}


def _numerical(layer, inputs, dys, training, wanted, complex_step):
    """{name: gradient of sum(y * dy) by differences} for the wanted names of inputs and parameters."""
    dtype = np.complex128 if complex_step else np.float64
    with _borrowed(layer, dtype):
        values = {name: _as(x, dtype) if name in wanted else x for name, x in inputs.items()}
        arrays = values | {name: parameter.value for name, parameter in layer.parameters().items()}

        def loss():
            return sum((y * dy).sum() for y, dy in zip(_forward(layer, values.values(), training)[0], dys))

        return {name: differentiate(loss, arrays[name], complex_step) for name in wanted}


def check_loss(function, prediction, *args, tolerance=1e-7, complex_step=False, **options) -> float:
    """Compare the gradient that function(prediction, *args, **options) -> (value, gradient) gives with differences.

    A tuple of predictions, as the embeddings of a triplet are, is handed over one by one; such a loss gives a tuple of
    as many gradients. Returns the largest relative error.
    """
    owner = getattr(function, "__name__", "loss")
    predictions = [_as(x, np.float64) for x in _as_tuple(prediction)]
    gradients = _as_tuple(function(*predictions, *args, **options)[1])
    if len(gradients) != len(predictions):
        raise GradientError(f"{owner}: {len(gradients)} gradients for {len(predictions)} predictions")
    at = [x.astype(np.complex128 if complex_step else np.float64) for x in predictions]
    numerical = [differentiate(lambda: function(*at, *args, **options)[0], x, complex_step) for x in at]
    names = [f"prediction {i}" for i in range(len(at))] if len(at) > 1 else ["prediction"]
    return max(_compare(owner, *of_one, tolerance) for of_one in zip(names, gradients, numerical))


def is_loss(function) -> bool:
    """Whether the type that a function says it returns is that of a loss: tuple[float, gradient or gradients]."""
    returned = typing.get_type_hints(function).get("return")
    value, *gradients = typing.get_args(returned) or (None,)
    return value is float and len(gradients) == 1 and np.ndarray in (gradients[0], *typing.get_args(gradients[0]))


def check_model(model: Layer, batch, *, seed=0, tolerance=1e-6, complex_step=True, step=STEP) -> dict[str, float]:
    """Compare model.backward with the derivative of the total loss along a random direction, parameter by parameter.

    What the model samples or decides (proposals, targets) is held fixed: where the cache of `loss` has a field `fixed`,
    it is handed back as loss(batch, rng, fixed=cache.fixed). The error is relative to the larger of the two
    derivatives, or to 1e-6 of the largest derivative of all parameters where a parameter's own is smaller (the bias
    before a batch normalisation has none); for central differences, to what the last bit of the loss allows. Parameters
    that are not trainable are left out. Returns {parameter: relative error}; raises GradientError.
    """
    rng, buffers = np.random.default_rng(seed), _State(model)
    with _borrowed(model, np.float64):
        model.zero_grad()
        losses, cache = model.loss(batch, np.random.default_rng(seed))
        model.backward(cache)
        fixed = {"fixed": cache.fixed} if hasattr(cache, "fixed") else {}

        def total():
            buffers.restore()
            return sum(model.loss(batch, np.random.default_rng(seed), **fixed)[0].values())

        learned = {name: parameter for name, parameter in model.parameters().items() if parameter.trainable}
        grads = {name: parameter.grad for name, parameter in learned.items()}
        with _borrowed(model, np.complex128 if complex_step else np.float64):
            pairs = {
                name: _directional(
                    parameter, grads[name], total, rng, COMPLEX_STEP if complex_step else step, complex_step
                )
                for name, parameter in model.parameters().items()
                if parameter.trainable
            }
    buffers.restore()
    floor = 1e-6 * max(max(abs(a), abs(n)) for a, n in pairs.values())
    if not complex_step:  # a difference of two losses is no finer than their last bit
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
    """(by backward, numerically) the derivative of total() along a random unit direction of one parameter."""
    direction = rng.standard_normal(parameter.value.shape)
    direction /= max(np.sqrt((direction * direction).sum()), 1e-300)
    value = parameter.value
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
    """d loss() / d array, element by element, by moving each element of `array` in place. float64 of array's shape."""
    gradient = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        value = array[index]
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


def check_contract(layer: Layer, inputs: tuple, other_inputs: tuple, *, training=True, tolerance=1e-4):
    """Raise GradientError where the layer breaks the contract: state beside the cache, changed arguments, and so on.

    Runs the layer on two tuples of inputs of different size before any backward and the backwards in reverse order,
    then the backwards once more in order; the results must be those of each alone, and gradients must add up. Arguments
    and parameters stay bit-identical, the layer's attributes the same objects (but for buffers), float32 stays float32,
    non-contiguous inputs give the same. A layer that keeps lists on itself may fail here with an error of its own.
    """
    name, rng = type(layer).__name__, np.random.default_rng(1)
    with _borrowed(layer, np.float32):
        both = [[_as(x, np.float32) for x in xs] for xs in (inputs, other_inputs)]
        before = {prefix: dict(vars(owner)) for prefix, owner in layer.layers()}
        arguments = [both, [parameter.value for parameter in layer.parameters().values()]]
        copies = copy.deepcopy(arguments)
        dys = [[_as(rng.standard_normal(y.shape), np.float32) for y in _forward(layer, xs, training)[0]] for xs in both]
        arguments.append(dys)
        copies.append(copy.deepcopy(dys))
        one, two = (_alone(layer, xs, dy, training) for xs, dy in zip(both, dys))
        _demand(_same(copies, arguments), name, "forward or backward changed one of its arguments")
        for prefix, owner in layer.layers():
            for key, value in vars(owner).items():
                same = key in owner.buffers or value is before[prefix].get(key)
                _demand(same, name, f"forward or backward set the attribute {f'{prefix}.{key}' if prefix else key}")

        layer.zero_grad()
        caches = [_forward(layer, xs, training)[1] for xs in both]
        second, first = (_as_tuple(layer.backward(_pack(dys[i]), caches[i])) for i in (1, 0))
        alone = [one["dx"], two["dx"]]
        _demand(_same([first, second], alone), name, "backward after two forwards differs: state beside the cache?")
        for key, parameter in layer.parameters().items():
            adds_up = _same(parameter.grad, one["grads"][key] + two["grads"][key], tolerance)
            _demand(adds_up, name, f"gradients of {key} do not add up")
        again = [_as_tuple(layer.backward(_pack(dys[i]), caches[i])) for i in (0, 1)]
        _demand(_same(again, alone), name, "a second backward differs: did the first one change the cache?")

        results = [*one["y"], *(dx for dx in one["dx"] if dx is not None), *one["grads"].values()]
        dtypes = sorted({str(a.dtype) for a in results})
        _demand(dtypes in ([], ["float32"]), name, f"float32 in, got out {dtypes}")
        strided = _alone(layer, [_strided(x) for x in both[0]], [_strided(dy) for dy in dys[0]], training)
        _demand(_same(strided, one, tolerance), name, "non-contiguous arrays give other results")

        def infer(xs):
            return _outputs(layer.forward(*xs, training=False)[0])

        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(infer, both))
        _demand(_same(together, [infer(xs) for xs in both]), name, "two threads at once give other results than one")


def _alone(layer, inputs, dys, training):
    """Outputs, input gradients and parameter gradients of one forward and backward."""
    layer.zero_grad()
    y, cache = _forward(layer, inputs, training)
    dx = _as_tuple(layer.backward(_pack(dys), cache))
    return {"y": y, "dx": dx, "grads": {name: p.grad.copy() for name, p in layer.parameters().items()}}


def _forward(layer, inputs, training):
    """(list of the floating-point outputs, cache), the layer's buffers and generators left as they were."""
    state = _State(layer)
    y, cache = layer.forward(*inputs, training=training)
    state.restore()
    return _outputs(y), cache


def _outputs(y):
    """The floating-point outputs as a list."""
    return [y for y in _as_tuple(y) if y.dtype.kind in "fc"]


class _State:
    """Buffers and generators of a layer at one moment."""

    def __init__(self, layer):
        self.buffers = [
            (owner, name, getattr(owner, name).copy()) for _, owner in layer.layers() for name in owner.buffers
        ]
        self.generators = [(g, copy.deepcopy(g.bit_generator.state)) for g in layer.generators().values()]

    def restore(self):
        for owner, name, value in self.buffers:
            getattr(owner, name)[...] = value.real if getattr(owner, name).dtype.kind == "f" else value
        for generator, state in self.generators:
            generator.bit_generator.state = copy.deepcopy(state)


@contextmanager
def _borrowed(layer, dtype):
    """The layer with parameters and buffers of another dtype, in arrays of their own; afterwards it is as it was."""
    parameters = [(p, p.value, p.grad) for p in layer.parameters().values()]
    buffers = [(owner, name, getattr(owner, name)) for _, owner in layer.layers() for name in owner.buffers]
    try:
        for p, value, grad in parameters:
            p.value, p.grad = value.astype(dtype), grad.astype(dtype)
        for owner, name, value in buffers:
            setattr(owner, name, value.astype(dtype if value.dtype.kind in "fc" else value.dtype))
        yield
    finally:
        for p, value, grad in parameters:
            p.value, p.grad = value, grad
        for owner, name, value in buffers:
            setattr(owner, name, value)


def _compare(owner, tensor, analytic, numerical, tolerance, floor=0.0):
    """The error of one tensor relative to its largest element (or floor); GradientError where over the tolerance."""
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


def _as(x, dtype):
    """A copy of x, floats as dtype; None (an optional input left out) as it is."""
    if x is None:
        return None
    x = np.array(x)
    return x.astype(dtype) if x.dtype.kind in "fc" else x


def _as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def _pack(dys):
    return dys[0] if len(dys) == 1 else tuple(dys)


def _strided(x):
    """The same values, every second element of a larger array along the last axis."""
    if x is None or not x.ndim:
        return x
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def _same(a, b, tolerance=0.0):
    """Whether two nests of arrays are equal, or close for a tolerance > 0."""
    if isinstance(a, dict):
        return all(_same(a[key], b[key], tolerance) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y, tolerance) for x, y in zip(a, b))
    if a is None or b is None:
        return a is b
    if tolerance:
        return np.allclose(a, b, rtol=tolerance, atol=tolerance)
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _demand(holds, owner, what):
    if not holds:
        raise GradientError(f"{owner}: {what}")
