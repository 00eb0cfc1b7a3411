"""Dropouts: what falls out, by how much the rest grows, and whose random numbers they are."""

import numpy as np
import pytest

from nn import random
from nn.config import config
from nn.layer import Layer
from nn.layers.dropout import Dropout, Dropout2d, DropPath, StochasticDepth


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_scaling_and_share_of_what_falls_out(p):
    x = np.random.default_rng(80).uniform(1, 2, (100, 1000))
    y, _ = Dropout(p).forward(x)
    kept = y != 0
    np.testing.assert_allclose(y[kept], x[kept] / (1 - p), rtol=1e-15)
    assert kept.mean() == pytest.approx(1 - p, abs=0.005)  # 3 standard deviations: 0.0047 at p = 0.5
    assert y.mean() == pytest.approx(x.mean(), rel=0.03)


def test_elements_fall_out_one_by_one():
    kept = Dropout(0.5).forward(np.ones((4, 6, 50, 50)))[0] != 0
    for axis in range(4):
        assert (kept.any(axis=axis) & ~kept.all(axis=axis)).any()
    assert abs(np.corrcoef(kept[:, :, :, 1:].ravel(), kept[:, :, :, :-1].ravel())[0, 1]) < 0.03


def test_backward_uses_the_mask_of_its_own_forward():
    layer = Dropout(0.5)
    x = np.ones((6, 50))
    (y1, c1), (y2, c2) = layer.forward(x), layer.forward(x)
    assert not np.array_equal(y1, y2)
    for y, cache in ((y2, c2), (y1, c1), (y2, c2)):
        assert np.array_equal(layer.backward(3 * x, cache), 3 * y)


def test_reproducible_from_its_generator():
    x = np.ones((6, 50))
    draw = [Dropout(0.5, rng=np.random.default_rng(seed)).forward(x)[0] for seed in (1, 1, 2)]
    assert np.array_equal(draw[0], draw[1]) and not np.array_equal(draw[0], draw[2])
    layer = Dropout(0.5, rng=np.random.default_rng(1))
    layer.forward(x)
    state = layer.generators()["rng"].bit_generator.state
    second = layer.forward(x)[0]
    layer.generators()["rng"].bit_generator.state = state
    assert np.array_equal(layer.forward(x)[0], second)


@pytest.mark.parametrize("layer", [Dropout, Dropout2d, lambda p: DropPath(p)])
def test_layers_made_alike_drop_differently_and_a_seed_repeats_them(layer):
    x, drawn = np.ones((40, 30)), []
    for _ in range(2):
        random.seed(5)
        drawn.append([layer(0.5).forward(x)[0] for _ in range(2)])
    assert not np.array_equal(*drawn[0])
    assert np.array_equal(drawn[0], drawn[1])


def test_a_float32_and_a_float64_run_drop_the_same():
    x = np.ones((6, 50))
    single, double = (Dropout(0.3, rng=np.random.default_rng(2)).forward(x.astype(d))[0] for d in ("f4", "f8"))
    assert single.dtype == np.float32 and np.array_equal(single != 0, double != 0)


def test_inference_and_p_0_are_the_identity_and_draw_nothing():
    x = np.random.default_rng(81).normal(size=(3, 4))
    for layer, training in ((Dropout(0.5), False), (Dropout(0), True)):
        state = layer.rng.bit_generator.state
        y, cache = layer.forward(x, training=training)
        assert np.array_equal(y, x) and np.array_equal(layer.backward(x, cache), x)
        assert layer.rng.bit_generator.state == state
    assert np.array_equal(Dropout(0.5)(x), x)


def test_the_generator_is_found_in_a_model():
    class Model(Layer):
        def __init__(self):
            self.drop, self.blocks = Dropout(), [Dropout(), Dropout()]

    assert list(Model().generators()) == ["drop.rng", "blocks.0.rng", "blocks.1.rng"]


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, float("nan")])
def test_bad_p(p):
    with pytest.raises(ValueError, match=rf"^Dropout: p must be in \[0, 1\), got {p}$"):
        Dropout(p)


def test_bad_input():
    layer = Dropout()
    with pytest.raises(TypeError, match="^Dropout: x must be an array of floats, got list"):
        layer.forward([1.0])
    _, cache = layer.forward(np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"^Dropout: dy must have shape \(3, 4\), got \(3, 1\)$"):
        layer.backward(np.ones((3, 1)), cache)


