"""LSTM: the equations as they stand on the slides, PyTorch's order of gates, the forget gate's bias."""

import numpy as np
import pytest

from nn.layers.gru import GRU
from nn.layers.linear import Linear
from nn.layers.lstm import LSTM, LSTMCell, swap_lstm_gates
from nn.losses.classification import softmax_cross_entropy
from nn.optim.adaptive import Adam

RNG = np.random.default_rng(90)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_equations_step_by_step():
    """Lecture form: [i f o g] = [sigm sigm sigm tanh] of W [x; h], c_t = f c_(t-1) + i g, h_t = o tanh(c_t)."""
    layer = LSTM(3, 2).astype(np.float64)
    x, h, c = RNG.normal(size=(5, 1, 3)), np.zeros(2), np.zeros(2)
    w = np.hstack([layer.weight_ih_l0.value, layer.weight_hh_l0.value])  # (4 H, D + H)
    bias = layer.bias_ih_l0.value + layer.bias_hh_l0.value
    y, h_n, c_n = layer(x)
    for t in range(5):
        a = w @ np.concatenate([x[t, 0], h]) + bias
        i, f, o, g = sigmoid(a[0:2]), sigmoid(a[2:4]), sigmoid(a[4:6]), np.tanh(a[6:8])
        c = f * c + i * g
        h = o * np.tanh(c)
        np.testing.assert_allclose(y[t, 0], h, rtol=1e-13)
    np.testing.assert_allclose(h_n[0, 0], h, rtol=1e-13)
    np.testing.assert_allclose(c_n[0, 0], c, rtol=1e-13)


def test_gates_by_hand():
    """All weights 0, so the biases are the gates: i = f = o = sigmoid(0) = 1/2, g = tanh(b)."""
    cell = LSTMCell(1, 1, forget_bias=0.0).astype(np.float64)
    for name in ("weight_ih", "weight_hh", "bias_hh"):
        getattr(cell, name).value[...] = 0
    cell.bias_ih.value[...] = [0, 0, 0, np.arctanh(0.5)]
    h, c = cell(np.zeros((1, 1)), np.ones((1, 1)), np.array([[0.5]]))
    assert c.item() == pytest.approx(0.5 * 0.5 + 0.5 * 0.5) and h.item() == pytest.approx(0.5 * np.tanh(0.5))
    cell.bias_ih.value[:3] = [-50, 50, 50]  # keeps what it has, takes nothing, shows everything
    h, c = cell(np.zeros((1, 1)), np.ones((1, 1)), np.array([[0.75]]))
    assert c.item() == pytest.approx(0.75) and h.item() == pytest.approx(np.tanh(0.75))
    cell.bias_ih.value[:3] = [50, -50, -50]  # forgets, takes everything, shows nothing
    h, c = cell(np.zeros((1, 1)), np.ones((1, 1)), np.array([[0.75]]))
    assert c.item() == pytest.approx(0.5) and h.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("forget_bias, total", [(1.0, 1.0), (0.0, 0.0), (2.5, 2.5)])
def test_forget_bias(forget_bias, total):
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, forget_bias=forget_bias)
    cell = LSTMCell(3, 4, forget_bias=forget_bias)
    pairs = [(cell.bias_ih.value, cell.bias_hh.value)]
    for end in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        pairs.append((getattr(layer, f"bias_ih{end}").value, getattr(layer, f"bias_hh{end}").value))
    for bias_ih, bias_hh in pairs:
        both = bias_ih + bias_hh
        assert np.array_equal(both[4:8], np.full(4, total))
        assert not np.isin(both[:4], total).any() and not np.isin(both[8:], total).any()


def test_forget_bias_default_and_none():
    assert np.array_equal(LSTM(3, 4).bias_ih_l0.value[4:8], np.ones(4)) and LSTM(3, 4, bias=False).bias_ih_l0 is None
    assert np.array_equal(LSTMCell(3, 4).bias_ih.value[4:8], np.ones(4)) and LSTMCell(3, 4, bias=False).bias_ih is None
    for made in (LSTM(3, 4, forget_bias=None).bias_ih_l0, LSTMCell(3, 4, forget_bias=None).bias_ih):
        assert len(np.unique(made.value)) == 16 and abs(made.value).max() <= 0.5


def test_swap_lstm_gates():
    """Rows i i f f g g o o become i i f f o o g g, and back."""
    torchs = {
        "lstm.weight_ih_l0": np.arange(24.0).reshape(8, 3),
        "lstm.bias_hh_l1_reverse": np.arange(8.0),
        "lstm2.weight_ih_l0": np.arange(8.0),
        "head.weight": np.ones((2, 3)),
    }
    ours = swap_lstm_gates(torchs, "lstm")
    assert ours["lstm.bias_hh_l1_reverse"].tolist() == [0, 1, 2, 3, 6, 7, 4, 5]
    assert ours["lstm.weight_ih_l0"][:, 0].tolist() == [0, 3, 6, 9, 18, 21, 12, 15]
    assert ours["head.weight"] is torchs["head.weight"] and ours["lstm2.weight_ih_l0"] is torchs["lstm2.weight_ih_l0"]
    assert list(ours) == list(torchs) and torchs["lstm.bias_hh_l1_reverse"].tolist() == [*range(8)]
    back = swap_lstm_gates(ours, "lstm")
    assert all(np.array_equal(back[name], torchs[name]) for name in torchs)
    cell = LSTMCell(3, 2)
    assert list(swap_lstm_gates(cell.state_dict())) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    cell.load_state_dict(swap_lstm_gates(cell.state_dict()))


def test_swap_lstm_gates_bad_input():
    with pytest.raises(ValueError, match=r"^swap_lstm_gates: no name begins with lstm\.weight_ih, got a, b"):
        swap_lstm_gates({"a": np.ones(4), "b": np.ones(4)}, "lstm")
    with pytest.raises(ValueError, match=r"^swap_lstm_gates: no name begins with weight_ih, got no names"):
        swap_lstm_gates({})
    message = r"^swap_lstm_gates: weight_ih_l0 must have 4 \* hidden_size rows, got shape \(6, 2\)"
    with pytest.raises(ValueError, match=message):
        swap_lstm_gates(GRU(2, 2).state_dict())


def test_learns_to_remember_the_first_step():
    """Which of two signals came first, 12 steps ago: the gradient reaches all the way back."""
    rng = np.random.default_rng(91)
    layer, head = LSTM(3, 8, rng=rng), Linear(8, 2, rng=rng)
    optimiser = Adam({**layer.parameters(), **head.parameters()}, lr=0.02)
    losses = []
    for _ in range(200):
        labels = rng.integers(0, 2, 16)
        x = np.zeros((12, 16, 3), np.float32)
        x[0, np.arange(16), labels] = 1
        x[1:, :, 2] = rng.normal(size=(11, 16))
        layer.zero_grad()
        head.zero_grad()
        (_, h_n, _), cache = layer.forward(x)
        logits, c_head = head.forward(h_n[0])
        loss, dlogits = softmax_cross_entropy(logits, labels)
        layer.backward((None, head.backward(dlogits, c_head)[None], None), cache)
        optimiser.step()
        losses.append(loss)
    assert np.mean(losses[:10]) > 0.6 and np.mean(losses[-10:]) < 0.1
