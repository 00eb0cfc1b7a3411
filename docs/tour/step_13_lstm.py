"""Step 13. The LSTM, and why its gradient survives.

Question: in step 12 the gradient was multiplied by U at every step back. Can a state be kept WITHOUT multiplying it?

By adding to it. The LSTM has a second state, the cell c, and three gates, numbers between 0 and 1:

    a = W x + U h_prev + b, split into a_i, a_f, a_o, a_g       W (4H, D), U (4H, H)
    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)          input, forget and output gate
    g = tanh(a_g)                                               what could be written
    c = f c_prev + i g                                          keep, and add
    h = o tanh(c)                                               what is shown

Backward, from the last line to the first; dc arrives from the next step, dh from the output and from the next step:
    do = dh tanh(c)
    dc = dc + dh o (1 - tanh(c)^2)                              term 1: the next step, term 2: through h
    df = dc c_prev,   dc_prev = dc f,   di = dc g,   dg = dc i
    da_i = di i (1 - i), da_f = df f (1 - f), da_o = do o (1 - o), da_g = dg (1 - g^2)
    dW += da x^T,   dU += da h_prev^T,   db += da,   dx = W^T da,   dh_prev = U^T da

Look at dc_prev = dc f. Along the cell there is no U and no tanh': over k steps dc is multiplied by k forget gates (and
what comes through h is added). With f = 1 it survives any number of steps. With f = 0.9 it vanishes: an LSTM MITIGATES
vanishing, where f is near 1. So the forget gate's bias starts at 1 or more. (docs/derivations.md, section 3)
"""

import sys

import numpy as np

from docs.tour import drawing
from nn import LSTM, RNN, Adam, Linear, LSTMCell, clip_gradient_norm, sigmoid, softmax_cross_entropy


def step(x, h_prev, c_prev, w, u, b):
    """h, c (N, H), and the cache."""
    a_i, a_f, a_o, a_g = np.split(x @ w.T + h_prev @ u.T + b, 4, axis=1)
    i, f, o, g = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o), np.tanh(a_g)
    c = f * c_prev + i * g
    return o * np.tanh(c), c, (x, h_prev, c_prev, i, f, o, g, c)


def step_backward(dh, dc, w, u, cache):
    """dx, dh_prev, dc_prev, and the gradients dw, du, db of the weights."""
    x, h_prev, c_prev, i, f, o, g, c = cache
    do = dh * np.tanh(c)
    dc = dc + dh * o * (1 - np.tanh(c) ** 2)
    df, dc_prev, di, dg = dc * c_prev, dc * f, dc * g, dc * i
    da = np.concatenate([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)], axis=1)
    return da @ w, da @ u, dc_prev, da.T @ x, da.T @ h_prev, da.sum(axis=0)


def flow(cell, steps, rng):
    """The norm of the gradient of (h, c) at each step, for a loss that depends on the last step only."""
    w, u, b = (p.value for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih))
    h, c, caches = np.zeros((1, len(u) // 4)), np.zeros((1, len(u) // 4)), []
    for _ in range(steps):
        h, c, cache = step(1e-3 * rng.standard_normal((1, w.shape[1])), h, c, w, u, b)
        caches.append(cache)
    dh, dc, norms = rng.standard_normal(h.shape), np.zeros_like(c), []
    for cache in reversed(caches):
        _, dh, dc, *_ = step_backward(dh, dc, w, u, cache)
        norms.append(np.sqrt((dh**2).sum() + (dc**2).sum()))
    return norms[::-1]


def remember(layer, steps=80, length=50):
    """Train on: a symbol of 4, then 49 steps of silence; say which symbol it was. The loss of each step."""
    scores = Linear(32, 4, rng=np.random.default_rng(1))
    parameters = layer.parameters() | {f"scores.{name}": p for name, p in scores.parameters().items()}
    optimiser, losses = Adam(parameters, lr=0.005), []
    x, symbols = np.zeros((length, 4, 4), np.float32), np.arange(4)  # (T, N, D): four sequences, one of each symbol
    x[0, symbols, symbols] = 1
    for _ in range(steps):
        optimiser.zero_grad()
        (y, *states), c_layer = layer.forward(x)
        logits, c_scores = scores.forward(y[-1])
        loss, dlogits = softmax_cross_entropy(logits, symbols)
        dy = np.concatenate([0 * y[:-1], scores.backward(dlogits, c_scores)[None]])  # only the last step is asked
        layer.backward((dy, *[None] * len(states)), c_layer)  # None: no gradient from the final states
        clip_gradient_norm(parameters, 1.0)
        optimiser.step()
        losses.append(loss)
    return losses


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    cell = LSTMCell(3, 4).astype(np.float64)
    x, h, c, dh, dc = rng.standard_normal((2, 3)), *rng.standard_normal((4, 2, 4))
    w, u, b = cell.weight_ih, cell.weight_hh, cell.bias_ih.value + cell.bias_hh.value
    h_new, c_new, cache = step(x, h, c, w.value, u.value, b)
    (h_library, c_library), cache_library = cell.forward(x, h, c)
    ours = step_backward(dh, dc, w.value, u.value, cache)
    its = (*cell.backward((dh, dc), cache_library), w.grad, u.grad, cell.bias_ih.grad)
    assert all(map(np.allclose, (h_new, c_new, *ours), (h_library, c_library, *its)))
    print("h, c and all six gradients are those of nn.LSTMCell; the blame of an error in the last of 60 steps:")
    figure, (axes, curves) = drawing.new(1, 2, width=5)
    for bias in (0.0, 1.0, 5.0):
        cell = LSTMCell(3, 32, forget_bias=bias, rng=np.random.default_rng(0)).astype(np.float64)
        norms = flow(cell, 60, np.random.default_rng(1))
        print(f"  forget bias {bias}, f = {sigmoid(np.array(bias)):.2f}: norm at the first step {norms[0]:.1e}")
        axes.semilogy(norms, label=f"LSTM, forget bias {bias}")
    axes.set(xlabel="time step t", ylabel="norm of the gradient that reaches it")
    final, layers = {}, {"RNN": RNN(4, 32, rng=rng)}
    for bias in (1.0, 5.0):
        layers[f"LSTM, forget bias {bias}"] = LSTM(4, 32, forget_bias=bias, rng=np.random.default_rng(0))
    for name, layer in layers.items():
        curves.plot(losses := remember(layer), label=name)
        final[name] = losses[-1]
        print(f"{name}: loss of the symbol that came 50 steps before {final[name]:.3f} (guessing: {np.log(4):.3f})")
    curves.set(xlabel="step", ylabel="loss")
    drawing.save(figure, out, "step_13.png")
    assert final["RNN"] > 1.3 > 0.1 > final["LSTM, forget bias 5.0"]


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_13_lstm.py)
# 1. Set f = 1 for all steps and let h have no way back (U = 0). Show that dc at the first step IS dc at the last.
# 2. The GRU has no separate cell: h = z h_prev + (1 - z) h~. What plays the part of f? Measure its flow with GRUCell.
