"""RNN, LSTM, GRU over sequences: against loops over single elements, padded against alone, chunks against the whole."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nn.layers.gru import GRU, GRUCell
from nn.layers.lstm import LSTM, LSTMCell
from nn.layers.rnn import RNN, RNNCell
from nn.losses.classification import softmax_cross_entropy

LAYERS = {
    "RNN": (RNN, {}),
    "RNN relu": (RNN, {"nonlinearity": "relu"}),
    "LSTM": (LSTM, {}),
    "GRU": (GRU, {}),
    "GRU reset_after": (GRU, {"reset_after": True}),
}
CELLS = {RNN: RNNCell, LSTM: LSTMCell, GRU: GRUCell}
each_layer = pytest.mark.parametrize("layer, options", LAYERS.values(), ids=LAYERS)


def make(layer, *sizes, seed=0, **options):
    """The layer in float64, all parameters random."""
    rng = np.random.default_rng([70, seed])
    made = layer(*sizes, rng=rng, **options).astype(np.float64)
    for parameter in made.parameters().values():
        parameter.value[...] = rng.normal(size=parameter.value.shape) * 0.7
    return made


def sigmoid(a):
    return 1 / (1 + math.exp(-a))


def naive_step(layer, suffix, x, states):
    """New states of one sequence for one step, one element at a time. x and the states are lists of floats."""
    h = states[0]
    size = len(h)
    w, u = (getattr(layer, f"weight_{kind}{suffix}").value.tolist() for kind in ("ih", "hh"))
    biases = [getattr(layer, f"bias_{kind}{suffix}") for kind in ("ih", "hh")]
    b, c = ([0.0] * len(w) if bias is None else bias.value.tolist() for bias in biases)

    def from_x(row):
        return b[row] + sum(w[row][i] * x[i] for i in range(len(x)))

    def from_h(row, h=h):
        return c[row] + sum(u[row][i] * h[i] for i in range(size))

    if isinstance(layer, (RNN, RNNCell)):
        squash = math.tanh if layer.nonlinearity == "tanh" else lambda a: max(a, 0.0)
        return [[squash(from_x(j) + from_h(j)) for j in range(size)]]
    if isinstance(layer, (LSTM, LSTMCell)):
        new_h, new_c = [], []
        for j in range(size):
            i, f, o, g = (from_x(k * size + j) + from_h(k * size + j) for k in range(4))
            new_c.append(sigmoid(f) * states[1][j] + sigmoid(i) * math.tanh(g))
            new_h.append(sigmoid(o) * math.tanh(new_c[j]))
        return [new_h, new_c]
    r, z = ([sigmoid(from_x(k * size + j) + from_h(k * size + j)) for j in range(size)] for k in range(2))
    reset = [r[j] * h[j] for j in range(size)]
    new_h = []
    for j in range(size):
        row = 2 * size + j
        candidate = r[j] * from_h(row) if layer.reset_after else from_h(row, reset)
        new_h.append(z[j] * h[j] + (1 - z[j]) * math.tanh(from_x(row) + candidate))
    return [new_h]


def naive(layer, x, initial, lengths):
    """y and final states, one sequence, layer, direction and step after the other."""
    steps, n, _ = x.shape
    size, directions = layer.hidden_size, 2 if layer.bidirectional else 1
    y, final = np.zeros((steps, n, directions * size)), [s.copy() for s in initial]
    for k in range(n):
        rows = x[: lengths[k], k].tolist()
        for depth in range(layer.num_layers):
            outputs = [[None] * len(rows) for _ in range(directions)]
            for d in range(directions):
                i = depth * directions + d
                states = [s[i, k].tolist() for s in initial]
                for t in range(len(rows))[:: -1 if d else 1]:
                    states = naive_step(layer, f"_l{depth}{'_reverse' if d else ''}", rows[t], states)
                    outputs[d][t] = states[0]
                for s, state in zip(final, states):
                    s[i, k] = state
            rows = [[v for out in outputs for v in out[t]] for t in range(len(rows))]
        if rows:
            y[: len(rows), k] = rows
    return y, *final


def states_of(layer, n, rng, scale=1.0):
    stack = layer.num_layers * layer.directions
    return tuple(scale * rng.normal(size=(stack, n, layer.hidden_size)) for _ in layer.states)


@pytest.mark.parametrize("seed", range(12))
@each_layer
def test_equals_loops_over_single_elements(layer, options, seed):
    rng = np.random.default_rng([71, seed])
    t, n, d, h, deep = (int(v) for v in rng.integers(1, 5, 5))
    both, bias = (bool(v) for v in rng.integers(0, 2, 2))
    made = make(layer, d, h, seed=seed, num_layers=min(deep, 3), bidirectional=both, bias=bias, **options)
    x, lengths = rng.normal(size=(t, n, d)), rng.integers(0, t + 1, n)
    initial = states_of(made, n, rng)
    for chosen in (lengths, np.full(n, t)):
        for got, wanted in zip(made(x, *initial, chosen), naive(made, x, initial, chosen)):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)
    full = made(x, *initial)
    zeros = [np.zeros_like(s) for s in initial]
    assert all(np.array_equal(a, b) for a, b in zip(full, made(x, *initial, np.full(n, t))))
    assert all(np.array_equal(a, b) for a, b in zip(made(x), made(x, *zeros)))


@each_layer
def test_a_cell_is_one_step(layer, options):
    rng = np.random.default_rng(72)
    made, cell = make(layer, 3, 5, **options), make(CELLS[layer], 3, 5, **options)
    for name, parameter in cell.parameters().items():
        parameter.value = getattr(made, f"{name}_l0").value
    x, initial = rng.normal(size=(2, 4, 3)), states_of(made, 4, rng)
    (y, *final), cache = made.forward(x, *initial)
    states, cell_caches = [s[0] for s in initial], []
    for t in range(2):
        states, c = cell.forward(x[t], *states)
        states = states if isinstance(states, tuple) else (states,)
        cell_caches.append(c)
        np.testing.assert_allclose(states[0], y[t], rtol=1e-13)
    for a, b in zip(states, final):
        np.testing.assert_allclose(a, b[0], rtol=1e-13)

    dfinal = [rng.normal(size=s.shape) for s in final]
    dx, *dfirst, none = made.backward((None, *dfinal), cache)
    dstates = tuple(s[0] for s in dfinal)
    for t in (1, 0):
        dx_t, *dstates = cell.backward(dstates if len(dstates) > 1 else dstates[0], cell_caches[t])
        dstates = tuple(dstates)
        np.testing.assert_allclose(dx_t, dx[t], rtol=1e-11, atol=1e-14)
    for a, b in zip(dstates, dfirst):
        np.testing.assert_allclose(a, b[0], rtol=1e-11, atol=1e-14)
    for name, parameter in cell.parameters().items():
        np.testing.assert_allclose(parameter.grad, getattr(made, f"{name}_l0").grad, rtol=1e-11, atol=1e-14)
    assert none is None


def loss_and_gradients(made, x, initial, lengths, labels, dfinal, **options):
    """Loss of a classifier of all steps' y, and of the final states; gradients of all."""
    made.zero_grad()
    (y, *final), cache = made.forward(x, *initial, lengths=lengths)
    logits = y.reshape(-1, y.shape[2])
    loss, dlogits = softmax_cross_entropy(logits, labels.reshape(-1), reduction="sum")
    loss += sum((a * b).sum() for a, b in zip(final, dfinal))
    gradients = made.backward((dlogits.reshape(y.shape), *dfinal), cache)
    return loss, y, final, gradients[:-1], {k: p.grad.copy() for k, p in made.parameters().items()}


