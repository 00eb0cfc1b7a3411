"""Blocks deleted and swapped, and gradients along single paths, against the unrolled sum of all paths."""

from itertools import chain, combinations

import numpy as np
import pytest

import nn
import vision
from nn.losses.classification import softmax_cross_entropy
from vision.classification.paths import Unrolled, kendall_tau, path_gradient, swapped

CLASSES = ("cat", "dog", "cow")


def tiny(name="resnet20_cifar", **options):
    model = vision.build(name, CLASSES, np.random.default_rng(3), **{"n": 2, "width": 2} | options)
    rng = np.random.default_rng(4)
    for parameter in model.parameters().values():
        if parameter.value.ndim == 1:
            parameter.value[...] += 0.2 * rng.standard_normal(parameter.value.shape)
    return model.astype(np.float64)


def images(n=2):
    return np.random.default_rng(1).standard_normal((n, 3, 8, 12))


def test_unrolled_is_the_same_network():
    model = tiny()
    unrolled, x = Unrolled(model.network), images()
    assert len(unrolled.blocks) == 6 and len(unrolled.layers) == 3 + 6 + 2
    np.testing.assert_array_equal(unrolled.without([])(x), model(x))
    np.testing.assert_array_equal(unrolled.reordered(range(6))(x), model(x))
    assert unrolled.same_shape() == [[0, 1], [3], [5]]


FORMS = {"A": {}, "B": {"shortcut": "B"}, "before": {"form": "pre_activation"}}


@pytest.mark.parametrize("form", FORMS)
def test_a_deleted_block_leaves_its_shortcut(form):
    """As if the last layer of F were 0: its scale and bias, or with pre-activation its convolution."""
    model, x = tiny(**FORMS[form]), images()
    got = Unrolled(model.network).without([0, 1, 2])(x)
    names = [f"{block}.{p}" for block in ("layer1.0", "layer1.1", "layer2.0") for p in ("bn2.weight", "bn2.bias")]
    for name in [name.replace("bn2", "conv2") for name in names[::2]] if form == "before" else names:
        model.parameters()[name].value[...] = 0
    np.testing.assert_allclose(got, model(x), rtol=1e-12)


def test_a_plain_net_loses_a_block_altogether():
    plain, x = tiny("plain20_cifar"), images()
    unrolled = Unrolled(plain.network)
    shorter = nn.Sequential(*(layer for i, layer in enumerate(unrolled.layers) if i != unrolled.blocks[3]))
    np.testing.assert_array_equal(unrolled.without([3])(x), shorter(x))
    with pytest.raises(ValueError, match="a plain block that changes the shape cannot be deleted"):
        unrolled.without([2])


def test_swapped_blocks_change_places():
    unrolled, x = Unrolled(tiny().network), images()
    one, two = (unrolled.layers[unrolled.blocks[number]] for number in (0, 1))
    got = unrolled.reordered([1, 0, 2, 3, 4, 5])
    np.testing.assert_array_equal(got[:5](x), one(two(unrolled.without([])[:3](x))))


def test_orders():
    """Kendall's tau: 1 in order, -1 reversed; one exchange of neighbours among n costs 2 of n (n - 1) / 2 pairs."""
    assert kendall_tau(range(7)) == 1 and kendall_tau(range(7)[::-1]) == -1
    assert kendall_tau([1, 0, 2, 3]) == pytest.approx(1 - 2 / 6)
    rng, moved = np.random.default_rng(0), set()
    for _ in range(50):
        order = swapped([[0], [1, 2, 3], [5, 6]], 7, 3, rng)
        assert sorted(order) == list(range(7)) and order[0] == 0 and order[4] == 4 and {*order[5:]} == {5, 6}
        moved.add(tuple(order))
    assert len(moved) == 6  # half of all orders of three times those of two: an odd number of exchanges
    assert swapped([[0, 1]], 2, 0, rng) == [0, 1]


@pytest.mark.parametrize("form", FORMS)
def test_the_gradients_of_all_paths_add_up(form, monkeypatch):
    """Sum over all 2^n subsets of blocks of the gradient along that path = the gradient (eq. 6 of the paper)."""
    model, x, found = tiny(n=1, **FORMS[form]), images(), []
    unrolled = Unrolled(model.network)
    _, dlogits = softmax_cross_entropy(model(x), np.array([2, 0]))

    class Noted:
        """In place of the array module: keeps dL/dx, of which path_gradient gives the norm."""

        @staticmethod
        def sqrt(squares):
            return np.sqrt(squares)

    def module(d):
        found.append(d)
        return Noted

    monkeypatch.setattr("vision.classification.paths.array_module", module)
    norms = {}
    for through in chain.from_iterable(combinations(range(3), k) for k in range(4)):
        norms[through] = path_gradient(unrolled, x, dlogits, through)
    stem, rest = (unrolled.without([])[part] for part in (slice(unrolled.blocks[0]), slice(unrolled.blocks[0], None)))
    _, cache = rest.forward(stem(x), training=False)
    np.testing.assert_allclose(sum(found), rest.backward(dlogits, cache), rtol=1e-9, atol=1e-14)
    assert len(found) == 8 and len({*norms.values()}) == 8
    assert norms[0, 2] == pytest.approx(np.linalg.norm(found[5].reshape(2, -1), axis=1).mean())


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="the network has no residual blocks"):
        Unrolled(vision.build("vgg_small", CLASSES, width=2, hidden=4).network)
    with pytest.raises(ValueError, match="zip"):
        Unrolled(tiny().network).reordered([0, 1])
