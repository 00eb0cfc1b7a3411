"""SegNet-Basic and the decoders of table 1: counts of the paper, gradients, the rule of each variant."""

import numpy as np
import pytest

import vision
from nn import BatchNorm2d, Conv2d, LocalResponseNorm
from nn.gradcheck import check_contract
from tests.vision.segmentation.systems import check_gradients, check_image_gradient, count, normal, overfit, small
from vision.segmentation import DECODERS, SegNetBasic

# Millions of parameters in table 1 of Badrinarayanan et al. 2017, all multiples of 0.025; what is counted here.
TABLE_1 = {
    "bilinear": (0.625, 612_758),
    "segnet": (1.425, 1_416_075),
    "segnet_addition": (1.425, 1_416_075),
    "segnet_single_channel": (0.625, 625_803),
    "fcn": (0.65, 646_000),
    "fcn_no_addition": (0.65, 643_822),
    "fcn_no_reduction": (1.625, 1_661_835),
    "fcn_no_addition_no_reduction": (1.625, 1_661_835),
}


def basic(decoder, **options):
    return small("segnet_basic_small", **{"decoder": decoder, "width": 2, "kernel_size": 3, "depth": 3} | options)


@pytest.mark.parametrize("decoder", DECODERS)
def test_parameters_beside_the_paper_s(decoder):
    """For CamVid's 11 classes, each within 2.5 per cent of the rounded figure of the paper.

    Encoder: 7x7 convolutions from 3 and three times from 64 to 64 channels, and 2 x 64 of batch normalisation each.
    Decoders: four of them with 7x7 convolutions of 64 by 64, or 64 alone, and batch normalisation; or four 8x8
    transposed convolutions of 11 or 64 channels, with 1x1 reductions from 64 to 11, all of them batch-normalised; a 1x1
    classifier after 64 channels.
    """
    published, wanted = TABLE_1[decoder]
    encoder, norm, classifier = 49 * 64 * (3 + 3 * 64) + 4 * 128, 4 * 128, 64 * 11 + 11
    reduction = 64 * 11 + 2 * 11
    by_hand = (
        encoder
        + {
            "bilinear": reduction,
            "segnet": 4 * 49 * 64 * 64 + norm + classifier,
            "segnet_addition": 4 * 49 * 64 * 64 + norm + classifier,
            "segnet_single_channel": 4 * 49 * 64 + norm + classifier,
            "fcn": 4 * (64 * 11 * 11 + 2 * 11) + 4 * reduction,
            "fcn_no_addition": 4 * (64 * 11 * 11 + 2 * 11) + reduction,
            "fcn_no_reduction": 4 * 64 * 64 * 64 + norm + classifier,
            "fcn_no_addition_no_reduction": 4 * 64 * 64 * 64 + norm + classifier,
        }[decoder]
    )
    found = count(SegNetBasic(11, decoder, rng=np.random.default_rng(0)))
    assert found == by_hand == wanted
    assert found / 1e6 == pytest.approx(published, rel=0.025)


def test_as_published():
    """7x7 everywhere, no biases except the classifier's, LRN first, no ReLU in the decoders."""
    net = SegNetBasic(11, rng=np.random.default_rng(0))
    convolutions = {name: layer for name, layer in net.layers() if isinstance(layer, Conv2d)}
    assert [layer.weight.value.shape[2] for layer in convolutions.values()] == [7] * 8 + [1]
    assert [name for name, layer in convolutions.items() if layer.bias is not None] == ["classifier"]
    assert [type(layer) for decoder in net.filters for layer in decoder] == 4 * [Conv2d, BatchNorm2d]
    assert isinstance(net.norm, LocalResponseNorm)
    assert (net.norm.size, net.norm.alpha, net.norm.beta) == (5, 1e-4, 0.75)


def test_pixels_are_not_scaled():
    """0 .. 255, for local response normalisation to divide; the small one's are centred."""
    model = vision.build("segnet_basic", "ab", width=2)
    assert (model.preprocess.mean, model.preprocess.std) == ((0, 0, 0), (1, 1, 1))
    assert vision.build("segnet_basic_small", "ab", width=2).preprocess.std == (1, 1, 1)


