"""Normalisations, softmax, embeddings, activations by kernels: sums over blocks, launches, the same bits."""

import numpy as np
import pytest

import nn
from nn.cases import randomise
from nn.gpu import batch_norm as batchnorm_cuda
from nn.gpu import kernels as cuda
from nn.gpu import layer_norm
from tests.cupy_stand_in import kernels, no_transfers

TOLERANCES = pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])


def run(layer, x, dy, training=True):
    """All results: output, dx, gradients, buffers; and the launches of forward and backward."""
    layer.zero_grad()
    before = cuda.launches
    y, cache = layer.forward(x, training)
    between = cuda.launches
    dx = layer.backward(dy, cache)
    launches = between - before, cuda.launches - between
    results = [y, dx, *(p.grad for p in layer.parameters().values())]
    return results + [getattr(layer, name) for name in layer.buffers], launches


def on_both(device, monkeypatch, layer, x, dy, training, tolerance):
    """Compare the results of CPU and device, the same bits in several runs; returns the launches."""
    wanted = [np.copy(a) for a in run(layer, x, dy, training)[0]]
    layer.to("gpu")
    state = {name: np.copy(device.asnumpy(a)) for name, a in layer.state_dict().items()}
    for name in layer.buffers:  # as they were before the forward on the CPU
        state[name][...] = 0 if name != "running_var" else 1
    arrays, results = nn.to_device((x, dy), "gpu"), []
    for turned in (False, True):
        monkeypatch.setattr(kernels, "reversed_threads", turned)
        layer.load_state_dict(state)
        with no_transfers("_tables_of"):
            got, launches = run(layer, *arrays, training)
        results.append([np.copy(device.asnumpy(a)) for a in got])
    for a, b in zip(results[0], wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, abs(b).max()))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*results))
    return launches


