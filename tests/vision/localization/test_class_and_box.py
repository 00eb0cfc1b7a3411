"""Classification and localization: both ways of training, both positions of the head, K objects, frozen features."""

import numpy as np
import pytest

import vision
from tests.vision.localization.models import batch_of, scenes, tiny
from vision.localization.localizer import chosen
from vision.training import Trainer

CHANGES = {
    "conv": {"place": "conv"}, "fc": {"place": "fc"}, "by class": {"class_specific": True, "objects": 1},
    "frozen": {"frozen": "conv3"},
}  # fmt: skip


class Batches:
    """The same batch, three times an epoch."""

    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return 3

    def epoch(self, number, start=0):
        return iter((3 - start) * [self.batch])


@pytest.mark.parametrize("name", CHANGES)
def test_the_box_head_learns_alone_in_the_third_step(tmp_path, name):
    model, data = tiny("localizer", way="two_step", **CHANGES[name])
    run = Trainer(model, Batches(batch_of(model, data)), {"epochs": 2, "optimiser": "adam", "warm_up": 0}, tmp_path)
    after = {}
    step = run.step

    def watch(batch):
        losses = step(batch)
        state = {key: array.copy() for key, array in model.state_dict().items() if "box_head" not in key}
        after.setdefault(run.stage.name, []).append((list(losses), state))
        return losses

    run.step = watch
    run.run()
    assert [names for names, _ in after["classifier"]] == 6 * [["cls"]]
    assert [names for names, _ in after["boxes"]] == 6 * [["box"]]
    before = after["classifier"][-1][1]  # also running statistics stay
    assert all(array.tobytes() == before[key].tobytes() for _, state in after["boxes"] for key, array in state.items())


def test_joint_is_the_sum_of_both_losses_and_gradients():
    model, data = tiny("localizer", place="fc", box_weight=0.5)
    batch = batch_of(model, data)
    losses, cache = model.loss(batch, None)
    model.zero_grad()
    model.backward(cache)
    whole = model.network.fc[0].weight.grad.copy()
    model.zero_grad()
    cls, c_class = model.class_loss(batch, None)
    model.class_backward(c_class)
    (_, deltas), c_network = model.network.forward(batch[0])
    box, ddeltas = model.box_error(deltas, *batch[1:], 0.5)
    model.network.backward((np.zeros((3, 1, 3), np.float32), ddeltas), c_network)
    assert losses == pytest.approx(cls | {"box": box}, rel=1e-5)
    np.testing.assert_allclose(model.network.fc[0].weight.grad, whole, rtol=1e-4, atol=1e-6)


def test_l2_of_the_normalised_box_by_hand():
    model, _ = tiny("localizer")
    labels, boxes = np.array([[2], [-1]]), np.array([[[8.0, 8, 24, 24]], [[0, 0, 0, 0]]])  # a quarter to 3/4 of 32
    deltas = np.full((2, 1, 1, 4), 0.5)
    value, gradient = model.box_error(deltas, labels, boxes)
    assert value == pytest.approx(0.5 * 4 * 0.5**2 / 2)  # the mean over two slots; one holds no object
    np.testing.assert_allclose(gradient[:, 0, 0], [4 * [0.25], 4 * [0.0]])


def test_boxes_by_class_learn_from_the_true_one_and_the_best_one_answers():
    model, _ = tiny("localizer_alexnet")
    deltas = np.zeros((1, 1, 3, 4))
    _, gradient = model.box_error(deltas, np.array([[1]]), np.array([[[0.0, 0, 32, 32]]]))
    assert (gradient[0, 0, [0, 2]] == 0).all() and (gradient[0, 0, 1] != 0).all()
    logits, deltas = np.array([[[0.0, 1.0, 3.0]]]), np.arange(12.0).reshape(1, 1, 3, 4)
    model.network.forward = lambda x, training: ((logits, deltas), None)
    (found,) = model.predict(np.zeros((1, 3, 32, 32)))
    assert found["labels"].tolist() == [3]
    np.testing.assert_allclose(found["boxes"], [32 * (0.2 * np.arange(8, 12) + [0.25, 0.25, 0.75, 0.75])], rtol=1e-6)
    np.testing.assert_allclose(found["scores"], np.exp(3) / (1 + np.e + np.exp(3)), rtol=1e-6)


