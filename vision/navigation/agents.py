"""Agents that find their way through mazes: FF A3C, LSTM A3C, Nav A3C and its auxiliary losses.

    f = encoder(image)                                     convolutions 8x8/4 and 4x4/2, then 256 units
    FF:    h = f
    LSTM:  h = LSTM(f)
    Nav:   h = LSTM(f, LSTM(f, reward), velocity, action)  stacked; f reaches both: a skip connection
    policy = softmax(W h), value = v h

Reward and action are those of the step before.

Reference: Mirowski et al. 2017, Learning to navigate in complex environments, arXiv:1611.03673, fig. 2 and sec. 3.
"""

from typing import Any, NamedTuple

import numpy as np

from nn import Conv2d, Flatten, Linear, ReLU, Sequential, l2, softmax
from nn.dispatch import array_module
from nn.losses.common import one_hot
from vision.model import Model
from vision.navigation.actor_critic import discounted_returns, policy_loss
from vision.navigation.auxiliary import COLUMNS, DEPTHS, ROWS, depth_loss, head, loop_loss
from vision.navigation.memory import Memory
from vision.navigation.options import AuxiliaryOptions, FFOptions, LSTMOptions, Options
from vision.preprocess import Preprocess
from vision.registry import Tiny, register

POSITIONS, VELOCITIES = ROWS * COLUMNS, 3


class Rollout(NamedTuple):
    """T steps of N agents, and the view after the last one: what they knew (T + 1, ...), did and got (T, ...)."""

    images: np.ndarray  # (T + 1, N, 3, H, W)
    velocity: np.ndarray  # (T + 1, N, 3)
    last_reward: np.ndarray  # (T + 1, N), times reward_scale
    last_action: np.ndarray  # (T + 1, N) int
    first: np.ndarray  # (T + 1, N) bool: an episode begins
    memory: np.ndarray  # (N, S): the state before the first step
    actions: np.ndarray  # (T, N) int
    rewards: np.ndarray  # (T, N), times reward_scale
    ended: np.ndarray  # (T, N) bool: an episode ends after this step
    depth: np.ndarray  # (T, N, 4, 16), in cells
    loop: np.ndarray  # (T, N) bool


class Outputs(NamedTuple):
    """logits (T, N, 8), values (T, N), features and hidden (T, N, ...), memory (N, S) after the last step."""

    logits: np.ndarray
    values: np.ndarray
    features: np.ndarray
    hidden: np.ndarray
    memory: np.ndarray


class Sampled(NamedTuple):
    """Constants of a step: returns and advantage (T, N), both with the values as they were."""

    returns: np.ndarray
    advantage: np.ndarray


class Cache(NamedTuple):
    """From loss to backward: the caches of the layers, gradients of the outputs, and what was sampled."""

    layers: Any
    dlogits: np.ndarray
    dvalues: np.ndarray
    heads: dict[str, tuple]  # {name: (cache, dy)} of the auxiliary losses
    sampled: Sampled


