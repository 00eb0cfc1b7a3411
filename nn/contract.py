"""The check of the layer contract: no state on the layer between forward and backward, no argument changed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from nn.checking import GradientError, as_tuple, borrowed, copied, floats, forward, pack
from nn.dispatch import array_module
from nn.gpu.device import device_of, map_arrays, to_device
from nn.layer import Layer


def check_contract(
    layer: Layer, inputs: tuple, other_inputs: tuple, *, training=True, tolerance=1e-4, device: str | None = None
):
    """Raise GradientError where the layer breaks the contract: state outside the cache, changed arguments, and so on.

    Runs two forwards on inputs of different size, then the backwards in reverse order, then the backwards again in
    order. The results must be those of each alone, and gradients must add up. Arguments and parameters must stay
    bit-identical, attributes of the layer the same objects (except buffers), float32 must stay float32, and
    non-contiguous inputs must give the same results. A layer that keeps lists on itself may fail with its own error.

    device: "cpu" or "gpu" (default: the layer's device); results must be on it, too.
    """
    name, rng, device = type(layer).__name__, np.random.default_rng(1), device or device_of(layer)
    with borrowed(layer, np.float32, device):
        both = [[copied(x, np.float32, device) for x in xs] for xs in (inputs, other_inputs)]
        before = {prefix: dict(vars(owner)) for prefix, owner in layer.layers()}
        arguments = [both, [parameter.value for parameter in layer.parameters().values()]]
        copies = map_arrays(lambda a: a.copy(), arguments)
        dys = [
            [copied(rng.standard_normal(y.shape), np.float32, device) for y in forward(layer, xs, training)[0]]
            for xs in both
        ]
        arguments.append(dys)
        copies.append(map_arrays(lambda a: a.copy(), dys))
        one, two = (_alone(layer, xs, dy, training) for xs, dy in zip(both, dys))
        _demand(_same(copies, arguments), name, "forward or backward changed one of its arguments")
        for prefix, owner in layer.layers():
            for key, value in vars(owner).items():
                same = key in owner.buffers or value is before[prefix].get(key)
                _demand(same, name, f"forward or backward set the attribute {f'{prefix}.{key}' if prefix else key}")

        layer.zero_grad()
        caches = [forward(layer, xs, training)[1] for xs in both]
        second, first = (as_tuple(layer.backward(pack(dys[i]), caches[i])) for i in (1, 0))
        alone = [one["dx"], two["dx"]]
        _demand(_same([first, second], alone), name, "backward after two forwards differs: state beside the cache?")
        for key, parameter in layer.parameters().items():
            adds_up = _same(parameter.grad, one["grads"][key] + two["grads"][key], tolerance)
            _demand(adds_up, name, f"gradients of {key} do not add up")
        again = [as_tuple(layer.backward(pack(dys[i]), caches[i])) for i in (0, 1)]
        _demand(_same(again, alone), name, "a second backward differs: did the first one change the cache?")

        for name_of, array in _parameters_alone(layer, both[0], dys[0], training).items():
            _demand(_same(array, one["grads"][name_of]), name, f"backward_parameters: other gradients of {name_of}")

        results = [*one["y"], *(dx for dx in one["dx"] if dx is not None), *one["grads"].values()]
        dtypes = sorted({str(a.dtype) for a in results})
        _demand(dtypes in ([], ["float32"]), name, f"float32 in, got out {dtypes}")
        elsewhere = [a for a in results if device_of(a) != device]
        _demand(not elsewhere, name, f"arrays on the {device} in, got out some on the {device_of(elsewhere)}")
        strided = _alone(layer, [_strided(x) for x in both[0]], [_strided(dy) for dy in dys[0]], training)
        _demand(_same(strided, one, tolerance), name, "non-contiguous arrays give other results")
        if device == "cpu":
            _check_threads(layer, name, both)


def _check_threads(layer, name, both):
    def infer(xs):
        return floats(layer.forward(*xs, training=False)[0])

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(infer, both))
    _demand(_same(together, [infer(xs) for xs in both]), name, "two threads at once give other results than one")


def _alone(layer, inputs, dys, training):
    """Outputs, input gradients and parameter gradients of one forward and backward."""
    layer.zero_grad()
    y, cache = forward(layer, inputs, training)
    dx = as_tuple(layer.backward(pack(dys), cache))
    return {"y": y, "dx": dx, "grads": {name: p.grad.copy() for name, p in layer.parameters().items()}}


def _parameters_alone(layer, inputs, dys, training):
    """Gradients of the trainable parameters by backward_parameters."""
    layer.zero_grad()
    layer.backward_parameters(pack(dys), forward(layer, inputs, training)[1])
    return {name: p.grad.copy() for name, p in layer.parameters().items() if p.trainable}


def _strided(x):
    """The same values, every second element of a larger array along the last axis."""
    if x is None or not x.ndim:
        return x
    wide = array_module(x).zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
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
    a, b = to_device((a, b), "cpu")
    if tolerance:
        return np.allclose(a, b, rtol=tolerance, atol=tolerance)
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _demand(holds, owner, what):
    if not holds:
        raise GradientError(f"{owner}: {what}")
