"""WeightedL1 against explicit sums, each with each, and with the cross entropy of a verifying network in PyTorch."""

import math

import numpy as np
import pytest

from nn import WeightedL1, binary_cross_entropy_with_logits

RNG = np.random.default_rng(71)


def example(n, d, bias=True):
    layer = WeightedL1(d, bias, rng=RNG).astype(np.float64)
    if bias:
        layer.bias.value = RNG.normal(size=1)
    return layer, *RNG.normal(size=(2, n, d))


def naive(layer, x1, x2):
    """Of two vectors."""
    terms = [w * abs(a - b) for w, a, b in zip(layer.weight.value, x1, x2, strict=True)]
    return math.fsum(terms) + (layer.bias.value[0] if layer.bias else 0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n, d", [(4, 3), (1, 6), (0, 2)])
def test_equals_the_sums(n, d, bias):
    layer, x1, x2 = example(n, d, bias)
    np.testing.assert_allclose(layer(x1, x2), [naive(layer, a, b) for a, b in zip(x1, x2)], rtol=1e-12)
    each = [[naive(layer, a, b) for b in x2] for a in x1[: n - 1]]
    np.testing.assert_allclose(layer.between(x1[: n - 1], x2), np.reshape(each, (max(n - 1, 0), n)), rtol=1e-12)


def test_equal_vectors_have_the_bias_alone_and_no_gradient():
    layer, x, _ = example(3, 4)
    y, cache = layer.forward(x, x)
    np.testing.assert_array_equal(y, np.repeat(layer.bias.value, 3))
    dx1, dx2 = layer.backward(np.ones(3), cache)
    assert not dx1.any() and not dx2.any() and not layer.weight.grad.any() and layer.bias.grad == 3


def test_the_loss_of_a_verifying_network_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    layer, x1, x2 = example(8, 5)
    similar = RNG.integers(0, 2, 8).astype(np.float64)
    y, cache = layer.forward(x1, x2)
    value, dy = binary_cross_entropy_with_logits(y, similar)
    gradients = *layer.backward(dy, cache), layer.weight.grad, layer.bias.grad
    leaves = [torch.tensor(a, requires_grad=True) for a in (x1, x2, layer.weight.value, layer.bias.value)]
    a, b, weight, bias = leaves
    p = torch.sigmoid((a - b).abs() @ weight + bias)
    expected = torch.nn.functional.binary_cross_entropy(p, torch.tensor(similar))
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_bad_input():
    layer, x1, x2 = example(3, 4)
    with pytest.raises(ValueError, match=r"WeightedL1: x1 must have shape \(N, 4\), got \(3, 3\)"):
        layer(x1[:, :3], x2)
    with pytest.raises(ValueError, match=r"WeightedL1: x2 must have shape \(3, 4\), got \(2, 4\)"):
        layer(x1, x2[:2])
    with pytest.raises(ValueError, match="WeightedL1: in_features"):
        WeightedL1(0)
