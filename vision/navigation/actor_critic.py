"""Advantage actor-critic: returns, the loss of the policy with its entropy, the loss of the value.

A3C runs many agents on threads of their own, each with its own gradients, so that what the network learns from is not
one agent's uniform experience. Here a batch of agents acts in step and their gradients are averaged: as
decorrelated, without stale weights, and bit for bit repeatable.

Reference: Mnih et al. 2016, Asynchronous methods for deep reinforcement learning, arXiv:1602.01783, sec. 4 and its
algorithm S3.
"""

import numpy as np

from nn.dispatch import array_module
from nn.layers.softmax import log_softmax
from nn.losses.common import one_hot
from nn.losses.parts import count_of_batch


def discounted_returns(rewards, ended, last_value, discount: float):
    """(T, N): R_t = r_t + discount R_{t+1}, where R_T = last_value (N,), and nothing follows the end of an episode."""
    returns, following = [], last_value
    for reward, end in zip(rewards[::-1], ended[::-1]):
        following = reward + discount * (1 - end) * following
        returns.append(following)
    return array_module(last_value).stack(returns[::-1])


def policy_loss(logits, actions, advantage, entropy_weight: float):
    """(policy, entropy, dlogits): the means over M steps of all agents of

    policy = -advantage log p(action)
    entropy = -entropy_weight H(p),  H(p) = -sum_a p(a) log p(a)

    logits (M, A), actions (M,), advantage (M,), a constant. Mnih et al. 2016, sec. 4: the gradient of
    log pi(a; theta') A + beta H(pi).
    """
    log_p = log_softmax(logits, axis=1)
    p, chosen, m = array_module(logits).exp(log_p), one_hot(actions, logits.shape[1]), count_of_batch(len(logits))
    h = -(p * log_p).sum(axis=1, keepdims=True)  # (M, 1)
    policy = -(advantage[:, None] * chosen * log_p).sum() / m
    entropy = -entropy_weight * h.sum() / m
    dlogits = advantage[:, None] * (p - chosen) / m  # policy: dlog p(a)/dlogits = one_hot(a) - p
    dlogits = dlogits + entropy_weight * p * (log_p + h) / m  # entropy: dH/dlogits = -p (log p + H)
    return policy.item(), entropy.item(), dlogits


def sample_actions(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) an action of each row, drawn from softmax(logits): Gumbel noise makes the largest one a sample."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
