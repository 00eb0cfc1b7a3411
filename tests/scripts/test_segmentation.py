"""Train, evaluate and predict with a segmenter, on generated scenes and on folders, and compare systems."""

import json
import shutil
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import vision
from datasets import COCODetection, Shapes, read_label_picture
from nn.io.checkpoint import read_checkpoint
from scripts import compare, evaluate, predict, train
from scripts.augmentation import prepared, training_transform
from scripts.compare_systems import in_order, learn_shapes, parse_system
from scripts.data import DEFAULTS
from scripts.readers.segmentation import open_labelled_shapes
from scripts.train_arguments import parse
from vision import Preprocess

OPTIONS = ("--set", "width=2", "depth=1", "short_side=32", "max_side=48", "batch_norm=true")
MODEL = ("--model", "unet_small", *OPTIONS, "--batch-size", 4, "--pictures", 2)
SCENES = ("--shapes-train", 8, "--shapes-val", 3, "--shapes-size", 32, 40)
PREPROCESS = Preprocess(short_side=16, max_side=64, mean=128, std=1, multiple=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run on Shapes, with class weights: read only."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    arguments = [*MODEL[:2], *OPTIONS, "class_weights=median", *MODEL[-4:], *SCENES, "--epochs", 2, "--run-dir", folder]
    assert train.main(arguments) == 0
    return folder


@pytest.fixture
def folders(tmp_path):
    """Six photographs, dark above and bright below, with label pictures and a class list."""
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        labels = (np.arange(32)[:, None] > 10 + 2 * i) & np.ones(40, bool)
        image = 200 * labels[..., None] + rng.integers(0, 50, (32, 40, 3))
        Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"{i}.png")
        Image.fromarray(np.where(labels, 3, 8).astype(np.uint8)).save(root / "labels" / f"{i}.png")
    (root / "classes.txt").write_text("sky 8\nroad 3\nignore 255\n")
    return root


def test_shapes_from_training_to_predictions(run, tmp_path, capsys):
    assert {path.name for path in (run / "pictures").iterdir()} == {"epoch_0001.png", "epoch_0002.png"}
    assert evaluate.main([run / "last.npz", "--json", tmp_path / "a.json"]) == 0
    out = capsys.readouterr().out
    assert "class          pixels  accuracy    IoU  boundary F1" in out and "background" in out
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    logged, measured = records[-1]["metrics"], json.loads((tmp_path / "a.json").read_text())
    assert logged | {"images_per_second": 0} == measured | {"images_per_second": 0}

    Image.fromarray(Shapes(1, (48, 70))[0]["image"]).save(tmp_path / "scene.png")
    assert predict.main([run, tmp_path / "scene.png", "--out", tmp_path / "out", "--threshold", 0]) == 0
    (record,) = json.loads((tmp_path / "out/predictions.json").read_text())
    assert sum(found["pixels"] for found in record["found"]) == 48 * 70
    labels = read_label_picture(tmp_path / "out" / record["labels"])
    assert labels.shape == (48, 70) and labels.max() < 4
    assert {found["label"]: found["pixels"] for found in record["found"]} == {
        int(c): int(n) for c, n in zip(*np.unique(labels, return_counts=True))
    }
    with Image.open(tmp_path / "out/scene.png") as picture:
        assert picture.width == 5 * 70 and picture.height > 5 * 48


def test_median_class_weights_are_in_the_checkpoint(run):
    """They are those of the training scenes; the background has the lowest."""
    weights = read_checkpoint(run / "best.npz")[1]["model"]["class_weights"]
    scenes, pixels = Shapes(8, (32, 40), seed=1), np.zeros((8, 4))
    for i in range(8):
        pixels[i] = np.bincount(scenes[i]["segmentation"].ravel(), minlength=4)
    frequency = pixels.sum(axis=0) / (pixels > 0).sum(axis=0) / (32 * 40)
    np.testing.assert_allclose(weights, np.median(frequency) / frequency, atol=1e-6)