class Agent(Model):
    """A policy over ACTIONS and a value of what N agents have seen. classes: ACTIONS."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        o, view = options, (options.height, options.width)
        super().__init__(classes, o, Preprocess(resize="fixed", fixed=view, mean=127.5, std=64))
        rows, columns = ((((side - 8) // 4 + 1) - 4) // 2 + 1 for side in view)
        if min(rows, columns) < 1:
            raise ValueError(f"Agent: height and width must be at least 20, got {o.height} and {o.width}")
        self.encoder = Sequential(
            Conv2d(3, o.channels, 8, stride=4, rng=rng), ReLU(),
            Conv2d(o.channels, 2 * o.channels, 4, stride=2, rng=rng), ReLU(),
            Flatten(), Linear(2 * o.channels * rows * columns, o.features, rng=rng), ReLU(),
        )  # fmt: skip
        stacked, inputs = o.memory == "stacked", o.features
        if stacked:
            self.first_memory = Memory(o.features + 1, o.first_hidden, rng=rng)
            inputs += o.first_hidden + VELOCITIES + len(classes)
        self.memory = Memory(inputs, o.hidden, rng=rng) if o.memory != "none" else None
        hidden = o.hidden if self.memory else o.features
        self.policy, self.value = Linear(hidden, len(classes), rng=rng), Linear(hidden, 1, rng=rng)
        self.policy.weight.value *= 0.1  # begin with nearly equal probabilities
        depths = POSITIONS * (1 if o.regression else DEPTHS)
        self.depth1 = head(o.features, o.auxiliary, depths, rng) if o.depth1 else None
        self.depth2 = head(hidden, o.auxiliary, depths, rng) if o.depth2 else None
        self.loop = head(hidden, o.auxiliary, 1, rng) if o.loop else None
        self.memory_size = 2 * (o.hidden * (self.memory is not None) + o.first_hidden * stacked)

    def forward(self, images, velocity, last_reward, last_action, first, memory, training=True):
        """(Outputs, cache) of T steps: see Rollout for the arguments, here all (T, ...)."""
        xp, (steps, n) = array_module(images), images.shape[:2]
        f, c_encoder = self.encoder.forward(images.reshape(steps * n, *images.shape[2:]), training)
        f = f.reshape(steps, n, self.options.features)
        h, below, c_first, c_memory = f, memory[:, :0], None, None
        if self.options.memory == "stacked":
            size = 2 * self.options.first_hidden
            x1 = xp.concatenate([f, last_reward[..., None].astype(f.dtype)], axis=2)
            (h1, below), c_first = self.first_memory.forward(x1, memory[:, :size], first, training)
            acted = one_hot(last_action, len(self.classes), axis=2)
            h = xp.concatenate([f, h1, velocity.astype(f.dtype), acted.astype(f.dtype)], axis=2)
            memory = memory[:, size:]
        if self.memory:
            (h, memory), c_memory = self.memory.forward(h, memory, first, training)
            memory = xp.concatenate([below, memory], axis=1)
        flat = h.reshape(steps * n, h.shape[2])
        logits, c_policy = self.policy.forward(flat, training)
        values, c_value = self.value.forward(flat, training)
        outputs = Outputs(logits.reshape(steps, n, logits.shape[1]), values.reshape(steps, n), f, h, memory)
        return outputs, (c_encoder, c_first, c_memory, c_policy, c_value)

    def loss(self, batch: Rollout, rng=None, sampled: Sampled | None = None):
        """({policy, value, entropy, and the auxiliary losses}, cache), each times its weight.

        The value after the last step stands for all rewards to come, a constant like the returns and advantages.
        """
        rollout, o = Rollout(*batch), self.options
        steps = len(rollout.actions)
        outputs, layers = self.forward(*rollout[:6])
        values, flat = outputs.values[:steps], steps * rollout.actions.shape[1]
        if sampled is None:
            returns = discounted_returns(rollout.rewards, rollout.ended, outputs.values[steps], o.discount)
            sampled = Sampled(returns.astype(values.dtype), (returns - values).astype(values.dtype))
        logits = outputs.logits[:steps].reshape(flat, len(self.classes))
        actions, advantage = rollout.actions.reshape(flat), sampled.advantage.reshape(flat)
        policy, entropy, dlogits = policy_loss(logits, actions, advantage, o.entropy_weight)
        value, dvalues = l2(values, sampled.returns)
        losses = {"policy": policy, "value": o.value_weight * value, "entropy": entropy}
        more, heads = self.auxiliary_losses(outputs, rollout, flat)
        cache = Cache(layers, dlogits, o.value_weight * dvalues.reshape(flat, 1), heads, sampled)
        return losses | more, cache

    def auxiliary_losses(self, outputs, rollout, flat):
        """({name: loss}, {name: (cache of the head, dy)}), times their weights."""
        losses, heads, depth = {}, {}, rollout.depth.reshape(flat, ROWS, COLUMNS)
        steps = len(rollout.actions)
        for name, x in (("depth1", outputs.features), ("depth2", outputs.hidden), ("loop", outputs.hidden)):
            if layer := getattr(self, name):
                y, cache = layer.forward(x[:steps].reshape(flat, x.shape[2]))
                if name == "loop":
                    value, dy = loop_loss(y, rollout.loop.reshape(flat))
                else:
                    value, dy = depth_loss(y, depth, self.options.regression)
                weight = getattr(self.options, name)
                losses[name], heads[name] = weight * value, (cache, weight * dy)
        return losses, heads

    def backward(self, cache: Cache):
        """Add the gradients of the sum of the losses to all parameters."""
        c_encoder, c_first, c_memory, c_policy, c_value = cache.layers
        (steps, n), xp, o = cache.sampled.returns.shape, array_module(cache.dlogits), self.options
        rest = xp.zeros((n, 1), cache.dlogits.dtype)  # the view after the last step gave a constant only
        after = [rest.repeat(len(self.classes), axis=1), rest]
        dh = self.policy.backward(xp.concatenate([cache.dlogits, after[0]]), c_policy)
        dh = dh + self.value.backward(xp.concatenate([cache.dvalues, after[1]]), c_value)
        df = xp.zeros((len(dh), o.features), dh.dtype)
        for name, (c_head, dy) in cache.heads.items():
            dx = getattr(self, name).backward(dy, c_head)
            into = df if name == "depth1" else dh
            into[: steps * n] += dx  # the head read the first T steps
        dh, df = dh.reshape(steps + 1, n, dh.shape[1]), df.reshape(steps + 1, n, o.features)
        if self.memory:
            dh = self.memory.backward(dh, c_memory)
        df = df + dh[..., : o.features]  # f is the first of what the memory reads, or all
        if o.memory == "stacked":
            dh1 = dh[..., o.features : o.features + o.first_hidden]
            df = df + self.first_memory.backward(dh1, c_first)[..., : o.features]
        self.encoder.backward_parameters(df.reshape((steps + 1) * n, o.features), c_encoder)

    def as_input(self, views: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 of views (N, H, W, 3) uint8."""
        p = self.preprocess
        return ((views.transpose(0, 3, 1, 2).astype(np.float32) - p.mean) / p.std).astype(np.float32)

    def predict(self, images, memory=None):
        """(probabilities (N, 8), values (N,)) of N agents that stand still and remember nothing."""
        n, xp = len(images), array_module(images)
        zeros = xp.zeros((1, n), images.dtype)
        memory = xp.zeros((n, self.memory_size), images.dtype)
        given = images[None], zeros[..., None].repeat(VELOCITIES, 2), zeros, zeros.astype(int), zeros + 1
        outputs, _ = self.forward(*given, memory, training=False)
        return softmax(outputs.logits[0], axis=1), outputs.values[0]


