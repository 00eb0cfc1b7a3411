"""ResNet for CIFAR-10: gradients of every form, the paper's figures, the published weights."""

import numpy as np
import pytest

import nn
import vision
from datasets import CIFAR10Lossless
from nn.gradcheck import check_contract, check_layer, check_model
from nn.io.state import load_state
from nn.optim.adaptive import Adam
from tests.vision.classification.helpers import normal, off_the_start
from tests.vision.published import shared
from vision.backbones import BasicBlock

CLASSES = ("cat", "dog", "cow", "hen", "ant")


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
    assert model.network.backward(cache.dlogits, cache.network).shape == (3, 3, 9, 12)
    assert set(losses) == {"cls"}


FORMS = [
    {"form": form, "shortcut": shortcut}
    for form, shortcuts in (("residual", "BC"), ("plain", "A"), ("pre_activation", "ABC"))
    for shortcut in shortcuts
]


@pytest.mark.parametrize("options", FORMS, ids=lambda o: "-".join(o.values()))
def test_every_gradient_of_every_form(options):
    model = off_the_start(tiny(n=2, **options))
    errors = check_model(model, batch(), complex_step=True, tolerance=1e-10)
    assert set(errors) == set(model.parameters())


def test_the_plain_twin_is_the_network_without_its_shortcuts():
    """The same parameters, and the same function once the shortcuts give zeros."""
    plain, residual = vision.build("plain20_cifar", CLASSES, n=2, width=2), off_the_start(tiny(n=2))
    plain.load_state_dict(residual.state_dict())
    images = batch()[0]
    assert (plain(images) != residual(images)).any()
    for _, layer in residual.layers():
        if isinstance(layer, BasicBlock):
            layer.body = nn.Sequential(layer.body[0].body, nn.ReLU())
    np.testing.assert_array_equal(plain(images), residual(images))


@pytest.mark.parametrize("shortcut, size", [("A", 853_018), ("B", 855_770), ("C", 900_858)])
def test_resnet56_with_every_option_of_shortcuts(shortcut, size):
    """B adds two projections, 16 -> 32 and 32 -> 64; with C each of the 27 blocks has one."""
    model = vision.build("resnet20_cifar", [str(i) for i in range(10)], n=9, shortcut=shortcut)
    assert sum(p.value.size for p in model.parameters().values()) == size


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
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Published weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n, wanted", [(3, 915), (9, 926)])
def test_published_weights_get_as_many_test_images_right(n, wanted):
    weights, folder = shared("weights", f"resnet{6 * n + 2}_cifar10.npz"), shared("cifar10_lossless")
    data = CIFAR10Lossless(folder, "test")
    model = vision.build("resnet20_cifar", data.classes, n=n)
    assert load_state(model, weights) == []
    right = 0
    for start in range(0, 1000, 100):
        samples = [data[i] for i in range(start, start + 100)]
        images = model.preprocess.batch([sample["image"] for sample in samples])
        right += (model.predict(images).argmax(axis=1) == [sample["label"] for sample in samples]).sum()
    assert right == wanted