def test_options_that_are_not_learned_change_after_training(run, tmp_path, capsys, error_of):
    def mean_iou(*options):
        assert evaluate.main([run, "--json", tmp_path / "a.json", *options]) == 0
        return json.loads((tmp_path / "a.json").read_text())["mIoU"]

    assert mean_iou("--set", "short_side=16") != mean_iou() == mean_iou("--set", "short_side=32")
    for name in ("model", "classes", "rng"):
        for script in ((evaluate.main, run), (train.main, *MODEL[:2], "--run-dir", tmp_path / "new")):
            assert f"{name} is no option of a model, got '{name}=3'" in error_of(*script, "--set", f"{name}=3")
    assert "no option 'path'" in error_of(evaluate.main, run, "--set", "path=3")
    assert "short_side must be a whole number, got 'big'" in error_of(evaluate.main, run, "--set", "short_side=big")
    error = error_of(evaluate.main, run, "--set", "width=3")
    assert "with other options" in error and "best.npz" in error
    assert "'crf'" in error_of(evaluate.main, run, "--set", "crf=true")  # a U-Net has none

    Image.fromarray(Shapes(1, (48, 70))[0]["image"]).save(tmp_path / "scene.png")
    sizes = []
    for options in ([], ["--set", "short_side=16"]):
        assert predict.main([run, tmp_path / "scene.png", "--out", tmp_path / "out", "--threshold", 0, *options]) == 0
        sizes.append((tmp_path / "out/scene.png").read_bytes())
    assert sizes[0] != sizes[1]
    error = error_of(predict.main, run, tmp_path / "scene.png", "--out", tmp_path / "out", "--set", "crf=true")
    assert "no option 'crf'" in error and "short_side" in error


def test_separated_objects_as_coco_has_them(run, tmp_path):
    """Read back by COCODetection and by pycocotools: the objects of the label picture, and no background."""
    pytest.importorskip("skimage")
    (tmp_path / "scenes").mkdir()
    for i in range(2):
        Image.fromarray(Shapes(2, (48, 70))[i]["image"]).save(tmp_path / "scenes" / f"{i}.png")
    out, classes = tmp_path / "out", vision.load(run).classes
    given = ("--threshold", 0, "--write", "coco", "--set", "separate=distance", "tau=0.5")
    assert predict.main([run, tmp_path / "scenes", "--out", out, *given]) == 0
    data = COCODetection(out / "coco_instances.json", tmp_path / "scenes")
    assert data.classes == classes[1:]
    results = json.loads((out / "coco_results.json").read_text())
    for i, record in enumerate(json.loads((out / "predictions.json").read_text())):
        objects, labels = (np.array(Image.open(out / "labels" / f"{i}{end}.png")) for end in (".objects", ""))
        assert len(data[i]["masks"]) == sum(row["objects"] for row in record["found"]) == objects.max() > 1
        for k, (mask, label) in enumerate(zip(data[i]["masks"], data[i]["labels"]), 1):
            np.testing.assert_array_equal(mask, objects == k)
            assert (labels[mask] == label).all()
    coco = pytest.importorskip("pycocotools.coco").COCO(out / "coco_instances.json")
    mask_area = pytest.importorskip("pycocotools.mask").area
    assert len(coco.loadRes(str(out / "coco_results.json")).anns) == len(results)
    for annotation in coco.anns.values():
        assert mask_area(coco.annToRLE(annotation)) == annotation["area"]


def test_a_last_batch_too_small_for_the_model_is_named_before_training(tmp_path, error_of):
    model = ("--model", "deeplabv3_small", "--batch-size", 2, "--run-dir", tmp_path / "run")
    error = error_of(train.main, *model, "--shapes-train", 5)
    assert "at least 2" in error and "the last of 5 images by --batch-size 2 has 1" in error
    assert not (tmp_path / "run").exists()


