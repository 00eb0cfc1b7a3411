"""SegNet: the public counts, gradients as a whole, torchvision's names, the mirrored decoder."""

import numpy as np
import pytest

from nn import Conv2d, save_state
from nn.gradcheck import check_contract, check_model
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
from vision.classification import VGGNetwork
from vision.segmentation import SegNet
from vision.segmentation.encoder_decoder import mirrored
from vision.training.saving import load_pretrained


@pytest.mark.parametrize("classes, wanted", [(20, 29_454_548), (11, 29_449_355)])
def test_parameters_of_the_published_net(monkeypatch, classes, wanted):
    """Without the last convolution 29,443,008, as others' SegNets have, too.

    Two public summaries: 29,447,047 with two last convolutions to 2 and 5 channels, of 1,154 and 2,885 parameters
    (jaeoh2/Road-Lane-Instance-Segmentation-PyTorch, README); 29,454,548 with one to 20, of 11,540. The encoder has
    14.7 million (Badrinarayanan et al. 2017, sec. 3).
    """
    without_drawing(monkeypatch)
    net = SegNet(classes, rng=np.random.default_rng(0))
    assert count(net) == 29_443_008 + 577 * classes == wanted
    assert 29_447_047 - 1_154 - 2_885 == 29_443_008
    assert round(count(net.backbone) / 1e6, 1) == 14.7
    convolutions = [layer for _, layer in net.layers() if isinstance(layer, Conv2d)]
    assert len(convolutions) == 26


def test_the_decoder_mirrors_the_encoder(monkeypatch):
    """Channels by the authors' segnet_train.prototxt: conv5_3_D ... conv1_1_D."""
    without_drawing(monkeypatch)
    net = SegNet(11, rng=np.random.default_rng(0))
    outputs = [[layer.out_channels for layer in decoder if isinstance(layer, Conv2d)] for decoder in net.decoders]
    assert outputs == [[512, 512, 512], [512, 512, 256], [256, 256, 128], [128, 64], [64]]
    assert mirrored(vgg16_plan(1, 2)) == [[(2, 2), (2, 1)], [(1, 1)]]


@pytest.mark.parametrize("name", ["segnet", "segnet_basic"])
def test_the_loss_is_divided_by_the_pixels(name):
    """As in the authors' Caffe: with median-frequency weights, whose mean over CamVid's pixels is about 0.5."""
    options = {"width": 2, "depth": 2, "class_weights": [0.5, 1, 2]} | ({"kernel_size": 3} if "basic" in name else {})
    model = small(name, **options)
    images, labels = normal(2, 3, 16, 16).astype(np.float32), np.random.default_rng(1).integers(-1, 3, (2, 16, 16))
    (value,) = model.loss((images, labels), None)[0].values()
    logits, _ = model.forward(images)
    weights = model.class_weights[np.maximum(labels, 0)]
    p = np.take_along_axis(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), np.maximum(labels, 0)[:, None], 1)
    each = -np.log(p[:, 0]) * weights * (labels >= 0)
    assert value == pytest.approx(each.sum() / (labels >= 0).sum(), rel=1e-4)


def test_names_are_those_of_vgg16_bn():
    convolutions = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    names = [f"features.{i + j}.{p}" for i in convolutions for j in (0, 1) for p in ("weight", "bias")]
    parameters = small("segnet", width=1, class_weights=None).parameters()
    assert [name for name in parameters if name.startswith("features")] == names
    assert not parameters["features.0.bias"].trainable and parameters["features.1.bias"].trainable


@pytest.mark.parametrize("name", ["segnet", "deconvnet"])
def test_weights_of_the_plain_vgg16_are_loaded_into_convolutions(name, tmp_path):
    """Its features.28 is the last convolution, here features.40; features.28 is a batch normalisation."""
    plain = VGGNetwork(5, vgg16_plan(2), hidden=4, rng=np.random.default_rng(0))
    save_state(plain.state_dict(), tmp_path / "vgg16.npz")
    options = {"depth": 5, "width": 2} | ({"hidden": 4, "bottleneck": 7} if name == "deconvnet" else {})
    model = small(f"{name}_small", **options)
    before = {key: p.value.copy() for key, p in model.parameters().items()}
    loaded = load_pretrained(tmp_path / "vgg16.npz", model)
    indices = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    features = [f"features.{i}.{p}" for i in indices for p in ("weight", "bias")]
    assert [key for key in loaded if key.startswith("features")] == features
    after = {key: p.value for key, p in model.parameters().items()}
    for wanted, key in zip(plain.backbone.parameters().values(), features):
        np.testing.assert_array_equal(after[key], wanted.value)
    assert all((after[key] == before[key]).all() for key in before if key not in loaded)
    shallow = small("segnet_small", depth=2, width=2)
    assert (
        len(load_pretrained(tmp_path / "vgg16.npz", shallow)) == 8
    )  # weights of layers that the net does not have are left out


@pytest.mark.parametrize("size", [(8, 12), (9, 11)])
def test_every_gradient_of_the_whole_model(size):
    check_gradients(small("segnet_small", width=2, depth=2), size)


def test_every_gradient_with_five_blocks():
    """Complex steps only: some of the 26 layers has a kink within any finite difference."""
    model = small("segnet_small", width=1, depth=5)
    batch = normal(1, 3, 33, 37), np.random.default_rng(5).integers(-1, len(CLASSES), (1, 33, 37))
    assert max(check_model(model, batch, tolerance=1e-9).values()) < 1e-9


def test_gradient_of_the_images():
    check_image_gradient(small("segnet_small", width=2, depth=2).network, (9, 12), [(0, 0, 0), (1, 4, 7), (2, 8, 11)])


def test_contract_of_the_network():
    check_contract(small("segnet_small", width=2, depth=2).network, (normal(2, 3, 9, 12),), (normal(1, 3, 7, 8),))


def test_a_maximum_returns_to_its_position():
    """One block, all filters the identity: the output is the image where it is the maximum of its window, else 0."""
    net = SegNet(3, width=3, depth=1, rng=np.random.default_rng(0))
    for layer in (layer for _, layer in net.layers() if isinstance(layer, Conv2d)):
        layer.weight.value[...] = 0
        layer.weight.value[range(3), range(3), 1, 1] = 1
    x = np.random.default_rng(1).permutation(72).reshape(1, 3, 4, 6) + 1.0
    wanted = np.where(x == x.reshape(1, 3, 2, 2, 3, 2).max(axis=(3, 5)).repeat(2, 2).repeat(2, 3), x, 0)
    np.testing.assert_allclose(net(x), wanted, rtol=1e-4)  # batch normalisation divides by sqrt(1 + 1e-5)


def test_overfits_two_images():
    fallen, right = overfit(small("segnet_small", width=8, depth=2), 60, lr=0.02)
    assert fallen < 0.15 and right > 0.95


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: small("segnet_small", width=0), "SegNet: width must be a whole number >= 1, got 0"),
        (lambda: small("segnet_small", depth=6), "a VGG has 5 poolings, depth must be in 1 .. 5, got 6"),
        (lambda: small("segnet", size=3), "segnet: there is no option 'size'; .*: short_side"),
        (lambda: small("segnet_small", width=1)(normal(1, 4, 8, 8)), r"SegNet: images must have shape \(N, 3, H, W\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