# The paper trains with RMSProp; the two have not been compared here.
RECIPE = {
    "data": "mazes", "epochs": 20, "batch_size": 16, "optimiser": "adam", "lr": 0.001,
    "weight_decay": 0.0, "schedule": "polynomial", "warm_up": 0, "clip_norm": 1.0, "pictures": 4,
}  # fmt: skip
TINY = {
    "height": 20,
    "width": 20,
    "channels": 2,
    "features": 5,
    "hidden": 4,
    "first_hidden": 3,
    "rollout": 4,
    "auxiliary": 3,
}
SYSTEM = {"system": "Agents in mazes: FF, LSTM and Nav A3C", "paper": "Mirowski et al. 2017, arXiv:1611.03673"}
MEASURED = "Nav with D1, D2 and L in a 5x5 maze, 20 minutes: 0.930 of trips within 3 times the shortest, 512 episodes"

for _name, _options, _tiny, _measured in (
    ("ff_a3c", FFOptions, TINY, ""),
    ("lstm_a3c", LSTMOptions, TINY, ""),
    ("nav_a3c", Options, TINY, ""),
    ("nav_a3c_d1d2l", AuxiliaryOptions, TINY | {"entropy_weight": 0.5}, MEASURED),
):
    _more = {"options": _options, "tiny": Tiny(_tiny, scenes=2), "figures": _measured}
    register(_name, "navigation", RECIPE, **_more, **SYSTEM)(Agent)
