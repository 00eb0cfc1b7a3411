"""Transfer: which features, that they are computed once, what each way trains, gradients."""

import numpy as np
import pytest

import vision
from scripts.gradcheck import check_tiny_model
from vision.classification.softmax_regression import cross_validate, standard
from vision.model import Stage
from vision.registry import find
from vision.training.saving import load_pretrained

CLASSES = ("red", "green", "blue")


def build(**options):
    small = {"network": "resnet20_cifar", "network_options": ["n=1", "width=4"], "short_side": 16} | options
    return vision.build("transfer", CLASSES, np.random.default_rng(3), **small)


class Colours:
    """A loader of two batches of ten noisy images, of one colour each."""

    def __init__(self):
        self.given = 0

    def epoch(self, number, start=0):
        rng = np.random.default_rng(number)
        for _ in range(2):
            labels = np.arange(10) % 3
            images = 0.3 * rng.standard_normal((10, 3, 12, 12)).astype(np.float32)
            images[np.arange(10), labels] += 1
            self.given += 1
            yield images, labels


def trained(model, loader=None, rounds=None, start=0):
    """The figures of the rounds of fit_head."""
    return list(model.fit_head(loader or Colours(), np.random.default_rng(0), start))[:rounds]


@pytest.mark.parametrize(
    "network, options, stage, channels",
    [("squeezenet1_0", ["width=1"], "fire9", 32), ("efficientnet_lite0", ["width=0.1", "depth=0.1"], "head", 1280),
     ("resnet20_cifar", ["n=1", "width=2"], "layer3", 8), ("densenet40_cifar", ["blocks=[2,2]"], "denseblock2", 64)],
)  # fmt: skip
def test_features_are_of_the_last_map_that_does_not_depend_on_the_classes(network, options, stage, channels):
    model = build(network=network, network_options=options, short_side=None)
    assert model.network.backbone.names[-1] == stage
    assert model.parameters()["last.weight"].value.shape == (3, channels)
    assert model.preprocess == vision.build(network, CLASSES).preprocess
    assert model.features(np.zeros((2, 3, 64, 64), np.float32)).shape == (2, channels)


def test_another_stage_and_size():
    model = build(stage="layer1")
    assert model.network.backbone.names == ("conv1", "layer1")
    assert model.preprocess.short_side == 16
    assert build(network_options=["n=1", "width=2", "per_image=true"]).preprocess.per_image
    with pytest.raises(ValueError, match="transfer: per_image is not used: it is the network's, see network_options"):
        build(per_image=True)


def test_features_are_computed_once_and_the_last_layer_alone_is_trained():
    model, loader = build(views=3, rounds=40), Colours()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    figures = trained(model, loader)
    assert loader.given == 3 * 2  # not 40 times
    assert len(figures) == 40 and figures[-1]["accuracy"] > 0.9 and figures[-1]["cls"] < figures[0]["cls"]
    moved = {name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])}
    assert moved == {"last.weight", "last.bias"}


class Photographs:
    """A loader whose data set is 30 photographs of one colour each, darker at the left."""

    classes = CLASSES

    def __init__(self):
        self.dataset = [self.sample(k) for k in range(30)]

    def sample(self, k):
        image = np.random.default_rng(k).integers(0, 60, (20, 24, 3), np.uint8)
        image[:, 12:, k % 3] += 150
        return {"id": str(k), "image": image, "label": k % 3}


def test_features_as_tested_and_a_decay_by_cross_validation(caplog):
    model, loader = build(views=0, decay=None, rounds=20), Photographs()
    features, labels, images = model.stored_features(loader)
    assert labels.tolist() == [k % 3 for k in range(30) for _ in range(2)]
    assert images.tolist() == [k for k in range(30) for _ in range(2)]
    image = loader.dataset[4]["image"]
    for row, seen in ((8, image), (9, image[:, ::-1])):
        batch = model.preprocess.batch([model.preprocess.scaled(np.ascontiguousarray(seen))])
        np.testing.assert_allclose(features[row], model.features(batch)[0], rtol=1e-4, atol=1e-5)
    with caplog.at_level("INFO", "vision"):
        figures = trained(model, loader)
    assert figures[-1]["accuracy"] == 1
    assert caplog.messages[0].startswith("accuracy by cross-validation, for each decay: {0.0001: 1.0,")
    with pytest.raises(ValueError, match="decay=none is chosen by cross-validation, which needs views=0"):
        build(decay=None)


