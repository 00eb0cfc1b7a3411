"""BatchNorm1d and 2d against their formulas, channel by channel; running statistics; the frozen mode."""

import math
import statistics

import numpy as np
import pytest

from nn.config import config
from nn.layer import Layer
from nn.layers.batch_norm import BatchNorm1d, BatchNorm2d


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


def layer_of(channels, **options):
    """A layer in float64 with random parameters and running statistics."""
    rng = np.random.default_rng(90)
    layer = BatchNorm2d(channels, **options).astype(np.float64)
    for array in layer.state_dict().values():
        if array.ndim:
            array[...] = rng.uniform(0.5, 2, channels)
    return layer


def data(*shape):
    return np.random.default_rng(91).normal(size=(2, *shape)) * 3 + 1


@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (1, 3, 5, 2), (5, 3, 1, 1), (2, 1, 3, 4)])
def test_training_equals_the_formula(shape):
    layer, (x, _) = layer_of(shape[1], eps=0.01), data(*shape)
    y, _ = layer.forward(x)
    for c in range(shape[1]):
        values = x[:, c].ravel().tolist()
        mean, var = statistics.fmean(values), statistics.pvariance(values)
        wanted = [layer.weight.value[c] * (v - mean) / math.sqrt(var + 0.01) + layer.bias.value[c] for v in values]
        np.testing.assert_allclose(y[:, c].ravel(), wanted, rtol=1e-12, atol=1e-12)


def test_backward_equals_the_paper():
    """Ioffe and Szegedy 2015, sec. 3, in their steps; and the gradients of running statistics, which are constants."""
    layer, (x, dy) = layer_of(3, eps=0.01), data(4, 3, 5, 2)
    _, cache = layer.forward(x)
    dx = layer.backward(dy, cache)
    for c in range(3):
        v, d, m = x[:, c], dy[:, c], x[:, c].size
        mean, var = v.mean(), v.var()
        dx_hat = d * layer.weight.value[c]
        dvar = (dx_hat * (v - mean)).sum() * -0.5 * (var + 0.01) ** -1.5
        dmean = dx_hat.sum() * -1 / math.sqrt(var + 0.01) + dvar * (-2 * (v - mean)).sum() / m
        wanted = dx_hat / math.sqrt(var + 0.01) + dvar * 2 * (v - mean) / m + dmean / m
        np.testing.assert_allclose(dx[:, c], wanted, rtol=1e-11, atol=1e-12)
        assert layer.weight.grad[c] == pytest.approx((d * (v - mean)).sum() / math.sqrt(var + 0.01), rel=1e-12)
        assert layer.bias.grad[c] == pytest.approx(d.sum(), rel=1e-12)


def test_inference_equals_the_formula():
    layer, (x, dy) = layer_of(3), data(2, 3, 5, 4)
    before = {name: array.copy() for name, array in layer.state_dict().items()}
    y, cache = layer.forward(x, training=False)
    dx = layer.backward(dy, cache)
    for c in range(3):
        scale = layer.weight.value[c] / math.sqrt(layer.running_var[c] + 1e-5)
        np.testing.assert_allclose(y[:, c], scale * (x[:, c] - layer.running_mean[c]) + layer.bias.value[c], rtol=1e-12)
        np.testing.assert_allclose(dx[:, c], scale * dy[:, c], rtol=1e-12)
    assert all(np.array_equal(array, before[name]) for name, array in layer.state_dict().items())
    assert np.array_equal(layer(x), y)


def test_running_statistics():
    layer, mean, var = BatchNorm2d(3, momentum=0.3).astype(np.float64), np.zeros(3), np.ones(3)
    for step in range(4):
        x = np.random.default_rng([92, step]).normal(size=(2, 3, 4, 5)) * 2 + 3
        layer.forward(x)
        mean = 0.7 * mean + 0.3 * np.array([statistics.fmean(x[:, c].ravel().tolist()) for c in range(3)])
        var = 0.7 * var + 0.3 * np.array([statistics.variance(x[:, c].ravel().tolist()) for c in range(3)])  # unbiased
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-13)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-13)
        assert layer.num_batches_tracked == step + 1
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def test_a_cache_outlives_changed_running_statistics():
    """Inference on one batch, training on the next, and only then the first backward."""
    layer, (x, dy) = layer_of(3), data(2, 3, 5, 4)
    _, cache = layer.forward(x, training=False)
    wanted = (dy * (x - layer.running_mean[:, None, None])).sum(axis=(0, 2, 3)) / np.sqrt(layer.running_var + 1e-5)
    layer.forward(x)
    layer.backward(dy, cache)
    np.testing.assert_allclose(layer.weight.grad, wanted, rtol=1e-12)


