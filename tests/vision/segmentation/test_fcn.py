"""FCN: the counts of the authors' net.py, its crops derived again, the converted classifier, the stages, gradients."""

import numpy as np
import pytest

import vision
from nn import Adam, BatchNorm2d, Conv2d, Dropout, Sequential
from nn.gradcheck import check_contract, check_layer
from nn.io.checkpoint import write_checkpoint
from tests.vision.segmentation.systems import (
    CLASSES,
    check_gradients,
    check_image_gradient,
    count,
    normal,
    overfit,
    small,
    without_drawing,
)  # fmt: skip
from vision.backbones import vgg16_plan
from vision.backbones.convolutional import convolutional
from vision.classification import VGGNetwork
from vision.segmentation import FCN
from vision.segmentation.skips import BilinearInterpolation, learned_interpolation
from vision.training.saving import load_pretrained

STRIDES = (32, 16, 8)


def tiny(stride, **options):
    return small(f"fcn{stride}s_small", **{"width": 2, "hidden": 3, "score_std": 0.3, "dropout": 0.3} | options)


@pytest.mark.parametrize("stride, skips", [(32, 0), (16, 512 * 21 + 21), (8, 512 * 21 + 21 + 256 * 21 + 21)])
def test_parameters_of_the_published_net(monkeypatch, stride, skips):
    """ "134M" (table 1): VGG-16 without its last layer, with scores for 21 classes; then the skips' scores.

    Transposed convolutions between scores have 21 by 21 channels, 4x4 each. The last one, twice as wide as the
    stride, is fixed interpolation in the authors' net.py, and here a parameter only if it is to be learned.
    """
    without_drawing(monkeypatch)
    net = FCN(21, stride, rng=np.random.default_rng(0))
    ups = {32: 0, 16: 1, 8: 2}[stride] * 21 * 21 * 4 * 4
    coarse = 14_714_688 + (49 * 512 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 21 + 21)
    assert coarse == 134_346_581
    assert count(net) == coarse + skips + ups and round(count(net) / 1e6) == 134
    assert count(FCN(21, stride, learn_last=True, rng=np.random.default_rng(0))) - count(net) == (21 * 2 * stride) ** 2


def test_names():
    tail = [
        "score_pool4.weight", "score_pool4.bias", "score_pool3.weight", "score_pool3.bias", "upscore2.weight",
        "upscore_pool4.weight",
    ]  # fmt: skip
    assert [name for name in tiny(8).parameters() if name.startswith(("score", "up"))] == tail
    assert tiny(32).state_dict().keys() < tiny(16).state_dict().keys() < tiny(8).state_dict().keys()
    assert tiny(32, learn_last=True).state_dict().keys() - tiny(32).state_dict().keys() == {"upscore32.weight"}


def test_at_once_the_skips_are_scaled_and_interpolation_is_fixed():
    """The authors' voc-fcn8s-atonce/net.py: scale_pool4, scale_pool3, upscore2 and upscore_pool4 with a rate of 0."""
    stages, once = tiny(8, dropout=0.0).astype(np.float64), tiny(8, dropout=0.0, at_once=True).astype(np.float64)
    state = stages.state_dict()
    assert state.keys() - once.state_dict().keys() == {"upscore2.weight", "upscore_pool4.weight"}
    state["score_pool4.weight"] = state["score_pool4.weight"] * 0.01
    state["score_pool3.weight"] = state["score_pool3.weight"] * 0.0001
    once.load_state_dict({name: stages.state_dict()[name] for name in once.state_dict()})
    stages.load_state_dict(state)
    x = normal(1, 3, 40, 50)
    np.testing.assert_allclose(once(x), stages(x), rtol=1e-10)
    check_gradients(tiny(8, width=1, at_once=True), (32, 32), kinds=[(True, 1e-9)])


def test_heavy_learning_is_that_of_the_sum_of_the_losses():
    """One step of SGD with the recipe of fcn8s_at_once equals one of Caffe's solver, for an image of 500 x 375."""
    recipe, pixels = vision.MODELS["fcn8s_at_once"].recipe, 500 * 375
    gradient, weight = 3e-4 * pixels, 0.7  # of the sum of the losses
    theirs = 1e-10 * (gradient + 0.0005 * weight)
    ours = recipe["lr"] * (gradient / pixels + recipe["weight_decay"] * weight)
    assert ours == pytest.approx(theirs, rel=0.02)
    assert (recipe["momentum"], recipe["batch_size"], recipe["bias_rate"]) == (0.99, 1, 2)