def test_training_resumes_with_its_weights(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    assert train.main(["--run-dir", tmp_path / "run", "--resume"]) == 0
    before, after = (read_checkpoint(folder / "last.npz")[0] for folder in (run, tmp_path / "run"))
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_own_folders_are_learned(folders, tmp_path, capsys):
    data = ("--data", "folders", "--root", folders, "--elastic", 1, "--crop", 28, 40, "--jitter", 0)
    assert (
        train.main([*MODEL, *data, "--epochs", 8, "--lr", 0.05, "--evaluate-every", 0, "--run-dir", tmp_path / "run"])
        == 0
    )
    out, err = capsys.readouterr()
    assert "classes sky, road" in out and "5 images to train on (train), 1 to evaluate on (val)" in out
    assert "has no train.txt and val.txt; 5 photographs, chosen by name, are train" in err
    assert evaluate.main([tmp_path / "run", "--json", tmp_path / "a.json"]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["mIoU"] > 0.8


@pytest.mark.parametrize("data", ["folders", "camvid", "voc", "nuclei", "pets"])
def test_the_best_epoch_is_not_chosen_on_the_test_set(data):
    args = parse(["--model", "unet_small", "--data", data, "--root", "x", "--run-dir", "y"], "")
    assert (args.train_split, args.val_split) == ("train", "val")


def test_pretrained_weights_of_another_net(run, tmp_path, capsys):
    """A U-Net with one level more loads the weights that fit from one with fewer."""
    arguments = [part if part != "depth=1" else "depth=2" for part in MODEL]
    arguments += [*SCENES, "--epochs", 1, "--evaluate-every", 0, "--pretrained"]
    assert train.main([*arguments, run, "--run-dir", tmp_path / "run"]) == 0
    assert "arrays; random are" in capsys.readouterr().out


def test_mistakes_before_training(folders, tmp_path, error_of):
    """They are named before a run folder is made."""
    arguments = (*MODEL, "--run-dir", tmp_path / "run", "--data")
    assert "--data folders needs --root DIR" in error_of(train.main, *arguments, "folders")
    known = "shapes, folders, camvid, voc, nuclei, shards, pets"
    assert f"--data must be one of {known} for this model" in error_of(train.main, *arguments, "mnist")
    mine = (*arguments, "folders", "--root", folders)
    Image.fromarray(np.full((32, 40), 7, np.uint8)).save(folders / "labels" / "0.png")
    assert "0.png: 1 value outside the class list: 7 (1280 pixels)" in error_of(train.main, *mine)
    Image.fromarray(np.full((31, 40), 8, np.uint8)).save(folders / "labels" / "0.png")
    assert "0.png: is 40x31, but" in error_of(train.main, *mine)
    Image.fromarray(np.full((32, 40, 3), (1, 2, 3), np.uint8)).save(folders / "labels" / "0.png")
    assert "0.png: holds colours, but the classes have values" in error_of(train.main, *mine)
    (folders / "classes.txt").write_text("sky 8 8 8\nroad 3 3 3\n")
    assert "0.png: 1 colour outside the class list: 1 2 3 (1280 pixels)" in error_of(train.main, *mine)
    (folders / "labels" / "0.png").unlink()
    assert "labels: holds no picture 0" in error_of(train.main, *mine)
    assert "must begin with background, got cat" in error_of(train.main, *arguments, "shapes", "--classes", "cat")
    assert not (tmp_path / "run").exists()


def test_classes_of_shapes():
    arguments = Namespace(root=None, shapes_train=2, shapes_val=2, shapes_size=(32, 40))
    data = open_labelled_shapes(arguments, "train", ("background", "star"))
    assert data.classes == ("background", "star")
    assert set(np.unique(data[0]["segmentation"])) <= {0, 1}
    assert [labels.shape for labels in data.label_maps()] == [(32, 40)] * 2


def test_augmentation_of_training_samples():
    """Every step keeps image and labels of one size; elastic deformation comes before the crop."""
    arguments = Namespace(root=None, shapes_train=2, shapes_val=2, shapes_size=(40, 60))
    data = open_labelled_shapes(arguments, "train")
    given = Namespace(**DEFAULTS | {"elastic": 3.0, "crop": [24, 50], "zoom": [0.8, 1.2], "flip_vertical": 0.5})
    preprocess = replace(PREPROCESS, short_side=36, max_side=60)
    for seed in range(5):
        got = training_transform(preprocess, given)(data[0], np.random.default_rng(seed))
        assert got["image"].shape == (24, 50, 3) and got["segmentation"].shape == (24, 50)
        assert set(np.unique(got["segmentation"])) <= {-1, *np.unique(data[0]["segmentation"])}
    for kind in ("objects", "proposals"):
        given = Namespace(**DEFAULTS | {"crop_objects": kind})
        got = training_transform(preprocess, given)(data[1], np.random.default_rng(0))
        assert got["image"].shape == (36, 36, 3) and got["segmentation"].max() > 0


def test_the_light_is_evened_out_before_a_part_is_cut():
    """Crops of a grey ramp: each has a part of its range, and all of them the same values at the same rows."""
    ramp = np.broadcast_to(np.arange(40, 80, dtype=np.uint8)[:, None, None], (40, 8, 3))
    sample = {"image": ramp, "segmentation": np.arange(40)[:, None].repeat(8, axis=1)}
    given = Namespace(**DEFAULTS | {"crop": [10, 8], "jitter": 0.0, "flip_horizontal": 0.0})
    preprocess = Preprocess(resize="none", percentiles=(0, 100), dark_background=True)
    whole = preprocess.scaled(ramp)[:, 0, 0]
    assert (whole[0], whole[-1]) == (0, 255)
    for seed in range(3):
        got = training_transform(preprocess, given)(sample, np.random.default_rng(seed))
        np.testing.assert_array_equal(got["image"][:, 0, 0], whole[got["segmentation"][:, 0]])


@pytest.mark.parametrize(
    "changes", [{"zoom": [0.5, 0.5]}, {"elastic": 9.0}, {"crop": [60, 60]}, {"shift": 9}, {"expand": 4.0}]
)
def test_what_comes_in_at_the_borders_is_0_to_the_network(changes):
    """A black image whose mean is 0 stays black: microscopes' backgrounds have no grey frame."""
    sample = {"image": np.zeros((40, 30, 3), np.uint8), "segmentation": np.ones((40, 30), int)}
    preprocess, given = Preprocess(resize="none", mean=0, std=64), Namespace(**DEFAULTS | {"jitter": 0.0} | changes)
    got = [training_transform(preprocess, given)(sample, np.random.default_rng(seed)) for seed in range(4)]
    assert any((each["segmentation"] == -1).any() for each in got)
    assert not any(each["image"].any() for each in got)
    dark = sample | {"image": np.full((40, 30, 3), 30, np.uint8)}
    transform = training_transform(Preprocess(resize="none", per_image=True), given)  # the mean is the image's own
    assert all((transform(dark, np.random.default_rng(seed))["image"] == 30).all() for seed in range(4))


def test_parts_are_normalised_by_the_whole_image():
    """Training sees rows of a grey ramp as testing does, although each part has a mean and deviation of its own."""
    ramp = np.broadcast_to(np.arange(40, 80, dtype=np.uint8)[:, None, None], (40, 8, 3))
    sample = {"image": ramp, "segmentation": np.arange(40)[:, None].repeat(8, axis=1)}
    given = Namespace(**DEFAULTS | {"crop": [10, 8], "jitter": 0.0, "flip_horizontal": 0.0})
    preprocess = Preprocess(resize="none", per_image=True)
    whole = preprocess.batch([preprocess.scaled(ramp)])[0, :, :, 0]
    for transform in (training_transform(preprocess, given), prepared(preprocess)):
        got = transform(sample, np.random.default_rng(0))
        seen = preprocess.batch_of([got])[0, :, :, 0]
        np.testing.assert_array_equal(seen, whole[:, got["segmentation"][:, 0]])
    larger = Preprocess(short_side=16, max_side=80, per_image=True)
    np.testing.assert_allclose(larger.light(ramp), (larger.scaled(ramp).mean(), larger.scaled(ramp).std()))


def test_objects_are_cropped_at_full_size():
    """Stripes of 3 pixels stay black and white; in the picture scaled to 16 pixels they are grey."""
    stripes = np.broadcast_to(255 * (np.arange(115) // 3 % 2)[:, None], (115, 115, 3)).astype(np.uint8)
    sample = {"image": stripes, "segmentation": np.pad(np.ones((15, 15), int), 50)}
    given = Namespace(**DEFAULTS | {"crop_objects": "objects", "jitter": 0.0})
    got = training_transform(PREPROCESS, given)(sample, np.random.default_rng(0))
    assert got["image"].shape == (16, 16, 3) and got["image"].std() > 80


def test_crop_objects_where_there_are_none(folders, tmp_path, error_of):
    run_dir = ("--run-dir", tmp_path / "run", "--crop-objects", "objects")
    message = error_of(train.main, *MODEL, "--data", "folders", "--root", folders, *run_dir)
    assert "--crop-objects needs data whose first class is 'background', got 'sky'" in message
    message = error_of(train.main, "--model", "faster_rcnn_small", *SCENES, *run_dir)
    assert "--crop-objects needs labels of pixels: only models for segmentation use it" in message
    assert not (tmp_path / "run").exists()


def test_both_stages_of_deconvnet_in_one_run(tmp_path):
    """First on crops of objects, then on crops around proposals; then a photograph is segmented."""
    sizes = ("width=2", "hidden=3", "depth=2", "bottleneck=2", "short_side=32", "max_side=48")
    arguments = ("--model", "deconvnet_small", "--set", "two_stages=true", *sizes, "--batch-size", 4, *SCENES)
    run = ("--epochs", 1, "--pictures", 0, "--evaluate-every", 0, "--run-dir", tmp_path / "run")
    assert train.main([*arguments, *run]) == 0
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [record["stage"] for record in records if "losses" in record] == 2 * ["objects"] + 2 * ["proposals"]
    assert predict.main([tmp_path / "run", save_scene(tmp_path), "--out", tmp_path / "out"]) == 0


def save_scene(folder):
    """The path of a picture of 48 x 70 pixels."""
    Image.fromarray(Shapes(1, (48, 70))[0]["image"]).save(folder / "scene.png")
    return folder / "scene.png"


PASSED = ("--", *SCENES, "--epochs", 1, "--pictures", 0, "--evaluate-every", 0)
SMALLEST = "unet_small:width=2,depth=1,short_side=32,max_side=48"


def test_compare_trains_measures_and_continues(tmp_path, capsys, monkeypatch):
    assert compare.main([SMALLEST, "--run-dir", tmp_path, *PASSED]) == 0
    assert compare.main([SMALLEST, "--seeds", 0, 1, "--run-dir", tmp_path, *PASSED]) == 0
    out = capsys.readouterr().out
    assert out.count(f"== {SMALLEST}, seed 0") == 1  # done before the second call
    lines = (tmp_path / "table.md").read_text().splitlines()
    cells = [cell.strip() for cell in lines[0].split("|")[1:6]]
    assert cells == ["system", "parameters", "multiply adds", "minutes", "mIoU"]
    model = vision.build("unet_small", "abcd", width=2, depth=1)
    assert f"{sum(p.value.size for p in model.parameters().values()):,}" in lines[2]

    (tmp_path / f"{SMALLEST.replace(':', '_').replace(',', '_')}_seed1" / "result.json").unlink()
    monkeypatch.setattr("scripts.train.Trainer.step", None)  # trained to the end: only measured again
    assert compare.main([SMALLEST, "--seeds", 0, 1, "--run-dir", tmp_path, *PASSED]) == 0
    assert (tmp_path / "table.md").read_text().splitlines() == lines


def test_a_table_of_several_seeds():
    rows = [
        {
            "system": "a",
            "parameters": [1200, 1200],
            "minutes": [1.0, 2.0],
            "mIoU": [0.5, 0.7],
            "class_accuracy": [0.5, 0.6],
        },
        {"system": "bb", "parameters": [7], "minutes": [0.04], "mIoU": [0.25]},
    ]
    assert compare.table(rows, "mIoU").splitlines() == [
        "| system | parameters | minutes | mIoU          | class accuracy |",
        "| ------ | ---------- | ------- | ------------- | -------------- |",
        "| a      | 1,200      | 1.5     | 0.600 ± 0.141 | 0.550          |",
        "| bb     | 7          | 0.0     | 0.250         | -              |",
    ]


def test_mistakes_of_compare(tmp_path, error_of):
    assert "there is no model 'unet_tiny' of the task segmentation; choose from" in error_of(
        compare.main, "unet_tiny", "--run-dir", tmp_path
    )
    assert compare.main([SMALLEST, "--run-dir", tmp_path, *PASSED]) == 0
    assert "was trained with --split test -- --shapes-train 8" in error_of(
        compare.main, SMALLEST, "--run-dir", tmp_path, *PASSED, "--jitter", 0
    )


def test_arguments_that_compare_sets_itself_are_refused(tmp_path, error_of):
    error = error_of(compare.main, SMALLEST, "--run-dir", tmp_path, "--", "--seed", 3)
    assert "--seed is not for scripts.train here: give it before --" in error


def test_compare_puts_coarser_nets_first():
    names = learn_shapes("segmentation")
    assert "unet_small" in names and "unet" not in names
    order = in_order([parse_system(name, "segmentation") for name in reversed(names)])
    place = {system.model: i for i, system in enumerate(order)}
    for name in names:
        before = vision.MODELS[name].recipe.get("after")
        assert before is None or place[before] < place[name]
