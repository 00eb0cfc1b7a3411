"""AlexNet in both forms: gradients, the papers' sizes, torchvision's and Caffe's names, the published convolutions."""

import numpy as np
import pytest

import nn
import vision
from nn.gradcheck import check_contract, check_model
from tests.vision.classification.helpers import normal, off_the_kinks
from tests.vision.published import shared
from vision.backbones import AlexNet
from vision.training.saving import load_pretrained

CLASSES = ("cat", "dog", "cow", "hen", "ant")
NAMES = ("alexnet_2012", "alexnet")


def tiny(name, **options):
    return vision.build(name, CLASSES, np.random.default_rng(3), **{"width": 4, "hidden": 5} | options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("complex_step", [True, False])
def test_every_gradient_of_the_whole_model(name, complex_step):
    model = off_the_kinks(tiny(name))
    batch = normal(2, 3, 63, 67), np.array([4, 0])
    errors = check_model(model, batch, complex_step=complex_step, tolerance=1e-10 if complex_step else 1e-6)
    assert set(errors) == set(model.parameters())


@pytest.mark.parametrize("columns", [1, 2])
def test_gradient_of_the_images_and_contract_of_the_backbone(columns):
    """The gradient along a random direction, by a complex step; the images have too many pixels for each of them."""
    backbone = off_the_kinks(AlexNet(columns, 4, rng=np.random.default_rng(0)))
    check_contract(backbone, (normal(1, 3, 63, 80),), (normal(2, 3, 65, 65),))
    backbone.astype(np.complex128)
    x, direction = normal(2, 1, 3, 63, 80)
    y, cache = backbone.forward(x + 1e-30j * direction)
    dy = normal(*y.shape, seed=2)
    dx = backbone.backward(dy.astype(complex), cache)
    assert (dx.real * direction).sum() == pytest.approx((y.imag * dy).sum() / 1e-30, rel=1e-11)


SHAPES = {  # of an image of 224: 2012, fig. 2; 2014, footnote 1
    "conv1": (96, 55, 64), "pool1": (96, 27, 64), "conv2": (256, 27, 192), "pool2": (256, 13, 192),
    "conv3": (384, 13, 384), "conv4": (384, 13, 256), "conv5": (256, 13, 256), "pool5": (256, 6, 256),
}  # fmt: skip


@pytest.mark.parametrize("columns", [1, 2])
def test_the_stages_are_the_papers(columns):
    backbone = AlexNet(columns, rng=np.random.default_rng(0))
    maps, _ = backbone.forward_stages(np.zeros((1, 3, 224, 224), np.float32), training=False)
    wanted = {name: (1, two if columns == 2 else one, side, side) for name, (two, side, one) in SHAPES.items()}
    assert {name: y.shape for name, y in zip(backbone.names, maps)} == wanted
    assert (backbone.out_channels, backbone.stride) == (256, 32)


@pytest.fixture
def undrawn(monkeypatch):
    """Weights of zeros: drawing so many takes time."""
    for module in (nn.layers.linear, nn.layers.conv):
        monkeypatch.setattr(module, "he_normal", lambda shape, rng: np.zeros(shape, np.float32))


@pytest.mark.parametrize("name, size", [("alexnet_2012", 60_965_224), ("alexnet", 61_100_840)])
def test_nearly_all_parameters_are_in_fully_connected_layers(name, size, undrawn):
    """2012: "60 million parameters"; torchvision's alexnet has 61,100,840; 96 % are in the last three layers."""
    values = {n: p.value for n, p in vision.build(name, [str(i) for i in range(1000)]).parameters().items()}
    assert sum(v.size for v in values.values()) == size
    last = [v.size for n, v in values.items() if n.startswith(("fc", "classifier"))]
    assert sum(last) == 58_631_144 and sum(last) / size == pytest.approx(0.96, abs=0.005)


def test_names():
    layers = [f"features.{i}" for i in (0, 3, 6, 8, 10)] + [f"classifier.{i}" for i in (1, 4, 6)]  # torchvision's
    assert list(tiny("alexnet").parameters()) == [f"{name}.{p}" for name in layers for p in ("weight", "bias")]
    layers = [f"conv{k}" for k in range(1, 6)] + ["fc6", "fc7", "fc8"]  # Caffe's
    assert list(tiny("alexnet_2012").parameters()) == [f"{name}.{p}" for name in layers for p in ("weight", "bias")]
    assert list(dict(tiny("alexnet_2012").network.backbone.children()))[:5] == "conv1 relu1 norm1 pool1 conv2".split()


def test_two_columns_meet_in_conv3_only():
    """Sec. 3.5: a change of the first half of pool1's channels does not reach the second half of conv2."""
    backbone, rng = AlexNet(2, 8, rng=np.random.default_rng(0)), np.random.default_rng(1)
    x = rng.standard_normal((1, 8, 7, 7))
    changed = x.copy()
    changed[:, :4] += 1
    second, other = (backbone["conv2"](each) for each in (x, changed))
    half = second.shape[1] // 2
    assert (second[:, :half] != other[:, :half]).all() and (second[:, half:] == other[:, half:]).all()
    assert [backbone[f"conv{k}"].geometry.groups for k in range(1, 6)] == [1, 2, 1, 2, 2]


def test_responses_are_normalised_as_in_the_paper():
    """Sec. 3.3: b[i] = a[i] / (k + alpha sum of a[j]^2 over j = i - 2 ... i + 2)^beta, n = 5, alpha = 1e-4."""
    a = 50 * normal(2, 8, 3, 3)
    b = AlexNet(2, 8, rng=np.random.default_rng(0))["norm1"](a)
    for n, i, r, c in np.ndindex(a.shape):
        near = a[n, max(0, i - 2) : i + 3, r, c]
        assert b[n, i, r, c] == pytest.approx(a[n, i, r, c] / (2 + 1e-4 * (near @ near)) ** 0.75, rel=1e-12)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny("alexnet", width=3), "AlexNet: width must be even, got 3"),
        (lambda: tiny("alexnet", hidden=0), "alexnet: hidden must be a whole number >= 1, got 0"),
        (lambda: AlexNet(3, rng=None), "AlexNet: columns must be 1 or 2, got 3"),
        (lambda: tiny("alexnet_2012").predict(np.zeros((1, 3, 62, 80))), "MaxPool2d: output size"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_published_convolutions_give_the_published_activations():
    model = vision.build("alexnet", CLASSES, hidden=2)
    assert len(load_pretrained(shared("weights", "alexnet", "alexnet_features.npz"), model)) == 10
    images = np.linspace(-2, 2, 3 * 64 * 64).astype(np.float32).reshape(1, 3, 64, 64)
    y = model.network.backbone.up_to("conv5")(images)
    assert y.shape == (1, 256, 3, 3)
    assert y.mean() == pytest.approx(0.18019, abs=1e-5) and y.max() == pytest.approx(9.6964, abs=1e-3)
