"""GRU: the equations as they stand on the slides, in both variants."""

import numpy as np
import pytest

from nn.layers.gru import GRU, GRUCell

RNG = np.random.default_rng(92)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize("reset_after", [False, True])
def test_equations_step_by_step(reset_after):
    """r, z = sigmoid(W x + U h + b); n = tanh(W x + U (r h) + b), or W x + b + r (U h + b); h = z h + (1 - z) n."""
    layer = GRU(3, 2, reset_after=reset_after).astype(np.float64)
    x, h = RNG.normal(size=(5, 1, 3)), RNG.normal(size=2)
    w_r, w_z, w_n = layer.weight_ih_l0.value.reshape(3, 2, 3)
    u_r, u_z, u_n = layer.weight_hh_l0.value.reshape(3, 2, 2)
    b_r, b_z, b_n = layer.bias_ih_l0.value.reshape(3, 2)
    c_r, c_z, c_n = layer.bias_hh_l0.value.reshape(3, 2)
    y, h_n = layer(x, h.reshape(1, 1, 2))
    for t in range(5):
        r = sigmoid(w_r @ x[t, 0] + u_r @ h + b_r + c_r)
        z = sigmoid(w_z @ x[t, 0] + u_z @ h + b_z + c_z)
        hidden = r * (u_n @ h + c_n) if reset_after else u_n @ (r * h) + c_n
        n = np.tanh(w_n @ x[t, 0] + b_n + hidden)
        h = z * h + (1 - z) * n
        np.testing.assert_allclose(y[t, 0], h, rtol=1e-13)
    np.testing.assert_allclose(h_n[0, 0], h, rtol=1e-13)


@pytest.mark.parametrize("reset_after", [False, True])
def test_gates_by_hand(reset_after):
    """z near 1 keeps the state, near 0 takes the new one; r near 0 makes that forget the state."""
    cell = GRUCell(1, 1, reset_after=reset_after).astype(np.float64)
    for parameter in cell.parameters().values():
        parameter.value[...] = 0
    cell.weight_hh.value[2] = 1
    x, h = np.zeros((1, 1)), np.array([[0.75]])
    for r, z, wanted in [(50, 50, 0.75), (50, -50, np.tanh(0.75)), (-50, -50, 0.0), (50, 0, 0.375 + np.tanh(0.75) / 2)]:
        cell.bias_ih.value[:2] = r, z
        assert cell(x, h).item() == pytest.approx(wanted, abs=1e-12)


def test_the_variants_agree_where_the_reset_gate_is_open():
    before, after = (
        GRU(3, 4, reset_after=both, rng=np.random.default_rng(2)).astype(np.float64) for both in (False, True)
    )
    for layer in (before, after):
        layer.bias_ih_l0.value[:4] = 60
    x = RNG.normal(size=(5, 2, 3))
    for a, b in zip(before(x), after(x)):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    for layer in (before, after):
        layer.bias_ih_l0.value[:4] = 0
    assert abs(before(x)[0] - after(x)[0]).max() > 1e-3


def test_default_is_reset_before():
    assert GRU(3, 4).reset_after is False and GRUCell(3, 4).reset_after is False
