"""The moving average of weights against plain floats, and what it promises about swapping, buffers, ties and state."""

import copy
import math

import numpy as np
import pytest

from nn import BatchNorm2d, Layer, Linear, Parameter, Sequential
from nn.optim.ema import ExponentialMovingAverage

OPTIONS = [
    {},
    {"decay": 0.5},
    {"decay": 0.9, "warm_up": True},
    {"decay": 0.15, "warm_up": True},
    {"decay": 0.9, "bias_correction": True},
    {"decay": 0.9, "bias_correction": True, "warm_up": True},
]


class Net(Layer):
    """A weight, a scalar, one that is tied, an empty one, a batch normalisation used under two names."""

    def __init__(self, dtype=np.float64):
        self.weight = Parameter(np.zeros((3, 2)))
        self.scale = Parameter(np.zeros(()))
        self.again = self.weight
        self.empty = Parameter(np.zeros((0, 2)))
        self.norm = self.same_norm = BatchNorm2d(2)
        self.astype(dtype)


def arrays(layer):
    return {name: array.copy() for name, array in layer.state_dict().items()}


def identical(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def train(net, average, steps):
    """Steps to random values; returns the values by step."""
    history = []
    for step in steps:
        rng = np.random.default_rng([9, step])
        for name, array in net.state_dict().items():
            array[...] = rng.integers(1, 9) if name.endswith("tracked") else rng.normal(size=array.shape)
        history.append(arrays(net))
        average.update()
    return history


def by_hand(values, start, decay=0.999, warm_up=False, bias_correction=False):
    average, product = 0.0 if bias_correction else start, 1.0
    for t, value in enumerate(values):
        d = min(decay, (1 + t) / (10 + t)) if warm_up else decay
        average, product = d * average + (1 - d) * value, product * d
    return average / (1 - product) if bias_correction else average


@pytest.mark.parametrize("options", OPTIONS)
def test_twelve_updates_equal_the_formula_in_every_element(options):
    net = Net()
    net.weight.value[...], net.scale.value[...] = 3, -2
    start, average = arrays(net), ExponentialMovingAverage(net, **options)
    history = train(net, average, range(12))
    averages = average.averages()
    assert set(averages) == {
        "weight", "scale", "empty", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"
    }  # fmt: skip
    for name, array in averages.items():
        for index in np.ndindex(array.shape):
            expected = by_hand([values[name][index] for values in history], start[name][index], **options)
            assert array[index] == pytest.approx(expected, rel=1e-12), (name, index)


def test_worked_example():
    """1 then 3 then 3 with decay 1/2: 2, 2.5; corrected for bias, of zeros and 3, 3: 2.25 / 0.75 = 3."""
    layer = Linear(1, 1, bias=False).astype(np.float64)
    layer.weight.value[...] = 1
    plain = ExponentialMovingAverage(layer, 0.5)
    corrected = ExponentialMovingAverage(layer, 0.5, bias_correction=True)
    warm = ExponentialMovingAverage(layer, 0.5, warm_up=True)
    layer.weight.value[...] = 3
    for expected in (2, 2.5):
        plain.update()
        corrected.update()
        warm.update()
        assert plain.averages()["weight"].item() == expected
        assert corrected.averages()["weight"].item() == 3
    assert warm.averages()["weight"].item() == pytest.approx(3 - 2 * (1 / 10) * (2 / 11))


def test_weights_that_stay_are_their_own_average_to_the_last_bit():
    layer = Linear(5, 4)
    average = ExponentialMovingAverage(layer, 0.9)
    for _ in range(50):
        average.update()
    assert identical(average.averages(), arrays(layer))


@pytest.mark.parametrize("options", OPTIONS)
def test_swapping_in_and_out(options):
    net = Net(np.float32)
    average = ExponentialMovingAverage(net, **options)
    train(net, average, range(3))
    own, held, averages = arrays(net), net.state_dict(), average.averages()
    with average.swapped() as swapped:
        assert swapped is net
        now = net.state_dict()
        assert all(now[name] is held[name] for name in now)  # in place: optimisers and others hold these arrays
        assert all(np.array_equal(now[name], averages[name]) and now[name].dtype == np.float32 for name in averages)
        assert np.array_equal(now["again"], averages["weight"])
        assert now["norm.num_batches_tracked"] == own["norm.num_batches_tracked"]  # a count is not averaged
        net.weight.value[...] = 77  # what is written within the block is gone after it
    assert identical(arrays(net), own) and all(net.state_dict()[name] is held[name] for name in held)
    assert identical(average.averages(), averages)


def test_own_values_come_back_after_an_error():
    net = Net()
    average = ExponentialMovingAverage(net, 0.5)
    train(net, average, range(2))
    own = arrays(net)
    with pytest.raises(RuntimeError, match="stop"), average.swapped():
        raise RuntimeError("stop")
    assert identical(arrays(net), own)
    average.update()  # and it goes on
    with average.swapped():
        assert not identical(arrays(net), own)


def test_without_buffers_the_layers_own_stay_in_place():
    net = Net()
    average = ExponentialMovingAverage(net, 0.5, buffers=False)
    train(net, average, range(2))
    own = arrays(net)
    assert set(average.averages()) == {"weight", "scale", "empty", "norm.weight", "norm.bias"}
    with average.swapped():
        assert np.array_equal(net.norm.running_mean, own["norm.running_mean"])
        assert not np.array_equal(net.norm.weight.value, own["norm.weight"])


def test_the_averaged_model_computes_with_the_averages():
    layer = Sequential(Linear(3, 2), Linear(2, 4)).astype(np.float64)
    other = copy.deepcopy(layer)
    average = ExponentialMovingAverage(layer, 0.5)
    for parameter in layer.parameters().values():
        parameter.value += 2.0
    average.update()
    for parameter in other.parameters().values():
        parameter.value += 1.0
    x = np.random.default_rng(0).normal(size=(5, 3))
    with average.swapped():
        np.testing.assert_allclose(layer(x), other(x), rtol=1e-13)


@pytest.mark.parametrize("options", OPTIONS)
def test_state_that_is_saved_and_loaded_midway_continues_bit_exactly(options):
    net = Net(np.float32)
    average = ExponentialMovingAverage(net, **options)
    train(net, average, range(5))
    saved, weights = {name: array.copy() for name, array in average.state_dict().items()}, arrays(net)
    train(net, average, range(5, 9))

    other = Net(np.float32)
    other.load_state_dict(weights)
    resumed = ExponentialMovingAverage(other, **options)
    resumed.load_state_dict(saved)
    assert not any(np.shares_memory(array, saved[name]) for name, array in resumed.state_dict().items())
    train(other, resumed, range(5, 9))
    assert identical(resumed.state_dict(), average.state_dict()) and identical(resumed.averages(), average.averages())


def test_the_average_shares_no_memory_with_the_layer_nor_with_what_it_hands_out():
    for options in ({}, {"bias_correction": True}):
        net = Net()
        average = ExponentialMovingAverage(net, **options)
        average.update()
        state, averages = average.state_dict().values(), average.averages().values()
        for a in (*state, *averages):
            assert not any(np.shares_memory(a, b) for b in net.state_dict().values())
        assert not any(np.shares_memory(a, b) for a in state for b in averages)


def test_large_arrays_are_averaged_whole():
    layer = Linear(700, 300, bias=False)
    average = ExponentialMovingAverage(layer, 0.5)
    layer.weight.value[...] = layer.weight.value + 1
    expected = layer.weight.value - 0.5
    average.update()
    np.testing.assert_allclose(average.averages()["weight"], expected, atol=1e-6)


def test_what_cannot_be_done_is_refused():
    net = Net()
    for bad in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=rf"ExponentialMovingAverage: decay must lie in \[0, 1\), got {bad}"):
            ExponentialMovingAverage(net, decay=bad)
    average = ExponentialMovingAverage(net)
    own = arrays(net)
    with average.swapped():
        with pytest.raises(ValueError, match=r"ExponentialMovingAverage: update within swapped\(\): the layer has"):
            average.update()
        with (
            pytest.raises(ValueError, match=r"ExponentialMovingAverage: swapped within swapped\(\)"),
            average.swapped(),
        ):
            pass
    assert identical(arrays(net), own)
    corrected = ExponentialMovingAverage(net, bias_correction=True)
    with pytest.raises(ValueError, match="with bias_correction there is no average before an update"):
        corrected.averages()
    with pytest.raises(ValueError, match="there is no average before an update"), corrected.swapped():
        pass
    corrected.update()
    with corrected.swapped():
        pass


def test_a_state_that_does_not_fit_is_refused_whole():
    average = ExponentialMovingAverage(Net())
    good = {name: array.copy() for name, array in average.state_dict().items()}
    other = {name: array + 1 for name, array in good.items()}
    for bad, message in [
        ({name: other[name] for name in other if name != "updates"}, "does not fit this layer: missing updates"),
        ({**other, "x.average": np.zeros(1)}, "unexpected x.average"),
        ({**other, "weight.average": np.zeros(2)}, r"weight.average has shape \(2,\), wanted \(3, 2\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            average.load_state_dict(bad)
        assert identical(average.state_dict(), good)
