"""Weights of classes and pixels in the loss, options, and pretrained weights under other names."""

import json

import numpy as np
import pytest

import vision
from nn import Conv2d, Sequential, save_state, softmax_cross_entropy
from nn.gradcheck import check_model
from vision.segmentation import PixelClassifier, median_frequency, weighted_cross_entropy
from vision.training.saving import load_pretrained

CLASSES = ("sky", "tree", "road")


class Net(Sequential):
    """A 1x1 convolution that others call `head`."""

    def pretrained_names(self, arrays):
        return {name.replace("head.", "0."): array for name, array in arrays.items()}


def make(**options):
    layer = Conv2d(3, 3, 1, rng=np.random.default_rng(0))
    layer.bias.value[...] = np.random.default_rng(1).standard_normal(3)
    return PixelClassifier(Net(layer), CLASSES, options)


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


@pytest.mark.parametrize("weights", [False, True])
def test_gradients_with_class_weights(weights):
    check_model(make(class_weights=[0.5, 1, 4]), batch(weights), complex_step=True, tolerance=1e-9)


def test_options_make_preprocess_and_hyperparameters():
    model = make(short_side=90, mean=(1, 2, 3))
    assert model.preprocess["short_side"] == 90 and model.preprocess["mean"] == [1, 2, 3]
    assert model.preprocess["multiple"] == 1 and "class_weights" not in model.preprocess
    assert model.hyperparameters["class_weights"] is None
    p = np.random.default_rng(0).random((3, 4, 5))
    assert model.refine(np.zeros((4, 5, 3), np.uint8), p) is p


def test_a_model_with_class_weights_is_built_again_from_its_config():
    model = vision.build("unet_small", CLASSES, depth=2, width=2, class_weights=[1, 2.5, 3])
    assert model.hyperparameters["multiple"] == model.preprocess["multiple"] == 4
    again = vision.build(**model.config)
    assert again.config == model.config
    np.testing.assert_array_equal(again.class_weights, np.array([1, 2.5, 3], np.float32))


def test_class_weights_as_an_array():
    """As median_frequency gives them; the config stays JSON."""
    weights = median_frequency([np.array([[0, 0, 1], [2, 2, 2]])], 3)
    model = vision.build("unet_small", CLASSES, depth=2, width=2, class_weights=weights)
    np.testing.assert_array_equal(model.class_weights, weights.astype(np.float32))
    assert json.loads(json.dumps(model.config)) == model.config
    assert model.hyperparameters["class_weights"] == weights.tolist()


@pytest.mark.parametrize("wrong", [np.full((2, 4, 5), 3), np.full((2, 4, 5), -2), np.zeros((2, 4, 5))])
def test_wrong_labels_with_weights_of_classes_and_pixels(wrong):
    images, _, weights = batch(weights=True)
    with pytest.raises(ValueError, match="weighted_cross_entropy: labels must (lie in -1 .. 2|be whole numbers)"):
        make(class_weights=[0.5, 1, 4]).loss((images, wrong, weights), None)


@pytest.mark.parametrize("weights", [[1, 2], [1, 2, -3], [1, 2, np.nan], "mean", [1, [2, 3], 4]])
def test_bad_class_weights(weights):
    message = "class_weights must be none, 'median' or 3 numbers of at least 0, one for each class, got "
    with pytest.raises(ValueError, match=message):
        make(class_weights=weights)


def test_median_weights_have_to_be_counted_before_training():
    with pytest.raises(ValueError, match="class_weights 'median' come from training data: scripts.train counts them"):
        make(class_weights="median").loss(batch(), None)
    assert make(class_weights="median").predict(batch()[0]).shape == (2, 3, 4, 5)


def test_published_weights_are_renamed_by_the_network(tmp_path):
    save_state({"head.weight": np.ones((3, 3, 1, 1)), "head.bias": np.ones(5)}, tmp_path / "a.npz")
    model = make()
    assert load_pretrained(tmp_path / "a.npz", model) == ["0.weight"]  # their bias is of another size
    np.testing.assert_array_equal(model.network[0].weight.value, np.ones((3, 3, 1, 1)))
    assert model.network[0].bias.value[0] != 1
    other = PixelClassifier(Sequential(Conv2d(3, 3, 1, rng=np.random.default_rng(0))), CLASSES)
    with pytest.raises(
        ValueError, match=r"a\.npz: none of its arrays \(head.weight, head.bias, ...\) fits the model's"
    ):
        load_pretrained(tmp_path / "a.npz", other)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"multiple": 0}, "PixelClassifier: multiple must be a whole number >= 1, got 0"),
        ({"short_side": 0}, "PixelClassifier: short_side must be a whole number >= 1, got 0"),
        ({"max_side": 80.0}, "PixelClassifier: max_side must be a whole number >= 1, got 80.0"),
        ({"short_side": 9, "max_side": 8}, "PixelClassifier: short_side must not be above max_side, got 9 and 8"),
        *(
            ({name: wrong}, f"PixelClassifier: {name} must be three numbers")
            for name in ("mean", "std")
            for wrong in (1, [1, 2], [1, 2, np.nan], [1, 2, "3"], "abc", None)
        ),
        ({"std": [1, 0, 1]}, r"PixelClassifier: std must be three numbers above 0, for red, green and blue, got \[1"),
        *(
            ({"border_weights": wrong}, r"PixelClassifier: border_weights must be none or \[w0, sigma\], w0 >= 0 and ")
            for wrong in (10, [10], [10, 5, 1], [-1, 5], [10, 0], [10, "5"], [np.nan, 5], [10, np.inf])
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
