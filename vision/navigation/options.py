"""The options of agents in mazes, and those of the paper's variants.

Reference: Mirowski et al. 2017, arXiv:1611.03673, fig. 2 and sec. 3.
"""

from dataclasses import dataclass
from typing import Literal

from nn.layer import positive
from nn.losses.common import check_at_least_0


@dataclass(frozen=True)
class Options:
    """Raises ValueError for sizes below 1 and weights below 0."""

    memory: Literal["none", "lstm", "stacked"] = "stacked"  # FF, LSTM, Nav
    height: int = 30  # rows of a view, in pixels; the paper's is 84 x 84
    width: int = 40  # columns of a view, in pixels
    channels: int = 16  # of the first convolution; the second has twice as many
    features: int = 256  # units of the encoder
    hidden: int = 256  # units of the LSTM that acts
    first_hidden: int = 64  # units of the LSTM below it
    rollout: int = 20  # steps between two updates, and of backpropagation through time
    discount: float = 0.99  # factor of the rewards for each further step
    reward_scale: float = 0.1  # rewards are multiplied by this: a goal is then 1
    value_weight: float = 0.5  # weight of the loss of the value
    entropy_weight: float = 0.01  # weight of the policy's entropy
    depth1: float = 0.0  # weight of the depth predicted from the convolutions, D1; 0: not predicted
    depth2: float = 0.0  # weight of the depth predicted from the LSTM, D2
    loop: float = 0.0  # weight of the loop closure, L
    auxiliary: int = 128  # hidden units of the predictors of depth and loop closure
    regression: bool = False  # depths by squared error instead of bands

    def __post_init__(self):
        sizes = ("height", "width", "channels", "features", "hidden", "first_hidden", "rollout", "auxiliary")
        positive("Agent", **{name: getattr(self, name) for name in sizes})
        weights = ("discount", "reward_scale", "value_weight", "entropy_weight", "depth1", "depth2", "loop")
        check_at_least_0("Agent", **{name: getattr(self, name) for name in weights})


@dataclass(frozen=True)
class FFOptions(Options):
    """Without memory."""

    memory: Literal["none", "lstm", "stacked"] = "none"  # FF, LSTM, Nav


@dataclass(frozen=True)
class LSTMOptions(Options):
    """With one LSTM."""

    memory: Literal["none", "lstm", "stacked"] = "lstm"  # FF, LSTM, Nav


@dataclass(frozen=True)
class AuxiliaryOptions(Options):
    """Nav with D1, D2 and L."""

    depth1: float = 1.0  # weight of the depth predicted from the convolutions, D1; 0: not predicted
    depth2: float = 1.0  # weight of the depth predicted from the LSTM, D2
    loop: float = 0.1  # weight of the loop closure, L
