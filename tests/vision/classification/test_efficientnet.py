"""EfficientNet's classifiers: parameters as published, the published weights of Lite0, options."""

import os
from pathlib import Path

import numpy as np
import pytest

import nn
import vision
from scripts.gradcheck import check_tiny_model
from vision.preprocess import open_photograph
from vision.registry import find
from vision.training.saving import load_pretrained

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data"))
WEIGHTS = DATA / "weights" / "efficientnet_lite0" / "efficientnet_lite0.npz"
CLASSES = ("cat", "dog", "cow", "hen", "ant")


def tiny(name="efficientnet", **options):
    return vision.build(name, CLASSES, np.random.default_rng(3), **{"width": 0.1, "depth": 0.1} | options)


@pytest.mark.parametrize(
    "name, complex_step", [("efficientnet", True), ("efficientnet_lite0", True), ("efficientnet_lite0", False)]
)
def test_every_gradient_of_the_tiny_model(name, complex_step):
    """With dropped blocks; central differences of the other one are in scripts.gradcheck: they take as long again."""
    check_tiny_model(name, find(name).tiny, complex_step)


@pytest.mark.parametrize(
    "name, variant, parameters, pixels",
    [
        ("efficientnet", "b0", 5_288_548, 224), ("efficientnet", "b1", 7_794_184, 240),
        ("efficientnet", "b2", 9_109_994, 260), ("efficientnet", "b3", 12_233_232, 300),
        ("efficientnet", "b4", 19_341_616, 380), ("efficientnet", "b7", 66_347_960, 600),
        ("efficientnet_lite0", "lite0", 4_652_008, 224),
    ],
)  # fmt: skip
def test_parameters_as_published(name, variant, parameters, pixels, monkeypatch):
    """Those of B1 to B7 are of torchvision's models, B0's of the issue and of torchvision; the paper: 5.3 to 66 M."""
    for module in (nn.layers.linear, nn.layers.conv):  # drawing so many weights takes time
        monkeypatch.setattr(module, "he_normal", lambda shape, rng: np.zeros(shape, np.float32))
    model = vision.build(name, [str(i) for i in range(1000)], variant=variant)
    assert sum(p.value.size for p in model.parameters().values()) == parameters
    assert model.preprocess.short_side == pixels


def test_options():
    assert tiny(short_side=64).preprocess.short_side == 64
    assert tiny("efficientnet_lite0").preprocess.mean == 127 and tiny(per_image=True).preprocess.per_image
    again = vision.build(**tiny(drop_connect=0.3, variant="b1").config)
    assert again.options.variant == "b1" and again.network.head[1].p == 0.2
    with pytest.raises(ValueError, match="efficientnet: variant must be 'b0' or 'b1'"):
        tiny(variant="b8")
    with pytest.raises(ValueError, match="efficientnet_lite0: variant must be 'lite0' or"):
        tiny("efficientnet_lite0", variant="b0")


@pytest.fixture(scope="module")
def published():
    if not WEIGHTS.is_file():
        pytest.skip(f"needs {WEIGHTS}")
    model = vision.build("efficientnet_lite0", (DATA / "weights" / "imagenet_labels.txt").read_text().splitlines())
    loaded = load_pretrained(WEIGHTS, model)
    assert set(model.state_dict()) - set(loaded) == {n for n in model.state_dict() if n.endswith("batches_tracked")}
    return model


def test_published_weights_give_the_published_logits(published):
    x = np.linspace(-1, 1, 3 * 224 * 224).astype(np.float32).reshape(1, 3, 224, 224)
    np.testing.assert_allclose(published(x)[0, :5], [0.2868, 0.5887, 1.7099, 1.3894, 1.8414], atol=1e-4)


@pytest.mark.parametrize(
    "name, labels, logits",
    [
        ("coco_det_open/images/000000006818.jpg", [861, 999, 731], [10.77, 9.46, 9.34]),
        ("coco_det_open/images/000000000790.jpg", [532, 762, 789], [8.25, 6.10, 5.57]),
        ("pets3/images/Bengal_65.jpg", [285, 281, 282], [8.21, 6.92, 5.76]),
        ("pets3/images/american_bulldog_148.jpg", [167, 166, 215], [8.29, 7.84, 6.48]),
    ],
)
def test_published_weights_name_the_photographs(published, name, labels, logits):
    photograph = open_photograph(DATA / name)
    assert published.classify(photograph)["labels"][:3].tolist() == labels
    image = published.preprocess.batch([published.preprocess.scaled(photograph)])
    np.testing.assert_allclose(published(image)[0, labels], logits, atol=0.02)


def test_weights_of_other_classes_are_loaded_but_for_the_last_layer(published):
    model = vision.build("efficientnet_lite0", ("one", "two"))
    loaded = load_pretrained(WEIGHTS, model)
    assert not any(name.startswith("_fc") for name in loaded)
    np.testing.assert_array_equal(model.parameters()["_blocks.4._expand_conv.weight"].value,
                                  published.parameters()["_blocks.4._expand_conv.weight"].value)  # fmt: skip