def test_context_of_106_pixels():
    """Sec. 3.1: a pixel of the deepest map sees 106 x 106 pixels of the image, here traced back by gradients."""
    net = SegNetBasic(2, "bilinear", width=1, rng=np.random.default_rng(0))
    x = 1 + np.random.default_rng(1).random((1, 3, 160, 160))
    for encoder in net.encoders:
        encoder[0].weight.value[...] = 1 / 49
    maps, caches = x, []
    for encoder in net.encoders:  # the sum of each window instead of the maximum, whose gradient goes to one pixel
        y, c = encoder.forward(maps, training=False)
        caches.append((encoder, c))
        maps = y.reshape(1, 1, y.shape[2] // 2, 2, y.shape[3] // 2, 2).sum(axis=(3, 5))
    dx = np.zeros(maps.shape)
    dx[0, 0, 5, 5] = 1
    for encoder, c in reversed(caches):
        dx = encoder.backward(dx.repeat(2, axis=2).repeat(2, axis=3), c)
    seen = np.abs(dx).sum(axis=(0, 1)) > 0
    assert (seen.any(axis=0).sum(), seen.any(axis=1).sum()) == (106, 106)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_gradient_of_the_whole_model(decoder):
    check_gradients(basic(decoder), (9, 14))


@pytest.mark.parametrize("decoder", ["segnet_addition", "fcn"])
def test_gradient_of_the_images(decoder):
    check_image_gradient(basic(decoder).network, (9, 12), [(0, 0, 0), (1, 4, 7), (2, 8, 11)])


@pytest.mark.parametrize("decoder", DECODERS)
def test_contract_of_the_network(decoder):
    check_contract(basic(decoder, depth=2).network, (normal(2, 3, 9, 12),), (normal(1, 3, 7, 8),))


@pytest.mark.parametrize("decoder", DECODERS)
def test_overfits_two_images(decoder):
    fallen, right = overfit(basic(decoder, width=8, depth=2), 70, lr=0.03, scale=60)
    assert fallen < 0.2 and right > 0.95


def test_addition_adds_the_pooled_map():
    """With the decoder's filters 0, the scores are the classifier's of the added map."""
    plain, added = basic("segnet", depth=2), basic("segnet_addition", depth=2)
    for model in (plain, added):
        model.network.filters[0][0].weight.value[...] = 0  # the deepest decoder gives only its bias
        model.network.filters[1][0].weight.value[...] = 0
        model.network.filters[1][0].weight.value[range(2), range(2), 1, 1] = 1
    x = 100 * normal(1, 3, 8, 8)
    net, pooled = added.network, []
    y = net.norm(x)
    for encoder in net.encoders:
        (y, indices), _ = net.pool.forward(encoder(y))
        pooled.append((y, indices))
    for model in (plain, added):
        net = model.network
        bias = net.filters[0][1].bias.value[:, None, None]
        inside = np.broadcast_to(bias, pooled[0][0].shape) + (pooled[0][0] if model is added else 0)
        wanted = net.classifier(net.filters[1](net.ups[1](inside, pooled[0][1])))
        np.testing.assert_allclose(model(x), wanted, rtol=1e-6)


def test_single_channel_filters_convolve_only_their_own_map():
    net = SegNetBasic(3, "segnet_single_channel", width=4, depth=1, rng=np.random.default_rng(0))
    conv = net.filters[0][0]
    x = normal(1, 4, 6, 7)
    before = conv(x)
    x[:, 2] += 1
    assert [bool((a != b).any()) for a, b in zip(before[0], conv(x)[0])] == [False, False, True, False]


def test_without_addition_the_first_maps_do_not_reach_the_scores():
    """FCN-Basic's scores change with the reduction of a shallow map, its NoAddition has no such reduction."""
    net = basic("fcn").network
    x = 50 * normal(1, 3, 12, 12)
    before = net(x)
    net.reduce[0][1].bias.value += np.arange(3.0)
    assert np.abs(net(x) - before).max() > 1e-3
    assert [len([*layer.layers()]) for layer in basic("fcn_no_addition").network.reduce[:2]] == [1, 1]
    assert count(basic("fcn_no_addition"), lambda name: name.startswith("reduce.")) == 2 * 3 + 2 * 3


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: basic("unet"), "segnet_basic_small: decoder must be 'bilinear' or 'segnet' or .*, got 'unet'"),
        (lambda: SegNetBasic(3, "unet", rng=None), "SegNetBasic: decoder must be one of bilinear, segnet, .* 'unet'"),
        (lambda: basic("fcn", unpool="rubbish"), "unpool must be 'max' or 'nearest' or .*, got 'rubbish'"),
        (lambda: SegNetBasic(3, unpool="x", rng=None), "SegNetBasic: unpool must be one of max, nearest, .*, got 'x'"),
        (lambda: basic("segnet", kernel_size=4), "SegNetBasic: kernel_size must be odd, got 4"),
        (lambda: basic("segnet", width=0), "SegNetBasic: width must be a whole number >= 1, got 0"),
        (lambda: basic("segnet")(normal(1, 1, 8, 8)), r"SegNetBasic: images must have shape \(N, 3, H, W\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