@pytest.mark.parametrize("padding", [0.0, np.nan])
@each_layer
def test_a_padded_batch_equals_its_sequences_one_by_one(layer, options, padding):
    rng = np.random.default_rng(73)
    lengths = np.array([3, 6, 1, 4, 6])
    made = make(layer, 3, 4, num_layers=2, bidirectional=True, **options)
    x, initial = rng.normal(size=(6, 5, 3)), states_of(made, 5, rng)
    ended = np.arange(6)[:, None] >= lengths
    x[ended] = padding
    labels = np.where(ended, -1, rng.integers(0, 8, (6, 5)))
    dfinal = states_of(made, 5, rng)
    loss, y, final, gradients, weights = loss_and_gradients(made, x, initial, lengths, labels, dfinal)
    total, sums = 0, dict.fromkeys(weights, 0)
    for k, length in enumerate(lengths):
        one = slice(k, k + 1)
        states, dstates = ([s[:, one] for s in many] for many in (initial, dfinal))
        args = x[:length, one], states, None, labels[:length, one], dstates
        alone = loss_and_gradients(made, *args)
        np.testing.assert_allclose(y[:length, one], alone[1], rtol=1e-12)
        for a, b in zip(final, alone[2]):
            np.testing.assert_allclose(a[:, one], b, rtol=1e-12)
        np.testing.assert_allclose(gradients[0][:length, one], alone[3][0], rtol=1e-11, atol=1e-14)
        for a, b in zip(gradients[1:], alone[3][1:]):
            np.testing.assert_allclose(a[:, one], b, rtol=1e-11, atol=1e-14)
        total += alone[0]
        sums = {name: sums[name] + alone[4][name] for name in sums}
    assert loss == pytest.approx(total, rel=1e-12)
    for name, gradient in weights.items():
        np.testing.assert_allclose(gradient, sums[name], rtol=1e-10, atol=1e-12, err_msg=name)
    assert not y[ended].any() and not gradients[0][ended].any()