@TOLERANCES
@pytest.mark.parametrize("shape", [(7, 3, 20, 30), (2, 5, 1, 1), (3, 70, 2, 3), (5000, 2)])
@pytest.mark.parametrize(
    "options", [{}, {"affine": False}, {"momentum": None}, {"track_running_stats": False}], ids=str
)
def test_batch_norm(device, shape, options, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(batchnorm_cuda, "SLICE", 100)  # several slices per channel
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    for training in (True, False):
        layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(shape[1], **options).astype(dtype)
        if "affine" not in options:
            layer.weight.value[...], layer.bias.value[...] = rng.uniform(0.5, 2, (2, shape[1]))
        launches = on_both(device, monkeypatch, layer, x, dy, training, tolerance)
        from_batch = training or "track_running_stats" in options
        assert launches == (3 if from_batch else 2, 3)


def test_batch_norm_far_from_0(device, monkeypatch):
    monkeypatch.setattr(batchnorm_cuda, "SLICE", 64)
    x = 3 + 1e-2 * np.random.default_rng(1).standard_normal((4, 2, 9, 11))
    layer = nn.BatchNorm2d(2).to("gpu")
    y = layer.forward(device.asarray(x.astype(np.float32)))[0]
    wanted = nn.BatchNorm2d(2).astype(np.float64).forward(x.astype(np.float32).astype(np.float64))[0]
    assert abs(device.asnumpy(y) - wanted).max() < 1e-3  # a sum of squares of x would have an error of 30 %
    rough = (x.astype(np.float32) ** 2).mean(dtype=np.float32) - x.astype(np.float32).mean(dtype=np.float32) ** 2
    assert abs(rough / x.var() - 1) > 1e-3


def test_batch_norm_of_another_dtype_than_its_own_uses_array_code(device):
    layer, x = nn.BatchNorm2d(2), np.random.default_rng(2).standard_normal((3, 2, 4, 5))
    wanted = layer.forward(x)[0]
    got = nn.BatchNorm2d(2).to("gpu").forward(device.asarray(x))[0]
    np.testing.assert_allclose(device.asnumpy(got), wanted, rtol=0, atol=1e-6)


@TOLERANCES
@pytest.mark.parametrize("shape, normalized", [((9, 7), 7), ((3, 5, 300), 300), ((4, 2, 3, 5), (2, 3, 5)), ((1, 1), 1)])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False}], ids=str)
def test_layer_norm(device, shape, normalized, options, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(layer_norm, "ROWS_TOGETHER", 4)
    x, dy = np.random.default_rng(3).standard_normal((2, *shape)).astype(dtype)
    layer = randomise(nn.LayerNorm(normalized, **options)).astype(dtype)
    launches = on_both(device, monkeypatch, layer, x, dy, True, tolerance)
    assert launches == (1, 1 if "elementwise_affine" in options else 2)


@TOLERANCES
@pytest.mark.parametrize("layer", [nn.Softmax, nn.LogSoftmax])
@pytest.mark.parametrize("shape, axis", [((3, 500), 1), ((300, 4), 1), ((2, 70, 9), 1), ((40, 3, 2), 0), ((5, 33), -1)])
def test_softmax(device, layer, shape, axis, dtype, tolerance):
    x, dy = 3 * np.random.default_rng(4).standard_normal((2, *shape)).astype(dtype)
    x.reshape(-1)[::7] = -np.inf
    x[(slice(None),) * (axis % len(shape)) + (0,)] = 1  # no row of only minus infinity
    y, cache = (on_cpu := layer(axis)).forward(x)
    got, gpu_cache = layer(axis).forward(device.asarray(x))
    np.testing.assert_allclose(device.asnumpy(got), y, rtol=tolerance, atol=tolerance)
    dx, wanted = layer(axis).backward(device.asarray(dy), gpu_cache), on_cpu.backward(dy, cache)
    np.testing.assert_allclose(device.asnumpy(dx), wanted, rtol=0, atol=tolerance * max(1, abs(wanted).max()))


@TOLERANCES
@pytest.mark.parametrize("padding", [None, 0, 4])
def test_embedding_sums_gradients_of_one_index_without_atomics(device, padding, dtype, tolerance, monkeypatch):
    layer = nn.Embedding(5, 40, padding).astype(dtype)
    rng = np.random.default_rng(5)
    x, dy = (
        rng.choice([0, 1, 4], (9, 7), p=[0.7, 0.1, 0.2]).astype(np.int32),
        rng.standard_normal((9, 7, 40)).astype(dtype),
    )
    y, cache = layer.forward(x)
    layer.backward(dy, cache)
    wanted, bits = layer.weight.grad.copy(), []
    layer.to("gpu")
    for turned in (False, True):
        monkeypatch.setattr(kernels, "reversed_threads", turned)
        layer.zero_grad()
        on_gpu = nn.to_device((x, dy), "gpu")
        before = cuda.launches
        with no_transfers():
            got, cache = layer.forward(on_gpu[0])
            assert layer.backward(on_gpu[1], cache) is None
        assert cuda.launches - before == 2
        bits.append(device.asnumpy(layer.weight.grad))
    assert (device.asnumpy(got) == y).all() and bits[0].tobytes() == bits[1].tobytes()
    np.testing.assert_allclose(bits[0], wanted, rtol=0, atol=tolerance * abs(wanted).max())


def test_embedding_of_a_wrong_index_is_nan_on_the_device_and_has_no_gradient(device):
    layer = nn.Embedding(5, 3).to("gpu")
    y, cache = layer.forward(device.asarray(np.array([0, 5, -1, 4])))
    assert np.isnan(device.asnumpy(y)).all(axis=1).tolist() == [False, True, True, False]
    layer.backward(device.ones((4, 3), np.float32), cache)
    assert device.asnumpy(layer.weight.grad).sum(axis=1).tolist() == [3, 0, 0, 0, 3]
    y, cache = layer.forward(device.zeros((0, 2), np.int64))
    assert y.shape == (0, 2, 3) and layer.backward(y, cache) is None


def test_attention_to_keys_that_count(device):
    layer = nn.AdditiveAttention(3, 4, 5).astype(np.float64)
    rng = np.random.default_rng(6)
    query, keys, dy = rng.standard_normal((2, 3)), rng.standard_normal((2, 40, 4)), rng.standard_normal((2, 4))
    mask = rng.uniform(size=(2, 40)) < 0.5
    mask[1] = False  # a row without any
    (context, weights), cache = layer.forward(query, keys, mask)
    wanted = [context, weights, *layer.backward((dy, None), cache)[:2]]
    layer.to("gpu")
    on_gpu = nn.to_device((query, keys, mask, dy), "gpu")
    with no_transfers():
        (context, weights), cache = layer.forward(*on_gpu[:3])
        got = [context, weights, *layer.backward((on_gpu[3], None), cache)[:2]]
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(device.asnumpy(a), b, rtol=0, atol=1e-12)
    assert not device.asnumpy(weights)[~mask].any()


@pytest.mark.parametrize("layer", [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.Softplus])
def test_an_activation_is_one_launch_each_way_also_for_extreme_values(device, layer):
    x = np.array([[-np.inf, -800, -20, -1e-30, 0], [1e-30, 20, 800, np.inf, np.nan]])
    dy = np.ones_like(x)
    with np.errstate(all="ignore"):
        y, cache = layer().forward(x)
        dx = layer().backward(dy, cache)
    before = cuda.launches
    got, gpu_cache = layer().forward(device.asarray(x))
    gradient = layer().backward(device.asarray(dy), gpu_cache)
    assert cuda.launches - before == 2
    np.testing.assert_allclose(device.asnumpy(got), y, rtol=1e-12)
    if layer is not nn.SiLU:  # its slope at infinity is infinity times 0 in both formulas
        np.testing.assert_allclose(device.asnumpy(gradient), dx, rtol=1e-12)


@TOLERANCES
@pytest.mark.parametrize("slopes, shape", [(1, (5, 7)), (1, ()), (3, (2, 3, 4, 5)), (3, (400, 3))])
def test_prelu(device, monkeypatch, slopes, shape, dtype, tolerance):
    x, dy = (np.asarray(a, dtype) for a in np.random.default_rng(7).standard_normal((2, *shape)))
    assert on_both(device, monkeypatch, randomise(nn.PReLU(slopes)).astype(dtype), x, dy, True, tolerance) == (1, 1)


def test_dropout_draws_the_masks_of_the_cpu_in_two_launches(device):
    x = np.random.default_rng(8).standard_normal((300, 7)).astype(np.float32)
    on_cpu, on_gpu = (nn.Dropout(0.3, rng=np.random.default_rng(9)) for _ in range(2))
    for _ in range(2):
        y, cache = on_cpu.forward(x)
        on_device, before = device.asarray(x), cuda.launches
        with no_transfers():
            got, gpu_cache = on_gpu.forward(on_device)
        assert cuda.launches - before == 2
        assert (device.asnumpy(got) == y).all() and (device.asnumpy(on_device) == x).all()
        dx = on_gpu.backward(on_device, gpu_cache)
        assert (device.asnumpy(dx) == on_cpu.backward(x, cache)).all()


@pytest.mark.parametrize("build", [nn.ReLU, nn.LeakyReLU, nn.SiLU, lambda: nn.PReLU(3)])
def test_an_activation_of_two_dtypes_computes_in_the_first_ones_and_waits_for_nothing(device, build):
    x, dy = np.random.default_rng(10).standard_normal((2, 2, 3, 4))
    _, cache = build().forward(x.astype(np.float32))
    dx = build().backward(dy, cache)
    there = build().to("gpu")
    on_gpu = device.asarray(x.astype(np.float32)), device.asarray(dy)
    with no_transfers():
        _, cache = there.forward(on_gpu[0])
        got = there.backward(on_gpu[1], cache)
    assert got.dtype == dx.dtype == np.float64
    np.testing.assert_allclose(device.asnumpy(got), dx, rtol=1e-6)


def test_an_embedding_takes_gradients_of_another_dtype_and_waits_for_nothing(device):
    layer, x, dy = nn.Embedding(5, 3), np.array([1, 4, 1]), np.random.default_rng(11).standard_normal((3, 3))
    layer.backward(dy, x)
    wanted = layer.weight.grad.copy()
    layer.zero_grad()
    layer.to("gpu")
    on_gpu = nn.to_device((dy, x), "gpu")
    with no_transfers():
        layer.backward(*on_gpu)
    np.testing.assert_allclose(device.asnumpy(layer.weight.grad), wanted, rtol=1e-6)
