"""Initial weights: fans by hand, moments and limits by their formulas, and signals that keep their size."""

import math

import numpy as np
import pytest

from nn import Conv2d, Linear
from nn.init import (
    bilinear_kernel,
    fans,
    he_normal,
    he_uniform,
    identity_affine,
    lstm_forget_bias,
    orthogonal,
    xavier_normal,
    xavier_uniform,
)
from nn.layer import Parameter

CONV, DENSE = (64, 32, 3, 5), (200, 300)
ALL = [he_normal, he_uniform, xavier_normal, xavier_uniform, orthogonal]


def test_fans():
    assert fans((7, 5)) == (5, 7)
    assert fans((64, 32, 3, 5)) == (480, 960)
    assert fans((64, 1, 3, 3)) == (9, 576)  # depthwise: one input channel for each output channel
    assert fans((6, 4, 3)) == (12, 18)


@pytest.mark.parametrize(
    "init, options, shape, variance",
    [
        (he_normal, {}, CONV, 2 / 480),
        (he_normal, {"mode": "fan_out"}, CONV, 2 / 960),
        (he_normal, {"negative_slope": 0.5}, DENSE, 2 / (1.25 * 300)),
        (he_uniform, {}, DENSE, 2 / 300),
        (he_uniform, {"mode": "fan_out", "negative_slope": 1.0}, DENSE, 1 / 200),
        (xavier_normal, {}, CONV, 2 / 1440),
        (xavier_normal, {"gain": 3.0}, DENSE, 9 * 2 / 500),
        (xavier_uniform, {}, DENSE, 2 / 500),
        (xavier_uniform, {"gain": 0.5}, CONV, 0.25 * 2 / 1440),
    ],
)
def test_mean_variance_and_limits(init, options, shape, variance):
    weights = init(shape, np.random.default_rng(0), dtype=np.float64, **options)
    n = weights.size
    assert weights.shape == shape
    assert abs(weights.mean()) < 4 * math.sqrt(variance / n)
    assert weights.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / n))
    largest = np.abs(weights).max() / math.sqrt(variance)
    if "uniform" in init.__name__:
        assert 0.999 * math.sqrt(3) < largest <= math.sqrt(3)
    else:
        assert 3.5 < largest < 6.5  # the tails of a normal distribution


@pytest.mark.parametrize("init", ALL)
def test_dtype_seed_and_the_same_weights_in_both_precisions(init):
    weights = init((4, 3, 2, 2), np.random.default_rng(5))
    assert weights.dtype == np.float32
    assert np.array_equal(weights, init((4, 3, 2, 2), np.random.default_rng(5)))
    assert not np.array_equal(weights, init((4, 3, 2, 2), np.random.default_rng(6)))
    double = init((4, 3, 2, 2), np.random.default_rng(5), dtype=np.float64)
    assert double.dtype == np.float64 and np.array_equal(double.astype(np.float32), weights)


@pytest.mark.parametrize("init", [he_normal, he_uniform])
def test_he_keeps_the_size_of_a_signal_through_many_relu_layers(init):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 512))
    for _ in range(10):
        x = np.maximum(x @ init((512, 512), rng, np.float64).T, 0)
    assert 0.4 < (x * x).mean() < 2.5  # without the factor 2 of the rule: 2^-10


@pytest.mark.parametrize("init", [xavier_normal, xavier_uniform])
def test_xavier_keeps_the_size_of_a_signal_through_linear_layers(init):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 256))
    for _ in range(20):
        x = x @ init((256, 256), rng, np.float64).T
    assert 0.5 < (x * x).mean() < 2


@pytest.mark.parametrize("init", ALL)
def test_bad_arguments(init):
    for shape in [(5,), (), (5, 0), (5, 3, 0, 3)]:
        with pytest.raises(
            ValueError, match=r"fans: shape must be \(out, in, ...\) with every size at least 1, got \("
        ):
            init(shape, np.random.default_rng(0))
    with pytest.raises(TypeError, match=f"{init.__name__}: rng must be a np.random.Generator, got int: pass"):
        init((5, 3), 42)


@pytest.mark.parametrize("init", [he_normal, he_uniform])
def test_bad_mode(init):
    with pytest.raises(ValueError, match=f'{init.__name__}: mode must be "fan_in" or "fan_out", got \'fan\''):
        init((5, 3), np.random.default_rng(0), mode="fan")


@pytest.mark.parametrize("shape", [(7, 7), (4, 9), (9, 4), (5, 2, 3, 1), (12, 2, 2, 1), (1, 6), (6, 1)])
@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
def test_orthogonal(shape, gain):
    weights = orthogonal(shape, np.random.default_rng(2), np.float64, gain)
    matrix = weights.reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    assert weights.shape == shape
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-14)


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3)])
def test_orthogonal_is_the_q_of_a_qr_decomposition_with_a_positive_diagonal(shape):
    normal = np.random.default_rng(5).standard_normal((max(shape), min(shape)))
    q = orthogonal(shape, np.random.default_rng(5), np.float64)
    r = (q if shape[0] >= shape[1] else q.T).T @ normal
    np.testing.assert_allclose(np.tril(r, -1), 0, atol=1e-13)
    assert (np.diag(r) > 0).all()


