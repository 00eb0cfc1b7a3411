"""Step 14. Attention.

Question: a network has read L things and now needs one of them. How does it look that one up, and stay differentiable?

"Take the third" has no derivative. "Take 2 % of the first, 95 % of the third, ..." has. So give each thing a weight,
depending on what is asked for, and take the weighted mean. With L keys k_1 ... k_L, vectors, and a query q:

    (1)  hidden_l = tanh(W_q q + b + W_k k_l)           a small network that compares q with k_l
    (2)  e_l      = v . hidden_l                        a score for each key
    (3)  weights  = softmax of e over l                 positive, with the sum 1
    (4)  context  = sum over l of weights_l k_l

This is the additive attention of Bahdanau et al. 2015; e_l = q . k_l, without a network, is the dot-product kind.

Backward. dcontext arrives. From the last line to the first:

    (4)  dweights_l = dcontext . k_l                    and the first term of dk_l:  weights_l dcontext
    (3)  de_l = weights_l (dweights_l - sum over m of weights_m dweights_m)
    (2)  dhidden_l = de_l v,    dv = sum over l of de_l hidden_l
    (1)  da_l = dhidden_l (1 - hidden_l^2)              a_l: what tanh is taken of
         dq = W_q^T sum_l da_l,   db = sum_l da_l,   dW_q = (sum_l da_l) q^T          the same q for all keys: a sum
         dW_k = sum_l da_l k_l^T,   and the second term of dk_l:  W_k^T da_l

(3) is new: softmax without the logarithm of step 4. There dweights_m/de_l = weights_m ([l = m] - weights_l), and the
sum over m gives the line above. It says: a score rises if its key helps more than the weighted mean of all keys.
"""

import sys

import numpy as np

from docs.tour import drawing
from nn import Adam, AdditiveAttention, Linear, softmax, softmax_cross_entropy


def forward(q, k, w_q, w_k, b, v):
    """context (N, K), weights (N, L) for queries q (N, Q), keys k (N, L, K).    w_q (A, Q), w_k (A, K), b, v (A,)."""
    hidden = np.tanh((q @ w_q.T + b)[:, None] + k @ w_k.T)  # (N, L, A)
    weights = softmax(hidden @ v, axis=1)
    context = (weights[:, :, None] * k).sum(axis=1)
    return context, weights, (q, k, hidden, weights, w_q, w_k, v)


def backward(dcontext, cache):
    """dq, dk, dw_q, dw_k, db, dv."""
    q, k, hidden, weights, w_q, w_k, v = cache
    dweights = (dcontext[:, None] * k).sum(axis=2)  # (4)  (N, L)
    de = weights * (dweights - (weights * dweights).sum(axis=1, keepdims=True))  # (3)
    dv = (de[:, :, None] * hidden).sum(axis=(0, 1))  # (2)
    da = de[:, :, None] * v * (1 - hidden**2)  # (2), (1)  (N, L, A)
    dasked = da.sum(axis=1)  # (N, A)
    dk = weights[:, :, None] * dcontext[:, None] + da @ w_k  # both terms
    return dasked @ w_q, dk, dasked.T @ q, np.einsum("nla,nlk->ak", da, k), dasked.sum(axis=0), dv


NAMES, COLOURS, LENGTH = 8, 5, 6


def questions(n, rng):
    """n lists of 6 things, keys (N, 6, 13): name and colour as one-hot vectors; queries (N, 8), names; the answers."""
    names = np.stack([rng.permutation(NAMES)[:LENGTH] for _ in range(n)])  # (N, 6), all different
    colours, asked = rng.integers(COLOURS, size=(n, LENGTH)), rng.integers(LENGTH, size=n)
    keys = np.concatenate([np.eye(NAMES)[names], np.eye(COLOURS)[colours]], axis=2)
    return keys, np.eye(NAMES)[names[range(n), asked]], colours[range(n), asked], asked


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    library = AdditiveAttention(3, 4, 5).astype(np.float64)
    parts = library.weight_query, library.weight_key, library.bias, library.weight_score
    q, k, dcontext = rng.standard_normal((2, 3)), rng.standard_normal((2, 6, 4)), rng.standard_normal((2, 4))
    context, weights, cache = forward(q, k, *(part.value for part in parts))
    (context_library, weights_library), c_library = library.forward(q, k)
    assert np.allclose(context, context_library) and np.allclose(weights, weights_library)
    dq, dk, *_ = library.backward((dcontext, None), c_library)
    assert all(map(np.allclose, backward(dcontext, cache), (dq, dk, *(part.grad for part in parts))))
    print("context, weights and all six gradients are those of nn.AdditiveAttention")

    size = NAMES + COLOURS
    attention, answer = AdditiveAttention(NAMES, size, 32, rng=rng), Linear(size, COLOURS, rng=rng)
    parameters = attention.parameters() | {f"answer.{name}": p for name, p in answer.parameters().items()}
    optimiser, losses = Adam(parameters, lr=0.02), []
    for _ in range(300):
        keys, queries, colours, _ = questions(32, rng)
        optimiser.zero_grad()
        (context, _), c_attention = attention.forward(queries, keys)
        logits, c_answer = answer.forward(context)
        loss, dlogits = softmax_cross_entropy(logits, colours)
        attention.backward((answer.backward(dlogits, c_answer), None), c_attention)
        optimiser.step()
        losses.append(loss)
    keys, queries, colours, asked = questions(500, rng)
    context, weights = attention(queries, keys)
    right, looked = (answer(context).argmax(axis=1) == colours).mean(), (weights.argmax(axis=1) == asked).mean()
    print(f"a list of 6 things, what colour is the ...? loss {losses[0]:.2f} to {losses[-1]:.3f}; on 500 new lists")
    print(f"{right:.0%} right, and the largest weight on the thing that was asked for in {looked:.0%}")

    figure, (curve, picture) = drawing.new(1, 2, width=5)
    curve.plot(losses)
    curve.set(xlabel="step", ylabel="loss")
    picture.imshow(weights[:20], cmap="gray", vmin=0, vmax=1, aspect="auto")
    picture.plot(asked[:20], range(20), "r.", label="asked for")
    picture.set(xlabel="thing in the list", ylabel="list", title="weights, white is 1")
    drawing.save(figure, out, "step_14.png")
    assert right > 0.95 and looked > 0.95


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_14_attention.py)
# 1. Nobody told the network which thing to look at. Which line of the backward did? Show it in one step: take the
#    derivative of the loss by the weights, and see which weight it wants to raise.
# 2. Write dot-product attention, e_l = q . k_l / sqrt(K), with its backward, and check it as in step 3.
