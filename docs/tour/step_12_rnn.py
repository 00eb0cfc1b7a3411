"""Step 12. A recurrent network, and backpropagation through time.

Question: how does a network read a sequence of any length, and how far back does the blame reach?

It keeps a state h, H numbers, and reads one input x_t at a time, with the SAME weights at every step:

    a_t = W x_t + U h_(t-1) + b         W (H, D), U (H, H), b (H,)
    h_t = tanh(a_t)                     h_0 = 0

Unrolled, this is a deep network, a layer for each step. We know its backward: from the last step to the first, adding
up the gradients of the weights. h_t is used twice, as the output of step t and by step t + 1: its gradient is a sum.

    dh_t = dy_t + (what comes from step t + 1)
    da_t = dh_t (1 - h_t^2)                             tanh' = 1 - tanh^2
    dW += da_t x_t^T,   dU += da_t h_(t-1)^T,   db += da_t
    dx_t = W^T da_t,    and to step t - 1:  U^T da_t

That is backpropagation through time, BPTT. From step t to step t - k the gradient is multiplied k times by U^T and by a
1 - h^2 that is at most 1. Let U stretch vectors by a factor r. Then the gradient is multiplied by about r^k:

    r < 1: it vanishes, 0.9^60 = 0.002       the network does not learn what was long ago
    r > 1: it explodes, 1.1^60 = 300         one step throws the weights far away

Against explosion there is a simple cure, clipping: a gradient whose norm is above a limit is scaled down to the limit.
Its direction stays. Against vanishing that does nothing: step 13.
"""

import sys

import numpy as np

from docs.tour import drawing
from nn import RNN, SGD, Linear, clip_gradient_norm, softmax_cross_entropy


def forward(x, w, u, b):
    """y (T, N, H), all states, for x (T, N, D).    w (H, D), u (H, H), b (H,)."""
    h, states = np.zeros((x.shape[1], len(u))), []
    for x_t in x:
        h = np.tanh(x_t @ w.T + h @ u.T + b)
        states.append(h)
    return np.stack(states), (x, states, w, u)


def backward(dy, cache):
    """dx, dw, du, db, and the norm of the gradient that step t sends back to step t - 1, for each t."""
    x, states, w, u = cache
    dx, dw, du, db, flow = np.zeros_like(x), 0, 0, 0, []
    dh_next = np.zeros_like(states[0])
    for t in reversed(range(len(x))):
        before = states[t - 1] if t else np.zeros_like(states[0])
        da = (dy[t] + dh_next) * (1 - states[t] ** 2)
        dw, du, db = dw + da.T @ x[t], du + da.T @ before, db + da.sum(axis=0)
        dx[t], dh_next = da @ w, da @ u
        flow.append(np.linalg.norm(dh_next))
    return dx, dw, du, db, flow[::-1]


def learn_text(text, limit, steps=60, hidden=32):
    """Train an RNN to say which letter comes next in a text; returns the loss of each step and what it then writes."""
    rng, letters = np.random.default_rng(0), sorted(set(text))
    codes = np.array([letters.index(letter) for letter in text])
    x, target = np.eye(len(letters))[codes[:-1], None], codes[1:]  # (T, 1, letters): one-hot vectors
    rnn, scores = RNN(len(letters), hidden, rng=rng), Linear(hidden, len(letters), rng=rng)
    parameters = rnn.parameters() | {f"scores.{name}": p for name, p in scores.parameters().items()}
    optimiser, losses = SGD(parameters, lr=1.0, momentum=0.9), []
    for _ in range(steps):
        optimiser.zero_grad()
        (y, _), c_rnn = rnn.forward(x)
        logits, c_scores = scores.forward(y[:, 0])
        loss, dlogits = softmax_cross_entropy(logits, target)
        rnn.backward((scores.backward(dlogits, c_scores)[:, None], None), c_rnn)
        clip_gradient_norm(parameters, limit)
        optimiser.step()
        losses.append(loss)
    written, h = text[0], None
    while len(written) < len(text):
        y, h = rnn(np.eye(len(letters))[[letters.index(written[-1])], None], h)  # one letter, and the state so far
        written += letters[scores(y[0])[0].argmax()]
    return losses, written


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    library, x, dy = RNN(3, 4).astype(np.float64), rng.standard_normal((5, 2, 3)), rng.standard_normal((5, 2, 4))
    w, u = library.weight_ih_l0, library.weight_hh_l0
    y, cache = forward(x, w.value, u.value, library.bias_ih_l0.value + library.bias_hh_l0.value)
    *ours, _ = backward(dy, cache)
    (y_library, _), c_library = library.forward(x)
    dx_library, *_ = library.backward((dy, None), c_library)
    assert all(map(np.allclose, (y, *ours), (y_library, dx_library, w.grad, u.grad, library.bias_ih_l0.grad)))
    print("y, dx, dW, dU and db are those of nn.RNN; the blame of an error in the last of 60 steps:")
    figure, (axes, curve) = drawing.new(1, 2, width=5)
    rotation = np.linalg.qr(rng.standard_normal((32, 32)))[0]  # keeps the length of every vector
    last_only = np.zeros((60, 1, 32))
    last_only[-1] = rng.standard_normal(32)
    for r in (0.9, 1.0, 1.1):
        quiet = 1e-3 * rng.standard_normal((60, 1, 3))  # small inputs: 1 - h^2 is nearly 1
        _, cache = forward(quiet, 0.1 * rng.standard_normal((32, 3)), r * rotation, 0)
        *_, flow = backward(last_only, cache)
        print(f"  U stretches by {r}: norm {flow[-1]:6.2f} one step back, {flow[0]:9.3f} at the first step")
        axes.semilogy(flow, label=f"U stretches by {r}")
    axes.set(xlabel="time step t", ylabel="norm of the gradient that reaches it")

    text = "the gradient goes back in time"
    for name, limit in (("clipped at 1", 1.0), ("not clipped", np.inf)):
        losses, written = learn_text(text, limit)
        print(f"a text by heart, {name}: loss {losses[0]:.2f} to {losses[-1]:.3f}; it writes: {written}")
        curve.semilogy(losses, label=name)
        assert written == text or limit == np.inf
    curve.set(xlabel="step", ylabel="loss of the text")
    drawing.save(figure, out, "step_12.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_12_rnn.py)
# 1. Cut the sequence into chunks of 5 steps: hand the state on, but not the gradient (truncated BPTT). Is dW the same?
# 2. Clip each number of a gradient to -0.1 ... 0.1, instead of its norm to 1. By what angle does its direction turn?
