"""Sums of branches in chunks against the textbook, of views as well; batch normalisation together with its ReLU."""

import copy

import numpy as np
import pytest

import nn
from nn import BatchNorm1d, BatchNorm2d, ReLU, Sequential
from nn import containers as textbook
from nn.checking import as_tuple
from nn.cpu import chunks, normalise
from nn.cpu import containers as fast


@pytest.mark.parametrize("shape", [(5, 3, 4, 2), (1, 4, 7), (0, 2)])
def test_equals_the_textbook(shape, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 20)
    monkeypatch.setattr(chunks, "LEAST", 10)
    a, b = np.random.default_rng(170).normal(size=(2, *shape))
    for left, right in ((a, b), (a[:, ::-1], b), (a, b.swapaxes(0, 1).copy().swapaxes(0, 1))):
        np.testing.assert_array_equal(fast.add(left, right), textbook.add(left, right))
        totals = np.stack([a, a])[:, :, : shape[1]]
        for total, version in zip(totals, (fast, textbook)):
            version.add_to(total, right)
        np.testing.assert_array_equal(*totals)


def test_takes_one_dtype_and_shape():
    a = np.zeros((2, 3))
    assert fast.takes(a, a) and not fast.takes(a, a[:1]) and not fast.takes(a, a.astype(np.float32))


NORMS = [  # of 3 channels, each way that the layer computes it, and shapes of x
    (BatchNorm2d(3), (5, 3, 4, 7)),
    (BatchNorm2d(3), (5, 3, 1, 2)),
    (BatchNorm2d(3, frozen=True), (2, 3, 9, 8)),
    (BatchNorm2d(3, affine=False, track_running_stats=False), (2, 3, 9, 8)),
    (BatchNorm1d(3), (6, 3)),
    (BatchNorm2d(3), (0, 3, 4, 7)),
]


def computed(layers, x, dy):
    """What a Sequential of fresh copies of the layers gives: outputs, caches, gradients and running statistics."""
    model = copy.deepcopy(Sequential(*layers))
    y, cache = model.forward(x)
    dx = model.backward(dy, cache)
    kept = [array for each in cache for array in as_tuple(each) if isinstance(array, np.ndarray)]
    return [y, dx, *kept, *(p.grad for p in model.parameters().values()), *model.state_dict().values()]


@pytest.mark.parametrize("together", [1, 1 << 19])
@pytest.mark.parametrize("norm, shape", NORMS)
def test_normalisation_with_relu_gives_the_bits_of_one_after_the_other(norm, shape, together, monkeypatch):
    monkeypatch.setattr(normalise, "CHANNELS_TOGETHER", together)
    rng = np.random.default_rng(172)
    x, dy = rng.normal(1, 2, (2, *shape)).astype(np.float32)
    for parameter in norm.parameters().values():
        parameter.value[...] = rng.normal(size=3)
    layers = [ReLU(), norm, ReLU(), ReLU(), norm]
    together = computed(layers, x, dy)
    monkeypatch.setattr(fast, "is_rectified_norm", lambda layers, i: False)
    for got, wanted in zip(together, computed(layers, x, dy), strict=True):
        np.testing.assert_array_equal(got, wanted)
    monkeypatch.setattr(nn.config, "plain", True)
    for got, wanted in zip(together, computed(layers, x, dy), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_watched_layer_is_called():
    norm, relu, other = BatchNorm2d(3), ReLU(), BatchNorm2d(3).astype(np.complex128)
    assert fast.is_rectified_norm([norm, relu], 0) and not fast.is_rectified_norm([norm, relu], 1)
    assert not fast.is_rectified_norm([norm, norm], 0) and not fast.is_rectified_norm([other, relu], 0)
    for layer in (norm, relu):
        for name in ("forward", "backward"):
            setattr(layer, name, getattr(layer, name))
            assert not fast.is_rectified_norm([norm, relu], 0)
            delattr(layer, name)


def test_normalisation_and_relu_are_computed_together_in_training_alone(monkeypatch):
    x, calls = np.ones((2, 3, 4, 5)), []
    monkeypatch.setattr(ReLU, "forward", lambda self, x, training=True: (calls.append(training) or x, x))
    model = Sequential(BatchNorm2d(3).astype(np.float64), ReLU())
    model.forward(x, training=False)
    model.forward(x)
    assert calls == [False]
