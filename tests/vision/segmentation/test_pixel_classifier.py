"""Weights of classes and pixels in the loss, options, `segment`, and pretrained weights under other names."""

import json

import numpy as np
import pytest
from PIL import Image

import vision
from nn import Conv2d, Sequential, save_state, softmax_cross_entropy
from nn.gradcheck import check_model
from vision.options import complete
from vision.segmentation import (
    PixelClassifier,
    PixelNetwork,
    PixelOptions,
    median_frequency,
    weighted_cross_entropy,
)
from vision.segmentation.pixel_classifier import weighted_out
from vision.training.saving import load_pretrained

CLASSES = ("sky", "tree", "road")


class Plain(PixelNetwork, Sequential):
    """A sequence of layers."""


class Net(Plain):
    """A 1x1 convolution that others call `head`."""

    def pretrained_names(self, arrays):
        return {name.replace("head.", "0."): array for name, array in arrays.items()}


def make(**options):
    layer = Conv2d(3, 3, 1, rng=np.random.default_rng(0))
    layer.bias.value[...] = np.random.default_rng(1).standard_normal(3)
    return PixelClassifier(Net(layer), CLASSES, complete("net", PixelOptions, options))


def batch(weights=False):
    rng = np.random.default_rng(2)
    images, labels = rng.standard_normal((2, 3, 4, 5)), rng.integers(-1, 3, (2, 4, 5))
    return (images, labels, rng.random((2, 4, 5)))[: 2 + weights]


def test_class_weights():
    images, labels, weights = batch(weights=True)
    model, of_classes = make(class_weights=[0.5, 1, 4]), np.array([0.5, 1, 4])
    logits = model(images)
    value = model.loss((images, labels), None)[0]["pixels"]
    assert value == pytest.approx(softmax_cross_entropy(logits, labels, class_weights=of_classes)[0], rel=1e-6)
    assert value != pytest.approx(make().loss((images, labels), None)[0]["pixels"], rel=1e-3)
    value = model.loss((images, labels, weights), None)[0]["pixels"]
    both = weights * of_classes[np.maximum(labels, 0)]
    assert value == pytest.approx(weighted_cross_entropy(logits, labels, both)[0], rel=1e-6)


def test_mirror_images_and_scales_are_averaged():
    """A 3x3 convolution that sees to the right, so that the mirror image differs; sides of 60 and 120 pixels."""

    def made(**options):
        layer = Conv2d(3, 3, 3, padding=1, rng=np.random.default_rng(0))
        layer.weight.value[..., :2] = 0
        return PixelClassifier(Net(layer), CLASSES, complete("net", PixelOptions, options))

    photograph = np.random.default_rng(3).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    plain = made()
    p = [plain.view(photograph, 120, False), plain.view(photograph[:, ::-1], 120, False)[..., ::-1]]
    p += [plain.view(photograph, 60, False), plain.view(photograph[:, ::-1], 60, False)[..., ::-1]]
    assert all(each.shape == (3, 120, 160) for each in p) and abs(p[0] - p[1]).max() > 0.05
    np.testing.assert_array_equal(plain.segment(photograph)["scores"], p[0].max(axis=0))
    for options, wanted in (({"test_mirrored": True}, p[:2]), ({"test_scales": [120, 60]}, p[::2])):
        found = made(**options).segment(photograph)
        np.testing.assert_allclose(found["scores"], np.mean(wanted, axis=0).max(axis=0), rtol=1e-6)
    both = made(test_mirrored=True, test_scales=[120, 60]).segment(photograph)
    np.testing.assert_array_equal(both["labels"], np.mean(p, axis=0).argmax(axis=0))
    with pytest.raises(ValueError, match="PixelOptions: test_scales must be a whole number >= 1, got 0"):
        made(test_scales=[0])


@pytest.mark.parametrize("weights", [False, True])
def test_the_loss_over_the_pixels_as_in_caffe(weights):
    images, labels, *maps = batch(weights)
    mean, model = make(class_weights=[0.5, 1, 4]), make(class_weights=[0.5, 1, 4], loss_divisor="pixels")
    both = np.array([0.5, 1, 4])[np.maximum(labels, 0)] * (maps[0] if weights else 1) * (labels >= 0)
    wanted = mean.loss((images, labels, *maps), None)[0]["pixels"] * both.sum() / (labels >= 0).sum()
    assert model.loss((images, labels, *maps), None)[0]["pixels"] == pytest.approx(wanted, rel=1e-6)
    check_model(model.astype(np.float64), (images, labels, *maps))
    nothing = model.loss((images, np.full_like(labels, -1), *maps), None)[0]
    assert nothing == {"pixels": 0}