def test_orthogonal_is_uniform_over_all_rotations():
    """Each element of a uniform (n, n) orthogonal matrix has mean 0 and variance 1 / n, and its trace has variance 1.

    Without the signs of R's diagonal, LAPACK's own choice shows in the mean and the trace.
    """
    rng = np.random.default_rng(3)
    matrices = np.stack([orthogonal((3, 3), rng, np.float64) for _ in range(4000)])
    traces = np.trace(matrices, axis1=1, axis2=2)
    assert np.abs(matrices.mean(axis=0)).max() < 4 * math.sqrt(1 / 3 / 4000)
    np.testing.assert_allclose(matrices.var(axis=0), np.full((3, 3), 1 / 3), rtol=0.1)
    assert abs(traces.mean()) < 4 / math.sqrt(4000) and traces.var() == pytest.approx(1, rel=0.1)
    assert abs(np.linalg.det(matrices).mean()) < 4 / math.sqrt(4000)


def test_orthogonal_keeps_the_length_of_a_signal_through_a_hundred_layers():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5, 32))
    y = x
    for _ in range(100):
        y = y @ orthogonal((32, 32), rng, np.float64).T
    np.testing.assert_allclose((y * y).sum(axis=1), (x * x).sum(axis=1), rtol=1e-12)


def naive_transposed_convolution(x, weight, stride, padding):
    """x (H, W), weight (kh, kw): every pixel lays its multiple of the kernel on the output, borders are cut off."""
    h, w = x.shape
    kh, kw = weight.shape
    y = np.zeros(((h - 1) * stride + kh, (w - 1) * stride + kw))
    for i in range(h):
        for j in range(w):
            y[i * stride : i * stride + kh, j * stride : j * stride + kw] += x[i, j] * weight
    return y[padding : y.shape[0] - padding, padding : y.shape[1] - padding]


def test_bilinear_kernels_by_hand():
    np.testing.assert_array_equal(bilinear_kernel((1, 1, 4, 4))[0, 0] * 16, np.outer([1, 3, 3, 1], [1, 3, 3, 1]))
    np.testing.assert_array_equal(bilinear_kernel((1, 1, 3, 2))[0, 0] * 4, np.outer([1, 2, 1], [1, 1]))
    np.testing.assert_allclose(bilinear_kernel((1, 1, 5, 1))[0, 0, :, 0] * 3, [1, 2, 3, 2, 1], rtol=1e-6)
    dense, depthwise = bilinear_kernel((3, 3, 4, 3)), bilinear_kernel((3, 1, 4, 3))
    for c in range(3):
        for other in range(3):
            np.testing.assert_array_equal(dense[c, other], depthwise[c, 0] if c == other else 0)
    assert dense.dtype == np.float32 and bilinear_kernel((1, 1, 2, 2), np.float64).dtype == np.float64


@pytest.mark.parametrize("s", [1, 2, 3, 4, 5])
def test_bilinear_kernel_enlarges_a_plane_exactly(s):
    """Inside, a ramp stays a ramp: output i lies at (i + 0.5) / s - 0.5 of the input."""
    size = 2 * s - s % 2
    x = 3.0 * np.arange(6)[:, None] - 2.0 * np.arange(7) + 1
    y = naive_transposed_convolution(x, bilinear_kernel((1, 1, size, size), np.float64)[0, 0], s, s // 2)
    assert y.shape == (6 * s, 7 * s)
    rows, columns = (np.arange(6 * s) + 0.5) / s - 0.5, (np.arange(7 * s) + 0.5) / s - 0.5
    expected = 3 * rows[:, None] - 2 * columns + 1
    np.testing.assert_allclose(y[s:-s, s:-s], expected[s:-s, s:-s], atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (3, 3, 4), (3, 1, 0, 4), (0, 0, 4, 4), (3, 3, 4, 4, 4)])
def test_bad_shape_of_a_bilinear_kernel(shape):
    with pytest.raises(
        ValueError, match=r"bilinear_kernel: shape must be \(C, 1, kh, kw\) or \(C, C, kh, kw\), got \("
    ):
        bilinear_kernel(shape)


def test_identity_affine():
    layer = Linear(5, 6)
    weight, bias = layer.weight.value, layer.bias.value
    bias[...] = 9
    assert identity_affine(layer) is layer
    theta = layer(np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)).reshape(3, 2, 3)
    np.testing.assert_array_equal(theta, np.broadcast_to(np.eye(2, 3), (3, 2, 3)))
    assert layer.weight.value is weight and layer.bias.value is bias and bias.dtype == np.float32
    assert identity_affine(Conv2d(2, 6, 1)).bias.value.tolist() == [1, 0, 0, 0, 1, 0]
    for bad in (Linear(5, 4), Linear(5, 6, bias=False), np.zeros((6, 5))):
        with pytest.raises(ValueError, match="identity_affine: layer must have a weight and a bias of 6 outputs, got"):
            identity_affine(bad)


def test_lstm_forget_bias():
    bias = Parameter(np.arange(8, dtype=np.float32))
    held = bias.value
    assert lstm_forget_bias(bias) is bias and bias.value is held
    assert bias.value.tolist() == [0, 1, 1, 1, 4, 5, 6, 7]  # i, f, o, g
    assert lstm_forget_bias(bias, 2.5).value.tolist() == [0, 1, 2.5, 2.5, 4, 5, 6, 7]
    for bad in (np.zeros(6), np.zeros((8, 1)), np.zeros(0)):
        with pytest.raises(ValueError, match=r"lstm_forget_bias: bias must have shape \(4 \* H,\), got \("):
            lstm_forget_bias(Parameter(bad))
    with pytest.raises(TypeError, match="lstm_forget_bias: bias must be a Parameter, got ndarray"):
        lstm_forget_bias(np.zeros(8))
