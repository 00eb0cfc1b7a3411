"""R-CNN: its four stages on two images, what they sample, and bad input."""

from dataclasses import replace

import numpy as np
import pytest

import vision
from datasets import Shapes
from nn import Adam
from vision.boxes.boxes import decode, iou
from vision.detection.feature_store import FeatureStore
from vision.detection.metrics import evaluate_detections
from vision.detection.region_examples import box_pairs, described, hard_negatives, random_negatives
from vision.detection.region_svm import NORM
from vision.detection.task import detector_batch

CLASSES = ("circle", "square", "triangle")
SEED = 2  # both scenes together have all classes
SMALL = {
    "width": 4, "hidden": 32, "size": 16, "padding": 2, "samples": 64, "capacity": 200, "short_side": 48, "c": 1.0,
    "ridge": 1.0,
}  # fmt: skip


def near(boxes, rng, count=30):
    """Boxes moved by up to a third of their sides."""
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    return np.concatenate([boxes + sides * rng.uniform(-0.3, 0.3, boxes.shape) for _ in range(count)])


class Scenes:
    """Batches of generated scenes with proposals: some near the objects, some anywhere. As a loader."""

    def __init__(self, model, count=2, size=(48, 64), seed=SEED):
        data, rng = Shapes(count, size, seed=seed), np.random.default_rng(0)
        self.samples = [data[i] for i in range(count)]
        for sample in self.samples:
            corners = np.sort(rng.uniform(0, size[::-1], (60, 2, 2)), axis=1).reshape(60, 4)
            sample["proposals"] = np.concatenate([near(sample["boxes"], rng), corners]).astype(np.float32)
        self.model = model

    def batch(self):
        return detector_batch(self.model, self.samples)

    def epoch(self, number, start=0):
        return (detector_batch(self.model, [sample]) for sample in self.samples[start:])


def small(name="rcnn_small", **options):
    return vision.build(name, CLASSES, np.random.default_rng(3), **SMALL | options)


def tune(model, batch, steps=60, lr=1e-2):
    optimiser = Adam(model.parameters(), lr=lr)
    for step in range(steps):
        model.zero_grad()
        _, cache = model.loss(batch, np.random.default_rng(step))
        model.backward(cache)
        optimiser.step(1 - step / steps)
    for step in range(20):  # running statistics lag behind in so short a run
        model.loss(batch, np.random.default_rng(step))


def fit(model, loader, folder):
    model.folder = folder
    for name in ("fit_features", "fit_svms", "fit_boxes"):
        for _ in getattr(model, name)(loader, np.random.default_rng(0), 0):
            pass


