"""PyTorch as a second opinion on recurrent layers and cells, embedding, attention: 200 or more configurations each."""

import numpy as np
import pytest

from nn.layers.attention import AdditiveAttention
from nn.layers.embedding import Embedding
from nn.layers.gru import GRU, GRUCell
from nn.layers.lstm import LSTM, LSTMCell, swap_lstm_gates
from nn.layers.rnn import RNN, RNNCell

torch = pytest.importorskip("torch")
rnn_utils = torch.nn.utils.rnn
CONFIGURATIONS = 200
TORCH = {RNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}
TORCH_CELLS = {RNNCell: torch.nn.RNNCell, LSTMCell: torch.nn.LSTMCell, GRUCell: torch.nn.GRUCell}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For arrays this small PyTorch's threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tensor(array):
    return torch.tensor(np.ascontiguousarray(array), requires_grad=True)


def close(ours, theirs, what):
    theirs = theirs.detach().numpy()
    scale = max(abs(theirs).max(initial=0), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-11 * scale, err_msg=what)


def pairs(ours, reference, rng):
    """Both with the same random parameters; PyTorch's in its own order of gates. In float64."""
    ours.astype(np.float64)
    for parameter in ours.parameters().values():
        parameter.value[...] = rng.normal(size=parameter.value.shape) * 0.6
    swap = swap_lstm_gates if isinstance(ours, (LSTM, LSTMCell)) else dict
    state = {name: torch.tensor(value) for name, value in swap(ours.state_dict()).items()}
    reference.double().load_state_dict(state)
    return swap


def same_parameter_gradients(ours, reference, swap):
    theirs = dict(reference.named_parameters())
    ours = swap({name: p.grad for name, p in ours.parameters().items()})
    assert list(ours) == list(theirs)
    for name, gradient in ours.items():
        if theirs[name].grad is not None:
            close(gradient, theirs[name].grad, name)


def draw(rng):
    """Sizes and options of one random stack."""
    t, n, d, h = (int(v) for v in rng.integers(1, 6, 4))
    options = {"num_layers": int(rng.integers(1, 4)), "bidirectional": bool(rng.integers(2))}
    return t, n, d, h, options | {"bias": bool(rng.integers(4))}


@pytest.mark.parametrize("layer", [RNN, LSTM, GRU])
def test_sequences(layer):
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng([110, seed])
        t, n, d, h, options = draw(rng)
        if layer is RNN:
            options["nonlinearity"] = ["tanh", "relu"][seed % 2]
        own = {"reset_after": True} if layer is GRU else {}
        ours, reference = layer(d, h, **options, **own), TORCH[layer](d, h, **options)
        swap = pairs(ours, reference, rng)

        lengths = rng.integers(1, t + 1, n) if rng.integers(2) else None
        if lengths is not None:
            lengths[rng.integers(n)] = t  # PyTorch cuts what no sequence reaches
        x = rng.normal(size=(t, n, d))
        stack = options["num_layers"] * (1 + options["bidirectional"])
        initial = [rng.normal(size=(stack, n, h)) for _ in ours.states] if rng.integers(3) else None
        (y, *final), cache = ours.forward(x, *(initial or [None] * len(ours.states)), lengths)
        dy, dfinal = rng.normal(size=y.shape), [rng.normal(size=s.shape) for s in final]
        dx, *dinitial, none = ours.backward((dy, *dfinal), cache)
        assert none is None

        x_t, initial_t = tensor(x), [tensor(s) for s in initial or []]
        given = initial_t if layer is LSTM else initial_t[0] if initial else None
        packed = x_t
        if lengths is not None:
            packed = rnn_utils.pack_padded_sequence(x_t, torch.tensor(lengths), enforce_sorted=False)
        y_t, final_t = reference(packed, (tuple(given) if layer is LSTM else given) if initial else None)
        if lengths is not None:
            y_t, _ = rnn_utils.pad_packed_sequence(y_t)
        final_t = final_t if isinstance(final_t, tuple) else (final_t,)
        torch.autograd.backward([y_t, *final_t], [torch.tensor(g) for g in (dy, *dfinal)])

        close(y, y_t, f"y {seed}")
        close(dx, x_t.grad, f"dx {seed}")
        for a, b in zip(final, final_t):
            close(a, b, f"final state {seed}")
        for a, b in zip(dinitial, initial_t):
            close(a, b.grad, f"initial state {seed}")
        same_parameter_gradients(ours, reference, swap)


