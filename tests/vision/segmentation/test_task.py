"""Segmentation as a task: batches, predictions in the pixels of a photograph, metrics, tables, label pictures."""

import json

import numpy as np
import pytest
from PIL import Image

import vision
from datasets import read_label_picture
from vision.segmentation import PixelClassifier, PixelNetwork, PixelOptions, weight_map
from vision.segmentation.draw import class_colours
from vision.segmentation.task import (
    describe_areas,
    draw_areas,
    evaluate_segmenter,
    save_labels,
    segment,
    segmentation_batch,
    segmentation_table,
    select_pixels,
    weights_of_classes,
)

OPTIONS = {"short_side": 16, "max_side": 64, "mean": 128, "std": 1, "multiple": 8}
CLASSES = ("background", "nucleus")


class Stripes(PixelClassifier):
    """Predicts class 0 for dark pixels and class 1 for bright ones."""

    seen = ()

    def __init__(self, **options):
        super().__init__(PixelNetwork(), CLASSES, PixelOptions(**OPTIONS | options))

    def predict(self, images):
        self.seen = images.shape
        bright = (images.mean(axis=1) > 0).astype(float)
        return np.stack([1 - 0.75 * bright, 0.75 * bright], axis=1)

    def refine(self, image, p):
        assert p.shape[1:] == image.shape[:2]
        return p


class Inverted(Stripes):
    """The same, its two classes exchanged by refine."""

    def refine(self, image, p):
        return super().refine(image, p)[::-1]


class Two(list):
    classes = CLASSES

    def label_maps(self):
        return (sample["segmentation"] for sample in self)


def sample(size=(16, 24)):
    labels = np.zeros(size, int)
    labels[4:12, 3:9] = 1
    return {"image": np.repeat(255 * labels[..., None], 3, axis=2).astype(np.uint8), "segmentation": labels}


def enlarged():
    """The sample at 32 x 46 pixels, which become 16 x 23."""
    big = {key: value.repeat(2, axis=0).repeat(2, axis=1) for key, value in sample().items()}
    return big | {"image": big["image"][:, :46]}


def test_prediction_is_in_the_pixels_of_the_image():
    """Resized to 16 rows, padded to a multiple of 8, cut and brought back."""
    model, big = Stripes(), enlarged()
    found = segment(model, big)
    assert model.seen == (1, 3, 16, 24)
    assert found["labels"].shape == found["scores"].shape == (32, 46) and found["names"] == CLASSES
    assert (found["labels"] == big["segmentation"][:, :46]).mean() > 0.98
    refined = segment(Inverted(), big)
    np.testing.assert_array_equal(refined["labels"], 1 - found["labels"])
    doubtful = select_pixels(found, 0.8)["labels"]
    assert set(np.unique(doubtful)) == {-1, 0}
    assert describe_areas({"labels": np.array([[1, 1, -1, 0]])}, CLASSES) == [
        {"class": "nucleus", "label": 1, "pixels": 2, "share": 0.5},
        {"class": "background", "label": 0, "pixels": 1, "share": 0.25},
    ]


def test_label_pictures_hold_the_labels(tmp_path):
    """In the colours of the legend, black for the background; 255 for pixels in doubt."""
    found = select_pixels(segment(Stripes(), enlarged()), 0.8)
    assert save_labels(found, tmp_path, "a") == "a.png"
    np.testing.assert_array_equal(read_label_picture(tmp_path / "a.png"), np.where(found["labels"] < 0, 255, 0))
    with Image.open(tmp_path / "a.png") as picture:
        palette = np.reshape(picture.getpalette(), (-1, 3))
    np.testing.assert_array_equal(palette[:2], [[0, 0, 0], class_colours(2)[1]])
    many = found | {"names": [str(c) for c in range(256)]}
    with pytest.raises(ValueError, match=r"b\.png: a palette PNG holds at most 255 classes, got 256"):
        save_labels(many, tmp_path, "b")


def test_pictures_have_the_truth_beside_them():
    found = segment(Stripes(), sample())
    alone, both = (draw_areas(sample()["image"], found, CLASSES, truth) for truth in (None, sample()))
    assert both.shape[1] == 2 * alone.shape[1]


def test_evaluation_with_objects():
    """Two images: in one the nucleus is found; in the other two nuclei touch and are found as one."""
    one, two = sample(), sample()
    one["instances"], two["instances"] = one["segmentation"].copy(), two["segmentation"].copy()
    two["instances"][4:12, 6:9] = 2
    one["segmentation"][0] = -1
    metrics = evaluate_segmenter(Stripes(), Two([one, two]))
    assert metrics["mIoU"] == metrics["global_accuracy"] == metrics["boundary_f1"] == 1
    assert metrics["objects"] == {
        "f1": pytest.approx(2 / 5), "precision": 0.5, "recall": pytest.approx(1 / 3), "objects": 3, "found": 2,
    }  # fmt: skip
    assert metrics["classes"]["background"]["pixels"] == 2 * (16 * 24 - 48) - 24
    table = segmentation_table(metrics)
    assert "3 objects: F1 at IoU 0.5 0.400 (precision 0.500, recall 0.333)" in table
    json.dumps(metrics)