@each_layer
def test_what_comes_for_y_past_the_end_is_not_looked_at(layer, options):
    rng = np.random.default_rng(74)
    made, lengths = make(layer, 3, 4, **options), np.array([2, 0])
    x, dy = rng.normal(size=(3, 2, 3)), rng.normal(size=(3, 2, 4))
    (_, *final), cache = made.forward(x, lengths=lengths)
    none = (None,) * len(final)
    dx = made.backward((dy, *none), cache)[0]
    dy[2:, 0] = dy[:, 1] = np.nan
    assert np.array_equal(made.backward((dy, *none), cache)[0], dx)
    assert not dx[2].any() and not dx[:, 1].any() and all(not s[:, 1].any() for s in final)


@each_layer
def test_a_sequence_that_never_begins_hands_its_state_through(layer, options):
    rng = np.random.default_rng(75)
    made = make(layer, 3, 4, bidirectional=True, **options)
    x, initial, dfinal = rng.normal(size=(3, 2, 3)), states_of(made, 2, rng), states_of(made, 2, rng)
    (_, *final), cache = made.forward(x, *initial, lengths=np.array([0, 2]))
    dinitial = made.backward((None, *dfinal), cache)[1:-1]
    for first, last, dlast, dfirst in zip(initial, final, dfinal, dinitial):
        assert np.array_equal(first[:, 0], last[:, 0]) and np.array_equal(dfirst[:, 0], dlast[:, 0])


@each_layer
def test_chunks_with_the_state_carried_on_equal_one_long_run(layer, options):
    """Truncated backpropagation through time: the forward is exact, the last chunk's gradients are its own."""
    rng = np.random.default_rng(76)
    made = make(layer, 3, 4, num_layers=2, **options)
    x = rng.normal(size=(11, 2, 3))
    y, *final = made(x)
    state, chunks = (), []
    for start in range(0, 11, 4):
        (chunk, *state), cache = made.forward(x[start : start + 4], *state)
        chunks.append(chunk)
    np.testing.assert_allclose(np.concatenate(chunks), y, rtol=1e-12)
    for a, b in zip(state, final):
        np.testing.assert_allclose(a, b, rtol=1e-12)

    dy = rng.normal(size=chunks[-1].shape)
    dx, *dstate, _ = made.backward((dy, *(None for _ in state)), cache)
    whole = made.forward(x)[1]
    dx_whole = made.backward((np.concatenate([np.zeros_like(y[:8]), dy]), *(None for _ in state)), whole)[0]
    np.testing.assert_allclose(dx, dx_whole[8:], rtol=1e-10, atol=1e-14)
    assert all(d.any() for d in dstate)


