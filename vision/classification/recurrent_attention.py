"""The recurrent attention model (RAM): it classifies an image from a sequence of small glimpses.

    l_t ~ N(tanh(location(h_t)), std^2)    where to look: sampled, so REINFORCE trains it
    g_t = glimpse(rho(image, l_t), l_t)    what is seen there, and where that is
    h_{t+1} = core(g_t, h_t)               the state after t + 1 glimpses; h_0 = 0
    p = softmax(action(h_T))               the class, after the last of T glimpses

Locations are (x, y): (-1, -1) is the top left corner of the image, (1, 1) the bottom right one. The paper leaves open
how a location stays in the image: here tanh keeps the mean there.

Reference: Mnih et al. 2014, Recurrent models of visual attention, arXiv:1406.6247.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import Linear, LSTMCell, RNNCell, Sequential, Tanh
from nn.dispatch import array_module
from nn.layer import check_shape, positive
from nn.layers.softmax import Softmax
from nn.losses.classification import softmax_cross_entropy
from nn.losses.common import check_at_least_0
from nn.losses.regression import l2
from nn.random import normal
from vision.classification.classifier import ImageClassifier
from vision.classification.glimpse import GlimpseNetwork, glimpse_boxes, sense, summed_area
from vision.classification.reinforce import number_of, reinforce
from vision.options import ImageOptions
from vision.preprocess import Photograph, open_photograph
from vision.registry import Tiny, register
from vision.task import on_its_device


class Glimpse(NamedTuple):
    """Step t: the location, the policy's mean and the baseline before it, and the caches of the four layers."""

    location: np.ndarray  # (N, 2): l_t
    mean: np.ndarray  # (N, 2)
    expected: np.ndarray  # (N, 1): the baseline b_t
    c_location: Any
    c_baseline: Any
    c_glimpse: Any
    c_core: Any


class Sampled(NamedTuple):
    """Constants of a step: sampled locations (T, N, 2), and from them reward (N, 1), advantage (T, N, 1)."""

    locations: np.ndarray
    reward: np.ndarray
    advantage: np.ndarray


class Cache(NamedTuple):
    """From loss to backward: what the layers need, the gradients of the losses, and what was sampled."""

    glimpses: list[Glimpse]
    action: Any
    dlogits: np.ndarray  # (N, classes)
    dmeans: np.ndarray  # (T, N, 2)
    dexpected: np.ndarray  # (T, N, 1)
    sampled: Sampled


@dataclass(frozen=True)
class Options(ImageOptions):
    """For digits of 28x28: 6 glimpses of 8x8 at one scale. Raises ValueError for values out of range."""

    glimpses: int = 6  # T, glimpses of an episode
    glimpse_size: int = 8  # rows and columns that the sensor sees at each scale
    scales: int = 1  # scales of the sensor, each twice as wide as the one before
    core: Literal["rnn", "lstm"] = "rnn"  # rnn: with ReLU
    hidden: int = 256  # units of the core, and of g
    location_std: float = 0.1  # standard deviation of the policy
    location_weight: float = 0.1  # weight of the loss of the policy
    baseline_weight: float = 1.0  # weight of the loss of the baseline
    detach: Literal["none", "baseline", "both"] = "both"  # whose gradients stop at the core: both: the policy's, too
    episodes: int = 1  # of which `predict` takes the mean; 0: one, at the policy's means
    short_side: int = 28  # pixels of the shorter side
    max_side: int = 28  # pixels of the longer side at most
    mean: float | tuple[float, float, float] = (0, 0, 0)  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = (255, 255, 255)  # then each channel is divided by this

    def __post_init__(self):
        owner = "RecurrentAttention"
        positive(owner, **{name: getattr(self, name) for name in ("glimpses", "glimpse_size", "scales", "hidden")})
        if not 0 < self.location_std < math.inf:
            raise ValueError(f"{owner}: location_std must be a positive number, got {self.location_std}")
        if self.episodes < 0:
            raise ValueError(f"{owner}: episodes must be a whole number >= 0, got {self.episodes}")
        check_at_least_0(owner, location_weight=self.location_weight, baseline_weight=self.baseline_weight)