class Map:
    """The centre of output i of a chain of layers in the image: scale * i + shift."""

    def __init__(self, scale=1.0, shift=0.0):
        self.scale, self.shift = scale, shift

    def conv(self, kernel, stride=1, padding=0):
        """A window of this output begins at stride * i - padding."""
        return Map(self.scale * stride, self.shift + self.scale * ((kernel - 1) / 2 - padding))

    def deconv(self, kernel, stride):
        """Input i is at the centre of outputs stride * i ... stride * i + kernel - 1."""
        return Map(self.scale / stride, self.shift - self.scale / stride * (kernel - 1) / 2)

    def start(self, finer):
        """The output of `finer` with the same centre as output 0 of this one."""
        assert self.scale == finer.scale
        return (self.shift - finer.shift) / finer.scale


def test_crops_as_derived_from_the_layers():
    """Caffe's coord_map by hand: 19 for FCN-32s, 5 and 27 for FCN-16s, 5, 9 and 31 for FCN-8s."""
    at, pools = Map().conv(3, padding=100), []
    for _ in range(5):
        at = at.conv(2, 2)  # 3x3 convolutions with padding 1 do not shift
        pools.append(at)
    fc6 = at.conv(7)
    up32, up2 = fc6.deconv(64, 32), fc6.deconv(4, 2)
    up_pool4 = up2.deconv(4, 2)
    image = Map()
    assert -up32.shift == 19  # output 19 is at pixel 0
    assert up2.start(pools[3]) == 5 and up_pool4.start(pools[2]) == 9
    assert -up2.deconv(32, 16).shift == 27 and -up_pool4.deconv(16, 8).shift == 31
    nets = {s: small(f"fcn{s}s", width=1, hidden=2).network for s in STRIDES}
    assert {s: (net.starts, net.final_start) for s, net in nets.items()} == {
        32: ([], 19), 16: ([5], 27), 8: ([5, 9], 31),
    }  # fmt: skip
    assert image.scale == up32.scale == 1


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("padding", ["published", "same"])
def test_any_size_gives_its_size(stride, padding):
    net = FCN(2, stride, width=1, hidden=2, padding=padding, rng=np.random.default_rng(0))
    for size in [(1, 1), (31, 33), (64, 47)]:
        assert net(np.zeros((1, 3, *size), np.float32)).shape == (1, 2, *size)


@pytest.mark.parametrize("padding", ["published", "same"])
def test_pool3_s_scores_are_at_their_pixels(padding):
    """Only a skip from pool3 that copies brightness: the scores of a bright spot have their peak at the spot."""
    net = FCN(1, 8, width=1, hidden=2, padding=padding, score_std=1.0, rng=np.random.default_rng(0))
    for name, parameter in net.parameters().items():
        if name.startswith("features"):
            parameter.value[...] = 0
            if name.endswith("weight"):
                parameter.value[0, 0, 1, 1] = 1
        elif name.startswith(("classifier.6", "score_pool4")):
            parameter.value[...] = 0
    net.skips[1].weight.value[0, :, 0, 0] = [1, 0, 0, 0]
    x = np.zeros((1, 3, 64, 80), np.float32)
    if padding == "same":
        x[0, 0, 24:32, 40:48] = 1  # one cell of stride 8
        rows, columns = (np.average(np.arange(n), weights=net(x)[0, 0].sum(axis=a)) for n, a in ((64, 1), (80, 0)))
        assert (rows, columns) == (pytest.approx(27.5, abs=1e-4), pytest.approx(43.5, abs=1e-4))
        return
    x[0, 0, 21:29, 37:45] = 1  # 99 + 21 = 120 = 15 * 8, 99 + 37 = 136
    rows, columns = (np.average(np.arange(n), weights=net(x)[0, 0].sum(axis=a)) for n, a in ((64, 1), (80, 0)))
    assert (rows, columns) == (pytest.approx(24.5, abs=1e-4), pytest.approx(40.5, abs=1e-4))


