"""Part models: features, placements, what is mirrored, the start, training in stages, resuming, bad input."""

import json

import numpy as np
import pytest

import vision
from datasets import Loader, Shapes
from nn.io.checkpoint import read_checkpoint
from scripts.gradcheck import check_tiny_model
from vision.detection.dpm_boxes import fit_boxes, from_root, keep_uncovered, part_inputs, root_only, to_root
from vision.detection.dpm_draw import SIDE, cost_map, draw_star, strokes
from vision.detection.dpm_features import cell_features, mirrored
from vision.detection.dpm_placements import COLUMN, IMAGE, LEVEL, MIRRORED, MODEL, PARTS, ROW, Found
from vision.detection.dpm_start import by_aspect, facing, parts_of_root, root_size, warped
from vision.detection.task import detector_batch
from vision.registry import find
from vision.training import Trainer

SMALL = {"components": 1, "parts": 2, "side": 4, "part_side": 3, "levels": 3, "interval": 2, "capacity": 200,
         "short_side": 64, "rounds": 1, "hard": 4, "random": 4, "overlap": 0.5}  # fmt: skip


def build(classes=("circle", "square"), **options):
    model = vision.build("dpm", classes, np.random.default_rng(0), **SMALL | options)
    model.add_parts()
    return model


def picture(size=(64, 96), seed=0):
    return Shapes(1, size, seed)[0]["image"]


@pytest.mark.parametrize("complex_step", [False, True])
def test_gradients(complex_step):
    check_tiny_model("dpm", find("dpm").tiny, complex_step)


def test_features_of_the_mirror_image():
    image = picture().astype(np.float32) / 255
    np.testing.assert_allclose(cell_features(image[:, ::-1], 8), mirrored(cell_features(image, 8)), atol=1e-5)


def test_an_edge_has_one_direction():
    """A step from dark to bright: gradients point right, so bins 0 and 17 of 18, and bins 0 and 8 of 9, share it."""
    image = np.zeros((24, 24, 3))
    image[:, 12:] = 1
    features = cell_features(image, 8)[:, 1, 1]
    assert np.flatnonzero(features[:18]).tolist() == [0, 17]
    assert np.flatnonzero(features[18:27]).tolist() == [0, 8]
    assert (features[:27] <= 0.4 + 1e-9).all() and (features[27:] > 0).all()


def test_scores_of_maps_are_scores_of_placements():
    model = build()
    model.stars.costs.value[...] += np.random.default_rng(1).uniform(0, 0.1, model.stars.costs.value.shape)
    levels = model.grid.pyramid(picture())
    found = model.find(levels)
    chosen = np.random.default_rng(2).integers(0, len(found.rows), 30)
    np.testing.assert_allclose(found.scores[chosen], model.stars(model.shown(levels, found.rows[chosen])), atol=1e-5)
    assert set(found.rows[:, MIRRORED]) == {0, 1} and set(found.rows[:, LEVEL]) == {0, 1, 2}


def test_no_placement_of_the_parts_is_better():
    model = build(("circle",), parts=1)
    levels = model.grid.pyramid(picture())
    found = model.find(levels)
    for i in np.random.default_rng(3).integers(0, len(found.rows), 5):
        h, w = levels[found.rows[i, LEVEL]].parts.shape[2:]
        rows = np.repeat(found.rows[i : i + 1], (h - 2) * (w - 2), axis=0)
        rows[:, PARTS:] = np.stack(np.indices((h - 2, w - 2)), axis=-1).reshape(-1, 2)
        assert model.stars(model.shown(levels, rows)).max() == pytest.approx(found.scores[i], abs=1e-5)