@pytest.mark.parametrize("cell", [RNNCell, LSTMCell, GRUCell])
def test_cells(cell):
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng([111, seed])
        n, d, h = (int(v) for v in rng.integers(1, 7, 3))
        options = {"bias": bool(rng.integers(4))}
        if cell is RNNCell:
            options["nonlinearity"] = ["tanh", "relu"][seed % 2]
        own = {"reset_after": True} if cell is GRUCell else {}
        ours, reference = cell(d, h, **options, **own), TORCH_CELLS[cell](d, h, **options)
        swap = pairs(ours, reference, rng)
        x, states = rng.normal(size=(n, d)), [rng.normal(size=(n, h)) for _ in ours.states]
        new, cache = ours.forward(x, *states)
        new = new if isinstance(new, tuple) else (new,)
        dnew = tuple(rng.normal(size=s.shape) for s in new)
        dx, *dstates = ours.backward(dnew if cell is LSTMCell else dnew[0], cache)

        x_t, states_t = tensor(x), [tensor(s) for s in states]
        new_t = reference(x_t, tuple(states_t) if cell is LSTMCell else states_t[0])
        new_t = new_t if isinstance(new_t, tuple) else (new_t,)
        torch.autograd.backward(new_t, [torch.tensor(g) for g in dnew])
        close(dx, x_t.grad, f"dx {seed}")
        for a, b, da, name in zip(new, new_t, dstates, ours.states):
            close(a, b, f"{name} {seed}")
            close(da, states_t[ours.states.index(name)].grad, f"d{name} {seed}")
        same_parameter_gradients(ours, reference, swap)


def gru_reset_before(x, h0, lengths, weights, layers, directions):
    """Cho et al.'s variant, which PyTorch has not, in tensor operations; steps past the end keep the state."""
    final = []
    for layer in range(layers):
        outputs = []
        for d in range(directions):
            w, u, b, c = weights[layer * directions + d]
            size, h, ys = u.shape[1], h0[layer * directions + d], [None] * len(x)
            for t in range(len(x))[:: -1 if d else 1]:
                a, v = x[t] @ w.T + b, h @ u[: 2 * size].T + c[: 2 * size]
                r, z = torch.sigmoid(a[:, : 2 * size] + v).chunk(2, dim=1)
                n = torch.tanh(a[:, 2 * size :] + (r * h) @ u[2 * size :].T + c[2 * size :])
                active = torch.tensor(lengths > t)[:, None]
                h = torch.where(active, z * h + (1 - z) * n, h)
                ys[t] = torch.where(active, h, torch.zeros_like(h))
            outputs.append(torch.stack(ys))
            final.append(h)
        x = torch.cat(outputs, dim=2)
    return x, torch.stack(final)


