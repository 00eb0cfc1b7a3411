"""The fast LSTM, GRU and RNN of NumPy give what the textbook gives: odd sizes, lengths, threads, either version."""

import numpy as np
import pytest

import nn
from nn.cpu import gru as fast_gru
from nn.cpu import lstm as fast_lstm
from nn.layers import gru, lstm, rnn

KINDS = {
    "LSTM": (nn.LSTM, {}),
    "GRU": (nn.GRU, {}),
    "GRU reset_after": (nn.GRU, {"reset_after": True}),
    "RNN tanh": (nn.RNN, {}),
    "RNN relu": (nn.RNN, {"nonlinearity": "relu"}),
}
CELLS = {nn.LSTM: nn.LSTMCell, nn.GRU: nn.GRUCell, nn.RNN: nn.RNNCell}
kinds = pytest.mark.parametrize("layer, options", KINDS.values(), ids=KINDS)


def run(made, x, initial, *lengths, plain, backward_plain=None):
    """All that forward and backward give; backward_plain: nn.config.plain from forward to backward."""
    nn.config.plain = plain
    made.zero_grad()
    y, cache = made.forward(x, *initial, *lengths)
    y = y if isinstance(y, tuple) else (y,)
    nn.config.plain = plain if backward_plain is None else backward_plain
    rng = np.random.default_rng(110)
    dy = tuple(rng.normal(size=a.shape).astype(a.dtype) for a in y)
    dx = made.backward(dy if len(dy) > 1 else dy[0], cache)
    nn.config.plain = False
    return [*y, *(d for d in dx if d is not None), *(p.grad.copy() for p in made.parameters().values())]


def agree(got, wanted, tolerance):
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, abs(b).max(initial=0)))


@pytest.fixture(autouse=True)
def default_afterwards():
    yield
    nn.config.plain = False


@kinds
@pytest.mark.parametrize("seed", range(8))
def test_the_results_of_the_textbook(layer, options, seed):
    rng = np.random.default_rng([111, seed])
    t, n, d, h, deep = (int(v) for v in rng.integers(1, 9, 5))
    both, bias, with_lengths = (bool(v) for v in rng.integers(0, 2, 3))
    made = layer(d, h, min(deep, 3), bidirectional=both, bias=bias, dropout=0.4, rng=rng, **options).astype(np.float64)
    x = rng.normal(size=(t, n, d))
    initial = [rng.normal(size=(min(deep, 3) * (2 if both else 1), n, h)) for _ in made.states]
    lengths = rng.integers(0, t + 1, n) if with_lengths else None
    found = []
    for plain in (False, True):
        if made.generators():
            made.rng = np.random.default_rng(112)  # the same masks, with lengths too
        found.append(run(made, x, initial, lengths, plain=plain))
    agree(*found, 1e-13)


@kinds
def test_large_float32(layer, options):
    """Above the sizes at which threads share the work."""
    rng = np.random.default_rng(113)
    made = layer(40, 130, bidirectional=True, **options)
    x = rng.normal(size=(5, 150, 40)).astype(np.float32)
    initial = [rng.normal(size=(2, 150, 130)).astype(np.float32) for _ in made.states]
    lengths = rng.integers(0, 6, 150)
    agree(*(run(made, x, initial, lengths, plain=plain) for plain in (False, True)), 1e-5)


@kinds
def test_a_large_cell(layer, options):
    rng = np.random.default_rng(114)
    made = CELLS[layer](70, 90, **options)
    x = rng.normal(size=(300, 70)).astype(np.float32)
    initial = [rng.normal(size=(300, 90)).astype(np.float32) for _ in made.states]
    agree(*(run(made, x, initial, plain=plain) for plain in (False, True)), 1e-5)


@kinds
@pytest.mark.parametrize("plain", [False, True])
def test_backward_stays_with_the_version_that_went_forward(layer, options, plain):
    rng = np.random.default_rng(115)
    for made, shape in ((layer(3, 4, **options), (5, 2, 3)), (CELLS[layer](3, 4, **options), (2, 3))):
        x, none = rng.normal(size=shape).astype(np.float32), [None] * len(made.states)
        wanted = run(made, x, none, plain=plain)
        got = run(made, x, none, plain=plain, backward_plain=not plain)
        assert all(np.array_equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_which_version_is_taken(monkeypatch):
    x = np.zeros((3, 2, 4))
    assert nn.LSTM(4, 5).forward(x)[1].functions is fast_lstm and nn.GRUCell(4, 5).forward(x[0])[1][0] is fast_gru
    assert nn.LSTM(4, 5).forward(x.astype(np.complex128))[1].functions is lstm
    monkeypatch.setattr(nn.config, "plain", True)
    assert nn.GRU(4, 5).forward(x)[1].functions is gru and nn.RNN(4, 5).forward(x)[1].functions is rnn