def test_the_mirror_image_has_the_mirrored_detections():
    model, image = build(score_threshold=-9.0, covered=0.3, levels=1), picture((64, 96))
    model.box_weights[:, 0] += [0.1, 0, 0.2, 0]  # not symmetric
    one, other = model.detect(image), model.detect(np.ascontiguousarray(image[:, ::-1]))
    best = slice(0, 5)
    turned = other["boxes"][best][:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [96, 0, 96, 0]
    np.testing.assert_allclose(one["boxes"][best], turned, atol=1e-3)
    np.testing.assert_allclose(one["scores"][best], other["scores"][best], atol=1e-4)


def test_no_score_is_too_low_to_be_a_detection():
    for options, some in (({}, True), ({"score_threshold": -1.1}, False)):
        model = build(levels=1, **options)
        model.stars.biases.value -= 100
        assert bool(len(model.detect(picture())["scores"])) == some


def test_a_picture_smaller_than_a_level_has_no_placement():
    model, small = build(), np.zeros((10, 40, 3), np.uint8)
    levels = model.grid.pyramid(small)
    assert levels == [] and len(model.find(levels).rows) == 0
    target = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    assert model.random_negatives(levels, target, 0, np.random.default_rng(0)).shape == (0, 10)


def test_an_image_without_examples_has_no_vectors():
    """A photograph without object on which nothing scores above the margin."""
    model, levels = build(), build().grid.pyramid(picture())
    none = model.find(levels).rows[:0]
    assert model.stars.vectors(model.shown(levels, none)).shape == (0, model.stars.vector(0).size)


def test_each_model_has_its_share_of_the_hard_negatives():
    """Before it is solved, a model may score all its negatives above those of another."""
    model, rows = build(capacity=4), np.zeros((7, 10), np.int64)
    rows[:, MODEL], rows[:, ROW] = [0, 0, 0, 1, 1, 1, 1], range(7)
    assert model.hardest(rows, np.array([5, 7, 6, 0, -2, 0.5, 0.2])).tolist() == [1, 2, 5, 6]
    assert model.hardest(rows[:0], np.zeros(0)).tolist() == []
    model, nothing = build(("circle",), components=2, hard=1), {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    roots = np.arange(7)[:, None] * 20.0 + np.array([0, 0, 10, 10])
    found = model.hard_negatives(Found(rows, roots, np.array([5, 7, 6, 0, -2, 0.5, 0.2])), nothing)
    assert found[:, ROW].tolist() == [1, 5]


def test_boxes_of_roots_and_of_parts():
    model, image = build(), picture()
    found = model.find(model.grid.pyramid(image))
    np.testing.assert_allclose(model.root_boxes(found.rows, image.shape[:2]), found.roots)
    np.testing.assert_allclose(model.boxes(found), found.roots, atol=1e-9)  # before the boxes are fitted
    first = np.flatnonzero((found.rows[:, [MIRRORED, LEVEL, ROW, COLUMN]] == [0, 0, 2, 3]).all(axis=1))[0]
    assert found.roots[first].tolist() == [8, 0, 40, 32]  # column 3 less 2 of the border, cells of 4 / 0.5 pixels


def test_a_box_that_a_better_one_covers_goes():
    """The IoU of the second with the first is 0.25, yet it lies within it; the third is covered by half."""
    boxes = np.array([[0, 0, 20, 20], [5, 5, 15, 15], [10, 0, 30, 20], [11, 0, 31, 20], [5, 5, 15, 15]], float)
    labels, scores = np.array([1, 1, 1, 1, 2]), np.array([0.9, 0.8, 0.7, 0.6, -1])
    assert keep_uncovered(boxes, scores, labels, 0.5, 9).tolist() == [0, 2, 4]
    assert keep_uncovered(boxes, scores[[1, 0, 2, 3, 4]], labels, 0.5, 2).tolist() == [1, 0]
    assert keep_uncovered(boxes[:0], scores[:0], labels[:0], 0.5, 2).tolist() == []


def test_box_weights_are_found_again():
    rng = np.random.default_rng(0)
    corners, parts = rng.integers(0, 9, (80, 2)), rng.integers(0, 20, (80, 3, 2))
    g = part_inputs(corners, parts, 4)
    weights = rng.standard_normal((7, 4))
    np.testing.assert_allclose(fit_boxes(g, g @ weights), weights, atol=0.05)
    roots, turned = rng.uniform(0, 50, (80, 4)), rng.integers(0, 2, 80)
    roots[:, 2:] += 60
    np.testing.assert_allclose(from_root(to_root(roots + 1, roots, turned), roots, turned), roots + 1)
    itself = np.repeat(root_only((2, 4), 0), 2, axis=0)
    np.testing.assert_allclose(from_root(itself, np.array([[5, 6, 9, 8.0]] * 2), [0, 1]), [[5, 6, 9, 8]] * 2)


def test_the_start():
    boxes = np.array([[0, 0, 10, 40], [0, 0, 40, 10], [0, 0, 20, 20], [5, 5, 15, 16.0]])
    assert [group.tolist() for group in by_aspect(boxes, 2)] == [[1, 2], [3, 0]]
    assert root_size(np.tile([0, 0, 24, 48.0], (5, 1)), 4, 20) == (12, 6)
    assert root_size(np.tile([0, 0, 24, 48.0], (5, 1)), 4, 8) == (8, 4)
    rng = np.random.default_rng(0)
    side, turned = rng.standard_normal(30), rng.integers(0, 2, 20)
    pairs = np.stack([side, -side]) + 0.1 * rng.standard_normal((20, 2, 30))
    pairs[turned == 1] = pairs[turned == 1][:, ::-1]
    assert len(set((facing(pairs, rng) ^ turned).tolist())) == 1  # all of them right, or all of them wrong
    image = picture((64, 64))
    own = warped(image, np.array([16, 16, 48, 48.0]), (4, 4), 8)
    np.testing.assert_allclose(own[0], cell_features(image.astype(np.float32) / 255, 8)[:, 2:6, 2:6], atol=0.05)
    np.testing.assert_array_equal(own[1], mirrored(own[0]))


def test_parts_lie_where_the_root_has_energy():
    root = np.full((31, 4, 5), -1.0)
    root[3, 0, 0], root[7, 3, 4] = 5, 2
    anchors, filters = parts_of_root(root, 2, 3)
    assert anchors.tolist() == [[0, 0], [5, 7]] and filters.shape == (2, 31, 3, 3)
    one, none = parts_of_root(root[:, :2, :2], 3, 3)
    assert one.tolist() == [[0, 0], [-1, -1], [-1, -1]] and not none[1:].any()
    with pytest.raises(ValueError, match="parts of 9 cells do not fit in 8x10"):
        parts_of_root(root, 2, 9)


def test_the_models_are_drawn():
    """A part's cost is black in its middle and white in its corners; an edge is drawn across its gradient."""
    model = build(("circle",))
    drawn = draw_star(model.stars, 0)
    assert drawn.shape == (8 * SIDE, 3 * 8 * SIDE + 2 * SIDE, 3) and drawn.max() == 255
    costs = cost_map(np.array([0, 0, 0.1, 0.2]), 3 * SIDE)
    assert costs.argmin() // len(costs) in (26, 27) and costs[0, 0] == costs.max() > 0
    weights = np.zeros((31, 1, 1))
    weights[0] = 1  # gradients to the right
    rows, columns = np.nonzero(strokes(weights, 21))
    assert np.ptp(rows) > 3 * np.ptp(columns)
    assert model.pictures(None)["star_models"].ndim == 3


def trainer(folder, model, **options):
    loader = Loader(Shapes(5, (64, 96), 1, classes=model.classes), 1, lambda s: detector_batch(model, s), workers=0)
    return Trainer(model, loader, {"epochs": 1, "batch_size": 1}, folder, **options)


class Killed(BaseException):
    """In place of kill -9."""


@pytest.mark.parametrize("stop", [2, 4])
def test_killed_in_a_stage_and_resumed_the_bits_are_the_same(tmp_path, stop, monkeypatch):
    whole = trainer(tmp_path / "whole", build(("circle",)))
    whole.run()
    killed = trainer(tmp_path / "killed", build(("circle",)))
    save, calls = killed.save, [0]

    def save_and_die():
        save()
        calls[0] += killed.progress.stage_step == 1 and killed.progress.epoch == 0
        if calls[0] == stop:
            raise Killed

    monkeypatch.setattr(killed, "save", save_and_die)
    with pytest.raises(Killed):
        killed.run()
    again = trainer(tmp_path / "killed", build(("circle",)))
    again.resume()
    again.run()
    (a, _), (b, _) = (read_checkpoint(tmp_path / name / "last.npz") for name in ("whole", "killed"))
    assert a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)
    logged = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [r["stage"] for r in logged if "fit" in r] == ["roots", "mixture", "mixture", "parts", "parts", "boxes"]
    assert whole.model.positives[0, IMAGE] >= 0 and whole.model.negatives[0, MODEL] >= 0
    boxes = logged[[r.get("stage") for r in logged].index("boxes")]["fit"]
    assert boxes["mean IoU of the boxes after"] >= boxes["mean IoU of the boxes before"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mean": 3.0}, "need mean=0, std=255 and per_image=false"),
        ({"per_image": True}, "need mean=0, std=255 and per_image=false"),
        ({"side": 2}, "dpm: side must be at least 3, got 2"),
        ({"c": 0.0}, "dpm: c must be above 0, got 0"),
        ({"components": 0}, "dpm: components must be at least 1, got 0"),
        ({"parts": -1}, "dpm: parts must be at least 0, got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_a_class_with_too_few_objects_is_named(tmp_path):
    model = vision.build("dpm", ["circle", "star"], np.random.default_rng(0), **SMALL)
    loader = Loader(Shapes(2, (64, 96), 1, classes=["circle"]), 1, lambda s: detector_batch(model, s), workers=0)
    with pytest.raises(ValueError, match="dpm: star has 0 objects, fewer than the 1 components"):
        Trainer(model, loader, {"epochs": 1, "batch_size": 1}, tmp_path).run()