class RecurrentAttention(ImageClassifier):
    """images (N, 3, H, W), averaged over the channels, to logits (N, classes) and the glimpses."""

    def __init__(self, classes: Sequence[str], options: Options, *, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        hidden = options.hidden
        self.glimpse = GlimpseNetwork(options.scales * options.glimpse_size**2, 128, hidden, rng=rng)
        if options.core == "lstm":
            self.core = LSTMCell(hidden, hidden, rng=rng)
        else:
            self.core = RNNCell(hidden, hidden, nonlinearity="relu", rng=rng)
        self.location = Sequential(Linear(hidden, 2, rng=rng), Tanh())
        self.location[0].weight.value *= 0.1  # start near the centre: where tanh saturates, a policy learns nothing
        self.action, self.baseline = Linear(hidden, len(classes), rng=rng), Linear(hidden, 1, rng=rng)

    def forward(self, images, noise=None, locations=None, training=True):
        """((logits (N, C), list of Glimpse), cache of action).

        locations (T, N, 2) where given; else the policy's means plus std times `noise` (T, N or 1, 2), None: the means.
        """
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        options, table, glimpses = self.options, summed_area(images.mean(axis=1)), []
        zeros = array_module(images).zeros((len(images), options.hidden), images.dtype)
        state = (zeros,) * len(self.core.states)
        for t in range(options.glimpses):
            mean, c_location = self.location.forward(state[0], training)
            expected, c_baseline = self.baseline.forward(state[0], training)
            location = mean if noise is None else mean + options.location_std * noise[t]
            location = location if locations is None else locations[t]
            patches = sense(table, location, options.glimpse_size, options.scales).astype(images.dtype)
            g, c_glimpse = self.glimpse.forward(
                patches.reshape(len(images), math.prod(patches.shape[1:])), location, training
            )
            state, c_core = self.core.forward(g, *state, training=training)
            state = state if isinstance(state, tuple) else (state,)
            glimpses.append(Glimpse(location, mean, expected, c_location, c_baseline, c_glimpse, c_core))
        logits, c_action = self.action.forward(state[0], training)
        return (logits, glimpses), c_action

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({cls, location, baseline}, cache): the hybrid loss of sec. 3.2, one episode per image.

        cls: the mean of -log p(label); location: `reinforce`; baseline: half the mean of (R - b_t)^2. The last two are
        multiplied by location_weight and baseline_weight. R is 1 where the class is right.
        """
        images, labels = batch
        xp, options = array_module(images), self.options
        noise = normal(rng, (options.glimpses, len(images), 2), images.dtype, xp)
        (logits, glimpses), c_action = self.forward(images, noise, sampled and sampled.locations)
        means, expected = (xp.stack([getattr(g, name) for g in glimpses]) for name in ("mean", "expected"))
        if sampled is None:
            reward = (logits.argmax(axis=1) == labels)[:, None].astype(images.dtype)
            locations = xp.stack([g.location for g in glimpses])
            sampled = Sampled(locations, reward, reward - expected)  # R_t = R: the reward comes last
        counted = (labels >= 0)[:, None]
        cls, dlogits = softmax_cross_entropy(logits, labels)
        episodes, advantage = number_of(counted, images.real.dtype), counted * sampled.advantage
        location, dmeans = reinforce(means, sampled.locations, advantage, options.location_std, episodes)
        baseline, dexpected = l2(expected, xp.broadcast_to(sampled.reward, expected.shape), weights=counted)
        a, b = options.location_weight, options.baseline_weight
        losses = {"cls": cls, "location": a * location, "baseline": b * baseline}
        return losses, Cache(glimpses, c_action, dlogits, a * dmeans, b * dexpected, sampled)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters. The images get none: the sensor rounds to whole pixels.

        If `detach` is "both" the core and the glimpse network learn from the action alone (sec. 3.2).
        """
        dstate = [self.action.backward(cache.dlogits, cache.action), *[None] * (len(self.core.states) - 1)]
        for g, dmean, dexpected in reversed([*zip(cache.glimpses, cache.dmeans, cache.dexpected)]):
            dg, *dstate = self.core.backward(dstate[0] if len(dstate) == 1 else tuple(dstate), g.c_core)
            self.glimpse.backward_parameters(dg, g.c_glimpse)  # the location was sampled: no gradient goes through it
            dlocation = self.location.backward(dmean, g.c_location)
            dbaseline = self.baseline.backward(dexpected, g.c_baseline)
            if self.options.detach != "both":
                dstate[0] += dlocation  # h_t has three uses
            if self.options.detach == "none":
                dstate[0] += dbaseline

    def predict(self, images) -> np.ndarray:
        """(N, classes): the probability of each class, the mean over `episodes`; 0: at the policy's means.

        The noise is the same for every image, so its prediction depends neither on chance nor on its batch.
        """
        xp, n = array_module(images), self.options.episodes
        shape = n, self.options.glimpses, 1, 2
        noises = normal(np.random.default_rng(0), shape, images.dtype, xp) if n else [None]
        softmax = Softmax(axis=1)
        return sum(softmax(self.forward(images, noise, training=False)[0][0]) for noise in noises) / len(noises)

    def classify(self, photograph: Photograph) -> dict:
        """As ImageClassifier.classify, with glimpses (T, scales, 4): what it looked at, in the photograph's pixels."""
        image = open_photograph(photograph)
        scaled = self.preprocess.scaled(image)
        looked = on_its_device(self, self.look, self.preprocess.batch([scaled]))[0]
        sx, sy = scaled.shape[1] / image.shape[1], scaled.shape[0] / image.shape[0]
        return super().classify(image) | {"glimpses": looked / np.array([sx, sy, sx, sy])}

    def look(self, images) -> np.ndarray:
        """(N, T, scales, 4): the outlines (x1, y1, x2, y2) of what it looks at in each image, at the policy's means."""
        options, (_, glimpses) = self.options, self.forward(images, training=False)[0]
        locations = array_module(images).stack([g.location for g in glimpses], axis=1)
        return glimpse_boxes(locations, images.shape[2:], options.glimpse_size, options.scales)


# Sec. 4 has SGD with momentum on batches of 20, with a rate that falls linearly to 0 (here: power 0.9); that rate and
# the policy's std were searched for and are not given. Adam on batches of 128 needs fewer, larger matrix products. Its
# steps are as large as the rate, however noisy a gradient is: at the common rate the policy drifts to where tanh
# saturates, and looks at corners.
RECIPE = {
    "epochs": 45, "batch_size": 128, "optimiser": "adam", "lr": 0.002, "lr_scale": {"location": 0.1},
    "weight_decay": 0.0, "schedule": "polynomial", "warm_up": 0, "clip_norm": 5.0, "flip_horizontal": 0.0,
    "jitter": 0.0,
}  # fmt: skip
TINY = {"hidden": 6, "glimpses": 3, "detach": "none"}  # only then is all that backward adds the gradient of the loss


@register(
    "ram_mnist", "classification", RECIPE, options=Options, tiny=Tiny({"core": "lstm"} | TINY),
    system="Recurrent visual attention", paper="Mnih et al. 2014, arXiv:1406.6247",
    figures="MNIST, 6 glimpses: test error 1.9 % on 28x28, 3.9 % translated on 60x60; 10 episodes averaged 0.9, 2.6 %",
)  # fmt: skip
def ram_mnist(classes, options: Options, rng) -> RecurrentAttention:
    """For digits of 28x28."""
    return RecurrentAttention(classes, options, rng=rng)


@dataclass(frozen=True)
class TranslatedOptions(Options):
    """For digits somewhere on 60x60: 6 glimpses of 12x12 at 3 scales.

    Pixels are divided by 64 only, since a mean over many pixels, most of them black, is small.
    """

    glimpse_size: int = 12  # rows and columns that the sensor sees at each scale
    scales: int = 3  # scales of the sensor, each twice as wide as the one before
    location_weight: float = 1.0  # weight of the loss of the policy
    short_side: int = 60  # pixels of the shorter side
    max_side: int = 60  # pixels of the longer side at most
    std: float | tuple[float, float, float] = (64, 64, 64)  # then each channel is divided by this


# An epoch has each digit at 10 positions. With the rate and the weight of ram_mnist only the coarse scales learn:
# the centres of the glimpses stay random.
@register(
    "ram_translated", "classification", RECIPE | {"epochs": 3, "lr": 0.001, "lr_scale": {}}, options=TranslatedOptions,
    tiny=Tiny({"glimpse_size": 4} | TINY),
    system="Recurrent visual attention", paper="Mnih et al. 2014, arXiv:1406.6247",
)  # fmt: skip
def ram_translated(classes, options: TranslatedOptions, rng) -> RecurrentAttention:
    """For digits somewhere on 60x60."""
    return RecurrentAttention(classes, options, rng=rng)