def test_class_weights_are_taken_out_of_the_probabilities():
    p, w = np.random.default_rng(0).dirichlet([1, 1, 1], (4, 5)).transpose(2, 0, 1), np.array([0.5, 1, 4])
    weighted = w[:, None, None] * p / (w[:, None, None] * p).sum(axis=0)  # what is learned with the weights w
    np.testing.assert_allclose(weighted_out(weighted, w, 1), p, rtol=1e-12)
    half = (np.log(weighted) - 0.5 * np.log(w)[:, None, None]).argmax(axis=0)
    np.testing.assert_array_equal(weighted_out(weighted, w, 0.5).argmax(axis=0), half)
    assert weighted_out(p, w, 0) is p and weighted_out(p, None, 0.5) is p
    unseen = weighted_out(p.astype(np.float32), np.array([0, 1, 1.0]), 1)
    np.testing.assert_allclose(unseen, p, rtol=1e-6)
    assert unseen.dtype == np.float32
    photograph = np.random.default_rng(3).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    plain, model = make(class_weights=[0.5, 1, 4]), make(class_weights=[0.5, 1, 4], tau=1.0)
    p = plain.predict(plain.preprocess.batch([photograph]))[0]
    np.testing.assert_array_equal(model.segment(photograph)["labels"], (p / w[:, None, None]).argmax(axis=0))
    assert (plain.segment(photograph)["labels"] != model.segment(photograph)["labels"]).any()
    with pytest.raises(ValueError, match="tau must be at least 0, got -1"):
        make(tau=-1)


@pytest.mark.parametrize("weights", [False, True])
def test_gradients_with_class_weights(weights):
    check_model(make(class_weights=[0.5, 1, 4]), batch(weights), complex_step=True, tolerance=1e-9)


def test_options_make_preprocess():
    model = make(short_side=90, mean=[1, 2, 3])
    assert (model.preprocess.short_side, model.preprocess.mean, model.preprocess.multiple) == (90, (1, 2, 3), 1)
    assert make(multiple=8).preprocess.multiple == 8
    assert model.options.class_weights is None and PixelClassifier(Plain()).options == PixelOptions()
    p = np.random.default_rng(0).random((3, 4, 5))
    assert model.refine(np.zeros((4, 5, 3), np.uint8), p) is p


def test_a_model_with_class_weights_is_built_again_from_its_config():
    model = vision.build("unet_small", CLASSES, depth=2, width=2, class_weights=[1, 2.5, 3])
    assert model.config["multiple"] == model.preprocess.multiple == 4
    again = vision.build(**json.loads(json.dumps(model.config)))
    assert again.config == model.config
    np.testing.assert_array_equal(again.class_weights, np.array([1, 2.5, 3], np.float32))


def test_class_weights_of_median_frequency():
    """As a list; the config stays JSON."""
    weights = median_frequency([np.array([[0, 0, 1], [2, 2, 2]])], 3)
    for given in (weights.tolist(), tuple(weights)):
        model = vision.build("unet_small", CLASSES, depth=2, width=2, class_weights=given)
        np.testing.assert_array_equal(model.class_weights, weights.astype(np.float32))
        assert json.loads(json.dumps(model.config)) == model.config
        assert model.config["class_weights"] == weights.tolist()
    with pytest.raises(
        ValueError, match="class_weights must be 'median' or 'root_median' or a list of numbers or none, got array"
    ):
        make(class_weights=weights)


@pytest.mark.parametrize("wrong", [np.full((2, 4, 5), 3), np.full((2, 4, 5), -2), np.zeros((2, 4, 5))])
def test_wrong_labels_with_weights_of_classes_and_pixels(wrong):
    images, _, weights = batch(weights=True)
    with pytest.raises(ValueError, match="weighted_cross_entropy: labels must (lie in -1 .. 2|be whole numbers)"):
        make(class_weights=[0.5, 1, 4]).loss((images, wrong, weights), None)