SHAPES = [(40, 30, 3, 2), (40, 30, 5), (40, 30)]
TOGETHER = [(Dropout2d, 2), (DropPath, 1), (lambda p, rng=None: DropPath(p, "batch", rng=rng), 0)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("build, own_axes", TOGETHER)
def test_what_falls_out_together(build, own_axes, shape):
    """Channels, samples, the batch: one decision for all behind the first axes, independent ones along those."""
    for seed in range(5):
        x = np.random.default_rng(82).uniform(1, 2, shape)
        layer = build(0.25, rng=np.random.default_rng(seed))
        y, cache = layer.forward(x)
        rows = (y != 0).reshape(*shape[:own_axes], -1)
        kept = rows.all(axis=-1)
        assert (kept == rows.any(axis=-1)).all()
        np.testing.assert_allclose(y, np.where(y != 0, x / 0.75, 0), rtol=1e-15)
        np.testing.assert_allclose(layer.backward(3 * x, cache), 3 * y, rtol=1e-15)
        if own_axes:
            assert 0 < kept.mean() < 1
        for axis in range(own_axes):
            assert not (kept.all(axis=axis) | ~kept.any(axis=axis)).all()


@pytest.mark.parametrize("build, own_axes", TOGETHER)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_share_of_what_falls_out_and_the_mean_stays(build, own_axes, p):
    layer, x = build(p, rng=np.random.default_rng(3)), np.ones((50, 40))
    ys = np.array([layer.forward(x)[0] for _ in range(4000 if own_axes == 0 else 100)])
    assert (ys == 0).mean() == pytest.approx(p, abs=4 * (p * (1 - p) / 4000) ** 0.5)
    assert set(np.unique(ys).tolist()) == {0, 1 / (1 - p)}


@pytest.mark.parametrize("layer", [Dropout2d(), DropPath(0.5), DropPath(0.5, mode="batch")])
def test_inference_is_the_identity_float32_stays_and_empty_batches_pass(layer):
    x = np.random.default_rng(83).normal(size=(3, 4, 2, 5)).astype(np.float32)
    state = layer.rng.bit_generator.state
    y, cache = layer.forward(x, training=False)
    assert np.array_equal(y, x) and np.array_equal(layer.backward(x, cache), x) and np.array_equal(layer(x), x)
    assert layer.rng.bit_generator.state == state and list(layer.generators()) == ["rng"]
    y, cache = layer.forward(x)
    assert y.dtype == layer.backward(x, cache).dtype == np.float32
    y, cache = layer.forward(x[:0])
    assert y.shape == layer.backward(x[:0], cache).shape == (0, 4, 2, 5)
    assert layer.forward(x + 0j)[0].dtype == np.complex64


def test_drop_path_in_a_residual_block_leaves_the_identity():
    layer, x = DropPath(0.5, rng=np.random.default_rng(5)), np.random.default_rng(84).normal(size=(20, 6))
    branch, _ = layer.forward(np.tanh(x))
    y = x + branch
    dropped = (branch == 0).all(axis=1)
    assert 0 < dropped.sum() < 20 and np.array_equal(y[dropped], x[dropped])
    np.testing.assert_allclose(y[~dropped], (x + 2 * np.tanh(x))[~dropped], rtol=1e-15)


def test_stochastic_depth_is_torchvisions_name_for_it():
    assert StochasticDepth is DropPath


@pytest.mark.parametrize("layer", [Dropout2d, DropPath])
@pytest.mark.parametrize("p", [-0.1, 1, float("nan")])
def test_bad_p_names_the_layer(layer, p):
    with pytest.raises(ValueError, match=rf"^{layer.__name__}: p must be in \[0, 1\), got {p}$"):
        layer(p)


def test_bad_mode_and_shapes():
    with pytest.raises(ValueError, match="^DropPath: mode must be 'row' or 'batch', got 'column'$"):
        DropPath(0.5, "column")
    with pytest.raises(ValueError, match=r"^Dropout2d: x must have shape \(N, C\), got \(5,\)$"):
        Dropout2d().forward(np.zeros(5))
    with pytest.raises(ValueError, match=r"^DropPath: x must have shape \(N\), got \(\)$"):
        DropPath(0.5).forward(np.zeros(()))
    with pytest.raises(TypeError, match="^DropPath: x must be an array of floats, got int64"):
        DropPath(0.5).forward(np.zeros(3, np.int64))
    for layer in (Dropout2d(), Dropout2d(0), DropPath(0.5)):
        _, cache = layer.forward(np.ones((3, 4, 2)))
        with pytest.raises(ValueError, match=r"dy must have shape \(3, 4, 2\), got \(3, 4, 1\)$"):
            layer.backward(np.ones((3, 4, 1)), cache)