def test_momentum_0_keeps_and_1_replaces_the_running_statistics():
    x = data(2, 3, 4, 5)[0]
    keeps, replaces = BatchNorm2d(3, momentum=0).astype(np.float64), BatchNorm2d(3, momentum=1).astype(np.float64)
    keeps.forward(x)
    replaces.forward(x)
    assert not keeps.running_mean.any() and (keeps.running_var == 1).all()
    np.testing.assert_allclose(replaces.running_mean, x.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(replaces.running_var, x.var(axis=(0, 2, 3), ddof=1), rtol=1e-12)


def test_frozen_uses_and_keeps_the_running_statistics():
    layer, (x, dy) = layer_of(3, frozen=True), data(2, 3, 5, 4)
    before = {name: array.copy() for name, array in layer.state_dict().items()}
    y, cache = layer.forward(x, training=True)
    assert np.array_equal(y, layer.forward(x, training=False)[0])
    scale = layer.weight.value / np.sqrt(layer.running_var + 1e-5)
    np.testing.assert_allclose(layer.backward(dy, cache), dy * scale[:, None, None], rtol=1e-12)
    assert all(np.array_equal(array, before[name]) for name, array in layer.state_dict().items())
    assert not any(parameter.trainable for parameter in layer.parameters().values())
    assert all(parameter.trainable for parameter in BatchNorm2d(3).parameters().values())
    frozen_on_one_pixel = layer.forward(x[:1, :, :1, :1], training=True)[0]
    np.testing.assert_allclose(frozen_on_one_pixel, y[:1, :, :1, :1], rtol=1e-12)


def test_channels_do_not_touch_each_other():
    layer, x = layer_of(5), data(2, 5, 3, 4)[0]
    y, _ = layer.forward(x)
    other = x.copy()
    other[:, 2] *= 100
    changed = (layer.forward(other)[0] != y).any(axis=(0, 2, 3))
    assert not changed[[0, 1, 3, 4]].any()


def test_float32_far_from_zero():
    """Mean of squares minus square of the mean would lose everything here."""
    x = (10_000 + np.random.default_rng(93).normal(size=(4, 2, 8, 8))).astype(np.float32)
    y, cache = BatchNorm2d(2).forward(x)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(
        exact.var(axis=(0, 2, 3), keepdims=True) + 1e-5
    )
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, exact, atol=2e-3)
    assert BatchNorm2d(2).backward(y, cache).dtype == np.float32


def test_running_statistics_stay_float32_for_float32():
    layer = BatchNorm2d(3)
    layer.forward(data(2, 3, 4, 5)[0].astype(np.float32))
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32
    assert layer.num_batches_tracked.dtype == np.int64


def test_one_value_a_channel():
    message = r"^BatchNorm2d: more than one value a channel is needed in training, got x \(1, 3, "
    with pytest.raises(ValueError, match=message):
        BatchNorm2d(3).forward(np.zeros((1, 3, 1, 1)))
    assert BatchNorm2d(3)(np.zeros((1, 3, 1, 1))).shape == (1, 3, 1, 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"track_running_stats": False}, {"affine": False}])
