"""Show, Attend and Tell with hard attention: each word depends on one part of the image, drawn at random.

Reference: Xu et al. 2015, arXiv:1502.03044, sec. 4.1. The estimate of the gradient: Williams 1992, Simple statistical
gradient-following algorithms for connectionist reinforcement learning (REINFORCE).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nn import LogSoftmax
from nn.dispatch import array_module
from nn.losses.parts import count_of_batch
from nn.random import uniform
from vision.captioning.show_attend_tell import PAPER, RECIPE, TINY, AttentionOptions, Cache, ShowAttendTell, parts
from vision.copies import spread
from vision.registry import Tiny, register
from vision.sequence import sequence_cross_entropy
from vision.sequence.padding import real_steps


class Sampled(NamedTuple):
    """What hard attention sampled, held fixed when gradients are checked."""

    locations: np.ndarray  # (T, N) int: s_t
    expected: np.ndarray  # (N, 1): True for the images that use soft attention
    advantage: np.ndarray | None  # (N,): lambda_r (log p(y | s) - b)


class HardCache(NamedTuple):
    """The cache of ShowAttendTell, and what was sampled."""

    shared: Cache
    sampled: Sampled


class HardAttention(ShowAttendTell):
    """Hard attention: each word depends on one part a_i, i = s_t drawn from the weights alpha_t (eq. 8, 9).

    Its gradient is an estimate (REINFORCE), averaged over the sentences, with s = s_1 ... s_T as sampled (eq. 10-12,
    and the learning rule that follows them):

    d(-log p(y | s)) - lambda_r (log p(y | s) - b) d log p(s) - lambda_e dH,  log p(s) = sum_t log alpha_t[s_t]

    with the entropy H = -sum_ti alpha_ti log alpha_ti, and the baseline b, a moving average of log p(y | s): after
    each batch b = 0.9 b + 0.1 log p(y | s). It is a buffer of the model. As in sec. 4.1, an image uses soft attention
    with probability `expected`; it has no log p(s).

    loss: {words, reinforce, entropy}: the derivatives of the three are the three terms; only `words` measures quality.
    Inference takes the most probable part.
    """

    buffers = ("baseline",)

    def __init__(self, words, options: "HardOptions", rng: np.random.Generator):
        super().__init__(words, options, rng)
        self.baseline = np.zeros(1, np.float32)

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({words, reinforce, entropy}, cache)."""
        images, counts, before, after, lengths = self.sentences(batch)
        features, c_encoder = self.encoder.forward(images)
        repeated = sampled is not None
        sampled = sampled if repeated else self.not_yet_sampled(before.shape, rng, array_module(features))
        see = see_sampled(sampled, None if repeated else rng)
        (logits, weights), c_decoder = self.decoder.forward(spread(parts(features), counts), before, see)
        words, dlogits = sequence_cross_entropy(logits, after, lengths)
        if sampled.advantage is None:
            sampled = sampled._replace(advantage=self.advantage(log_likelihood(logits, after, lengths)))
        real = real_steps(lengths, len(after))
        reinforce, d_reinforce = log_probability(weights, sampled, real)
        entropy, d_entropy = negative_entropy(weights, real, self.options.lambda_e)
        losses = {"words": words, "reinforce": reinforce, "entropy": entropy}
        cache = Cache(c_encoder, features.shape, counts, c_decoder, dlogits, d_reinforce + d_entropy)
        return losses, HardCache(cache, sampled)

    def backward(self, cache: HardCache):
        """As ShowAttendTell.backward."""
        return super().backward(cache.shared)

    def not_yet_sampled(self, shape, rng, xp=np):
        """Locations to be filled in step by step; which images use soft attention is drawn here."""
        drawn = uniform(rng, (shape[1], 1), np.float64, xp)
        return Sampled(xp.zeros(shape, np.int64), drawn < self.options.expected, None)

    def advantage(self, log_p):
        """lambda_r (log p(y | s) - b) of each sentence; updates b."""
        advantage = self.options.lambda_r * (log_p - self.baseline)
        self.baseline[...] = 0.9 * self.baseline + 0.1 * log_p.mean()
        return advantage

    def see(self, t, weights):
        """Inference: the most probable part."""
        return one_hot(weights.argmax(axis=1), weights), 0


def see_sampled(sampled: Sampled, rng: np.random.Generator | None):
    """see(t, weights) of hard attention. With an rng, locations are drawn from the weights and written to `sampled`."""

    def see(t, weights):
        if rng is not None:
            sampled.locations[t] = sample(weights, rng)
        seen = one_hot(sampled.locations[t], weights)
        return array_module(weights).where(sampled.expected, weights, seen), sampled.expected

    return see


def sample(weights, rng: np.random.Generator) -> np.ndarray:
    """(N,) locations drawn with probabilities (N, L)."""
    cumulated = weights.cumsum(axis=1)
    drawn = uniform(rng, (len(weights), 1), np.float64, array_module(weights)) * cumulated[:, -1:]
    return (cumulated <= drawn).sum(axis=1).clip(max=weights.shape[1] - 1)


def one_hot(locations, weights):
    """(N, L) like weights, 1 at the location of each row."""
    xp = array_module(weights)
    seen = xp.zeros_like(weights)
    seen[xp.arange(len(weights)), locations] = 1
    return seen


def log_likelihood(logits, words, lengths) -> np.ndarray:
    """(N,): log p(y | s), the sum over the real steps of the log probabilities of the words (T, N)."""
    log_p = array_module(logits).take_along_axis(LogSoftmax(axis=2)(logits), words[:, :, None], axis=2)[:, :, 0]
    return (log_p * real_steps(lengths, len(words))).sum(axis=0)


def log_probability(weights, sampled: Sampled, real):
    """(value, gradient) of -mean over sentences of advantage * sum_t log alpha_t[s_t], where s was sampled."""
    location, xp = sampled.locations[:, :, None], array_module(weights)
    scale = -sampled.advantage * ~sampled.expected[:, 0] * real / count_of_batch(weights.shape[1])  # (T, N)
    p = xp.take_along_axis(weights, location, axis=2)
    dweights = xp.zeros_like(weights)
    xp.put_along_axis(dweights, location, scale[:, :, None] / p, axis=2)
    return (scale * xp.log(p[:, :, 0])).sum().item(), dweights


def negative_entropy(weights, real, scale: float):
    """(value, gradient) of the mean over sentences of scale * sum_ti alpha_ti log alpha_ti."""
    scale = (
        weights.real.dtype.type(scale / count_of_batch(weights.shape[1])) * real[:, :, None]
    )  # (T, N, 1), in the weights' dtype
    log = array_module(weights).log(weights + np.finfo(weights.real.dtype).tiny)  # 0 log 0 = 0
    return (scale * weights * log).sum().item(), scale * (log + 1)


@dataclass(frozen=True)
class HardOptions(AttentionOptions):
    """Show, Attend and Tell with hard attention."""

    lambda_r: float = 0.05  # weight of the REINFORCE term
    lambda_e: float = 0.002  # weight of the entropy
    expected: float = 0.5  # probability that an image uses soft attention


register("show_attend_tell_hard", "captioning", RECIPE, options=HardOptions, tiny=Tiny(TINY), **PAPER)(HardAttention)
