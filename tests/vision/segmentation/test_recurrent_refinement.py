"""Recurrent refinement: unrolled by hand, receptive field, losses and gradients of all applications, even kernels."""

import numpy as np
import pytest

from nn import AvgPool2d, MaxPool2d
from nn.gradcheck import check_contract
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
from vision.segmentation.enlarge import Enlarge
from vision.segmentation.pixel_classifier import probabilities


def tiny(**options):
    return small(
        "recurrent_refinement_small",
        **{"width": 2, "kernel_size": 4, "layers": 2, "shrink": True, "batch_norm": False} | options,
    )


def test_parameters():
    """Sec. 4.1's 25 and 50 channels, 8x8 kernels, the 8 classes of Stanford Background beside the colours."""
    network = RecurrentRefinement(8, 3, rng=np.random.default_rng(0))
    assert count(network) == (11 * 64 * 25 + 25) + (25 * 64 * 50 + 50) + (50 * 8 + 8) == 98_083
    assert count(network) == count(RecurrentRefinement(8, 1, rng=np.random.default_rng(0)))  # weights are shared


def test_each_application_gets_the_last_prediction():
    """In its own size, and the image in that size, too: means of 4 x 4 pixels, of fewer at the border."""
    network = tiny(applications=3).network.astype(np.float64)
    x = normal(2, 3, 9, 14)
    all_logits, _ = network.scores(x)
    p, inputs = np.zeros((2, 3, 9, 14)), x
    for t, logits in enumerate(all_logits):
        small = network.net(np.concatenate([inputs, p], axis=1))
        np.testing.assert_allclose(network.enlarge[t].forward(small, (9, 14))[0], logits, rtol=1e-12)
        p, means = probabilities(small), np.zeros((2, 3, *small.shape[2:]))
        for i, j in np.ndindex(means.shape[2:]):
            means[:, :, i, j] = inputs[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean(axis=(2, 3))
        inputs = means
        assert p.shape[2:] == inputs.shape[2:] == [(3, 4), (1, 1), (1, 1)][t]
    np.testing.assert_array_equal(network(x), all_logits[-1])


def test_each_application_gets_it_in_the_image_s_size_if_nothing_shrinks():
    network = tiny(applications=3, shrink=False).network.astype(np.float64)
    x = normal(2, 3, 9, 14)
    all_logits, _ = network.scores(x)
    p = np.zeros((2, 3, 9, 14))
    for enlarge, logits in zip(network.enlarge, all_logits, strict=True):
        once = network.net(np.concatenate([x, p], axis=1))
        np.testing.assert_allclose(enlarge.forward(once, (9, 14))[0], logits, rtol=1e-12)
        p = probabilities(logits)
    assert abs(all_logits[0] - all_logits[1]).max() > 1e-3 < abs(all_logits[1] - all_logits[2]).max()


@pytest.mark.parametrize("applications, seen", [(1, 25), (2, 121)])
def test_the_receptive_field_grows_with_each_application(applications, seen):
    """8x8 kernels and 2x2 poolings, twice: a cell's receptive field is 25 pixels, in the second application 121."""
    network = RecurrentRefinement(2, applications, width=2, rng=np.random.default_rng(0)).astype(np.float64)
    for i, layer in enumerate(network.net):
        if isinstance(layer, MaxPool2d):  # whose gradient goes to one pixel of four
            network.net._layers[i] = AvgPool2d(2)
    network.enlarge = [AsItIs()] * applications
    (*_, small), caches = network.scores(0.1 * normal(1, 3, 192, 32))
    dsmall = np.zeros_like(small)
    dsmall[0, 0, small.shape[2] // 2, 0] = 1
    dx = network.scores_backward([None] * (applications - 1) + [dsmall], caches)
    rows = np.flatnonzero(abs(dx).sum(axis=(0, 1, 3)))
    assert rows[-1] - rows[0] + 1 == seen


class AsItIs:
    """Instead of Enlarge: scores of cells, not of pixels."""

    def forward(self, x, size, training=True):
        return x, None

    def backward(self, dy, cache):
        return dy


def test_one_application_by_hand():
    """Convolution, 2x2 pooling, tanh, twice, then 1x1."""
    network = tiny(applications=1).network.astype(np.float64)
    a, b, c = (network.net[i] for i in (0, 3, 6))
    x = normal(1, 3, 9, 14)
    y = np.concatenate([x, np.zeros((1, 3, 9, 14))], axis=1)
    y = c(np.tanh(pooled(b(np.tanh(pooled(a(y)))))))
    np.testing.assert_allclose(network(x), network.enlarge[0].forward(y, (9, 14))[0], rtol=1e-12)


@pytest.mark.parametrize("shrink, cell", [(True, 16), (False, 4)])
def test_interleaved_scores_are_those_of_shifted_images(shrink, cell):
    """A score for each cell / 2 pixels: the image, with zeros around, shifted so that a cell's middle comes there."""
    network = tiny(applications=2, shrink=shrink, interleave=2).network.astype(np.float64)
    h, w, step = 9, 18, cell // 2
    x, rows, columns = normal(2, 3, h, w), -(-h // cell), -(-w // cell)
    fine = np.zeros((2, 3, 2 * rows, 2 * columns))
    for i, j in np.ndindex(fine.shape[2:]):
        y0, x0 = (step * (at % 2) - step // 2 for at in (i, j))  # the copy's first pixel, in the image
        copy = np.zeros((2, 3, cell * rows, cell * columns))
        for row, column in np.ndindex(copy.shape[2:]):
            if 0 <= row + y0 < h and 0 <= column + x0 < w:
                copy[:, :, row, column] = x[:, :, row + y0, column + x0]
        small = [*network.applied(copy, False)][-1][0]
        fine[:, :, i, j] = small[:, :, i // 2, j // 2]
    np.testing.assert_allclose(network(x), Enlarge(step)(fine, (h, w)), rtol=1e-10)
    coarse = tiny(applications=2, shrink=shrink).network.astype(np.float64)
    np.testing.assert_array_equal(network.scores(x)[0][-1], coarse(x))  # training is as without


@pytest.mark.parametrize("shrink", [True, False])
def test_loss_goes_through_all_applications(shrink):
    """The gradient of the last loss through the scores of the first application is not 0; all losses add up."""
    model = tiny(applications=2, shrink=shrink).astype(np.float64)
    batch = normal(2, 3, 9, 14), np.random.default_rng(0).integers(-1, 3, (2, 9, 14))
    losses, (c_network, dlogits) = model.loss(batch, None)
    assert [*losses] == ["pixels_1", "pixels"]
    sums = []
    for chosen, caches in ((dlogits[:1], c_network[:1]), ((None, dlogits[1]), c_network), (dlogits, c_network)):
        model.zero_grad()
        model.network.scores_backward(chosen, caches)
        sums.append(model.parameters()["net.0.weight"].grad.copy())
    np.testing.assert_allclose(sums[0] + sums[1], sums[2], rtol=1e-9, atol=1e-12)


def test_patches_are_learned_at_the_middles_of_the_cells():
    """By hand: of a cell of 4 x 4 pixels, then 16 x 16, the four pixels around its middle."""
    model = tiny(applications=2, patches=True).astype(np.float64)
    x, labels = normal(2, 3, 18, 25), np.random.default_rng(0).integers(0, 3, (2, 18, 25))
    logits, _ = model.network.scores(x)
    wanted = {}
    for name, cell, y in zip(("pixels_1", "pixels"), (4, 16), logits):
        rows, columns = ([i for i in range(side) if i % cell in (cell // 2 - 1, cell // 2)] for side in (18, 25))
        pixels = [(n, i, j) for n in range(2) for i in rows for j in columns]
        wanted[name] = -np.mean([np.log(probabilities(y)[n, labels[n, i, j], i, j]) for n, i, j in pixels])
    losses, _ = model.loss((x, labels), None)
    assert losses == pytest.approx(wanted)
    assert wanted["pixels_1"] != pytest.approx(
        tiny(applications=2).astype(np.float64).loss((x, labels), None)[0]["pixels_1"]
    )


@pytest.mark.parametrize(
    "applications, shrink, batch_norm",
    [(1, True, False), (3, True, False), (3, False, False), (2, True, True), (3, False, True)],
)
def test_every_gradient_of_the_whole_model(applications, shrink, batch_norm):
    check_gradients(tiny(applications=applications, shrink=shrink, batch_norm=batch_norm), (9, 14), n=2)


def test_applications_share_convolutions_and_have_their_own_statistics():
    network = tiny(applications=2, shrink=False, batch_norm=True).network
    names = list(network.parameters())
    assert [name for name in names if name.startswith("net")] == list(tiny().network.parameters())
    assert [name for name in names if name.endswith("1.weight")] == ["norms.0.1.weight", "norms.1.1.weight"]
    network.scores(normal(2, 3, 12, 16).astype(np.float32))
    first, second = (network.state_dict()[f"norms.{t}.0.running_mean"] for t in (0, 1))
    assert abs(first - second).max() > 1e-3  # the second one also reads probabilities
    one, two = network.nets
    assert one[0] is two[0] and one[4] is two[4] and one[1] is not two[1]
    assert [name for name, p in network.parameters().items() if not p.trainable] == ["net.0.bias", "net.3.bias"]


@pytest.mark.parametrize("shrink", [True, False])
def test_gradient_of_the_images_and_contract(shrink):
    network = tiny(applications=2, shrink=shrink).network
    check_contract(network, (normal(2, 3, 9, 14),), (normal(1, 3, 5, 6),))
    check_image_gradient(network, (9, 14), [(0, 0, 0), (1, 4, 7), (2, 8, 13)])


@pytest.mark.parametrize("options", [{}, {"applications": 3, "shrink": False}, {"shrink": False, "batch_norm": True}])
def test_overfits_two_images(options):
    model = tiny(**{"applications": 2, "width": 6, "kernel_size": 5} | options)
    fallen, right = overfit(model, 60, size=64 if model.options.shrink else 32)
    assert fallen < 0.25 and right > 0.93


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="RecurrentRefinement: applications must be a whole number >= 1, got 0"):
        tiny(applications=0)
    with pytest.raises(ValueError, match=r"RecurrentRefinement: images must have shape \(N, 3, H, W\)"):
        tiny().network(normal(1, 1, 8, 8))
    with pytest.raises(ValueError, match="RecurrentRefinement: interleave must divide a cell's 16 pixels, got 3"):
        tiny(interleave=3)