@pytest.mark.parametrize("layer, shape", [(BatchNorm2d, (0, 3, 4, 5)), (BatchNorm1d, (0, 3)), (BatchNorm1d, (0, 3, 4))])
def test_a_batch_of_nothing_is_one_of_nothing_and_leaves_the_statistics_as_they_are(layer, shape, options, training):
    made = layer(3, **options)
    before = {name: array.copy() for name, array in made.state_dict().items()}
    y, cache = made.forward(np.zeros(shape, np.float32), training)
    dx = made.backward(y, cache)
    assert y.shape == dx.shape == shape and y.dtype == dx.dtype == np.float32
    assert all(np.array_equal(array, before[name]) for name, array in made.state_dict().items())
    assert not any(parameter.grad.any() for parameter in made.parameters().values())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0,), "num_features must be a whole number >= 1, got 0"),
        ((3, 0), r"eps must be > 0 and momentum in \[0, 1\], got 0 and 0.1"),
        ((3, 1e-5, 1.5), r"eps must be > 0 and momentum in \[0, 1\], got 1e-05 and 1.5"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^BatchNorm2d: {message}"):
        BatchNorm2d(*arguments)


def test_bad_input():
    layer = BatchNorm2d(3)
    with pytest.raises(ValueError, match=r"^BatchNorm2d: x must have shape \(N, 3, H, W\), got \(2, 4, 5, 6\)$"):
        layer.forward(np.zeros((2, 4, 5, 6)))
    y, cache = layer.forward(data(2, 3, 5, 6)[0])
    with pytest.raises(ValueError, match=r"^BatchNorm2d: dy must have shape \(2, 3, 5, 6\), got \(2, 3, 5, 1\)$"):
        layer.backward(y[..., :1], cache)


def as_images(x):
    """(N, C) or (N, C, L) as (N, C, L, 1)."""
    return x.reshape(*x.shape[:2], -1, 1)


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"affine": False}, {"momentum": None}])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (1, 3, 5), (4, 3, 1), (600, 300)])
def test_batch_norm_1d_is_2d_of_images_one_pixel_wide(shape, training, options):
    one, two = BatchNorm1d(shape[1], eps=0.02, **options), BatchNorm2d(shape[1], eps=0.02, **options)
    for layer in (one, two):
        layer.astype(np.float64)
        for name, array in layer.state_dict().items():
            if array.ndim:
                array[...] = np.random.default_rng([94, len(name)]).uniform(0.5, 2, array.shape)
    x, dy = data(*shape)
    (y, cache), (wanted, wanted_cache) = one.forward(x, training), two.forward(as_images(x), training)
    np.testing.assert_allclose(y, wanted.reshape(shape), rtol=1e-12, atol=1e-13)
    wanted = two.backward(as_images(dy), wanted_cache).reshape(shape)
    np.testing.assert_allclose(one.backward(dy, cache), wanted, rtol=1e-11, atol=1e-12)
    for name, array in one.state_dict().items():
        np.testing.assert_allclose(array, two.state_dict()[name], rtol=1e-13)
    for name, parameter in one.parameters().items():
        np.testing.assert_allclose(parameter.grad, two.parameters()[name].grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 5)])
def test_batch_norm_1d_equals_the_formula(shape):
    layer, (x, _) = BatchNorm1d(3, eps=0.01).astype(np.float64), data(*shape)
    layer.weight.value[...], layer.bias.value[...] = [0.5, -2, 3], [1, 0, -4]
    y, _ = layer.forward(x)
    for c in range(3):
        values = x[:, c].ravel().tolist()
        mean, var = statistics.fmean(values), statistics.pvariance(values)
        wanted = [layer.weight.value[c] * (v - mean) / math.sqrt(var + 0.01) + layer.bias.value[c] for v in values]
        np.testing.assert_allclose(y[:, c].ravel(), wanted, rtol=1e-12, atol=1e-12)
        assert layer.running_mean[c] == pytest.approx(0.1 * mean, rel=1e-12)
        assert layer.running_var[c] == pytest.approx(0.9 + 0.1 * statistics.variance(values), rel=1e-12)


def test_momentum_none_averages_all_batches():
    layer, means, variances = BatchNorm1d(2, momentum=None).astype(np.float64), [], []
    for step in range(5):
        x = np.random.default_rng([95, step]).normal(size=(6, 2)) * 3 + step
        layer.forward(x)
        means.append(x.mean(axis=0))
        variances.append(x.var(axis=0, ddof=1))
        np.testing.assert_allclose(layer.running_mean, np.mean(means, axis=0), rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, np.mean(variances, axis=0), rtol=1e-12)


