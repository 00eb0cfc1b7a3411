"""U-Net: the paper's sizes and counts, gradients as a whole, the bridges, the weighted loss."""

import numpy as np
import pytest

import vision
from nn import Adam, Conv2d, Dropout
from nn.gradcheck import check_contract, check_model
from vision.segmentation import PixelClassifier, UNet


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def off_the_kinks(layer):
    """Biases that are not 0, so that no ReLU is at its kink."""
    rng = np.random.default_rng(4)
    for name, parameter in layer.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.2 * rng.standard_normal(parameter.value.shape)
    return layer


def small(in_channels=2, classes=3, **options):
    options = {"width": 2, "depth": 2} | options
    return off_the_kinks(PixelClassifier(UNet(in_channels, classes, rng=np.random.default_rng(3), **options)))


def batch(n, size, out, classes=3, weights=True):
    rng = np.random.default_rng(5)
    labels = rng.integers(-1, classes, (n, *out))
    return (normal(n, 2, *size), labels, rng.random((n, *out)))[: 2 + weights]


def test_the_paper_s_figure():
    """Fig. 1: 572 x 572 give 388 x 388, through 568, 280, 136, 64, 28 and up again through 52, 100, 196, 388."""
    net = UNet(width=1, rng=np.random.default_rng(0))
    assert net.output_size(572, 572) == (388, 388)
    shapes = []
    for i, block in enumerate([*net.contract, *net.expand]):
        for name, layer in block.children():
            if isinstance(layer, Conv2d):
                shapes.append((i, name, layer.weight.value.shape[:2]))
    y, cache = net.forward(np.zeros((1, 1, 188, 204), np.float32))
    assert y.shape == (1, 2, 4, 20) == (1, 2, *net.output_size(188, 204))
    assert [shape[2:] for shape in reversed(cache.bridges)] == [(184, 200), (88, 96), (40, 44), (16, 18)]
    assert [pair for _, _, pair in shapes[:10:2]] == [(1, 1), (2, 1), (4, 2), (8, 4), (16, 8)]
    assert [pair for _, _, pair in shapes[10::2]] == [(8, 16), (4, 8), (2, 4), (1, 2)]


def test_parameters_of_the_published_net():
    """31,030,658, counted from fig. 1: one grey channel in, two classes out, biases everywhere.

    3x3 convolutions C -> O have 9 C O + O, up-convolutions 2x2 4 C O + O, the last one 64 * 2 + 2. "In total the
    network has 23 convolutional layers" (sec. 2).
    """
    channels, wanted = [64, 128, 256, 512, 1024], 64 * 2 + 2
    for c, o in zip([1, *channels], channels):
        wanted += 9 * c * o + o + 9 * o * o + o
    for o in channels[:-1]:
        wanted += 4 * 2 * o * o + o + 9 * 2 * o * o + o + 9 * o * o + o
    assert wanted == 31_030_658
    parameters = UNet(rng=np.random.default_rng(0)).parameters()
    assert sum(p.value.size for p in parameters.values()) == wanted
    assert sum(name.endswith("weight") for name in parameters) == 23


def test_the_registered_net_is_the_published_one_for_three_channels():
    """1,152 weights more in the first convolution; every pixel of the image gets probabilities."""
    model = vision.build("unet", ("background", "nucleus"))
    assert sum(p.value.size for p in model.parameters().values()) == 31_030_658 + 2 * 64 * 9
    small = vision.build("unet", ("background", "nucleus"), width=2, depth=2, tile=16)
    assert small.predict(normal(1, 3, 21, 30)).shape == (1, 2, 21, 30)
    with pytest.raises(
        ValueError, match="unet_small: there is no option 'widht'; did you mean 'width'\\? All: short_side"
    ):
        vision.build("unet_small", "ab", widht=3)


def test_weights_start_with_variance_two_over_their_inputs():
    """Sec. 3: a 3x3 convolution after 64 channels has N = 576."""
    weight = UNet(width=64, depth=1, rng=np.random.default_rng(0)).contract[0][2].weight.value
    assert weight.shape == (64, 64, 3, 3) and weight.std() == pytest.approx((2 / 576) ** 0.5, rel=0.02)


def test_dropout_ends_the_contracting_path():
    """Sec. 3.1: "drop-out layers at the end of the contracting path"; the authors' prototxt: half, on two levels."""
    net = vision.build("unet", ("background", "nucleus"), width=1).network.network
    found = [[layer.p for layer in block if isinstance(layer, Dropout)] for block in (*net.contract, *net.expand)]
    assert found == [[], [], [], [0.5], [0.5], [], [], [], []]


@pytest.mark.parametrize(
    "options, size, out",
    [
        ({}, (44, 52), (4, 12)),
        ({"depth": 1}, (20, 22), (4, 6)),
        ({"padding": "same"}, (12, 16), (12, 16)),
        ({"padding": "same", "batch_norm": True}, (8, 12), (8, 12)),
        ({"padding": "same", "depth": 3, "dropout": 0.0}, (8, 16), (8, 16)),
    ],
)
@pytest.mark.parametrize("complex_step", [True, False])
def test_every_gradient_of_the_whole_model(options, size, out, complex_step):
    model = small(**options)
    errors = check_model(
        model, batch(2, size, out), complex_step=complex_step, tolerance=1e-9 if complex_step else 1e-6
    )
    assert set(errors) == set(model.parameters())


def test_contract_of_the_network():
    check_contract(small(dropout=0.0).network, (normal(2, 2, 44, 52),), (normal(1, 2, 44, 44),))