def test_a_boundary_f1_of_0_is_explained():
    """An object found one pixel too large all around has an IoU above 0.5, and in small images no boundary pixel."""
    ring = sample()
    ring["segmentation"] = np.zeros_like(ring["segmentation"])
    ring["segmentation"][6:10, 6:14] = 1
    ring["image"][...] = 0
    ring["image"][5:11, 5:15] = 255
    metrics = evaluate_segmenter(Stripes(), Two([ring]))
    assert metrics["boundary_f1"] == 0 and metrics["classes"]["nucleus"]["IoU"] == pytest.approx(32 / 60)
    assert metrics["boundary_tolerance"] == pytest.approx(0.0075 * np.hypot(16, 24), abs=0.005)
    line = "boundary F1 is to the pixel: 0.75 % of the diagonal of images this small is 0.22 pixels"
    assert line in segmentation_table(metrics) and "every pixel" not in segmentation_table(metrics)
    ring["image"][...] = 0
    nothing = segmentation_table(evaluate_segmenter(Stripes(), Two([ring])))
    assert "every pixel was labelled background: there is no boundary" in nothing
    assert "boundary F1 is" not in segmentation_table(metrics | {"boundary_tolerance": 1.2})


def test_evaluation_of_borders_and_of_objects_that_do_not_count():
    """What is found is a pixel wider than the truth; one of two true objects is in a region that does not count."""
    wide = sample()
    wide["segmentation"][4] = 0
    metrics = evaluate_segmenter(Stripes(), Two([wide]))
    assert 0 < metrics["boundary_f1"] < 1 and metrics["classes"]["nucleus"]["boundary_f1"] < 1
    ignored = sample()
    ignored["instances"] = ignored["segmentation"].copy()
    ignored["image"][13:15, 12:20], ignored["instances"][13:15, 12:20] = 255, 2
    ignored["segmentation"][13:15, 12:20] = -1
    objects = evaluate_segmenter(Stripes(), Two([ignored]))["objects"]
    assert objects == {"f1": 1.0, "precision": 1.0, "recall": 1.0, "objects": 1, "found": 1}


def test_a_batch_is_padded_and_padding_does_not_count():
    small = {"image": np.full((10, 12, 3), 128, np.uint8), "segmentation": np.ones((10, 12), int)}
    images, labels = segmentation_batch(Stripes(), [small, sample()])
    assert images.shape == (2, 3, 16, 24) and labels.shape == (2, 16, 24)
    assert images.dtype == np.float32 and labels.dtype == np.int64
    assert (labels[0, :10, :12] == 1).all() and (labels[0] >= 0).sum() == 120
    assert (images[0] == 0).all()
    images, labels = segmentation_batch(Stripes(), [{"image": small["image"]}])
    assert images.shape == (1, 3, 16, 16) and (labels == -1).all()


def test_weights_of_pixels_come_from_the_instances_of_the_batch():
    model = Stripes(border_weights=(10, 5))
    with_objects = sample((20, 24)) | {"instances": sample((20, 24))["segmentation"]}
    with_objects["instances"][0, 0] = -1
    images, _, weights = segmentation_batch(model, [with_objects])
    assert weights.shape == images[:, 0].shape == (1, 24, 24) and weights.dtype == np.float32
    np.testing.assert_array_equal(weights[0, :20], weight_map(sample((20, 24))["segmentation"], 10, 5))
    assert (weights[0, 20:] == 0).all()
    assert len(segmentation_batch(model, [with_objects, sample()])) == 2  # not all have objects


def test_class_weights_are_counted_for_a_model_with_median_weights():
    data = Two([sample()])
    assert weights_of_classes(Stripes(), data) == weights_of_classes(Stripes(class_weights=(1.0, 2.0)), data) == {}
    share = 48 / (16 * 24)
    wanted = {"class_weights": pytest.approx([0.5 / (1 - share), 0.5 / share], abs=1e-6)}
    assert weights_of_classes(Stripes(class_weights="median"), data) == wanted
    root = {"class_weights": pytest.approx(np.sqrt([0.5 / (1 - share), 0.5 / share]), abs=1e-6)}
    assert weights_of_classes(Stripes(class_weights="root_median"), data) == root


def test_the_task_is_entered():
    task = vision.TASKS["segmentation"]
    assert (task.metric, task.collate, task.predict) == ("mIoU", segmentation_batch, segment)
    assert {entry.task for entry in vision.MODELS.values() if "segmentation" in entry.module} == {"segmentation"}
