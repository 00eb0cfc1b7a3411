"""Train, evaluate and predict with a classifier, on generated scenes and on a small folder in CIFAR-10's format."""

import json
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

import vision
from datasets import Shapes
from nn.io.checkpoint import write_checkpoint
from scripts import evaluate, predict, train
from scripts.augmentation import training_transform
from scripts.data import DEFAULTS, training_loader
from scripts.readers import readers_of
from scripts.readers.classification import open_largest_shape
from vision import TASKS, Preprocess
from vision.classification import ImageClassifier
from vision.classification.draw import RIGHT, WRONG, draw_label
from vision.classification.task import (
    classification_batch,
    classification_table,
    classify,
    describe_label,
    draw_classified,
    evaluate_classifier,
    select_labels,
)
from vision.training.saving import load_model

MODEL = ("--model", "resnet20_cifar", "--set", "n=1", "width=2", "--batch-size", 8, "--pictures", 2)
SCENES = ("--shapes-train", 16, "--shapes-val", 6, "--shapes-size", 32, 40)


@pytest.fixture
def cifar(tmp_path):
    root, rng = tmp_path / "cifar", np.random.default_rng(0)
    root.mkdir()
    labels = {"classes": ["night", "day"]}
    for name in ("cifar10_batch_0", "cifar10_batch_1", "cifar10_batch_50"):
        labels[name] = (np.arange(12) % 2).tolist()
        pixels = rng.integers(0, 100, (12, 1024, 3)) + 150 * np.array(labels[name])[:, None, None]
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{name}.png")
    (root / "labels.json").write_text(json.dumps(labels))
    return root


def test_shapes_from_training_to_predictions(tmp_path, capsys):
    assert train.main([*MODEL, *SCENES, "--run-dir", tmp_path / "run", "--epochs", 2, "--lr", 0.01]) == 0
    out = capsys.readouterr().out
    assert "classes circle, square, triangle" in out
    assert "class     images  accuracy" in out
    assert {path.name for path in (tmp_path / "run/pictures").iterdir()} == {"epoch_0001.png", "epoch_0002.png"}
    assert evaluate.main([tmp_path / "run/last.npz", "--json", tmp_path / "a.json"]) == 0
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    logged, measured = records[-1]["metrics"], json.loads((tmp_path / "a.json").read_text())
    assert logged | {"images_per_second": 0} == measured | {"images_per_second": 0}

    Image.fromarray(Shapes(1, (48, 64))[0]["image"]).save(tmp_path / "scene.png")
    options = ("--out", tmp_path / "out", "--threshold", 0)
    assert predict.main([tmp_path / "run", tmp_path / "scene.png", *options]) == 0
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    assert sorted(found["class"] for found in record["found"]) == ["circle", "square", "triangle"]
    assert sum(found["score"] for found in record["found"]) == pytest.approx(1, abs=1e-3)
    with Image.open(tmp_path / "out/scene.png") as picture:
        assert picture.width == 4 * 64
        assert picture.height > 4 * 48


def test_training_on_a_few_images_of_each_class(cifar, tmp_path, capsys, error_of):
    data = ("--data", "cifar10", "--root", cifar, "--epochs", 1, "--batch-size", 4, "--run-dir", tmp_path / "run")
    assert train.main([*MODEL, *data, "--images-per-class", 3]) == 0
    assert "6 images to train on (train), 12 to evaluate on (test)" in capsys.readouterr().out
    assert train.main(["--run-dir", tmp_path / "run", "--resume"]) == 0
    assert "there are 12 training images of 'night', 13 of each" in error_of(
        train.main, *MODEL, *data[:-1], tmp_path / "more", "--images-per-class", 13
    )
    wrong = ("--model", "unet_small", *SCENES, "--run-dir", tmp_path / "pixels", "--images-per-class", 1)
    assert "--images-per-class is for models of the task classification" in error_of(train.main, *wrong)