@pytest.mark.parametrize("weights", [[1, 2], [1, 2, -3], [1, 2, 3, 4]])
def test_bad_class_weights(weights):
    message = "PixelClassifier: class_weights must be 3 values of at least 0, one for each class, got "
    with pytest.raises(ValueError, match=message):
        make(class_weights=weights)
    with pytest.raises(ValueError, match=message):
        PixelClassifier(Plain(), CLASSES, PixelOptions(class_weights=(1, 2, np.nan)))


@pytest.mark.parametrize("weights", [[1, 2, np.nan], "mean", [1, [2, 3], 4], 1])
def test_class_weights_of_another_kind(weights):
    with pytest.raises(
        ValueError, match="net: class_weights must be 'median' or 'root_median' or a list of numbers or none, got "
    ):
        make(class_weights=weights)


def test_median_weights_must_be_counted_before_training():
    with pytest.raises(ValueError, match="class_weights 'median' come from training data: scripts.train counts them"):
        make(class_weights="median").loss(batch(), None)
    assert make(class_weights="median").predict(batch()[0]).shape == (2, 3, 4, 5)


def test_a_photograph_by_path_picture_and_array(tmp_path):
    """Labels, scores and names in its own pixels; a picture turned by its EXIF data is turned upright."""
    photograph = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)
    picture = Image.fromarray(photograph)
    picture.save(tmp_path / "a.png")
    model = make(short_side=15, max_side=20, multiple=8)
    found = model.segment(photograph)
    assert found["labels"].shape == found["scores"].shape == (30, 41) and found["names"] == CLASSES
    assert found["labels"].dtype == np.int64 and 1 / 3 <= found["scores"].min() <= found["scores"].max() <= 1
    for other in (picture, tmp_path / "a.png", str(tmp_path / "a.png")):
        for key in ("labels", "scores"):
            np.testing.assert_array_equal(model.segment(other)[key], found[key])
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated by 90 degrees
    picture.save(tmp_path / "turned.png", exif=exif)
    assert model.segment(tmp_path / "turned.png")["labels"].shape == (41, 30)
    with pytest.raises(ValueError, match=r"a photograph must be .* of uint8, got float64 \(1, 3, 4, 5\): .* predict"):
        model.segment(np.zeros((1, 3, 4, 5)))


def test_published_weights_are_renamed_by_the_network(tmp_path):
    save_state({"head.weight": np.ones((3, 3, 1, 1)), "head.bias": np.ones(5)}, tmp_path / "a.npz")
    model = make()
    assert load_pretrained(tmp_path / "a.npz", model) == ["0.weight"]  # their bias is of another size
    np.testing.assert_array_equal(model.network[0].weight.value, np.ones((3, 3, 1, 1)))
    assert model.network[0].bias.value[0] != 1
    other = PixelClassifier(Plain(Conv2d(3, 3, 1, rng=np.random.default_rng(0))), CLASSES)
    with pytest.raises(
        ValueError, match=r"a\.npz: none of its arrays \(head.weight, head.bias, ...\) fits the model's"
    ):
        load_pretrained(tmp_path / "a.npz", other)


COLOURS = "must be a number or a list of 3 numbers, got "


@pytest.mark.parametrize(
    "options, message",
    [
        ({"multiple": 0}, "Preprocess: multiple must be a whole number >= 1, got 0"),
        ({"short_side": 0}, "Preprocess: short_side must be a whole number >= 1, got 0"),
        ({"max_side": 80.0}, "net: max_side must be a whole number, got 80.0"),
        ({"short_side": 9, "max_side": 8}, "Preprocess: short_side must not be above max_side, got 9 and 8"),
        *(
            ({name: wrong}, f"net: {name} {COLOURS}")
            for name in ("mean", "std")
            for wrong in ([1, 2], [1, 2, np.nan], [1, 2, "3"], "abc", None)
        ),
        ({"std": [1, 0, 1]}, r"Preprocess: std must be finite and above 0, got \(1, 0, 1\)"),
        ({"std": 0}, "Preprocess: std must be finite and above 0, got 0"),
        *(
            ({"border_weights": wrong}, "net: border_weights must be a list of 2 numbers or none, got ")
            for wrong in (10, [10], [10, 5, 1], [10, "5"], [np.nan, 5], [10, np.inf])
        ),
        *(
            ({"border_weights": wrong}, "PixelOptions: border_weights must be w0 >= 0 and sigma > 0 pixels, got ")
            for wrong in ([-1, 5], [10, 0])
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
