"""Batch normalisation over several processes is that of the whole batch."""

import numpy as np
import pytest

from nn import BatchNorm1d, BatchNorm2d, Conv2d, Sequential
from tests.vision.training.threads import in_threads
from vision.training.communicator import Communicator
from vision.training.sync_batch_norm import SyncBatchNorm2d, synchronise_batch_norm

RNG = np.random.default_rng(0)
X, DY = RNG.standard_normal((7, 3, 4, 5)), RNG.standard_normal((7, 3, 4, 5))


def layer(kind=BatchNorm2d, **options):
    made = kind(3, **options).astype(np.float64)
    if made.weight is not None:
        made.weight.value[...], made.bias.value[...] = [0.5, 2, -1], [1, 0, 3]
    return made


def of_shares(x, dy, bounds, kind=BatchNorm2d, **options):
    """(y, dx, dweight, dbias, running_mean, running_var) of the batch, computed in shares."""

    def work(others):
        norm, own = Sequential(layer(kind, **options)), slice(bounds[others.rank], bounds[others.rank + 1])
        assert synchronise_batch_norm(norm, others) == 1
        y, cache = norm.forward(x[own])
        dx, norm = norm.backward(dy[own], cache), norm[0]
        grads = (0, 0) if norm.weight is None else (norm.weight.grad, norm.bias.grad)
        return y, dx, *grads, norm.running_mean, norm.running_var

    shares = []
    for result, error in in_threads(len(bounds) - 1, work):
        if error:
            raise error
        shares.append(result)
    y, dx = (np.concatenate([share[k] for share in shares]) for k in (0, 1))
    for share in shares:
        np.testing.assert_array_equal(share[4], shares[0][4])
    return y, dx, *(sum(share[k] for share in shares) for k in (2, 3)), *shares[0][4:]


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"momentum": None}])
@pytest.mark.parametrize("bounds", [(0, 7), (0, 4, 7), (0, 1, 5, 7)])
def test_of_the_whole_batch(bounds, options):
    whole = layer(**options)
    y, cache = whole.forward(X)
    dx = whole.backward(DY, cache)
    got = of_shares(X, DY, bounds, **options)
    for a, b in zip(got[:2], (y, dx)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
    if whole.weight is not None:
        np.testing.assert_allclose(got[2], whole.weight.grad, rtol=1e-12)
        np.testing.assert_allclose(got[3], whole.bias.grad, rtol=1e-12)
    np.testing.assert_allclose(got[4], whole.running_mean, rtol=1e-12)
    np.testing.assert_allclose(got[5], whole.running_var, rtol=1e-12)


def test_of_vectors():
    whole = layer(BatchNorm1d)
    y, cache = whole.forward(X[:, :, 0, 0])
    got = of_shares(X[:, :, 0, 0], DY[:, :, 0, 0], (0, 3, 7), BatchNorm1d)
    np.testing.assert_allclose(got[0], y, rtol=0, atol=1e-13)
    np.testing.assert_allclose(got[1], whole.backward(DY[:, :, 0, 0], cache), rtol=0, atol=1e-13)


def test_the_gradient_is_that_of_differences_across_processes():
    """A change of one pixel in the first share changes the outputs of both."""
    _, dx, *_ = of_shares(X, DY, (0, 4, 7))
    step = 1e-6
    for index in ((0, 0, 0, 0), (3, 1, 2, 4), (6, 2, 3, 1)):
        moved = [X.copy(), X.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        high, low = ((of_shares(x, DY, (0, 4, 7))[0] * DY).sum() for x in moved)
        assert (high - low) / (2 * step) == pytest.approx(dx[index], rel=1e-6)


def test_one_value_in_one_process_is_enough_where_another_has_more():
    x = X[:2, :, :1, :1]
    y, *_ = of_shares(x, x, (0, 1, 2))
    np.testing.assert_allclose(y, layer().forward(x)[0], atol=1e-13)
    with pytest.raises(ValueError, match="SyncBatchNorm2d: more than one value a channel is needed in all processes"):
        of_shares(x[:1], x[:1], (0, 1))


def test_in_inference_and_frozen_it_is_the_plain_layer():
    norm, frozen = Sequential(layer()), Sequential(layer(frozen=True))
    for each, training in ((norm, False), (frozen, True)):
        before = each.forward(X, training=training)[0]
        synchronise_batch_norm(each, Communicator())
        assert isinstance(each[0], SyncBatchNorm2d)
        y, cache = each.forward(X, training=training)
        np.testing.assert_array_equal(y, before)
        assert each.backward(DY, cache).shape == X.shape


def test_other_layers_stay():
    net = Sequential(Conv2d(3, 3, 1), layer())
    synchronise_batch_norm(net, Communicator())
    assert type(net[0]) is Conv2d