def test_every_pixel_is_between_two_cells():
    """With a padding of 16, FCN-32s interpolates between two cells along each axis up to the border."""
    net = FCN(2, 32, width=1, hidden=2, padding="same", rng=np.random.default_rng(0))
    weights = net.final.matrix(3)[net.final_start :][:64]  # 64 pixels and 32 zeros make 3 cells
    assert ((weights > 0).sum(axis=1) == 2).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_the_converted_classifier():
    """VGG-16 and FCN-32s with its weights: fc8 over 224 x 224 pixels equals the one cell of the scores."""
    rng = np.random.default_rng(0)
    classifier = VGGNetwork(6, vgg16_plan(1), hidden=4, rng=rng)
    net = FCN(6, 32, width=1, hidden=4, padding="same", rng=rng)
    net.load_state_dict(net.pretrained_names(classifier.state_dict()), strict=False)
    assert net.backbone["features.0"].weight.value is not classifier.backbone["features.0"].weight.value
    x = rng.random((1, 3, 224, 224), np.float32)
    fc6 = net.classifier[0]
    assert fc6.weight.value.shape == (4, 8, 7, 7)
    net.classifier[0].geometry = fc6.geometry._replace(padding=(0, 0))
    maps = net.classifier(net.backbone(x))
    np.testing.assert_allclose(maps[:, :, 0, 0], classifier(x), rtol=1e-5, atol=1e-6)
    assert maps.shape == (1, 6, 1, 1)


def test_plain_weights_are_loaded_into_convolutions():
    """VGG-16 has its convolutions at 0, 2, 5, ..., 28, with batch normalisation at 0, 3, 7, ..., 40."""
    classifier = VGGNetwork(6, vgg16_plan(1), hidden=4, rng=np.random.default_rng(0))
    for batch_norm in (True, False):
        net = FCN(6, 32, width=1, hidden=4, batch_norm=batch_norm, rng=np.random.default_rng(1))
        norms = [layer.weight.value.copy() for _, layer in net.layers() if isinstance(layer, BatchNorm2d)]
        net.load_state_dict(net.pretrained_names(classifier.state_dict()), strict=False)
        theirs, ours = ([la for la in n.backbone.body if isinstance(la, Conv2d)] for n in (classifier, net))
        assert len(theirs) == len(ours) == 13
        for a, b in zip(theirs, ours):
            np.testing.assert_array_equal(a.weight.value, b.weight.value)
            np.testing.assert_array_equal(a.bias.value, b.bias.value)
        after = [layer.weight.value for _, layer in net.layers() if isinstance(layer, BatchNorm2d)]
        assert len(after) == 13 * batch_norm and all((a == b).all() for a, b in zip(norms, after))


def test_weights_with_batch_normalisation_keep_their_names():
    net = FCN(6, 32, width=1, hidden=4, batch_norm=True, rng=np.random.default_rng(1))
    state = net.state_dict()
    assert all(net.pretrained_names(state)[name] is array for name, array in state.items())


def test_weights_of_another_classifier_are_left_out():
    """30 inputs are not 7 x 7 cells: they are not converted, and load_pretrained skips them."""
    arrays = {"classifier.0.weight": np.ones((5, 30)), "classifier.3.weight": np.ones((6, 5))}
    turned = convolutional(arrays)
    assert {name: array.shape for name, array in turned.items()} == {
        "classifier.0.weight": (5, 30), "classifier.3.weight": (6, 5, 1, 1),
    }  # fmt: skip


def test_dropout_follows_fc6_and_fc7():
    """Half of them, as in VGG-16 and the authors' net.py."""
    layers = [*vision.build("fcn32s", CLASSES, width=1, hidden=2).network.classifier]
    assert [(i, layer.p) for i, layer in enumerate(layers) if isinstance(layer, Dropout)] == [(2, 0.5), (5, 0.5)]


def test_bilinear_kernels():
    """The learned ones start with 1/16 [1 3 3 1]^T [1 3 3 1]; the last one is a fixed 16x16 triangle (sec. 4.3)."""
    model = tiny(8, learn_last=True)
    row = np.array([1, 3, 3, 1]) / 4
    for name in ("upscore2", "upscore_pool4"):
        weight = model.parameters()[f"{name}.weight"].value
        np.testing.assert_allclose(weight, np.eye(3)[:, :, None, None] * (row[:, None] * row))
    last = model.parameters()["upscore8.weight"].value
    triangle = np.array([*range(1, 16, 2), *range(15, 0, -2)]) / 16
    np.testing.assert_allclose(last, np.eye(3)[:, :, None, None] * (triangle[:, None] * triangle))


@pytest.mark.parametrize("kernel_size, stride, padding", [(64, 32, 0), (16, 8, 4), (7, 4, 0), (3, 2, 1)])
def test_fixed_interpolation_is_the_transposed_convolution(kernel_size, stride, padding):
    fixed = BilinearInterpolation(kernel_size, stride, padding)
    learned = learned_interpolation(2, kernel_size, stride, padding).astype(np.float64)
    x = normal(2, 2, 3, 4)
    y, cache = learned.forward(x)
    np.testing.assert_allclose(fixed(x), y, atol=1e-6)
    dy = normal(*y.shape, seed=3)
    np.testing.assert_allclose(fixed.backward(dy, x.shape), learned.backward(dy, cache), atol=1e-4)
    check_layer(BilinearInterpolation(5, 2, 1), x)
    check_contract(fixed, (x,), (x[:1, :, :2],))