def test_a_fixed_number_of_objects_from_left_to_right():
    boxes = np.array([[20, 0, 30, 10], [0, 0, 4, 4], [5, 5, 15, 16.0]], np.float32)
    labels, sides = chosen(boxes, np.array([1, 2, 3]), 2)
    assert labels.tolist() == [2, 0] and sides.tolist() == [[5, 5, 15, 16], [20, 0, 30, 10]]
    labels, sides = chosen(boxes[:1], np.array([3]), 2)
    assert labels.tolist() == [2, -1] and sides[1].tolist() == [0, 0, 0, 0]
    pairs = scenes("localization", 3, name="shapes_pairs")
    assert [len(pairs[i]["boxes"]) for i in range(3)] == [2, 2, 2]


def test_features_of_a_frozen_backbone_are_computed_once_and_give_the_same():
    model, data = tiny("localizer", frozen="conv3")
    assert model.needs_weights
    features = batch_of(model, data)[0]
    assert features.shape[1] == model.network.trunk.out_channels
    calls = []
    backbone = model.network.trunk.backbone
    forward = backbone.forward
    backbone.forward = lambda *arguments: calls.append(1) or forward(*arguments)
    np.testing.assert_array_equal(batch_of(model, data)[0], features)
    assert not calls
    images = model.preprocess.batch([data[i]["image"] for i in range(3)])
    for a, b in zip(model.predict(images), model.predict(features)):
        np.testing.assert_allclose(a["boxes"], b["boxes"], rtol=1e-5, atol=1e-4)
    losses, cache = model.loss((features, np.zeros((3, 1), int), np.ones((3, 1, 4), np.float32)), None)
    assert model.backward(cache) is None and set(losses) == {"cls", "box"}


def test_published_weights_by_their_own_names():
    model, _ = tiny("localizer", backbone="squeezenet", short_side=64)
    renamed = model.pretrained_names({"features.0.weight": 1, "classifier.1.weight": 2, "network.fc.0.weight": 3})
    assert renamed["network.trunk.backbone.features.0.weight"] == 1 and renamed["network.fc.0.weight"] == 3
    assert "network.trunk.backbone.classifier.1.weight" not in model.state_dict()


def test_a_photograph_gives_boxes_in_its_own_pixels():
    model, data = tiny("localizer")
    picture = data[0]["image"].repeat(3, axis=0).repeat(2, axis=1)  # 96 x 64
    found = model.locate(picture)
    small = model.locate_all([data[0]["image"]])[0]
    assert found["names"] == [model.classes[label - 1] for label in found["labels"]]
    assert abs(found["boxes"] / [2, 3, 2, 3] - small["boxes"]).max() < 1.5
    with pytest.raises(ValueError, match="a photograph must be"):
        model.locate(np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "vgg"}, "backbone must be"), ({"frozen": "fire9"}, "there is no stage 'fire9'"),
        ({"objects": 0}, "objects must be a whole number >= 1"), ({"hidden": 0}, "hidden must be a whole number"),
        ({"place": "middle"}, "place must be 'conv' or 'fc'"),
    ],
)  # fmt: skip
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tiny("localizer", **options)


def test_it_learns_generated_scenes(tmp_path):
    data = scenes("localization", 8, (40, 40))
    options = {"short_side": 32, "width": 2, "channels": 4, "hidden": 16}
    model = vision.build("localizer_small", data.classes, np.random.default_rng(0), **options)
    recipe = {"epochs": 40, "optimiser": "adam", "lr": 0.01, "warm_up": 0, "schedule": "cosine"}
    Trainer(model, Batches(batch_of(model, data)), recipe, tmp_path).run()
    metrics = vision.TASKS["localization"].evaluate(model, data)
    assert metrics["localized"] >= 0.875 and metrics["mean_IoU"] > 0.6
