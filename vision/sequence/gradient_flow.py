"""How gradients vanish and explode through time: the norm of dL/dh_t at each step, from the cells' backward passes.

For h_t = tanh(W x_t + U h_(t-1) + b) the chain rule has one factor for every step back:

    dL/dh_(t-1) = U^T diag(1 - h_t^2) dL/dh_t

Its norm grows at most by the largest singular value of U: below 1 it vanishes exponentially. Where tanh is in its
linear range the factor is U^T alone; over many steps its spectral radius counts: above 1 the norm explodes. An LSTM
adds a path whose factor is the forget gate, dL/dc_(t-1) = f * dL/dc_t + ..., a GRU one with its update gate, z.

Reference: Bengio et al. 1994, Learning long-term dependencies with gradient descent is difficult; Pascanu et al. 2013,
arXiv:1211.5063, sec. 2 (eq. 5 to 7: the chain rule; sec. 2.1: the conditions) and sec. 3.2 (clipping of the whole
gradient); Graves 2013, arXiv:1308.0850, sec. 2.1 (clipping within the backward pass).
"""

import math
from typing import NamedTuple

import numpy as np

from nn import GRUCell, LSTMCell, RNNCell
from nn.dispatch import array_module
from nn.init import orthogonal


class Flow(NamedTuple):
    """norms: for each state, "h" and for an LSTM "c", |dL/dh_t| for t = 0 .. T, (T + 1,); weight: |dL/dweight_hh|."""

    norms: dict[str, np.ndarray]
    weight: float

    @property
    def state(self) -> np.ndarray:
        """The norm of the gradient of the whole state, (T + 1,): h and c together."""
        return np.sqrt(sum(norm**2 for norm in self.norms.values()))


def gradient_flow(
    cell: RNNCell | LSTMCell | GRUCell, x: np.ndarray, dh: np.ndarray, max_norm: float = math.inf
) -> Flow:
    """Forward through x (T, N, D) from a state of zeros, backward from dL/dh_T = dh (N, H); L depends on h_T only.

    max_norm: at each step the gradient of the whole state is scaled down to this norm where it is greater, before it
    goes to the previous step. Adds to the gradients of the cell's parameters.
    """
    states, caches = [array_module(dh).zeros_like(dh) for _ in cell.states], []
    for step in x:
        states, cache = cell.forward(step, *states)
        states = _as_list(states)
        caches.append(cache)

    before = cell.weight_hh.grad.copy()
    gradients = [dh] + [array_module(dh).zeros_like(dh) for _ in cell.states[1:]]
    gradients = _clipped(gradients, max_norm)
    norms = [[_norm(g) for g in gradients]]
    for cache in reversed(caches):
        _, *gradients = cell.backward(tuple(gradients) if len(gradients) > 1 else gradients[0], cache)
        gradients = _clipped(gradients, max_norm)
        norms.append([_norm(g) for g in gradients])
    by_state = np.array(norms[::-1]).T
    return Flow(dict(zip(cell.states, by_state)), _norm(cell.weight_hh.grad - before))


def set_spectral_radius(cell: RNNCell, radius: float, rng: np.random.Generator) -> RNNCell:
    """Set weight_hh to `radius` times a random orthogonal matrix: its eigenvalues and singular values have this
    modulus. In place; returns the cell."""
    cell.weight_hh.value[...] = orthogonal(cell.weight_hh.value.shape, rng, np.float64, gain=radius)
    return cell


def spectral_radius(matrix: np.ndarray) -> float:
    """The largest modulus of an eigenvalue."""
    return float(abs(np.linalg.eigvals(matrix)).max())


def rate_per_step(norms: np.ndarray) -> float:
    """The factor by which norms (T + 1,) change at each step back: exp of the slope of their logarithm over T - t."""
    back = np.arange(len(norms))[::-1]
    return math.exp(np.polyfit(back, np.log(np.maximum(norms, 1e-300)), 1)[0])


def _norm(array):
    return math.sqrt(float((array.astype(np.float64) ** 2).sum()))


def _clipped(gradients, max_norm):
    norm = math.sqrt(sum(_norm(g) ** 2 for g in gradients))
    return [g * (max_norm / norm) for g in gradients] if norm > max_norm else gradients


def _as_list(states):
    return list(states) if isinstance(states, tuple) else [states]