@pytest.mark.parametrize("coarse, fine", [(32, 16), (16, 8)])
def test_a_finer_net_starts_as_the_coarser_one(tmp_path, coarse, fine):
    """Sec. 4.2: new layers are 0, "so that the net starts with unmodified predictions", with one more interpolation.

    Repeated linear interpolation is flatter at the peaks.
    """
    trained = tiny(coarse, width=1, batch_norm=False)
    write_checkpoint(tmp_path / "last.npz", {f"model/{k}": v for k, v in trained.state_dict().items()}, {})
    finer = vision.build(f"fcn{fine}s_small", CLASSES, width=1, hidden=3, batch_norm=False)
    before = finer.state_dict()["score_pool4.weight" if fine == 16 else "score_pool3.weight"]
    assert not before.any()
    loaded = load_pretrained(tmp_path / "last.npz", finer)
    assert set(loaded) == trained.state_dict().keys()
    x = 3 * normal(1, 3, 256, 256).astype(np.float32)
    before, after = trained(x), finer(x)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.99
    trained.network.final = Sequential(BilinearInterpolation(4, 2, 1), finer.network.final)
    np.testing.assert_allclose(after, trained(x), atol=1e-5)


@pytest.mark.parametrize("stride", STRIDES)
def test_every_gradient_of_the_whole_model(stride):
    check_gradients(tiny(stride, width=1), (33, 30))


def test_every_gradient_where_the_last_layer_learns():
    check_gradients(tiny(8, width=1, learn_last=True), (33, 30), kinds=[(True, 1e-9)])


def test_every_gradient_with_the_published_padding():
    model = tiny(8, width=1, hidden=8, padding="published")
    check_gradients(model, (9, 14), kinds=[(True, 1e-9)])


@pytest.mark.parametrize("padding", ["published", "same"])
def test_gradient_of_the_images(padding):
    network = tiny(8, padding=padding, dropout=0.0, batch_norm=False).network
    check_image_gradient(network, (9, 14), [(0, 0, 0), (1, 4, 7), (2, 8, 13)])


@pytest.mark.parametrize("stride", STRIDES)
def test_contract_of_the_network(stride):
    network = tiny(stride, width=1, dropout=0.0, batch_norm=False).network
    check_contract(network, (normal(2, 3, 33, 40),), (normal(1, 3, 16, 9),))


def test_overfits_two_images():
    fallen, right = overfit(tiny(8, width=4, hidden=16, dropout=0.0), 50, size=32)
    assert fallen < 0.2 and right > 0.95


@pytest.mark.parametrize("stride", [32, 16])
def test_coarse_nets_overfit_images_of_coarse_squares(stride):
    """Four squares of stride x stride pixels: a net of this stride cannot resolve finer ones."""
    labels = np.array([[[0, 1], [2, 0]], [[1, 1], [0, 2]]]).repeat(stride, axis=1).repeat(stride, axis=2)
    images = (labels[:, None] + 0.3 * normal(2, 3, 2 * stride, 2 * stride)).astype(np.float32)
    model = tiny(stride, width=2, hidden=16, dropout=0.0)
    optimiser, steps = Adam(model.parameters(), lr=0.03), 40
    for step in range(steps):
        model.zero_grad()
        _, cache = model.loss((images, labels), None)
        model.backward(cache)
        optimiser.step(1 - step / steps)
    for _ in range(20):
        model.loss((images, labels), None)
    assert (model.predict(images).argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: FCN(3, 4, rng=np.random.default_rng(0)), "FCN: stride must be one of 32, 16, 8, got 4"),
        (lambda: tiny(8, padding="valid"), "fcn8s_small: padding must be 'published' or 'same', got 'valid'"),
        (lambda: FCN(3, padding="valid", rng=None), "FCN: padding must be 'published' or 'same', got 'valid'"),
        (lambda: BilinearInterpolation(4, 2, -1), "BilinearInterpolation: padding must be a whole number >= 0"),
        (lambda: BilinearInterpolation(4, 2, 3)(normal(1, 1, 2, 2)), "2 pixels give 0 with kernel_size 4, stride 2"),
        (lambda: tiny(8, hidden=0), "FCN: hidden must be a whole number >= 1, got 0"),
        (lambda: tiny(8)(normal(1, 1, 8, 8)), r"FCN: images must have shape \(N, 3, H, W\), got \(1, 1, 8, 8\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
