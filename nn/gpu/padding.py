"""What LSTM, GRU and RNN share on a GPU: for each step a matrix product and a kernel (a GRU without reset_after: two).

The product of a step with U is added in the kernel of the step that reads it.

The padding of sequences of unequal length stays, since the host does not know lengths that are on the GPU, and would
have to wait to learn them. A sequence that has no step t keeps its state in it. Rows of padding take part in the
products, with gradients of 0. A length outside 0 .. T cannot be reported either: it makes its sequence NaN.
"""

from nn.dispatch import array_module
from nn.gpu.kernels import launch


def clear_padding(x, lengths):
    """x (T, N, D), contiguous, and 0 where a sequence has ended."""
    x = array_module(x).ascontiguousarray(x)
    if lengths is None:
        return x
    y = array_module(x).empty(x.shape, x.dtype)
    launch("padding", "clear_padding", x.size, x.dtype, x, lengths, y, x.size, *x.shape)
    return y


def affine(x, weight, *biases):
    """x @ weight.T + biases, one matrix product for all rows."""
    y = x @ weight.value.T
    y += sum((b.value for b in biases[1:]), biases[0].value)
    return y


def affine_backward(da, x, weight, *biases):
    """dx of affine, for da; adds to the gradients of weight and biases."""
    weight.grad += da.T @ x
    dbias = da.sum(axis=0)
    for bias in biases:
        bias.grad += dbias
    return da @ weight.value


def previous(states, first, reverse):
    """(T, N, H): the state that each step started from: that of the step before, or the first of them, (N, H).

    states (T, N, H) are those after each step.
    """
    if len(states) == 0:
        return states
    parts = [states[1:], first[None]] if reverse else [first[None], states[:-1]]
    return array_module(states).concatenate(parts)


def in_order(steps, reverse):
    """The steps 0 .. T - 1 in the order in which they are taken."""
    return range(steps)[::-1] if reverse else range(steps)


def flat(x):
    """x (T, N, D) as rows (T * N, D)."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])