def mean_ap(model, batch, threshold=0.5):
    (images, targets) = batch
    found = model.predict(images, None, [target["proposals"] for target in targets])
    return evaluate_detections(found, targets, CLASSES, iou_threshold=threshold)["mean"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    model = small()
    scenes = Scenes(model)
    tune(model, scenes.batch())
    fit(model, scenes, tmp_path_factory.mktemp("run"))
    return model, scenes


def test_overfits_two_images(trained):
    model, scenes = trained
    assert mean_ap(model, scenes.batch()) == 1.0


def test_each_part_can_be_left_out(trained):
    model, scenes = trained
    for changes in ({"svm": False}, {"box_regression": False}, {"score_threshold": 0.5}):
        other = small(**changes)
        other.load_state_dict(model.state_dict())
        assert mean_ap(other, scenes.batch()) > 0.5


def test_svms_score_objects_above_the_rest(trained):
    model, _ = trained
    store = np.load(model.folder / "features" / "regions.npy")
    scores = model.svm(np.load(model.folder / "features" / "fc7.npy").astype(np.float32))
    for c in range(3):
        assert scores[store[:, 10] == c + 1, c].min() > scores[store[:, 11 + c] < 0.3, c].max()


def test_an_object_counts_twice_and_the_bias_is_a_feature_of_10(trained):
    """So small a c that each example is within its margin and pushes by all it can: 2 c of an object, c of another."""
    model, scenes = trained
    other, c = small(), 1e-6
    other.load_state_dict(model.state_dict())
    other.options, store = replace(other.options, c=c), model.store(scenes)
    other.solve(store, np.random.default_rng(0))
    factor = NORM / model.mean_norm(store, "fc7")
    for k, others in enumerate(model.negatives()):
        objects = model.positives(store, k)
        x = [factor * store.read("fc7", rows).sum(axis=0) for rows in (objects, others)]
        np.testing.assert_allclose(other.svm.weight.value[k], factor * c * (2 * x[0] - x[1]), rtol=1e-3, atol=1e-7)
        assert other.svm.bias.value[k] == pytest.approx(10**2 * c * (2 * len(objects) - len(others)), rel=1e-3)


def test_svms_leave_no_region_out(trained):
    """Their scores differ by class in what is high: a class whose objects are all below -1 is found, too."""
    model, scenes = trained
    other, (images, targets) = small(), scenes.batch()
    other.load_state_dict(model.state_dict())
    other.svm.bias.value -= 100
    found = other.predict(images, None, [target["proposals"] for target in targets])
    assert all(each["scores"].max() < -1 for each in found) and mean_ap(other, (images, targets)) == 1.0


def test_box_regression_moves_regions_to_their_objects(trained):
    model, scenes = trained
    store, moved, before = model.store(scenes), [], []
    for c in range(3):
        rows, _ = box_pairs(store, c + 1, 0.6)
        deltas = model.boxes(store.read("pool5", rows)).reshape(len(rows), 3, 4)[:, c]
        regions, objects = store.regions[rows, :4], store.regions[rows, 4:8]
        before.append(np.diag(iou(regions, objects)))
        moved.append(np.diag(iou(decode(deltas, regions), objects)))
    assert np.concatenate(moved).mean() > np.concatenate(before).mean() + 0.05


def test_a_batch_has_32_objects_at_most_and_background_below_half():
    model = small(samples=128)
    scenes = Scenes(model)
    images, targets = scenes.batch()
    _, cache = model.loss((images, targets), np.random.default_rng(0))
    assert cache.sampled.crops.shape == (128, 3, 16, 16) and (cache.sampled.labels > 0).sum() == 32


def test_background_alone():
    """An image without objects gives 128 regions of background, and nothing to regress."""
    model = small()
    images, (target,) = detector_batch(model, Scenes(model, 1).samples)
    target |= {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    losses, cache = model.loss((images, [target]), np.random.default_rng(0))
    assert np.isfinite(losses["cls"]) and not cache.sampled.labels.any()
    table = described(target["proposals"], target["boxes"], target["labels"], 3)
    assert table.shape == (len(target["proposals"]), 14) and not table[:, 4:].any()


def test_columns_of_the_store():
    objects, labels = np.array([[0, 0, 10, 10], [20, 20, 40, 30]], np.float32), np.array([2, 1])
    regions = np.concatenate([np.array([[0, 0, 10, 5], [50, 50, 60, 60]], np.float32), objects])
    table = described(regions, objects, labels, 2)
    np.testing.assert_array_equal(table[:, 8:11], [[2, 0.5, 0], [0, 0, 0], [2, 1, 2], [1, 1, 1]])
    np.testing.assert_array_equal(table[:, 11:], iou(regions, objects[::-1]))
    np.testing.assert_array_equal(table[0, 4:8], objects[0])


def test_examples_of_a_store_by_hand(tmp_path):
    """Two images: an object of class 1 and regions around it; regions alone."""
    store = FeatureStore(tmp_path, {}, (4, 2), {"fc7": 1}, 2)
    objects, scores = (
        np.array([[0, 0, 10, 10]], np.float32),
        np.array([[9, 2], [5, 3], [-2, 4], [9, 9], [1, -3], [2, 0]]),
    )
    around = np.array([[0, 0, 10, 7], [0, 0, 10, 2], [50, 50, 60, 60], [0, 0, 10, 10]], np.float32)
    store.write(0, described(around, objects, np.array([1]), 2), {"fc7": np.zeros((4, 1))})
    store.write(1, described(around[1:3], objects[:0], np.zeros(0, int), 2), {"fc7": np.zeros((2, 1))})
    rows, t = box_pairs(store, 1, 0.6)
    assert rows.tolist() == [0, 3] and not len(box_pairs(store, 2, 0.6)[0])
    np.testing.assert_allclose(t[0], [0, 1.5 / 7, 0, np.log(10 / 7)])
    drawn = [sorted(rows.tolist()) for rows in random_negatives(store, 0.3, 9, np.random.default_rng(0))]
    assert drawn == [[1, 2, 4, 5], [0, 1, 2, 3, 4, 5]]
    hard = hard_negatives(store, lambda rows: scores[rows], 0.3, 2, -1.0)
    assert [rows.tolist() for rows in hard] == [[1, 5, 4], [3, 2, 5]]


def test_a_kill_while_storing_is_continued(tmp_path, monkeypatch):
    """The images stored before are not computed again, and the store is the same."""
    model, calls, pool5 = small(), [], type(small()).pool5
    scenes, model.folder = Scenes(model, 3), tmp_path
    monkeypatch.setattr(type(model), "pool5", lambda *arguments: (calls.append(1), pool5(*arguments))[1])
    rounds = model.fit_features(scenes, np.random.default_rng(0), 0)
    next(rounds)
    rounds.close()
    assert len(calls) == 1 and len(list(model.fit_features(scenes, np.random.default_rng(0), 1))) == 2
    assert len(calls) == 3
    assert not list(model.fit_features(scenes, np.random.default_rng(0), 3)) and len(calls) == 3


def test_a_store_of_another_model_is_refused(tmp_path):
    model = small()
    scenes, model.folder = Scenes(model), tmp_path
    list(model.fit_features(scenes, np.random.default_rng(0), 0))
    model.backbone.body[0].weight.value *= 2
    with pytest.raises(ValueError, match="features: of another model; remove the folder"):
        next(model.fit_svms(scenes, np.random.default_rng(0), 0))


def test_svms_resume_between_rounds(tmp_path):
    """Negatives and weights of a round are in the state, so the next one finds the same."""
    first, again = small(rounds=2, c=0.01), small(rounds=2, c=0.01)
    scenes, first.folder, again.folder = Scenes(first), tmp_path, tmp_path
    list(first.fit_features(scenes, np.random.default_rng(0), 0))
    whole = list(first.fit_svms(scenes, np.random.default_rng(5), 0))
    rounds = again.fit_svms(scenes, np.random.default_rng(5), 0)
    next(rounds)
    saved = {name: array.copy() for name, array in again.state_dict().items()}
    again = small(rounds=2, c=0.01)
    again.load_state_dict(saved)
    again.folder = tmp_path
    assert len(whole) == 3 and list(again.fit_svms(scenes, np.random.default_rng(5), 1)) == whole[1:]
    np.testing.assert_array_equal(again.svm.weight.value, first.svm.weight.value)


def test_bad_input(tmp_path):
    model = small()
    scenes = Scenes(model)
    with pytest.raises(ValueError, match="rcnn_small: features are stored in the folder of a run"):
        next(model.fit_features(scenes, np.random.default_rng(0), 0))
    with pytest.raises(ValueError, match="RCNN: test_regions must be at least 1, got 0"):
        small(test_regions=0)
    model.folder = tmp_path
    for sample in scenes.samples:
        sample |= {"boxes": sample["boxes"][:0], "labels": sample["labels"][:0]}
    list(model.fit_features(scenes, np.random.default_rng(0), 0))
    with pytest.raises(ValueError, match="rcnn_small: circle has 0 objects and"):
        next(model.fit_svms(scenes, np.random.default_rng(0), 0))
    for sample in scenes.samples:
        sample |= {"proposals": np.zeros((0, 4), np.float32)}
    with pytest.raises(ValueError, match="no image has a proposal or an object"):
        model.store(scenes)


def test_proposals_missing_for_an_image():
    images = np.zeros((2, 3, 48, 64), np.float32)
    with pytest.raises(ValueError, match="RCNN: predict needs the proposals of each image, got none"):
        small().predict(images)
    with pytest.raises(ValueError, match="got 1 for 2 images"):
        small().predict(images, None, [np.zeros((0, 4), np.float32)])


def test_no_proposals_no_detections():
    model = small()
    (found,) = model.predict(np.zeros((1, 3, 48, 64), np.float32), None, [np.zeros((0, 4), np.float32)])
    assert found["boxes"].shape == (0, 4)


def test_features_of_the_store_are_those_of_prediction(trained):
    model, scenes = trained
    store = model.store(scenes)
    assert isinstance(store, FeatureStore) and not store.new
    images, targets = scenes.batch()
    pool5 = model.pool5(images[0], model.regions_of(targets[0]))
    np.testing.assert_allclose(store.read("pool5", store.of_image(0)), pool5, rtol=1e-3, atol=1e-4)
