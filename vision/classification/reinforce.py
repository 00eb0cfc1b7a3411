"""REINFORCE: a gradient for locations that were sampled.

Reference: Williams 1992, Simple statistical gradient-following algorithms for connectionist reinforcement learning.
"""

import math

import numpy as np

from nn.dispatch import array_module
from nn.losses.parts import count_of_batch, is_in_parts


def number_of(counted, dtype):
    """The True elements in the batch, at least 1: a float; on the GPU an array () of dtype that stays there."""
    xp = array_module(counted)
    if xp is np or is_in_parts():
        return count_of_batch(int(counted.sum())) or 1.0
    return xp.maximum(counted.sum(), 1).astype(dtype)


def reinforce(means, locations, advantage, std: float, episodes) -> tuple[float, np.ndarray]:
    """The loss whose gradient is the REINFORCE estimator, and that gradient (T, N, 2).

    loss = -1/M sum_n sum_t (R - b_t) log N(l_t; mean_t, std^2)

    means (T, N, 2); locations (T, N, 2) = l; advantage (T, N, 1) = R - b, a constant like the locations; episodes = M,
    see number_of. The expectation of the gradient over all locations is that of minus the expected reward for every
    b_t that does not depend on l_t: b_t is computed before it.

    Reference: Mnih et al. 2014, eq. 2, with the baseline of eq. 3; Williams 1992.
    """
    away = locations - means
    log_p = -away * away / (2 * std**2) - math.log(math.sqrt(2 * math.pi) * std)  # of x and of y
    total = (advantage * log_p).sum()
    value = -total.item() / episodes if isinstance(episodes, float) else -(total / episodes).item()
    return value, -advantage * away / (std**2 * episodes)