def test_gradient_of_the_images():
    """By differences at a few pixels; it is 0 for pixels outside the receptive field."""
    model, (images, *targets) = small(dropout=0.0), batch(1, (44, 52), (4, 12))
    model.astype(np.float64)
    _, cache = model.loss((images, *targets), np.random.default_rng(0))
    dimages = model.network.backward(cache.dlogits, cache.network)
    for index in [(0, 0, 22, 25), (0, 1, 0, 0), (0, 1, 43, 30)]:
        values = []
        for step in (1e-6, -1e-6):
            moved = images.copy()
            moved[index] += step
            values.append(model.loss((moved, *targets), np.random.default_rng(0))[0]["pixels"])
        assert dimages[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9)


def test_a_bridge_carries_the_middle():
    """With all other weights 0, the output at a pixel is that of the first block at the same position."""
    net = UNet(1, 1, width=1, depth=1, dropout=0.0, rng=np.random.default_rng(0))
    for parameter in net.parameters().values():
        parameter.value[...] = 0
    for block, channel in ((net.contract[0], 0), (net.expand[0], 1)):  # channel 1: from the bridge
        block[0].weight.value[0, channel, 1, 1] = 1
        block[2].weight.value[0, 0, 1, 1] = 1
    net.score.weight.value[...] = 1
    x = np.random.default_rng(2).random((1, 1, 20, 24))
    np.testing.assert_array_equal(net(x)[0, 0], x[0, 0, 8:-8, 8:-8])


def test_labels_of_the_images_size_are_cut_to_the_output():
    model, (images, labels, weights) = small(dropout=0.0), batch(2, (44, 52), (44, 52))
    whole, _ = model.loss((images, labels, weights), None)
    cut = labels[:, 20:24, 20:32], weights[:, 20:24, 20:32]
    assert model.loss((images, *cut), None)[0] == whole
    assert model.loss((images, labels), None)[0] == model.loss((images, cut[0]), None)[0] != whole


def test_predict_gives_probabilities():
    model, images = small(), normal(2, 2, 44, 52)
    p = model.predict(images)
    assert p.shape == (2, 3, 4, 12)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(p, model.predict(images))  # no dropout
    np.testing.assert_allclose(np.log(p[:, 0] / p[:, 1]), model(images)[:, 0] - model(images)[:, 1], rtol=1e-9)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: small(padding="zero"), "UNet: padding must be 'valid' or 'same', got 'zero'"),
        (lambda: small(depth=0), "UNet: depth must be a whole number >= 1, got 0"),
        (lambda: small()(normal(1, 2, 44, 50)), "UNet: W=50 does not fit 2 poolings with padding 'valid'; near are 48"),
        (lambda: small()(normal(1, 2, 40, 52)), "UNet: H=40 does not fit .* near are 44 and 48: pad or cut the images"),
        (lambda: small(depth=6)(normal(1, 2, 10, 10)), "H=10 does not fit 6 poolings .* near are 764 and 828: pad"),
        (lambda: small(padding="same")(normal(1, 2, 10, 12)), "H=10 does not fit .* 'same'; near are 8 and 12"),
        (lambda: small()(normal(1, 3, 44, 52)), r"UNet: images must have shape \(N, 2, H, W\), got \(1, 3, 44, 52\)"),
        (lambda: small().loss(batch(1, (44, 52), (2, 9)), None), r"centre: \(4, 12\) cannot be cut out of \(1, 2, 9\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_overfits_two_images():
    """A disc and a square in noise, separated from the background."""
    y, x = np.mgrid[:32, :32]
    labels = np.stack([(y - 12) ** 2 + (x - 20) ** 2 < 60, (abs(y - 18) < 8) & (abs(x - 14) < 8)]).astype(np.int64)
    images = (labels + 0.3 * np.random.default_rng(0).standard_normal(labels.shape))[:, None].astype(np.float32)
    model = PixelClassifier(UNet(1, 2, width=4, depth=2, padding="same", dropout=0.0, rng=np.random.default_rng(1)))
    optimiser, values = Adam(model.parameters(), lr=0.01), []
    for step in range(90):
        model.zero_grad()
        losses, cache = model.loss((images, labels), np.random.default_rng(step))
        model.backward(cache)
        optimiser.step()
        values.append(losses["pixels"])
    assert values[-1] < 0.08 * values[0]
    assert (model.predict(images).argmax(axis=1) == labels).mean() > 0.99


def test_specks_become_the_first_class():
    model = vision.build("unet_small", "abc", width=1, depth=1, smallest_object=4)
    best = np.zeros((6, 9), int)
    best[0, :3], best[2:4, 1:3], best[2, 5], best[3, 5:8] = 1, 2, 1, 2  # 3 pixels, 4, and 4 of two classes
    p = np.random.default_rng(0).random((3, 6, 9)) + 2 * (best == np.arange(3)[:, None, None])
    refined = model.refine(np.zeros((6, 9, 3), np.uint8), p)
    kept = best.copy()
    kept[0, :3] = 0
    np.testing.assert_array_equal(refined.argmax(axis=0), kept)
    np.testing.assert_array_equal(refined[0], p[0])
    assert vision.build("unet_small", "abc", width=1, depth=1).refine(None, p) is p
    with pytest.raises(ValueError, match="UNet: smallest_object must be at least 0 pixels, got -1"):
        vision.build("unet_small", "abc", smallest_object=-1)