def test_without_running_statistics_inference_normalises_with_its_batch():
    layer, (x, dy) = BatchNorm2d(3, track_running_stats=False).astype(np.float64), data(2, 3, 5, 4)
    assert list(layer.state_dict()) == ["weight", "bias"]
    (trained, c1), (inferred, c2) = layer.forward(x, training=True), layer.forward(x, training=False)
    assert np.array_equal(trained, inferred) and np.array_equal(layer.backward(dy, c1), layer.backward(dy, c2))
    np.testing.assert_allclose(inferred.mean(axis=(0, 2, 3)), 0, atol=1e-14)
    np.testing.assert_allclose(inferred.std(axis=(0, 2, 3)), 1, rtol=1e-5)


def test_not_affine_is_weight_1_and_bias_0():
    (x, dy), plain, affine = data(2, 3, 5, 4), BatchNorm2d(3, affine=False), BatchNorm2d(3)
    assert plain.parameters() == {} and list(plain.state_dict()) == list(affine.state_dict())[2:]
    for training in (True, False):
        (y, cache), (wanted, wanted_cache) = plain.forward(x, training), affine.forward(x, training)
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(plain.backward(dy, cache), affine.backward(dy, wanted_cache))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1)])
def test_batch_norm_1d_of_one_value_a_channel(shape):
    message = rf"^BatchNorm1d: more than one value a channel is needed in training, got x \({shape[0]}, 3"
    with pytest.raises(ValueError, match=message):
        BatchNorm1d(3).forward(np.zeros(shape))
    y, cache = BatchNorm1d(3).forward(np.zeros(shape), training=False)
    assert y.shape == BatchNorm1d(3).backward(y, cache).shape == shape


def test_bad_batch_norm_1d():
    with pytest.raises(ValueError, match=r"^BatchNorm1d: eps must be > 0 and momentum in \[0, 1\], got nan and 0.1$"):
        BatchNorm1d(3, math.nan)
    with pytest.raises(
        ValueError, match="^BatchNorm2d: frozen=True needs running statistics, got track_running_stats=F"
    ):
        BatchNorm2d(3, track_running_stats=False, frozen=True)
    with pytest.raises(ValueError, match="^BatchNorm1d: num_features must be a whole number >= 1, got -2$"):
        BatchNorm1d(-2)
    for shape, wanted in [((2, 4), "N, 3"), ((2, 4, 5), "N, 3, L"), ((2, 3, 4, 5), "N, 3, L"), ((3,), "N, 3, L")]:
        with pytest.raises(ValueError, match=rf"^BatchNorm1d: x must have shape \({wanted}\), got "):
            BatchNorm1d(3).forward(np.zeros(shape))
    with pytest.raises(TypeError, match="^BatchNorm1d: x must be an array of floats, got uint8"):
        BatchNorm1d(3).forward(np.zeros((4, 3), np.uint8))
    _, cache = BatchNorm1d(3).forward(data(4, 3)[0])
    with pytest.raises(ValueError, match=r"^BatchNorm1d: dy must have shape \(4, 3\), got \(4, 3, 1\)$"):
        BatchNorm1d(3).backward(np.zeros((4, 3, 1)), cache)
    assert isinstance(BatchNorm1d(3), Layer) and BatchNorm1d.buffers == BatchNorm2d.buffers


@pytest.mark.parametrize("layer, shape", [(BatchNorm1d(3), (5, 3)), (BatchNorm2d(3), (2, 3, 4, 5))])
def test_gradients_add_up(layer, shape):
    (x, dy), _ = data(*shape), layer.astype(np.float64)
    layer.zero_grad()
    _, cache = layer.forward(x)
    layer.backward(dy, cache)
    once = layer.weight.grad.copy(), layer.bias.grad.copy()
    layer.backward(2 * dy, cache)
    np.testing.assert_allclose(layer.weight.grad, 3 * once[0], rtol=1e-12)
    np.testing.assert_allclose(layer.bias.grad, 3 * once[1], rtol=1e-12)
