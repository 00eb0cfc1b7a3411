"""Step 20. REINFORCE: learning where to look.

Question: a network CHOOSES where to look, and sees only that part of the picture. No gradient goes through a choice.
How can it learn to choose?

The policy is a probability for each choice: p_a = softmax(z)_a, with scores z from a network. A choice a is drawn, and
then there is a reward R(a): 1 if it was good, else 0. We want the scores that make the EXPECTED reward large:

    J = sum over a of p_a R(a)
    dJ/dz = sum over a of R(a) dp_a/dz

We cannot try all choices: a reward is known only for the one that was drawn. But dp_a = p_a dlog p_a, since
dlog p = dp / p. Put that in:

    dJ/dz = sum over a of p_a R(a) dlog p_a/dz = the MEAN of R(a) dlog p_a/dz, if a is drawn with probability p_a

So draw one a, and take R(a) dlog p_a/dz: on average it is the gradient, though R has no derivative at all. By step 4
dlog p_a/dz_c = [c = a] - p_c. In words: make what was rewarded more probable. That is REINFORCE (Williams 1992).

One draw is noisy. A baseline b makes it less so: R(a) - b in the place of R(a). It changes nothing on average, because
sum over a of p_a dlog p_a/dz = d(sum over a of p_a)/dz = d1/dz = 0. Take the mean reward: what is better than usual
becomes more probable, what is worse less. Without it, rewards of 2 and 3 make all that is drawn more probable.

The example: pictures of 32 x 32 with a bright spot. A network sees a coarse 4 x 4 version and chooses one of 16 fields
for its glimpse, 8 x 8 sharp pixels. It is rewarded if the spot is inside. (Mnih et al. 2014 take several glimpses, with
an RNN of step 12 between them, at continuous positions: vision/classification/recurrent_attention.py.)
"""

import sys

import numpy as np

from docs.tour import drawing
from nn import SGD, Linear, ReLU, Sequential, softmax


def estimates(z, rewards, draws, baseline, rng):
    """`draws` one-sample estimates (draws, C) of dJ/dz."""
    p = softmax(z[None], axis=1)[0]
    chosen = rng.choice(len(p), size=draws, p=p)
    return (rewards[chosen] - baseline)[:, None] * (np.eye(len(p))[chosen] - p)


def spots(n, rng):
    """Noisy pictures (N, 32, 32) with a bright spot of 3 x 3, and in which of the 4 x 4 fields it is (N,)."""
    pictures = 0.3 * rng.standard_normal((n, 32, 32))
    rows, columns = rng.integers(1, 31, size=(2, n))
    for picture, r, c in zip(pictures, rows, columns):
        picture[r - 1 : r + 2, c - 1 : c + 2] += 2.0
    return pictures, rows // 8 * 4 + columns // 8


def coarse(pictures):
    """(N, 16): the mean of each 8 x 8 field."""
    return pictures.reshape(-1, 4, 8, 4, 8).mean(axis=(2, 4)).reshape(-1, 16)


def train(steps, gift, use_baseline, rng):
    """The policy network, and how often the spot was seen, for each step. `gift` is added to every reward."""
    network = Sequential(Linear(16, 32, rng=rng), ReLU(), Linear(32, 16, rng=rng))
    network[2].weight.value *= 0.1  # all fields alike at the start
    optimiser, hits, baseline = SGD(network.parameters(), lr=0.1, momentum=0.9), [], gift
    for _ in range(steps):
        pictures, where = spots(64, rng)
        z, cache = network.forward(10 * coarse(pictures))
        p = softmax(z, axis=1)
        chosen = (p.cumsum(axis=1) > rng.random((64, 1))).argmax(axis=1)  # one draw from each row of p
        hit = (chosen == where).astype(float)  # seen in the glimpse or not: no derivative
        advantage = hit + gift - (baseline if use_baseline else 0)
        dz = -advantage[:, None] * (np.eye(16)[chosen] - p) / 64  # minus: the optimiser makes a loss small
        optimiser.zero_grad()
        network.backward(dz, cache)
        optimiser.step()
        baseline = 0.9 * baseline + 0.1 * (hit + gift).mean()
        hits.append(hit.mean())
    return network, hits


def main(out="tour_out"):
    rng = np.random.default_rng(0)
    z, rewards = rng.standard_normal(5), np.array([1.0, 0.0, 2.0, 5.0, 4.0])
    p = softmax(z[None], axis=1)[0]
    exact = p * (rewards - p @ rewards)  # sum over a of R(a) p_a ([c = a] - p_c), for each c
    h = 1e-6
    nudged = [(softmax(z[None] + h * unit, axis=1)[0] - p) @ rewards / h for unit in np.eye(5)]
    assert np.allclose(exact, nudged, atol=1e-5)
    print("dJ/dz, exact:            ", exact.round(3))
    for name, baseline in (("no baseline", 0.0), ("baseline = mean reward", p @ rewards)):
        drawn = estimates(z, rewards, 100_000, baseline, rng)
        print(f"mean of 100,000 draws:    {drawn.mean(axis=0).round(3)}  {name}: standard deviation {drawn.std():.2f}")
        assert np.allclose(drawn.mean(axis=0), exact, atol=0.03)

    figure, (curve, picture) = drawing.new(1, 2)
    for gift, use_baseline in ((0, False), (2, False), (2, True)):
        name = f"rewards {gift} and {gift + 1}, {'with' if use_baseline else 'no'} baseline"
        network, hits = train(250, gift, use_baseline, np.random.default_rng(0))
        first, last = np.mean(hits[:20]), np.mean(hits[-20:])
        print(f"{name}: the spot is seen in {first:.0%} of the first and {last:.0%} of the last glimpses")
        curve.plot(np.convolve(hits, np.full(20, 1 / 20), "valid"), label=name)
    curve.set(xlabel="step", ylabel="spot seen (mean of 20 steps)", ylim=(0, 1))
    pictures, _ = spots(1, np.random.default_rng(5))
    field = network(10 * coarse(pictures))[0].argmax()
    drawing.show(picture, pictures[0], "where it looks")
    x, y = field % 4 * 8, field // 4 * 8
    drawing.draw_boxes(picture, [[x, y, x + 8, y + 8]], "tab:green", width=3)
    drawing.save(figure, out, "step_20.png")
    assert last > 0.8


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_20_reinforce.py)
# 1. The estimator of a continuous position l, drawn from a normal distribution around the network's mean m, is
#    (R - b) (l - m) / std^2. Derive it, and compare the mean of many draws with the slope of the expected reward.
# 2. In this example the right field is known, so the softmax cross-entropy could teach it. Compare how fast both learn.
#    When is REINFORCE the only way?