def test_cifar_is_learned(cifar, tmp_path, capsys):
    data = ("--data", "cifar10", "--root", cifar)
    steps = ("--epochs", 8, "--lr", 0.1, "--momentum", 0.5, "--run-dir", tmp_path / "run")
    assert train.main([*MODEL, *data, *steps]) == 0
    out = capsys.readouterr().out
    assert "24 images to train on (train), 12 to evaluate on (test)" in out
    assert evaluate.main([tmp_path / "run"]) == 0
    assert "all        12     1.000" in capsys.readouterr().out
    assert evaluate.main([tmp_path / "run", "--split", "train"]) == 0


def test_mistakes(cifar, tmp_path, error_of):
    arguments = (*MODEL, "--run-dir", tmp_path / "run", "--data")
    assert "--data cifar10 needs --root DIR" in error_of(train.main, *arguments, "cifar10")
    known = ", ".join(readers_of("classification"))
    assert f"--data must be one of {known} for this model, got 'voc'" in error_of(train.main, *arguments, "voc")
    assert "split must be one of train, test" in error_of(
        train.main, *arguments, "cifar10", "--root", cifar, "--val-split", "val"
    )
    assert "has the classes night day; got day night" in error_of(
        train.main, *arguments, "cifar10", "--root", cifar, "--classes", "day", "night"
    )
    error = error_of(train.main, *MODEL, "--run-dir", tmp_path / "run", "--set", "n=1", "widht=3")
    assert "there is no option 'widht'" in error


class Bright(ImageClassifier):
    """Predicts class 0 for dark images and class 1 for bright ones."""

    def __init__(self):
        super().__init__(Two.classes[:2], None, Preprocess(short_side=16, max_side=64, mean=128, std=1))
        self.seen = []

    def predict(self, images):
        self.seen.append(images.shape)
        bright = images.mean(axis=(1, 2, 3)) > 0
        return np.stack([np.where(bright, 0.25, 0.75), np.where(bright, 0.75, 0.25)], axis=1)


class Two(list):
    classes = ("dark", "bright", "never")


def flat(value, size=(16, 16), label=0):
    return {"image": np.full((*size, 3), value, np.uint8), "label": label}


def test_evaluation():
    data = Two([flat(0, label=0), flat(255, label=1), flat(0, label=1), flat(255, label=1)])
    metrics = evaluate_classifier(Bright(), data)
    assert metrics["accuracy"] == 0.75
    assert metrics["classes"] == {
        "dark": {"images": 1, "accuracy": 1.0},
        "bright": {"images": 3, "accuracy": pytest.approx(2 / 3)},
        "never": {"images": 0, "accuracy": None},
    }
    json.dumps(metrics, allow_nan=False)
    assert classification_table(metrics | {"images_per_second": 2.25}).splitlines() == [
        "class   images  accuracy",
        "dark         1     1.000",
        "bright       3     0.667",
        "never        0         -",
        "all          4     0.750",
        "4 images, 2.2 images/s",
    ]


def test_images_of_one_size_are_one_batch_and_none_is_padded():
    model = Bright()
    assert model.probabilities([flat(0, (32, 32))["image"], flat(255, (16, 16))["image"]]).argmax(axis=1).tolist() == [
        0,
        1,
    ]
    assert model.seen == [(2, 3, 16, 16)]
    model = Bright()
    model.probabilities([flat(0, (16, 16))["image"], flat(255, (16, 24))["image"]])
    assert model.seen == [(1, 3, 16, 16), (1, 3, 16, 24)]


def test_a_batch():
    model = Bright()
    model.preprocess = Preprocess(mean=10, std=2)
    images, labels = classification_batch(model, [flat(10, label=2), flat(20, (16, 18), label=1)])
    assert images.shape == (2, 3, 16, 18)
    assert images[1].min() == images[1].max() == 5
    assert labels.dtype == np.int64
    assert labels.tolist() == [2, 1]


def test_classes_of_generated_scenes():
    data = open_largest_shape(Namespace(root=None, shapes_train=5, shapes_size=[32, 40]), "train")
    assert len(data) == 5
    for i in range(5):
        whole = Shapes(5, (32, 40), 1)[i]
        assert data.classes[data[i]["label"]] == data.classes[whole["labels"][whole["masks"].sum((1, 2)).argmax()] - 1]