def test_gru_with_the_reset_before():
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng([112, seed])
        t, n, d, h, options = draw(rng)
        ours = GRU(d, h, **options).astype(np.float64)
        for parameter in ours.parameters().values():
            parameter.value[...] = rng.normal(size=parameter.value.shape) * 0.6
        directions = 1 + options["bidirectional"]
        x, h0 = rng.normal(size=(t, n, d)), rng.normal(size=(options["num_layers"] * directions, n, h))
        lengths = rng.integers(0, t + 1, n)
        (y, h_n), cache = ours.forward(x, h0, lengths)
        dy, dh_n = rng.normal(size=y.shape), rng.normal(size=h_n.shape)
        dx, dh0, _ = ours.backward((dy, dh_n), cache)

        x_t, h0_t = tensor(x), tensor(h0)
        named = {name: tensor(p.value) for name, p in ours.parameters().items()}
        zeros = torch.zeros(3 * h, dtype=torch.float64)
        weights = [
            [named.get(f"{kind}_l{k}{end}", zeros) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            for k in range(options["num_layers"])
            for end in ("", "_reverse")[:directions]
        ]
        both = gru_reset_before(x_t, h0_t, lengths, weights, options["num_layers"], directions)
        torch.autograd.backward(both, [torch.tensor(dy), torch.tensor(dh_n)])
        for a, b, what in [(y, both[0], "y"), (h_n, both[1], "h_n"), (dx, x_t.grad, "dx"), (dh0, h0_t.grad, "dh0")]:
            close(a, b, f"{what} {seed}")
        for name, parameter in ours.parameters().items():
            close(parameter.grad, named[name].grad, f"{name} {seed}")


def test_embedding():
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng([113, seed])
        v, d = (int(size) for size in rng.integers(1, 9, 2))
        padding_idx = int(rng.integers(-v, v)) if rng.integers(2) else None
        ours, reference = Embedding(v, d, padding_idx), torch.nn.Embedding(v, d, padding_idx).double()
        assert padding_idx is None or not reference.weight[padding_idx].any()
        ours.astype(np.float64).weight.value[...] = rng.normal(size=(v, d))
        reference.load_state_dict({"weight": torch.tensor(ours.weight.value)})
        x = rng.integers(0, v, rng.integers(0, 5, rng.integers(0, 4)))
        y, cache = ours.forward(x)
        dy = rng.normal(size=y.shape)
        assert ours.backward(dy, cache) is None
        y_t = reference(torch.tensor(x))
        y_t.backward(torch.tensor(dy))
        close(y, y_t, f"y {seed}")
        close(ours.weight.grad, reference.weight.grad, f"weight {seed}")


def test_attention():
    for seed in range(CONFIGURATIONS):
        rng = np.random.default_rng([114, seed])
        n, length, q, k, a = (int(v) for v in rng.integers(1, 6, 5))
        ours = AdditiveAttention(q, k, a, bias=bool(rng.integers(2))).astype(np.float64)
        for parameter in ours.parameters().values():
            parameter.value[...] = rng.normal(size=parameter.value.shape)
        query, keys = rng.normal(size=(n, q)), rng.normal(size=(n, length, k))
        mask = rng.random((n, length)) < 0.7
        mask[np.arange(n), rng.integers(0, length, n)] = True  # PyTorch's softmax of nothing is NaN
        mask = mask if rng.integers(2) else None
        (context, weights), cache = ours.forward(query, keys, mask)
        dy = rng.normal(size=context.shape), rng.normal(size=weights.shape)
        dquery, dkeys, _, _ = ours.backward(dy, cache)

        t = {name: tensor(p.value) for name, p in ours.parameters().items()}
        query_t, keys_t = tensor(query), tensor(keys)
        asked = torch.nn.functional.linear(query_t, t["weight_query"], t.get("bias"))
        e = torch.tanh(asked[:, None] + keys_t @ t["weight_key"].T) @ t["weight_score"]
        e = e if mask is None else e.masked_fill(~torch.tensor(mask), -torch.inf)
        weights_t = torch.softmax(e, dim=1)
        context_t = torch.einsum("nl,nlk->nk", weights_t, keys_t)
        torch.autograd.backward([context_t, weights_t], [torch.tensor(g) for g in dy])
        close(context, context_t, f"context {seed}")
        close(weights, weights_t, f"weights {seed}")
        close(dquery, query_t.grad, f"dquery {seed}")
        close(dkeys, keys_t.grad, f"dkeys {seed}")
        for name, parameter in ours.parameters().items():
            close(parameter.grad, t[name].grad, f"{name} {seed}")
