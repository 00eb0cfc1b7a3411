"""Embedding: against a loop, repeated indices, the padding row, bad input."""

import numpy as np
import pytest

from nn.config import config
from nn.layers.embedding import Embedding


@pytest.fixture(autouse=True, params=[False, True], ids=["fast", "plain"])
def plain(request, monkeypatch):
    """Each test runs on the fast version and on the textbook."""
    monkeypatch.setattr(config, "plain", request.param)


@pytest.mark.parametrize("shape", [(6,), (4, 3), (2, 3, 4), (1, 1), (0,), (0, 3), ()])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_equals_a_loop(shape, dtype):
    rng = np.random.default_rng(93)
    layer = Embedding(5, 3, rng=rng)
    x = np.asarray(rng.integers(0, 5, shape), dtype)
    y, cache = layer.forward(x)
    assert y.shape == (*shape, 3) and y.dtype == np.float32
    dy = rng.normal(size=y.shape).astype(np.float32)
    wanted = np.ones((5, 3), np.float32)
    layer.weight.grad[...] = 1
    for position in np.ndindex(shape):
        assert np.array_equal(y[position], layer.weight.value[x[position]])
        wanted[x[position]] += dy[position]
    assert layer.backward(dy, cache) is None
    np.testing.assert_allclose(layer.weight.grad, wanted, rtol=1e-5, atol=1e-6)
    assert layer.weight.grad.dtype == np.float32


def test_repeated_indices_add_up():
    layer = Embedding(4, 2)
    x = np.array([[3, 1], [3, 3]])
    _, cache = layer.forward(x)
    layer.backward(np.array([[[1, 10], [2, 20]], [[4, 40], [8, 80]]], np.float32), cache)
    assert layer.weight.grad.tolist() == [[0, 0], [2, 20], [0, 0], [13, 130]]


def test_large():
    rng = np.random.default_rng(94)
    layer = Embedding(1000, 16).astype(np.float64)
    x, dy = rng.integers(0, 1000, (64, 50)), rng.normal(size=(64, 50, 16))
    layer.backward(dy, layer.forward(x)[1])
    wanted = np.zeros((1000, 16))
    np.add.at(wanted, x, dy)
    np.testing.assert_allclose(layer.weight.grad, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("padding_idx, row", [(0, 0), (2, 2), (-1, 4), (-5, 0)])
def test_the_padding_row_starts_at_zero_and_gets_no_gradient(padding_idx, row):
    layer = Embedding(5, 3, padding_idx, rng=np.random.default_rng(9))
    assert not layer.weight.value[row].any() and layer.weight.value.any(axis=1).sum() == 4
    other = Embedding(5, 3, rng=np.random.default_rng(9)).weight.value
    assert np.array_equal(np.delete(layer.weight.value, row, 0), np.delete(other, row, 0))
    layer.weight.value[row] = 7  # not forced: what the row holds is given
    x = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
    y, cache = layer.forward(x)
    assert (y[x == row] == 7).all()
    layer.backward(np.ones_like(y), cache)
    assert layer.weight.grad.tolist() == [[0.0] * 3 if i == row else [2.0] * 3 for i in range(5)]
    only = np.full((2, 3), row)
    layer.zero_grad()
    assert layer.backward(np.ones((2, 3, 3), np.float32), layer.forward(only)[1]) is None
    assert not layer.weight.grad.any()


def test_start():
    weight = Embedding(200, 50, rng=np.random.default_rng(1)).weight.value
    assert weight.dtype == np.float32 and weight.std() == pytest.approx(1, abs=0.03) and abs(weight.mean()) < 0.03
    assert list(Embedding(3, 2).parameters()) == ["weight"]


def test_bad_input():
    layer = Embedding(5, 3)
    for x, error, message in [
        (np.array([0, 5]), ValueError, r"x must be in 0 .. 4, got 5"),
        (np.array([[-1, 2]]), ValueError, r"x must be in 0 .. 4, got -1"),
        (np.array([0.0, 1.0]), TypeError, r"x must be an array of integers, got float64"),
        (np.array([True]), TypeError, r"x must be an array of integers, got bool"),
        ([1, 2], TypeError, r"x must be an array of integers, got list"),
    ]:
        with pytest.raises(error, match=f"^Embedding: {message}"):
            layer.forward(x)
    cache = layer.forward(np.array([[0, 1]]))[1]
    with pytest.raises(ValueError, match=r"^Embedding: dy must have shape \(1, 2, 3\), got \(2, 3\)"):
        layer.backward(np.zeros((2, 3)), cache)
    with pytest.raises(ValueError, match="^Embedding: num_embeddings must be a whole number >= 1, got 0"):
        Embedding(0, 3)
    with pytest.raises(ValueError, match=r"^Embedding: embedding_dim must be a whole number >= 1, got 2\.0"):
        Embedding(3, 2.0)
    for wrong in (5, -6):
        with pytest.raises(ValueError, match=rf"^Embedding: padding_idx must be None or in -5 \.\. 4, got {wrong}"):
            Embedding(5, 3, wrong)