def test_prediction_selection_and_description():
    found = classify(Bright(), flat(255))
    assert found["labels"].tolist() == [1, 0]
    assert describe_label(select_labels(found, 0.5), Two.classes) == [{"class": "bright", "label": 1, "score": 0.75}]
    assert describe_label(select_labels(found, 0.8), Two.classes) == []


def test_pictures():
    image, found = flat(255)["image"], classify(Bright(), flat(255))
    for sample, colour in ((flat(255, label=1), RIGHT), (flat(255, label=0), WRONG)):
        picture = draw_classified(image, found, Two.classes, sample)
        assert picture[:240].min() == 255
        assert (picture == colour).all(axis=2).any()
    unsure = draw_classified(image, select_labels(found, 0.9), Two.classes, flat(255, label=1))
    assert (unsure == WRONG).all(axis=2).any()
    assert draw_classified(image, found, Two.classes).shape[0] < picture.shape[0]
    long = draw_label(image, "a name that is wider than the picture")
    assert long[:, -4:].min() == 255
    assert draw_label(np.zeros((900, 1000, 3), np.uint8), "x").shape[1] == 1000
    with pytest.raises(ValueError, match=r"image must be \(H, W, 3\) uint8 in RGB, got float64 \(4, 4\)"):
        draw_label(np.zeros((4, 4)), "x")


def test_published_weights_become_a_checkpoint(tmp_path, capsys):
    """How a user evaluates weights that were trained elsewhere."""
    model = vision.build("resnet20_cifar", ("circle", "square", "triangle"), n=1, width=2)
    state = {f"model/{name}": array for name, array in model.state_dict().items()}
    write_checkpoint(tmp_path / "a.npz", state, {"model": model.config})
    assert load_model(tmp_path / "a.npz")[0].config == model.config
    assert evaluate.main([tmp_path / "a.npz", "--shapes-val", 3]) == 0
    assert "3 images, " in capsys.readouterr().out


def test_augmentation_of_classifiers(tmp_path):
    """Shift, resized crop and colours change the images that a run sees, not their size."""
    data = open_largest_shape(Namespace(root=None, shapes_train=4, shapes_size=[40, 52]), "train")
    model = vision.build("resnet20_cifar", data.classes, n=1, width=2)
    plain = DEFAULTS | {"batch_size": 4, "seed": 0, "workers": 0, "flip_horizontal": 0.0, "jitter": 0.0}
    (before, _), *_ = training_loader(model, TASKS["classification"], data, Namespace(**plain)).epoch(0)
    for change in ({"shift": 4}, {"colour_pca": 0.5}, {"resized_crop": [0.5, 1.0]}):
        (images, _), *_ = training_loader(model, TASKS["classification"], data, Namespace(**plain | change)).epoch(0)
        assert images.shape == ((4, 3, 32, 32) if "resized_crop" in change else before.shape)
        assert images.shape != before.shape or (images != before).any()


@pytest.mark.parametrize("change", [{"affine": 1.0}, {"expand": 4.0}, {"patches": 1.0}])
def test_resized_crops_are_of_what_comes_before_them(change):
    """Affine maps, larger canvases and parts with an object change a resized crop as they change a whole image."""
    image = np.random.default_rng(0).integers(0, 256, (40, 52, 3)).astype(np.uint8)
    sample = {"image": image, "label": 1}
    if "affine" not in change:  # which is for images with a label alone
        sample |= {"boxes": np.array([[5, 5, 30, 30]], np.float32), "labels": np.array([1])}
    preprocess = Preprocess(short_side=32, max_side=32)
    given = DEFAULTS | {"flip_horizontal": 0.0, "jitter": 0.0, "resized_crop": [1.0, 1.0]}

    def seen(given):
        transform = training_transform(preprocess, Namespace(**given))
        return [transform(sample, np.random.default_rng(seed))["image"].tolist() for seed in range(4)]

    assert np.shape(seen(given)) == (4, 32, 32, 3)
    assert seen(given | change) != seen(given)


def test_two_ways_to_take_a_part_are_refused():
    given = Namespace(**DEFAULTS | {"resized_crop": [0.5, 1.0], "crop_objects": "objects"})
    with pytest.raises(ValueError, match="--resized-crop and --crop-objects both"):
        training_transform(Preprocess(), given)
