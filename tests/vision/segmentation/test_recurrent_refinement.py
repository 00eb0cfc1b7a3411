"""Recurrent refinement: unrolled by hand, loss and gradients through all applications, even kernels."""

import numpy as np
import pytest

from nn import Conv2d
from nn.gradcheck import check_contract, check_layer
from tests.vision.segmentation.systems import (
    check_gradients,
    check_image_gradient,
    count,
    normal,
    overfit,
    pooled,
    small,
)
from vision.segmentation import RecurrentRefinement
from vision.segmentation.pixel_classifier import probabilities
from vision.segmentation.recurrent_refinement import SameConv2d


def tiny(**options):
    return small("recurrent_refinement_small", **{"width": 2, "kernel_size": 4, "layers": 2} | options)


def test_parameters():
    """Sec. 4.1's 25 and 50 channels, 8x8 kernels, the 8 classes of Stanford Background beside the colours."""
    network = RecurrentRefinement(8, 3, rng=np.random.default_rng(0))
    assert count(network) == (11 * 64 * 25 + 25) + (25 * 64 * 50 + 50) + (50 * 8 + 8) == 98_083
    assert count(network) == count(RecurrentRefinement(8, 1, rng=np.random.default_rng(0)))  # weights are shared


def test_each_application_sees_what_the_last_one_said():
    network = tiny(applications=3).network.astype(np.float64)
    x = normal(2, 3, 9, 14)
    all_logits, _ = network.scores(x)
    p = np.zeros((2, 3, 9, 14))
    for logits in all_logits:
        once = network.net(np.concatenate([x, p], axis=1))
        np.testing.assert_allclose(network.enlarge.forward(once, (9, 14))[0], logits, rtol=1e-12)
        p = probabilities(logits)
    np.testing.assert_array_equal(network(x), all_logits[-1])
    assert abs(all_logits[0] - all_logits[1]).max() > 1e-3 < abs(all_logits[1] - all_logits[2]).max()


def test_one_application_by_hand():
    """Convolution, 2x2 pooling, tanh, twice, then 1x1."""
    network = tiny(applications=1).network.astype(np.float64)
    a, b, c = (network.net[i] for i in (0, 3, 6))
    x = normal(1, 3, 9, 14)
    y = np.concatenate([x, np.zeros((1, 3, 9, 14))], axis=1)
    y = c(np.tanh(pooled(b(np.tanh(pooled(a(y)))))))
    np.testing.assert_allclose(network(x), network.enlarge.forward(y, (9, 14))[0], rtol=1e-12)


def test_loss_goes_through_all_applications():
    """The gradient of the last loss alone, by way of the first application's logits, is not 0; all losses add up."""
    model = tiny(applications=2).astype(np.float64)
    batch = normal(2, 3, 9, 14), np.random.default_rng(0).integers(-1, 3, (2, 9, 14))
    losses, (c_network, dlogits) = model.loss(batch, None)
    assert [*losses] == ["pixels_1", "pixels"]
    name, sums = "net.0.weight", []
    for chosen in ((dlogits[0], None), (None, dlogits[1]), dlogits):
        model.zero_grad()
        if chosen[1] is None:  # as if there were one application
            network = RecurrentRefinement(3, 1, width=2, kernel_size=4, rng=np.random.default_rng(0))
            network.net = model.network.net
            network.scores_backward([dlogits[0]], c_network[:1])
        else:
            model.network.scores_backward(list(chosen), c_network)
        sums.append(model.parameters()[name].grad.copy())
    np.testing.assert_allclose(sums[0] + sums[1], sums[2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("applications", [1, 3])
def test_every_gradient_of_the_whole_model(applications):
    check_gradients(tiny(applications=applications), (9, 14), n=2)


def test_gradient_of_the_images_and_contract():
    network = tiny(applications=2).network
    check_contract(network, (normal(2, 3, 9, 14),), (normal(1, 3, 5, 6),))
    check_image_gradient(network, (9, 14), [(0, 0, 0), (1, 4, 7), (2, 8, 13)])


@pytest.mark.parametrize("kernel_size", [3, 4])
def test_convolutions_that_keep_the_size(kernel_size):
    layer = SameConv2d(2, 3, kernel_size, rng=np.random.default_rng(0)).astype(np.float64)
    x, before = normal(2, 2, 5, 7), kernel_size // 2
    after = kernel_size - 1 - before
    plain = Conv2d(2, 3, kernel_size).astype(np.float64)
    plain.load_state_dict(layer.state_dict())
    padded = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    np.testing.assert_allclose(layer(x), plain(padded), rtol=1e-12)
    check_layer(layer, x)
    check_contract(layer, (x,), (x[:1, :, :3],))


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=6, kernel_size=5, applications=3), 60, lr=0.02)
    assert fallen < 0.25 and right > 0.93


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="RecurrentRefinement: applications must be a whole number >= 1, got 0"):
        tiny(applications=0)
    with pytest.raises(ValueError, match=r"RecurrentRefinement: images must have shape \(N, 3, H, W\)"):
        tiny().network(normal(1, 1, 8, 8))
