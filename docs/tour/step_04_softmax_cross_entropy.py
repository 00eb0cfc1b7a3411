"""Step 4. Softmax cross-entropy.

Question: a network gives C scores, one for each class. What number says how wrong they are, and what is its gradient?

Scores z_1 ... z_C, also called logits, can be any numbers. The softmax makes probabilities of them, with the sum 1:

    p_c = exp(z_c) / sum over k of exp(z_k)

The network should give the right class, t, a high probability. The loss is how surprised it is to be told t:

    loss = -log p_t = log(sum over k of exp(z_k)) - z_t             log: the natural logarithm

0 if p_t = 1, and large if p_t is near 0. A network that knows nothing has p_t = 1/C, so its loss is log C: check that
at the start of every training. The gradient, the first term by the chain rule, the second as it is:

    dloss/dz_c = exp(z_c) / sum_k exp(z_k) - [c = t] = p_c - [c = t]            [c = t] is 1 if c is t, else 0

Read it: every score goes down by its probability, and the right one up by 1. In step 1 a neuron that was sure and wrong
had a gradient near 0, since the sigmoid is flat there. Here the gradient is largest where the answer is most wrong: the
log undoes the exp. That is why softmax and log are ONE function, and why it returns value and gradient at once.

For N examples the loss is the mean, so each gradient is divided by N. And exp(1000) overflows; a number subtracted from
all scores of a row changes nothing in p, so we subtract the largest.
"""

import sys

import numpy as np

from docs.tour import drawing
from nn import Linear, ReLU, Sequential, softmax_cross_entropy
from nn.gradcheck import check_loss


def ours(logits, labels):
    """The mean loss, and its gradient (N, C).    logits (N, C), labels (N,) integers in 0 .. C - 1."""
    z = logits - logits.max(axis=1, keepdims=True)  # exp cannot overflow
    total = np.exp(z).sum(axis=1)  # (N,)
    rows = np.arange(len(labels))
    loss = (np.log(total) - z[rows, labels]).mean()
    dlogits = np.exp(z) / total[:, None]  # p
    dlogits[rows, labels] -= 1  # - [c = t]
    return loss, dlogits / len(labels)


def spirals(n, rng):
    """Points (3 n, 2) on three spiral arms, and the arm of each (3 n,)."""
    radius, arm = np.tile(np.linspace(0.1, 1, n), 3), np.repeat(np.arange(3), n)
    angle = 4 * radius + 2 * np.pi / 3 * arm + 0.15 * rng.standard_normal(3 * n)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1), arm


def train(network, x, labels, steps, rate):
    """Gradient descent, all examples at once: the loss of each step."""
    losses = []
    for _ in range(steps):
        logits, cache = network.forward(x)
        loss, dlogits = softmax_cross_entropy(logits, labels)
        network.backward(dlogits, cache)
        for parameter in network.parameters().values():  # a Parameter has a value and a grad
            parameter.value -= rate * parameter.grad
            parameter.grad[...] = 0
        losses.append(loss)
    return losses


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])
    (loss, dlogits), (loss_library, dlogits_library) = ours(logits, labels), softmax_cross_entropy(logits, labels)
    assert np.isclose(loss, loss_library) and np.allclose(dlogits, dlogits_library)
    error = check_loss(softmax_cross_entropy, logits, labels)
    print(f"loss {loss:.4f} and gradient as in nn.softmax_cross_entropy; relative error of the gradient {error:.0e}")
    print("sure and wrong, logits (1000, 0), label 1: loss {}, gradient {}".format(*ours(np.array([[1000.0, 0]]), [1])))

    x, arm = spirals(60, rng)
    network = Sequential(Linear(2, 32, rng=rng), ReLU(), Linear(32, 32, rng=rng), ReLU(), Linear(32, 3, rng=rng))
    network[4].weight.value *= 0.01  # scores near 0 at the start
    losses = train(network, x, arm, steps=600, rate=0.5)
    right = (network(x).argmax(axis=1) == arm).mean()  # network(x) is forward without the cache
    print(f"three spirals: loss {losses[0]:.3f} (log 3 = {np.log(3):.3f}) to {losses[-1]:.3f}, {right:.0%} right")
    assert abs(losses[0] - np.log(3)) < 0.05 and right > 0.95

    figure, (curve, regions) = drawing.new(1, 2)
    curve.plot(losses)
    curve.axhline(np.log(3), linestyle=":", label="log 3")
    curve.set(xlabel="step", ylabel="loss")
    across, down = np.meshgrid(np.linspace(-1.2, 1.2, 150), np.linspace(-1.2, 1.2, 150))
    answer = network(np.stack([across.ravel(), down.ravel()], axis=1)).argmax(axis=1).reshape(across.shape)
    regions.contourf(across, down, answer, levels=[-0.5, 0.5, 1.5, 2.5], alpha=0.4)
    regions.scatter(*x.T, c=arm, s=10, edgecolors="black", linewidths=0.4)
    regions.set(aspect="equal", title="the class with the largest score")
    drawing.save(figure, out, "step_04.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_04_softmax_cross_entropy.py)
# 1. With two classes the softmax is a sigmoid: show p_1 = sigmoid(z_1 - z_0), and that dloss/dz_1 is p_1 - t. Let the
#    neuron of step 1 that was sure and wrong (b = 10, target 0) learn with this loss. How many steps does it take?
# 2. Write softmax and -log as two layers with two backwards. Where do they agree with `ours`, and where do they fail?
