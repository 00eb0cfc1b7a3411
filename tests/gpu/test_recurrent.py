"""LSTM, GRU and RNN by their kernels: padding, lengths on the device, launches per step, the same bits in every run."""

import numpy as np
import pytest

import nn
from nn.gpu import kernels as cuda
from tests.cupy_stand_in import kernels, no_transfers

T, N, D, H = 6, 4, 3, 5
STACKS = {
    "LSTM": (nn.LSTM, {}),
    "GRU": (nn.GRU, {}),
    "GRU reset_after": (nn.GRU, {"reset_after": True}),
    "RNN tanh": (nn.RNN, {}),
    "RNN relu": (nn.RNN, {"nonlinearity": "relu"}),
}
stacks = pytest.mark.parametrize("make, options", STACKS.values(), ids=STACKS.keys())


def states_of(layer):
    return 2 if isinstance(layer, nn.LSTM) else 1


def problem(layer, dtype, rng):
    """x, initial states, gradients of y and the final states."""
    shape = layer.num_layers * layer.directions, N, H
    draw = lambda *shape: rng.standard_normal(shape).astype(dtype)  # noqa: E731
    states = [draw(*shape) for _ in range(states_of(layer))]
    return draw(T, N, D), states, (draw(T, N, layer.directions * H), *(draw(*shape) for _ in states))


def run(layer, x, states, dy, lengths):
    """All results: outputs, final states, gradients."""
    layer.zero_grad()
    y, cache = layer.forward(x, *states, lengths)
    return [*y, *layer.backward(dy, cache)[:-1], *(p.grad for p in layer.parameters().values())]


def agree(device, got, wanted, tolerance):
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(device.asnumpy(a), b, rtol=0, atol=tolerance * max(1, abs(b).max(initial=0)))


@stacks
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_lengths_on_the_device_give_the_results_of_packed_sequences_on_the_cpu(device, make, options, dtype, tolerance):
    rng = np.random.default_rng(0)
    layer = make(D, H, 2, bidirectional=True, **options).astype(dtype)
    x, states, dy = problem(layer, dtype, rng)
    lengths = np.array([3, T, 0, 1])
    padding = np.arange(T)[:, None] >= lengths
    wanted = run(layer, x, states, dy, lengths)
    layer.to("gpu")
    x[padding], dy[0][padding] = np.nan, np.nan  # values in the padding must not be used
    arguments = nn.to_device((x, states, dy, lengths), "gpu")
    with no_transfers("_tables_of"):
        got = run(layer, *arguments)
    agree(device, got, wanted, tolerance)
    assert not device.asnumpy(got[0])[padding].any()
    agree(device, run(layer, *arguments[:3], lengths), wanted, tolerance)  # lengths may be on the CPU


@stacks
def test_a_wrong_length_makes_its_sequence_nan_on_the_device_and_is_refused_on_the_cpu(device, make, options):
    layer = make(D, H, bidirectional=True, **options).to("gpu")
    x = device.ones((T, N, D), np.float32)
    for wrong in (-1, T + 1):
        lengths = np.array([T, 2, wrong, 1])
        y = device.asnumpy(layer(x, *[None] * states_of(layer), device.asarray(lengths))[0])
        assert np.isnan(y[:, 2]).all() and not np.isnan(np.delete(y, 2, axis=1)).any()
        with pytest.raises(ValueError, match=rf"lengths must be in 0 .. T={T}, got {wrong}"):
            layer.forward(x, *[None] * states_of(layer), lengths)
    with pytest.raises(TypeError, match="lengths must be whole numbers"):
        layer.forward(x, *[None] * states_of(layer), device.ones(N))
    with pytest.raises(ValueError, match=rf"lengths must have shape \(N={N},\), got \(3,\)"):
        layer.forward(x, *[None] * states_of(layer), device.ones(3, np.int64))


@stacks
def test_launches_of_a_step(device, make, options):
    layer = make(D, H, **options).to("gpu")
    a_step = 2 if make is nn.GRU and not options else 1  # the reset gate comes before the second matrix product
    x = device.ones((T, N, D), np.float32)
    before = cuda.launches
    (y, *_), cache = layer.forward(x)
    assert cuda.launches - before == a_step * T
    before = cuda.launches
    layer.backward((y, *[None] * states_of(layer)), cache)
    assert cuda.launches - before == a_step * T


