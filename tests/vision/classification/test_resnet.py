"""ResNet-18 to 152 and SE-ResNet as classifiers: published counts, torchvision's names, gradients of every form."""

import numpy as np
import pytest

import vision
from nn.gradcheck import check_model
from tests.vision.segmentation.systems import count, without_drawing

CLASSES = ("cat", "dog", "cow")
COUNTS = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808, "se_resnet50": 28_088_024,
}  # fmt: skip


def tiny(name, **options):
    options = {"width": 2, "blocks": [1, 2, 1, 1]} | options
    return vision.build(name, CLASSES, np.random.default_rng(3), **options)


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name, monkeypatch):
    """torchvision's, and for SE-ResNet-50 that of the authors' network, with biases in the excitations."""
    without_drawing(monkeypatch)
    assert count(vision.build(name, [str(i) for i in range(1000)])) == COUNTS[name]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "se_resnet50"])
@pytest.mark.parametrize("form", ["residual", "plain", "pre_activation"])
def test_every_gradient(name, form):
    model = tiny(name, form=form, **({"reduction": 1} if name == "se_resnet50" else {}))
    batch = np.random.default_rng(1).standard_normal((3, 3, 64, 70)), np.array([2, 0, 1])
    errors = check_model(model, batch, complex_step=True, tolerance=1e-9)
    assert set(errors) == set(model.parameters())


def test_names():
    names = set(tiny("resnet18").state_dict())
    assert {"layer2.0.downsample.1.running_var", "layer2.1.conv2.weight", "fc.bias"} < names
    assert "layer1.0.se.fc1.weight" in tiny("se_resnet50").state_dict()
    assert "bn_last.weight" in tiny("resnet50", form="pre_activation").state_dict()
    assert "bn1.weight" not in tiny("resnet50", form="pre_activation").state_dict()


def test_a_plain_twin_has_no_shortcuts():
    assert not any("downsample" in name for name in tiny("resnet50", form="plain").state_dict())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny("resnet18", blocks=[1, 1, 1]), "resnet18: blocks must be a list of 4 whole numbers or none"),
        (lambda: tiny("resnet18", form="plian"), "resnet18: form must be 'residual' or 'plain' or 'pre_activation'"),
        (lambda: tiny("resnet18", shortcut="D"), "resnet18: shortcut must be 'A' or 'B' or 'C', got 'D'"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
