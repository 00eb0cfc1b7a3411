"""Every registered model on the device: loss, gradients and predictions are the CPU's."""

import numpy as np
import pytest

from nn.gpu.device import device_of, to_device
from tests.gpu.families import FAMILIES, MODELS, small_model

# Of losses, and of gradients relative to the largest. In float32 those of deep networks have errors of 1e-4 on the CPU.
TOLERANCES = {np.float32: (1e-4, 1e-3), np.float64: (1e-10, 1e-10)}
CASES = [(name, np.float64) for name in MODELS] + [(name, np.float32) for name in FAMILIES]


def loss_and_gradients(model, batch):
    losses, cache = model.loss(batch, np.random.default_rng(1))
    model.zero_grad()
    model.backward(cache)
    return losses, {name: p.grad for name, p in model.parameters().items() if p.trainable}


@pytest.mark.parametrize("name, dtype", CASES, ids=lambda value: getattr(value, "__name__", value))
def test_loss_and_gradients_are_those_of_the_cpu(name, dtype, device):
    (model, batch, _, _), (of_losses, of_gradients) = small_model(name, dtype), TOLERANCES[dtype]
    losses, gradients = loss_and_gradients(model, batch)
    wanted = {key: gradient.copy() for key, gradient in gradients.items()}
    state = {key: array.copy() for key, array in model.state_dict().items()}

    again, batch, _, _ = small_model(name, dtype)
    found, gradients = loss_and_gradients(again.to("gpu"), to_device(batch, "gpu"))
    assert all(type(value) is float for value in found.values())
    assert found == pytest.approx(losses, rel=of_losses, abs=of_losses)
    largest = max(abs(gradient).max() for gradient in wanted.values())
    for key, gradient in gradients.items():
        assert device_of(gradient) == "gpu", key
        error = abs(device.asnumpy(gradient) - wanted[key]).max()
        scale = max(abs(wanted[key]).max(), 1e-3 * largest)
        assert error <= of_gradients * scale, f"{key}: {error / scale:.1e}"
    for key, array in to_device(again.state_dict(), "cpu").items():
        np.testing.assert_allclose(array, state[key], rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", MODELS)
def test_predictions_are_those_of_the_cpu(name, device):
    """Through the task, as in scripts.predict: from a sample to arrays on the CPU, text and numbers."""
    model, _, task, samples = small_model(name)
    sample = {"text": "a red circle", **samples[0]}
    options = {"length": 5} if "length" in task.options else {}
    wanted = task.predict(model, sample, **options)
    found = task.predict(model.to("gpu"), sample, **options)
    assert_same(found, wanted)


def assert_same(found, wanted):
    """Two nests: arrays are close, everything else is equal."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted):
            assert_same(a, b)
    elif isinstance(wanted, np.ndarray) and wanted.dtype.kind == "f":
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    elif isinstance(wanted, np.ndarray):
        np.testing.assert_array_equal(found, wanted)
    else:
        assert found == (pytest.approx(wanted, rel=1e-4) if isinstance(wanted, float) else wanted)
