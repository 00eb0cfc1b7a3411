"""Additive attention: against loops, masks, keys projected once for many steps, bad input."""

import math

import numpy as np
import pytest

from nn.layers.attention import AdditiveAttention


def make(q, k, a, seed=0, **options):
    rng = np.random.default_rng([95, seed])
    layer = AdditiveAttention(q, k, a, **options).astype(np.float64)
    for parameter in layer.parameters().values():
        parameter.value[...] = rng.normal(size=parameter.value.shape)
    return layer


def naive(layer, query, keys, mask):
    """(context, weights) of one query (Q,) and its keys (L, K), one element at a time."""
    wq, wk, v = layer.weight_query.value, layer.weight_key.value, layer.weight_score.value
    scores = []
    for key, counts in zip(keys, mask):
        if counts:
            hidden = []
            for row in range(len(v)):
                total = 0.0 if layer.bias is None else layer.bias.value[row]
                total += sum(wq[row, i] * query[i] for i in range(len(query)))
                total += sum(wk[row, i] * key[i] for i in range(len(key)))
                hidden.append(math.tanh(total))
            scores.append(sum(a * b for a, b in zip(v, hidden)))
        else:
            scores.append(-math.inf)
    e = [math.exp(s) for s in scores]
    weights = [x / sum(e) if sum(e) else 0.0 for x in e]
    return [sum(w * key[i] for w, key in zip(weights, keys)) for i in range(keys.shape[1])], weights


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("n, length, q, k, a", [(3, 4, 2, 5, 6), (1, 7, 3, 2, 4), (4, 1, 2, 3, 5), (2, 3, 1, 1, 1)])
def test_equals_loops(n, length, q, k, a, masked, bias):
    rng = np.random.default_rng(96)
    layer = make(q, k, a, bias=bias)
    query, keys = rng.normal(size=(n, q)), rng.normal(size=(n, length, k))
    mask = rng.random((n, length)) < 0.6 if masked else None
    context, weights = layer(query, keys, mask)
    for i in range(n):
        wanted = naive(layer, query[i], keys[i], [True] * length if mask is None else mask[i])
        np.testing.assert_allclose(context[i], wanted[0], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(weights[i], wanted[1], rtol=1e-12)
    counting = np.ones(n, bool) if mask is None else mask.any(axis=1)
    np.testing.assert_allclose(weights.sum(axis=1), counting, rtol=1e-12)


def test_masked_keys_have_no_influence():
    rng = np.random.default_rng(97)
    layer, query, keys = make(2, 3, 4), rng.normal(size=(2, 2)), rng.normal(size=(2, 5, 3))
    mask = np.array([[True, True, False, True, False], [False] * 5])
    (context, weights), cache = layer.forward(query, keys, mask)
    assert not weights[~mask].any() and not context[1].any()
    dy = rng.normal(size=context.shape), rng.normal(size=weights.shape)
    _, dkeys, none, _ = layer.backward(dy, cache)
    assert none is None and not dkeys[~mask].any() and dkeys[mask].all()
    other = np.where(mask[:, :, None], keys, 100.0)
    assert all(np.array_equal(a, b) for a, b in zip(layer(query, other, mask), (context, weights)))
    alone = layer(query[:1], keys[:1, mask[0]])
    np.testing.assert_allclose(alone[0], context[:1], rtol=1e-12)
    np.testing.assert_allclose(alone[1], weights[:1, mask[0]], rtol=1e-12)


def test_large_scores_do_not_overflow():
    layer = make(2, 3, 4)
    layer.weight_score.value[...] = [1e4, 0, 0, 0]
    query, keys = np.zeros((1, 2)), np.random.default_rng(98).normal(size=(1, 5, 3))
    weights = layer(query, keys)[1]
    assert weights.max() == 1 and np.isfinite(weights).all() and weights.sum() == 1


def test_equal_scores_give_the_mean():
    layer = make(2, 3, 4)
    layer.weight_score.value[...] = 0
    keys = np.random.default_rng(99).normal(size=(2, 5, 3))
    context, weights = layer(np.ones((2, 2)), keys)
    np.testing.assert_allclose(weights, 0.2, rtol=1e-14)
    np.testing.assert_allclose(context, keys.mean(axis=1), rtol=1e-13)


def test_keys_projected_once_for_many_steps():
    """The decoding loop of the docstring gives what projecting anew at each step gives, gradients too."""
    rng = np.random.default_rng(100)
    layer, keys, mask = make(2, 3, 4), rng.normal(size=(3, 5, 3)), rng.random((3, 5)) < 0.7
    queries = rng.normal(size=(4, 3, 2))
    dcontexts, dweights = rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3, 5))

    plain, dqueries, dkeys = [], [], 0
    for query, *dy in zip(queries, dcontexts, dweights):
        y, cache = layer.forward(query, keys, mask)
        dquery, dk, _, dp = layer.backward(tuple(dy), cache)
        plain.append(y)
        dqueries.append(dquery)
        dkeys = dkeys + dk
        assert dp is None
    grads = {name: p.grad.copy() for name, p in layer.parameters().items()}

    layer.zero_grad()
    projected, c_keys = layer.project(keys)
    steps = [layer.forward(query, keys, mask, projected) for query in queries]
    dkeys_2, dprojected = 0, 0
    for (y, cache), first, dquery_first, *dy in reversed([*zip(steps, plain, dqueries, dcontexts, dweights)]):
        assert all(np.array_equal(a, b) for a, b in zip(y, first))
        dquery, dk, _, dp = layer.backward(tuple(dy), cache)
        np.testing.assert_allclose(dquery, dquery_first, rtol=1e-12)
        dkeys_2, dprojected = dkeys_2 + dk, dprojected + dp
    dkeys_2 = dkeys_2 + layer.project_backward(dprojected, c_keys)
    np.testing.assert_allclose(dkeys_2, dkeys, rtol=1e-11, atol=1e-13)
    for name, parameter in layer.parameters().items():
        np.testing.assert_allclose(parameter.grad, grads[name], rtol=1e-11, atol=1e-13, err_msg=name)