def test_descent_starts_at_zero_whatever_the_weights_were():
    """Logits of random weights are large where features are, as SqueezeNet's: the rounds did not undo them."""
    model, other = build(rounds=2), build(rounds=2)
    other.network.head[2].weight.value *= 100
    assert trained(model) == trained(other)
    np.testing.assert_array_equal(model.network.head[2].weight.value, other.network.head[2].weight.value)


def test_an_interrupted_fit_goes_on_with_the_same_bits():
    whole, parts = build(rounds=6), build(rounds=6)
    trained(whole)
    rounds = parts.fit_head(Colours(), np.random.default_rng(0), 0)
    for _ in range(4):
        next(rounds)
    trained(parts, start=4)
    for name, parameter in whole.parameters().items():
        np.testing.assert_array_equal(parameter.value, parts.parameters()[name].value)


def test_stages_of_the_three_ways():
    assert [stage.name for stage in build(way="head").stages()] == ["head"]
    head, everything = build(slower=0.2).stages()
    assert (head.fit, head.trains) == ("fit_head", ("last",))
    assert everything.recipe["lr_scale"] == dict.fromkeys(["bn1", "conv1", "layer1", "layer2", "layer3"], 0.2)
    assert [stage.name for stage in build(way="scratch").stages()] == ["train"]
    assert not build(way="scratch").needs_weights and build().needs_weights


@pytest.mark.parametrize(
    "options, message",
    [
        ({"way": "head", "dropout": 0.5}, "transfer: dropout has no effect with way=head; leave it out"),
        ({"way": "head", "mixup": 0.2}, "mixup has no effect with way=head"),
        ({"way": "scratch", "rounds": 5}, "rounds has no effect with way=scratch"),
        ({"short_side": None, "max_side": 300}, "max_side has no effect without short_side"),
    ],
)
def test_options_without_effect_are_refused_in_training(options, message):
    """A checkpoint may have them, from before."""
    model = build(**options)
    with pytest.raises(ValueError, match=message):
        model.stages()


def test_an_option_has_no_effect_exactly_where_it_is_refused():
    """fit_head does not read those of "head"; "scratch" does not fit, and its stage has no rates of its own."""
    plain, other = build(way="head", rounds=2), build(way="head", rounds=2, dropout=0.9, mixup=1.0, slower=0.5)
    assert trained(plain) == trained(other)
    assert trained(build(rounds=2)) != trained(build(rounds=2, decay=0.5))
    assert build(way="scratch").stages() == (Stage(),)


@pytest.mark.parametrize("way, moves", [("fine-tune", False), ("scratch", True)])
def test_statistics_of_batch_normalisation_stay_as_published(way, moves):
    model = build(way=way)
    before = model.state_dict()["bn1.running_mean"].copy()
    _, cache = model.loss(next(Colours().epoch(0)), None)
    model.backward(cache)
    assert (model.state_dict()["bn1.running_mean"] != before).any() == moves
    assert model.parameters()["bn1.weight"].grad.any()


def test_weights_of_the_network_fit(tmp_path):
    base = vision.build("resnet20_cifar", [str(i) for i in range(10)], np.random.default_rng(7), n=1, width=4)
    np.savez(tmp_path / "base.npz", **base.state_dict())
    model = build()
    loaded = load_pretrained(tmp_path / "base.npz", model)
    assert set(model.state_dict()) - set(loaded) == {"last.weight", "last.bias"}


@pytest.mark.parametrize("complex_step", [False, True])
def test_every_gradient_of_the_tiny_model(complex_step):
    check_tiny_model("transfer", find("transfer").tiny, complex_step)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"network": "mnist_fc", "network_options": []}, "transfer: mnist_fc has no backbone to transfer"),
        ({"network": "resnet21"}, "there is no model 'resnet21'"),
        ({"network_options": ["depth=2"]}, "resnet20_cifar: there is no option 'depth'"),
        ({"stage": "layer9"}, "Backbone|ResNetCifar: there is no stage 'layer9'"),
        ({"way": "slowly"}, "transfer: way must be 'head' or 'fine-tune' or 'scratch', got 'slowly'"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_features_that_cannot_be_told_apart_are_refused():
    """Of one image, or of equal ones, the weights were nan; a decay chosen on one image was chosen on nothing."""
    for count in (1, 3):
        with pytest.raises(ValueError, match=f"needs features that differ, got {count} alike"):
            standard(np.full((count, 4), 2.0))
    with pytest.raises(ValueError, match="cross-validation needs two images at least, got one"):
        cross_validate(np.arange(8.0).reshape(2, 4), np.zeros(2, int), np.zeros(2, int), 3, 5)
