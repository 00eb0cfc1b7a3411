"""Solutions to step 20."""

import numpy as np

from docs.tour.step_20_reinforce import coarse, spots, train
from nn import SGD, Linear, ReLU, Sequential, softmax_cross_entropy
from vision.classification.reinforce import reinforce


def exercise_1():
    """log p(l) = -(l - m)^2 / (2 std^2) + a constant, and its derivative by m is (l - m) / std^2.

    With R = -(l - 2)^2 the expected reward is -(m - 2)^2 - std^2, and its slope -2 (m - 2).
    """
    rng, m, std = np.random.default_rng(0), 0.5, 0.3
    l = m + std * rng.standard_normal(200_000)  # noqa: E741
    reward = -((l - 2) ** 2)
    estimates = (reward - reward.mean()) * (l - m) / std**2
    print(f"mean of 200,000 draws {estimates.mean():.3f}, the slope {-2 * (m - 2):.3f}")
    assert abs(estimates.mean() + 2 * (m - 2)) < 0.05

    means, places, advantage = np.full((1, 4, 2), m), rng.standard_normal((1, 4, 2)), rng.standard_normal((1, 4, 1))
    _, gradient = reinforce(means, places, advantage, std, 4)  # the library's: of a loss, so with a minus
    assert np.allclose(gradient, -advantage * (places - m) / std**2 / 4)


def exercise_2():
    """Cross-entropy needs far fewer steps: it is told the right one of 16 fields; a reward says only yes or no.

    REINFORCE is the only way where nobody knows the right choice: in a game, or where a glimpse is good if it helps
    the classification that comes after it.
    """
    _, by_reward = train(250, 0, True, np.random.default_rng(0))
    rng, by_label = np.random.default_rng(0), []
    network = Sequential(Linear(16, 32, rng=rng), ReLU(), Linear(32, 16, rng=rng))
    optimiser = SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(250):
        pictures, where = spots(64, rng)
        z, cache = network.forward(10 * coarse(pictures))
        optimiser.zero_grad()
        network.backward(softmax_cross_entropy(z, where)[1], cache)
        optimiser.step()
        by_label.append((z.argmax(axis=1) == where).mean())
    steps = {}
    for name, hits in (("reward", by_reward), ("label", by_label)):
        means = np.convolve(hits, np.full(10, 0.1), "valid")
        steps[name] = int((means > 0.8).argmax())
        print(f"taught by {name}: 80 % after {steps[name]} steps")
    assert 0 < steps["label"] < steps["reward"] / 2


if __name__ == "__main__":
    exercise_1()
    exercise_2()
