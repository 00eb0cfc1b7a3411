"""Confusion, worst errors, filters, class-activation maps and excitations, against what they are by definition."""

import numpy as np
import pytest
from PIL import Image

import nn
import vision
from scripts import evaluate
from tests.scripts.test_paths import checkpoint
from vision.classification.errors import collect_errors, draw_confusion
from vision.classification.inside import (
    class_activation,
    draw_activation,
    draw_excitation,
    draw_filters,
    gates_seen,
    mean_gates,
)
from vision.classification.pictures import draw_classifier

CLASSES = ("cat", "dog", "cow")


def sample(label, value=90, size=(12, 12)):
    return {"image": np.full((*size, 3), value, np.uint8), "label": label, "id": str(value)}


def normal(*shape):
    return np.random.default_rng(1).standard_normal(shape)


def test_confusion_and_worst_errors():
    pairs = [
        (sample(0), np.array([0.9, 0.1, 0.0])),
        (sample(0, 91), np.array([0.2, 0.7, 0.1])),
        (sample(2, 92), np.array([0.95, 0.0, 0.05])),
        (sample(2, 93), np.array([0.0, 0.6, 0.4])),
        (sample(1, 94), np.array([0.3, 0.4, 0.3])),
    ]
    errors = collect_errors(pairs, CLASSES, worst=2)
    assert errors.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 0]]
    assert [int(picture[0, 0, 0]) for picture in errors.worst] == [92, 91]  # of 0.95 and 0.7, not of 0.6


def test_the_matrix_is_drawn_as_shares_of_rows():
    picture = draw_confusion(np.array([[3, 1], [0, 2]]), ("a", "b"))
    cells = picture[-6 - 48 : -6, -6 - 48 : -6, 0][12::24, 12::24]
    assert cells.tolist() == [[191, 64], [0, 255]]
    many = np.eye(60, dtype=int)
    many[3, 50] = 9
    assert draw_confusion(many, [str(i) for i in range(60)]).shape[0] < 45 * 24


def test_filters():
    model = vision.build("resnet20_cifar", CLASSES, np.random.default_rng(0), n=1, width=4)
    picture, weight = draw_filters(model.network), model.network.backbone["conv1"].weight.value
    tile = picture[4:52:16, 4:52:16]  # the first filter, 3x3, enlarged 16 times
    low, high = weight[0].min(), weight[0].max()
    np.testing.assert_array_equal(
        tile, (255 * (weight[0] - low) / (high - low) + 0.5).astype(np.uint8).transpose(1, 2, 0)
    )
    assert draw_filters(nn.Linear(2, 2)) is None


def test_class_activation_of_global_average_pooling_is_that_of_zhou():
    """Eq. 2: the sum of the last map's channels, weighted with the class's row of the last layer."""
    model = vision.build("resnet20_cifar", CLASSES, np.random.default_rng(0), n=1, width=4).astype(np.float64)
    images, labels, network = normal(2, 3, 16, 24), np.array([2, 0]), model.network
    features, weight = network.backbone(images), model.parameters()["linear.weight"].value
    wanted = np.einsum("nk,nkrc->nrc", weight[labels], features) / features[0, 0].size
    got = class_activation(network, images, labels)
    np.testing.assert_allclose(got, np.maximum(wanted, 0), rtol=1e-9)
    assert got.any() and not any(p.grad.any() for p in network.parameters().values())


def test_class_activation_of_other_heads_is_the_mean_gradient():
    model = vision.build("vgg_small", CLASSES, np.random.default_rng(0), width=2, hidden=5).astype(np.float64)
    images, network, step = normal(1, 3, 32, 32), model.network, 1e-6
    features = network.backbone(images)
    slopes = []
    for channel in range(features.shape[1]):  # all cells of a channel moved by a step: the sum of the derivatives
        moved = [features.copy(), features.copy()]
        for each, sign in zip(moved, (1, -1)):
            each[:, channel] += sign * step
        up, down = (network.head(each)[0, 1] for each in moved)
        slopes.append((up - down) / (2 * step) / features[0, 0].size)
    wanted = np.maximum(np.einsum("k,krc->rc", slopes, features[0]), 0)
    np.testing.assert_allclose(class_activation(network, images, np.array([1]))[0], wanted, rtol=1e-5, atol=1e-10)