@stacks
def test_the_same_bits_in_every_run_and_any_order_of_threads(device, make, options, monkeypatch):
    layer = make(D, H, 2, bidirectional=True, **options)
    arguments = nn.to_device((*problem(layer, np.float32, np.random.default_rng(1)), np.array([2, 6, 4, 3])), "gpu")
    layer.to("gpu")
    first = [device.asnumpy(a) for a in run(layer, *arguments)]
    monkeypatch.setattr(kernels, "reversed_threads", True)
    again = [device.asnumpy(a) for a in run(layer, *arguments)]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))


@stacks
@pytest.mark.parametrize("t, n", [(0, 2), (3, 0), (1, 1)])
def test_no_steps_no_sequences_and_one_of_each(device, make, options, t, n):
    layer = make(D, H, 2, bidirectional=True, **options).astype(np.float64)
    x, none = np.random.default_rng(2).standard_normal((t, n, D)), [None] * states_of(layer)
    for lengths in (None, np.full(n, t)):
        layer.to("cpu")
        dy = (np.ones((t, n, 2 * H)), *none)
        wanted = [a for a in run(layer, x, none, dy, lengths) if a is not None]
        layer.to("gpu")
        got = run(layer, *nn.to_device((x, none, dy, lengths), "gpu"))
        agree(device, [a for a in got if a is not None], wanted, 1e-12)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell, lambda d, h: nn.GRUCell(d, h, reset_after=True)])
def test_a_cell_accepts_arrays_that_are_not_contiguous_and_does_not_change_them(device, cell):
    cell = cell(D, H).astype(np.float64)
    rng = np.random.default_rng(3)
    states = 2 if isinstance(cell, nn.LSTMCell) else 1
    arrays = [rng.standard_normal((size, N)).T for size in (D, *[H] * states * 2)]  # x, states, gradients

    def steps(arrays):
        x, *others = arrays
        y, cache = cell.forward(x, *others[:states])
        dy = tuple(others[states:])
        dx = cell.backward(dy if states == 2 else dy[0], cache)
        return [*(y if states == 2 else (y,)), *dx]

    wanted = steps(arrays)
    cell.to("gpu")
    on_device = [device.asarray(a.T).T for a in arrays]
    with no_transfers():
        got = steps(on_device)
    agree(device, got, wanted, 1e-12)
    assert all((device.asnumpy(a) == b).all() for a, b in zip(on_device, arrays))


def test_a_training_step_of_a_language_model_copies_its_batch_a_loss_and_a_norm(device):
    embedding, lstm, head = nn.Embedding(11, D), nn.LSTM(D, H, 2, dropout=0.3), nn.Linear(H, 11)
    model = nn.Sequential(embedding, lstm, head).to("gpu")
    optimiser = nn.Adam(model.parameters())
    rng = np.random.default_rng(4)

    def step(batch):
        tokens, lengths = nn.to_device(batch, "gpu")
        model.zero_grad()
        x, c_embedding = embedding.forward(tokens[:-1])
        (y, *_), c_lstm = lstm.forward(x, None, None, lengths)
        logits, c_head = head.forward(y.reshape(-1, H))
        value, dlogits = nn.softmax_cross_entropy(logits, tokens[1:].reshape(-1))
        dy = head.backward(dlogits, c_head).reshape(y.shape)
        dx, *_ = lstm.backward((dy, None, None), c_lstm)
        embedding.backward(dx, c_embedding)
        norm = nn.clip_gradient_norm(model.parameters(), 1.0)
        optimiser.step()
        return value, norm

    batch = rng.integers(0, 11, (T + 1, N)), np.array([T, 3, 1, 4])
    first = step(batch)[0]
    with no_transfers("to_device", "unless_nan", "norm"):
        for _ in range(3):
            before = cuda.launches
            value, norm = step(batch)
    assert value < first and norm > 0
    # 2 layers of 2 T steps; and zero_grad, embedding 2, padding 4, a mask, loss 2, norm, clipping, Adam
    assert cuda.launches - before <= 2 * 2 * T + 13