def test_gradients_of_one_output_alone():
    rng = np.random.default_rng(101)
    layer, query, keys = make(2, 3, 4), rng.normal(size=(2, 2)), rng.normal(size=(2, 5, 3))
    (context, weights), cache = layer.forward(query, keys)
    dcontext, dweights = rng.normal(size=context.shape), rng.normal(size=weights.shape)
    one, two, both = (layer.backward(dy, cache) for dy in ((dcontext, None), (None, dweights), (dcontext, dweights)))
    for a, b, c in zip(one[:2], two[:2], both[:2]):
        np.testing.assert_allclose(a + b, c, rtol=1e-12, atol=1e-14)


def test_empty():
    layer = make(2, 3, 4)
    for n, length in ((0, 5), (2, 0), (0, 0)):
        y, cache = layer.forward(np.zeros((n, 2)), np.zeros((n, length, 3)))
        assert y[0].shape == (n, 3) and y[1].shape == (n, length) and not y[0].any()
        dquery, dkeys, _, _ = layer.backward(y, cache)
        assert dquery.shape == (n, 2) and dkeys.shape == (n, length, 3) and not dquery.any()


def test_large_float32():
    """Above the sizes at which threads share the work."""
    rng = np.random.default_rng(102)
    layer = AdditiveAttention(30, 40, 64)
    arguments = rng.normal(size=(12, 30)).astype(np.float32), rng.normal(size=(12, 200, 40)).astype(np.float32)
    dy = rng.normal(size=(12, 40)).astype(np.float32), rng.normal(size=(12, 200)).astype(np.float32)
    y, cache = layer.forward(*arguments)
    small = [*y, *layer.backward(dy, cache)[:2]]
    layer.astype(np.float64)
    y, cache = layer.forward(*(a.astype(np.float64) for a in arguments))
    for a, b in zip(small, [*y, *layer.backward(tuple(d.astype(np.float64) for d in dy), cache)[:2]]):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_start():
    layer = AdditiveAttention(100, 64, 49, rng=np.random.default_rng(3))
    shapes = {name: p.value.shape for name, p in layer.parameters().items()}
    assert shapes == {"weight_query": (49, 100), "weight_key": (49, 64), "bias": (49,), "weight_score": (49,)}
    assert 0.09 < abs(layer.weight_query.value).max() <= 0.1 and 0.12 < abs(layer.weight_key.value).max() <= 0.125
    assert 0.12 < abs(layer.weight_score.value).max() <= 1 / 7 and not layer.bias.value.any()
    assert AdditiveAttention(2, 3, 4, bias=False).bias is None


def test_bad_input():
    layer, query, keys = AdditiveAttention(2, 3, 4), np.zeros((5, 2)), np.zeros((5, 6, 3))
    for arguments, error, message in [
        ((keys, query), ValueError, r"query must have shape \(N, 2\), got \(5, 6, 3\)"),
        ((query, keys[1:]), ValueError, r"keys must have shape \(N=5, L, 3\), got \(4, 6, 3\)"),
        ((query, keys[..., :2]), ValueError, r"keys must have shape \(N=5, L, 3\), got \(5, 6, 2\)"),
        ((query.astype(int), keys), TypeError, "query must be an array of floats, got int64"),
        ((query, keys, np.ones((5, 6))), TypeError, "mask must be an array of bools, got float64"),
        ((query, keys, [True]), TypeError, "mask must be an array of bools, got list"),
        ((query, keys, np.ones((5, 7), bool)), ValueError, r"mask must have shape \(N=5, L=6\), got \(5, 7\)"),
        ((query, keys, None, keys), ValueError, r"projected must have shape \(5, 6, 4\), got \(5, 6, 3\)"),
    ]:
        with pytest.raises(error, match=f"^AdditiveAttention: {message}"):
            layer.forward(*arguments)
    (context, weights), cache = layer.forward(query, keys)
    for dy, message in [
        (context, r"backward wants \(dcontext, dweights\), got ndarray"),
        ((context,), r"backward wants \(dcontext, dweights\), got a tuple of 1"),
        ((weights, None), r"dcontext must have shape \(5, 3\), got \(5, 6\)"),
        ((None, context), r"dweights must have shape \(5, 6\), got \(5, 3\)"),
    ]:
        with pytest.raises(ValueError, match=f"^AdditiveAttention: {message}"):
            layer.backward(dy, cache)
    with pytest.raises(ValueError, match=r"^AdditiveAttention: keys must have shape \(N, L, 3\), got \(5, 2\)"):
        layer.project(query)
    with pytest.raises(
        ValueError, match=r"^AdditiveAttention: dprojected must have shape \(5, 6, 4\), got \(5, 6, 3\)"
    ):
        layer.project_backward(keys, layer.project(keys)[1])
    for name, sizes in [("query_size", (0, 3, 4)), ("key_size", (2, 0, 4)), ("hidden_size", (2, 3, 0))]:
        with pytest.raises(ValueError, match=f"^AdditiveAttention: {name} must be a whole number >= 1, got 0"):
            AdditiveAttention(*sizes)