def test_an_activation_is_drawn_bright():
    image, activation = np.full((8, 8, 3), 200, np.uint8), np.array([[0.0, 2.0], [0.0, 2.0]])
    picture = draw_activation(image, activation)
    assert (picture[:, 0] == 30).all() and (picture[:, -1] == 200).all()
    assert (draw_activation(image, np.zeros((2, 2))) == 30).all()


def test_excitations_are_the_gates_of_their_layers():
    model = vision.build("se_resnet20_cifar", CLASSES, np.random.default_rng(0), n=1, width=4).astype(np.float64)
    images = normal(4, 3, 8, 8)
    with gates_seen(model.network) as seen:
        before = model(images)
    np.testing.assert_array_equal(model(images), before)
    assert {name: each[0].shape for name, each in seen.items()} == {
        "layer1.0.se": (4, 4), "layer2.0.se": (4, 8), "layer3.0.se": (4, 16),
    }  # fmt: skip
    x = model.network.backbone["relu"](model.network.backbone["bn1"](model.network.backbone["conv1"](images)))
    block = model.network.backbone["layer1"][0]
    inner = block["bn2"](block["conv2"](nn.ReLU()(block["bn1"](block["conv1"](x)))))
    se = block["se"]
    gate = nn.sigmoid(se.fc2(nn.ReLU()(se.fc1(inner.mean(axis=(2, 3), keepdims=True)))))
    np.testing.assert_allclose(seen["layer1.0.se"][0], gate[:, :, 0, 0], rtol=1e-12)
    means = mean_gates(seen, np.array([0, 2, 0, 0]), 3)["layer2.0.se"]
    np.testing.assert_allclose(means[0], seen["layer2.0.se"][0][[0, 2, 3]].mean(axis=0), rtol=1e-12)
    assert np.isnan(means[1]).all()
    picture = draw_excitation({"a": means, "b": means}, CLASSES)
    assert len(picture) == 2 * (4 * 16 + 6) + 6  # at each depth a line of text and one for each class
    row = picture[6 + 16 + 8, -6 - 512 : -6, 0].reshape(8, 64)  # eight channels, of the first class
    np.testing.assert_array_equal(row, np.repeat((255 * means[0] + 0.5).astype(np.uint8)[:, None], 64, axis=1))


class Three(list):
    classes = CLASSES


@pytest.mark.parametrize("name, more", [("se_resnet20_cifar", {"activations", "excitation"}), ("mnist_conv", set())])
def test_what_a_network_has_is_drawn(name, more):
    options = {"n": 1, "width": 2} if more else {}
    model = vision.build(name, CLASSES, np.random.default_rng(0), **options)
    data = Three(sample(i % 3, 60 + i, (32, 32) if more else (28, 28)) for i in range(5))
    drawn = draw_classifier(model, data)
    assert set(drawn) == {"confusion", "worst", "filters"} | more
    assert all(picture.dtype == np.uint8 and picture.ndim == 3 for picture in drawn.values())


def test_evaluate_writes_them(tmp_path, capsys, monkeypatch):
    run = checkpoint(tmp_path / "a.npz", "resnet20_cifar")
    assert (
        evaluate.main([str(run), "--shapes-val", "4", "--shapes-size", "32", "32", "--out", str(tmp_path / "out")]) == 0
    )
    assert "activations.png are in" in capsys.readouterr().out
    names = {path.stem for path in (tmp_path / "out").iterdir()}
    assert {"confusion", "filters", "activations"} <= names
    with Image.open(tmp_path / "out" / "filters.png") as picture:
        assert picture.width > 50
