"""ResNet for CIFAR-10: gradients, the equations of its blocks, the paper's figures, the published weights."""

import os
from pathlib import Path

import numpy as np
import pytest

import nn
import vision
from datasets import CIFAR10Lossless
from nn.gradcheck import check_contract, check_layer, check_model
from nn.io.state import load_state
from nn.optim.adaptive import Adam
from vision.classification import BasicBlock, PaddedShortcut

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data"))
CLASSES = ("cat", "dog", "cow", "hen", "ant")


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def off_the_start(layer):
    """Scales and biases that are not 1 and 0, so that a gradient without them is wrong."""
    rng = np.random.default_rng(4)
    for name, parameter in layer.parameters().items():
        if parameter.value.ndim == 1:
            parameter.value[...] = (name.endswith("weight")) + 0.2 * rng.standard_normal(parameter.value.shape)
    return layer


# Shortcut and block --------------------------------------------------------------------------------------------------

SHORTCUTS = [(3, 6, 2), (2, 4, 1), (3, 4, 3), (2, 7, 2), (3, 3, 2)]


@pytest.mark.parametrize("channels, out_channels, stride", SHORTCUTS)
def test_shortcut(channels, out_channels, stride):
    x = normal(2, channels, 5, 8)
    layer = PaddedShortcut(channels, out_channels, stride)
    y = layer(x)
    before = (out_channels - channels) // 2
    assert y.shape == (2, out_channels, -(-5 // stride), -(-8 // stride))
    for index in np.ndindex(y.shape):
        n, c, i, j = index
        inside = before <= c < before + channels
        assert y[index] == (x[n, c - before, i * stride, j * stride] if inside else 0)
    check_layer(layer, x, complex_step=True, tolerance=1e-12)
    check_contract(layer, (x,), (normal(1, channels, 3, 1),))


def test_shortcut_of_the_published_code():
    """F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4)): 16 zeros, 32 channels, 16 zeros."""
    x = normal(1, 32, 4, 4)
    np.testing.assert_array_equal(
        PaddedShortcut(32, 64, 2)(x), np.pad(x[:, :, ::2, ::2], ((0, 0), (16, 16), (0, 0), (0, 0)))
    )


@pytest.mark.parametrize("channels, out_channels, stride", [(3, 3, 1), (2, 4, 2), (3, 5, 1), (2, 2, 2)])
def test_gradients_of_a_block(channels, out_channels, stride):
    block = off_the_start(BasicBlock(channels, out_channels, stride, rng=np.random.default_rng(2)))
    x = normal(2, channels, 5, 6)
    for training in (True, False):
        check_layer(block, x, complex_step=True, tolerance=1e-11, training=training)
        check_layer(block, x, tolerance=1e-6, training=training)
    check_contract(block, (x,), (normal(3, channels, 4, 7),))


def test_a_block_is_its_equation():
    block = off_the_start(BasicBlock(2, 4, 2, rng=np.random.default_rng(2)))
    x = normal(2, 2, 5, 6)
    inner = block.conv2(np.maximum(block.bn1(block.conv1(x)), 0))
    np.testing.assert_array_equal(block(x), np.maximum(block.bn2(inner) + block.shortcut(x), 0))


# The model -----------------------------------------------------------------------------------------------------------


def tiny(**options):
    return vision.build("resnet20_cifar", CLASSES, np.random.default_rng(3), **{"n": 1, "width": 2} | options)


def batch(n=3, size=(9, 12)):
    return normal(n, 3, *size), np.array([4, 0, 2, 1, 3])[:n]


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("complex_step", [True, False])
def test_every_gradient_of_the_whole_model(n, complex_step):
    model = off_the_start(tiny(n=n))
    errors = check_model(model, batch(), complex_step=complex_step, tolerance=1e-10 if complex_step else 1e-6)
    assert set(errors) == set(model.parameters())


def test_gradient_of_the_images():
    network = off_the_start(tiny().network)
    check_layer(network, normal(2, 3, 4, 5), complex_step=True, tolerance=1e-11)
    check_contract(network, (normal(2, 3, 8, 9),), (normal(1, 3, 12, 8),))
    model = tiny()
    losses, cache = model.loss(batch(), np.random.default_rng(0))
    assert model.backward(cache).shape == (3, 3, 9, 12)
    assert set(losses) == {"cls"}


@pytest.mark.parametrize("n, size", [(3, 269_722), (5, 464_154), (9, 853_018), (18, 1_727_962)])
def test_sizes_of_the_paper(n, size):
    """Table 6 has 0.27, 0.46, 0.85 and 1.7 million parameters for 20, 32, 56 and 110 layers."""
    parameters = vision.build("resnet20_cifar", [str(i) for i in range(10)], n=n).parameters()
    assert sum(p.value.size for p in parameters.values()) == size
    assert sum(p.value.ndim > 1 for p in parameters.values()) == 6 * n + 2


def test_names_are_those_of_the_published_code():
    names = set(tiny(n=2).state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer3.1.bn2.bias", "linear.bias"} <= names
    assert len(names) == 13 * (1 + 5) + 2  # a convolution has one, a normalisation five, the linear layer two


def test_summary_counts_everything():
    text = nn.summary(vision.build("resnet20_cifar", [str(i) for i in range(10)]), (1, 3, 32, 32))
    assert "269,722" in text.splitlines()[-1]
    shapes = {line.split()[0]: line[line.index("(") : line.index(")") + 1] for line in text.splitlines() if "(" in line}
    assert shapes["layer1.2.conv2"] == "(1, 16, 32, 32)"  # sec. 4.2: feature maps of 32, 16, 8
    assert shapes["layer2.0.shortcut"] == shapes["layer2.2.conv2"] == "(1, 32, 16, 16)"
    assert shapes["layer3.2.conv2"] == "(1, 64, 8, 8)"


def test_preprocessing_of_the_published_weights():
    preprocess = tiny().preprocess
    np.testing.assert_allclose(np.array(preprocess.mean) / 255, [0.485, 0.456, 0.406])
    np.testing.assert_allclose(np.array(preprocess.std) / 255, [0.229, 0.224, 0.225])
    assert preprocess.short_side == 32


def test_a_prediction_depends_on_its_own_image_only_and_changes_nothing():
    model = off_the_start(tiny())
    model.loss(batch(), np.random.default_rng(0))  # running statistics
    before = {name: array.copy() for name, array in model.state_dict().items()}
    images = batch()[0]
    alone = np.concatenate([model.predict(image[None]) for image in images])
    np.testing.assert_allclose(model.predict(images), alone, rtol=1e-10)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_overfits_a_few_images():
    model = tiny(width=4)
    images, labels = batch(5, (12, 12))
    images = images.astype(np.float32)
    optimiser = Adam(model.parameters(), lr=0.01)
    for step in range(80):
        model.zero_grad()
        losses, cache = model.loss((images, labels), np.random.default_rng(step))
        model.backward(cache)
        optimiser.step()
    assert losses["cls"] < 0.05
    for _ in range(60):  # running statistics lag behind on so short a run
        model.loss((images, labels), np.random.default_rng(0))
    p = model.predict(images)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(p.argmax(axis=1), labels)


def test_config_rebuilds_the_model():
    model = tiny(mean=[1, 2, 3])
    again = vision.build(**model.config)
    assert again.config == model.config
    assert again.preprocess.mean == (1, 2, 3)
    again.load_state_dict(model.state_dict())
    images = batch()[0]
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(widht=3), "resnet20_cifar: there is no option 'widht'; did you mean 'width'"),
        (lambda: tiny(n=0), "ResNetCifar: n must be a whole number >= 1, got 0"),
        (lambda: tiny(width="x"), "resnet20_cifar: width must be a whole number, got 'x'"),
        (lambda: tiny().predict(np.zeros((3, 8, 8))), r"Classifier: images must have shape \(N, 3, H, W\)"),
        (lambda: tiny().loss((batch()[0], np.array([0, 1, 5])), None), r"labels must lie in \[0, 5\)"),
        (lambda: PaddedShortcut(4, 3, 1), "out_channels=3 must be >= in_channels=4"),
        (lambda: PaddedShortcut(4, 5, 0), "stride must be a whole number >= 1, got 0"),
        (lambda: PaddedShortcut(4, 5, 1)(np.zeros((1, 3, 2, 2))), r"PaddedShortcut: x must have shape \(N, 4, H, W\)"),
        (
            lambda: PaddedShortcut(4, 5, 2).backward(np.zeros((1, 5, 2, 2)), (1, 4, 3, 5)),
            r"PaddedShortcut: dy must have shape \(1, 5, 2, 3\), got \(1, 5, 2, 2\)",
        ),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Published weights ---------------------------------------------------------------------------------------------------


def test_published_weights_get_915_of_1000_test_images_right():
    weights, folder = DATA / "weights" / "resnet20_cifar10.npz", DATA / "cifar10_lossless"
    if not (weights.is_file() and folder.is_dir()):
        pytest.skip(f"needs {weights} and {folder}")
    data = CIFAR10Lossless(folder, "test")
    model = vision.build("resnet20_cifar", data.classes)
    assert load_state(model, weights) == []
    mean, std = (np.array(getattr(model.preprocess, name), np.float32) for name in ("mean", "std"))
    right = 0
    for start in range(0, 1000, 100):
        samples = [data[i] for i in range(start, start + 100)]
        images = np.stack([(sample["image"] - mean) / std for sample in samples]).transpose(0, 3, 1, 2)
        assert images.dtype == np.float32
        right += (model.predict(images).argmax(axis=1) == [sample["label"] for sample in samples]).sum()
    assert right == 915
