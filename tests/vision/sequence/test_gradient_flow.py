"""Known rates at which gradients vanish and explode; clipping; the norms against differences."""

import math

import numpy as np
import pytest

from nn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from vision.sequence.gradient_flow import gradient_flow, rate_per_step, set_spectral_radius, spectral_radius

D, H, N, T = 3, 8, 2, 12


def make(cell, **options):
    return cell(D, H, rng=np.random.default_rng(0), **options).astype(np.float64)


def inputs(scale=1.0, steps=T, seed=1):
    return scale * np.random.default_rng(seed).standard_normal((steps, N, D))


def unit(seed=2):
    dh = np.random.default_rng(seed).standard_normal((N, H))
    return dh / math.sqrt((dh * dh).sum())


@pytest.mark.parametrize("radius", [0.8, 1.0, 1.25])
def test_at_rest_the_norm_changes_by_the_spectral_radius_at_each_step(radius):
    cell = set_spectral_radius(make(RNNCell, bias=False), radius, np.random.default_rng(3))
    assert spectral_radius(cell.weight_hh.value) == pytest.approx(radius, rel=1e-12)
    flow = gradient_flow(cell, inputs(0.0), unit())
    np.testing.assert_allclose(flow.norms["h"], radius ** np.arange(T, -1.0, -1), rtol=1e-12)
    assert rate_per_step(flow.state) == pytest.approx(radius, rel=1e-12)


@pytest.mark.parametrize("radius", [0.9, 1.1])
def test_in_the_long_run_the_rate_of_any_matrix_is_its_spectral_radius(radius):
    cell = make(RNNCell, bias=False)
    matrix = np.random.default_rng(5).standard_normal((H, H))
    cell.weight_hh.value[...] = matrix * radius / spectral_radius(matrix)
    norms = gradient_flow(cell, inputs(0.0, 400), unit()).state
    assert (norms[0] / norms[200]) ** (1 / 200) == pytest.approx(radius, rel=0.01)


def test_away_from_rest_tanh_makes_it_vanish_faster():
    cell = set_spectral_radius(make(RNNCell), 0.9, np.random.default_rng(3))
    norms = gradient_flow(cell, inputs(), unit()).state
    assert (norms[:-1] < 0.9 * norms[1:]).all()


@pytest.mark.parametrize("bias, rate", [(0.0, 0.5), (1.0, 1 / (1 + math.exp(-1))), (6.0, 1 / (1 + math.exp(-6)))])
def test_gates_alone(bias, rate):
    """With all weights 0 an LSTM keeps f of its cell state, a GRU z of its state."""
    lstm, gru = make(LSTMCell, forget_bias=bias), make(GRUCell)
    for cell in (lstm, gru):
        for name, parameter in cell.parameters().items():
            if name.startswith("weight") or cell is gru:
                parameter.value[...] = 0
    gru.bias_ih.value[H : 2 * H] = bias
    flow = gradient_flow(gru, inputs(), unit())
    np.testing.assert_allclose(flow.norms["h"], rate ** np.arange(T, -1.0, -1), rtol=1e-12)
    flow = gradient_flow(lstm, inputs(), unit())
    np.testing.assert_allclose(flow.norms["c"][:T] / flow.norms["c"][T - 1], rate ** np.arange(T - 1, -1.0, -1))
    assert flow.norms["h"][:T].max() == 0  # h reaches the next step only through weight_hh


@pytest.mark.parametrize("cell, layer", [(RNNCell, RNN), (LSTMCell, LSTM), (GRUCell, GRU)])
def test_norms_are_those_of_the_gradients_of_the_states(cell, layer):
    cell, dh, t, rng = make(cell), unit(), 4, np.random.default_rng(6)
    x, whole = inputs(), make(layer)
    for name, parameter in cell.parameters().items():
        whole.parameters()[f"{name}_l0"].value[...] = parameter.value
    (_, *state), _ = whole.forward(x[:t])
    (y, *_), cache = whole.forward(x[t:], *state)  # the same from step t on, as one layer
    dy = np.zeros_like(y)
    dy[-1] = dh
    _, *dstate, _ = whole.backward((dy, *[None] * len(state)), cache)
    flow = gradient_flow(cell, x, dh)
    for name, d in zip(cell.states, dstate):
        assert flow.norms[name][t] == pytest.approx(math.sqrt((d * d).sum()), rel=1e-10)
    for s, d in zip(state, dstate):  # and those are the derivatives of L = sum(h_T * dh)
        direction = rng.standard_normal(s.shape)
        ends = []
        for step in (1e-6, -1e-6):
            moved = [other + step * direction if other is s else other for other in state]
            ends.append((whole.forward(x[t:], *moved)[0][0][-1] * dh).sum())
        assert (d * direction).sum() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


def test_clipping_bounds_every_step_and_does_not_change_small_gradients():
    cell = set_spectral_radius(make(RNNCell, bias=False), 1.25, np.random.default_rng(3))
    free, clipped = gradient_flow(cell, inputs(0.0), unit()), gradient_flow(cell, inputs(0.0), unit(), max_norm=2.0)
    np.testing.assert_allclose(clipped.state, np.minimum(free.state, 2.0), rtol=1e-12)
    assert (
        gradient_flow(make(LSTMCell), inputs(), unit(), 1e6).weight
        == gradient_flow(make(LSTMCell), inputs(), unit()).weight
    )
    driven = gradient_flow(cell, inputs(0.01), unit()), gradient_flow(cell, inputs(0.01), unit(), max_norm=1.0)
    assert driven[1].weight < driven[0].weight