@each_layer
def test_gradients_carried_back_through_chunks_equal_one_long_run(layer, options):
    rng = np.random.default_rng(77)
    made = make(layer, 3, 4, num_layers=2, bidirectional=False, **options)
    x, dy, initial = rng.normal(size=(7, 2, 3)), rng.normal(size=(7, 2, 4)), states_of(made, 2, rng)
    cache = made.forward(x, *initial)[1]
    whole = made.backward((dy, *(None for _ in initial)), cache)
    grads = {name: p.grad.copy() for name, p in made.parameters().items()}
    made.zero_grad()
    (_, *state), first = made.forward(x[:4], *initial)
    second = made.forward(x[4:], *state)[1]
    dx_2, *dstate, _ = made.backward((dy[4:], *(None for _ in state)), second)
    dx_1, *dinitial, _ = made.backward((dy[:4], *dstate), first)
    np.testing.assert_allclose(np.concatenate([dx_1, dx_2]), whole[0], rtol=1e-10, atol=1e-14)
    for a, b in zip(dinitial, whole[1:]):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)
    for name, parameter in made.parameters().items():
        np.testing.assert_allclose(parameter.grad, grads[name], rtol=1e-10, atol=1e-13, err_msg=name)


@each_layer
def test_the_backward_direction_is_the_forward_one_on_reversed_time(layer, options):
    rng = np.random.default_rng(78)
    both, one = make(layer, 3, 4, bidirectional=True, **options), make(layer, 3, 4, **options)
    for name, parameter in one.parameters().items():
        parameter.value = getattr(both, f"{name}_reverse").value
    x = rng.normal(size=(5, 2, 3))
    y, *final = both(x)
    y_reversed, *final_reversed = one(x[::-1])
    assert np.array_equal(y[::-1, :, 4:], y_reversed)
    assert all(np.array_equal(a[1], b[0]) for a, b in zip(final, final_reversed))
    assert np.array_equal(y[-1, :, :4], final[0][0]) and np.array_equal(y[0, :, 4:], final[0][1])


@each_layer
def test_dropout_is_between_the_layers_only(layer, options):
    x = np.random.default_rng(79).normal(size=(4, 3, 2))
    deep = make(layer, 2, 50, num_layers=2, dropout=0.5, **options)
    assert list(deep.generators()) == ["rng"] and not make(layer, 2, 5, num_layers=2).generators()
    plain = make(layer, 2, 50, num_layers=2, **options)
    for name, parameter in plain.parameters().items():
        parameter.value = getattr(deep, name).value
    assert np.array_equal(deep(x)[0], plain(x)[0])  # inference
    (dropped, *_), cache = deep.forward(x)
    mask = cache.layers[1].mask
    assert set(np.unique(mask)) == {0.0, 2.0} and 0.4 < (mask > 0).mean() < 0.6
    assert not np.array_equal(dropped, deep.forward(x)[0][0]) and (dropped != 0).mean() > 0.4
    lower, upper = (make(layer, size, 50, **options) for size in (2, 50))
    for k, one in enumerate((lower, upper)):
        for name, parameter in one.parameters().items():
            parameter.value = getattr(deep, name.replace("_l0", f"_l{k}")).value
    np.testing.assert_array_equal(upper(lower(x)[0] * mask)[0], dropped)
    alone = make(layer, 2, 5, num_layers=1, dropout=0.5, **options)
    assert np.array_equal(alone.forward(x)[0][0], alone(x)[0])


@each_layer
def test_start(layer, options):
    rng = np.random.default_rng(80)
    made = layer(3, 16, num_layers=2, bidirectional=True, rng=rng, **options)
    rows = made.gates * 16
    shapes = {name: p.value.shape for name, p in made.parameters().items()}
    assert shapes == {
        f"{kind}_l{k}{end}": {"weight_ih": (rows, 32 if k else 3), "weight_hh": (rows, 16)}.get(kind, (rows,))
        for k in range(2)
        for end in ("", "_reverse")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    assert list(shapes)[:5] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ih_l0_reverse"]
    weights = made.weight_hh_l1.value
    assert abs(weights).max() <= 0.25 and weights.std() == pytest.approx(0.25 / 3**0.5, rel=0.1)
    assert not np.array_equal(weights, made.weight_hh_l1_reverse.value) and weights.dtype == np.float32
    assert list(layer(3, 4, bias=False, **options).parameters()) == ["weight_ih_l0", "weight_hh_l0"]
    assert made.multiply_adds((5, 7, 32)) == 35 * 2 * rows * (3 + 16 + 32 + 16)
    assert CELLS[layer](3, 16, **options).multiply_adds((7, 16)) == 7 * rows * (3 + 16)


@each_layer
def test_empty(layer, options):
    made = make(layer, 3, 4, bidirectional=True, **options)
    for t, n in ((0, 2), (3, 0), (0, 0)):
        for lengths in (None, np.zeros(n, int)):
            x, initial = np.zeros((t, n, 3)), states_of(made, n, np.random.default_rng(81))
            (y, *final), cache = made.forward(x, *initial, lengths=lengths)
            assert y.shape == (t, n, 8) and all(np.array_equal(a, b) for a, b in zip(initial, final))
            dx, *dinitial, _ = made.backward((y, *final), cache)
            assert dx.shape == x.shape and all(np.array_equal(a, b) for a, b in zip(final, dinitial))
    assert not any(p.grad.any() for p in made.parameters().values())
    cell = make(CELLS[layer], 3, 4, **options)
    h, cache = cell.forward(np.zeros((0, 3)))
    assert cell.backward(h, cache)[0].shape == (0, 3)


@each_layer
def test_large_float32_in_many_chunks_and_threads(layer, options):
    """The chunks that threads share, on sizes above their thresholds, against float64; two threads at once."""
    rng = np.random.default_rng(82)
    made = layer(40, 130, bidirectional=True, **options)
    x, dy = rng.normal(size=(3, 150, 40)).astype(np.float32), rng.normal(size=(3, 150, 260)).astype(np.float32)
    lengths = rng.integers(0, 4, 150)

    def run(made, x, dy):
        (y, *final), cache = made.forward(x, lengths=lengths)
        return [y, *final, made.backward((dy, *(None for _ in final)), cache)[0]]

    single = run(made, x, dy)
    with ThreadPoolExecutor(2) as threads:
        many = list(threads.map(lambda _: run(made, x, dy), range(4)))
    for results in many:
        assert all(np.array_equal(a, b) for a, b in zip(results, single))
    assert all(a.dtype == np.float32 for a in single)
    for a, b in zip(single, run(made.astype(np.float64), x.astype(np.float64), dy.astype(np.float64))):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_large_inputs_saturate_without_warnings():
    for layer, options in LAYERS.values():
        if options.get("nonlinearity") != "relu":
            made = layer(2, 3, **options)
            (y, *final), cache = made.forward(np.array([[[1e6, -1e6]], [[-1e30, 1e30]]], np.float32))
            gradients = made.backward((np.ones_like(y), *(None for _ in final)), cache)
            assert np.isfinite(y).all() and np.isfinite(gradients[0]).all()


X = np.zeros((3, 2, 4), np.float32)


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
def test_bad_input(layer):
    name, made = layer.__name__, layer(4, 5, num_layers=2, bidirectional=True)
    state = np.zeros((4, 2, 5), np.float32)
    for arguments, error, message in [
        ((X[0],), ValueError, r"x must have shape \(T, N, 4\), got \(2, 4\)"),
        ((X[..., :3],), ValueError, r"x must have shape \(T, N, 4\), got \(3, 2, 3\)"),
        ((X.astype(int),), TypeError, "x must be an array of floats, got int64"),
        ((X, state[:2]), ValueError, r"h0 must have shape \(4, 2, 5\), got \(2, 2, 5\)"),
        ((X, state[:, :1]), ValueError, r"h0 must have shape \(4, 2, 5\), got \(4, 1, 5\)"),
    ]:
        with pytest.raises(error, match=f"^{name}: {message}"):
            made.forward(*arguments)
    for lengths, error, message in [
        (np.array([1, 4]), ValueError, r"lengths must be in 0 .. T=3, got 4"),
        (np.array([-1, 2]), ValueError, r"lengths must be in 0 .. T=3, got -1"),
        (np.array([1, 2, 3]), ValueError, r"lengths must have shape \(N=2,\), got \(3,\)"),
        (np.array([1.0, 2.0]), TypeError, "lengths must be whole numbers, got float64"),
        (np.array([True, False]), TypeError, "lengths must be whole numbers, got bool"),
    ]:
        with pytest.raises(error, match=f"^{name}: {message}"):
            made.forward(X, lengths=lengths)
    (y, *final), cache = made.forward(X)
    none = (None,) * len(final)
    wanted = "dy, dh_n, dc_n" if layer is LSTM else "dy, dh_n"
    for dy, message in [
        (y, rf"backward wants \({wanted}\), not all of them None, got ndarray"),
        ((y,), rf"backward wants \({wanted}\), not all of them None, got a tuple of 1"),
        ((None, *none), rf"backward wants \({wanted}\), not all of them None, got a tuple of {len(none) + 1}"),
        ((y[1:], *none), r"dy must have shape \(3, 2, 10\), got \(2, 2, 10\)"),
        ((y, state[:1], *none[1:]), r"dh_n must have shape \(4, 2, 5\), got \(1, 2, 5\)"),
        ((None, state[0], *none[1:]), r"dh_n must have shape \(4, 2, 5\), got \(2, 5\)"),
        ((y, *none[1:], final[-1][:, 1:]), rf"d{made.states[-1]}_n must have shape \(4, 2, 5\), got \(4, 1, 5\)"),
        ((y, *none[1:], X), rf"d{made.states[-1]}_n must have shape \(4, 2, 5\), got \(3, 2, 4\)"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: {message}"):
            made.backward(dy, cache)


@pytest.mark.parametrize("cell", [RNNCell, LSTMCell, GRUCell])
def test_bad_input_of_a_cell(cell):
    name, made = cell.__name__, cell(4, 5)
    x, h = np.zeros((2, 4), np.float32), np.zeros((2, 5), np.float32)
    with pytest.raises(ValueError, match=rf"^{name}: x must have shape \(N, 4\), got \(2, 5\)"):
        made.forward(h)
    with pytest.raises(ValueError, match=rf"^{name}: h must have shape \(2, 5\), got \(2, 4\)"):
        made.forward(x, x)
    with pytest.raises(TypeError, match=f"^{name}: x must be an array of floats, got int64"):
        made.forward(x.astype(int))
    _, cache = made.forward(x, h)
    for wrong in (x, h[:1], h[0]):
        got = ", ".join(map(str, wrong.shape)) + ("," if wrong.ndim == 1 else "")
        for i, state in enumerate(made.states):
            dy = tuple(wrong if k == i else h for k in range(len(made.states)))
            with pytest.raises(ValueError, match=rf"^{name}: d{state} must have shape \(2, 5\), got \({got}\)"):
                made.backward(dy if len(dy) > 1 else wrong, cache)
            dy = tuple(wrong if k == i else None for k in range(len(made.states)))
            with pytest.raises(ValueError, match=rf"^{name}: d{state} must have shape \(2, 5\), got \({got}\)"):
                made.backward(dy if len(dy) > 1 else wrong, cache)
    assert not any(p.grad.any() for p in made.parameters().values())  # nothing is added before the check
    with pytest.raises(ValueError, match=rf"^{name}: backward wants \(dh"):
        made.backward(h if cell is LSTMCell else None, cache)


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell])
def test_bad_constructor_arguments(layer):
    name = layer.__name__
    with pytest.raises(ValueError, match=f"^{name}: input_size must be a whole number >= 1, got 0"):
        layer(0, 3)
    with pytest.raises(ValueError, match=f"^{name}: hidden_size must be a whole number >= 1, got -3"):
        layer(2, -3)
    if layer in CELLS:
        with pytest.raises(ValueError, match=f"^{name}: num_layers must be a whole number >= 1, got 1.5"):
            layer(2, 3, num_layers=1.5)
        for dropout in (-0.1, 1.0, math.nan):
            with pytest.raises(ValueError, match=rf"^{name}: dropout must be in \[0, 1\), got {dropout}"):
                layer(2, 3, dropout=dropout)
    if issubclass(layer, (RNN, RNNCell)):
        with pytest.raises(ValueError, match=f"^{name}: nonlinearity must be 'tanh' or 'relu', got 'sigmoid'"):
            layer(2, 3, nonlinearity="sigmoid")
