import hashlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datasets import Shapes, mask_boxes
from datasets.shapes import DOMAIN
from datasets.shapes_paint import COLOURS, KINDS, REACH, extreme_points, paint_scene

PROJECT = Path(__file__).parents[2]
DATA = Shapes(60, size=(72, 96), seed=11, classes=("circle", "square", "triangle", "star", "cross"))


def digest(sample):
    content = hashlib.sha256()
    for key in sorted(sample):
        value = sample[key]
        content.update(key.encode() + (value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()))
    return content.hexdigest()


def things_of(data, index):
    """The painter's own account of a scene."""
    return paint_scene(np.random.default_rng([DOMAIN, data.seed, index]), data.size, data.classes, data.max_objects)


def test_fields():
    sample = Shapes(3)[1]
    count = len(sample["boxes"])
    assert 1 <= count <= 6
    expected = {
        "image": ((120, 160, 3), np.uint8),
        "boxes": ((count, 4), np.float32),
        "labels": ((count,), np.int64),
        "difficult": ((count,), bool),
        "masks": ((count, 120, 160), bool),
        "segmentation": ((120, 160), np.int64),
        "keypoints": ((count, 4, 3), np.float32),
    }
    assert {key: (sample[key].shape, sample[key].dtype) for key in expected} == expected
    assert sample.keys() - expected.keys() == {"id", "caption", "label", "kinds", "colours"}
    assert sample["id"] == "shapes-0-1"
    assert isinstance(sample["label"], int)
    assert len(sample["caption"]) == 3
    assert all(isinstance(text, str) for text in sample["caption"])


def test_a_scene_depends_on_seed_and_index_alone():
    data = Shapes(20, seed=5)
    before = [digest(data[i]) for i in range(20)]
    assert [digest(data[i]) for i in reversed(range(20))] == before[::-1]
    assert digest(Shapes(1000, seed=5)[7]) == before[7]
    assert len(set(before) | {digest(Shapes(20, seed=6)[i]) for i in range(20)}) == 40


def test_another_process_draws_the_same():
    code = "from test_shapes import DATA, digest; print(*(digest(DATA[i]) for i in range(5)))"
    paths = f"import sys; sys.path[:0] = [{str(PROJECT)!r}, {str(Path(__file__).parent)!r}]; "
    done = subprocess.run([sys.executable, "-c", paths + code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [digest(DATA[i]) for i in range(5)]


def test_it_is_a_sequence():
    data = Shapes(3)
    assert len(data) == 3
    assert [sample["id"] for sample in data] == ["shapes-0-0", "shapes-0-1", "shapes-0-2"]
    assert data[-1]["id"] == "shapes-0-2"
    assert data[np.int64(1)]["id"] == "shapes-0-1"  # loaders index with NumPy's integers
    for index in (3, -4):
        with pytest.raises(IndexError):
            data[index]


def test_masks_are_disjoint_and_boxes_tight():
    for sample in DATA:
        assert sample["masks"].sum(axis=0).max() == 1
        for mask, box in zip(sample["masks"], sample["boxes"]):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_segmentation_is_the_labels_painted():
    for sample in DATA:
        expected = np.zeros(DATA.size, dtype=np.int64)
        for mask, label in zip(sample["masks"], sample["labels"]):
            expected[mask] = label
        np.testing.assert_array_equal(sample["segmentation"], expected)


def test_difficult_objects_are_more_than_half_covered_but_never_gone():
    difficult = total = 0
    for index, sample in enumerate(DATA):
        _, _, things = things_of(DATA, index)
        share = sample["masks"].sum(axis=(1, 2)) / [thing.area for thing in things]
        np.testing.assert_array_equal(sample["difficult"], share < 0.5)
        assert (share > 0.25).all()
        assert (share <= 1).all()
        difficult, total = difficult + sample["difficult"].sum(), total + len(share)
    assert 0 < difficult < 0.1 * total


def test_keypoints_are_the_extremes():
    hidden = 0
    for sample in DATA:
        for mask, (x1, y1, x2, y2), points in zip(sample["masks"], sample["boxes"], sample["keypoints"]):
            top, right, bottom, left = points
            assert top[1] <= y1 + 0.5
            assert right[0] >= x2 - 0.5
            assert bottom[1] >= y2 - 0.5
            assert left[0] <= x1 + 0.5
            for x, y, v in points:
                assert v == (2 if mask[int(y), int(x)] else 1)
            hidden += (points[:, 2] == 1).sum()
            if (points[:, 2] == 2).all():  # all extremes are seen: the box goes through them
                assert (top[1], right[0], bottom[1], left[0]) == (y1 + 0.5, x2 - 0.5, y2 - 0.5, x1 + 0.5)
    assert hidden > 10


def test_extreme_points_worked_example():
    mask = np.array(
        [
            [0, 1, 1, 1, 0, 0],
            [0, 1, 1, 1, 1, 1],
            [0, 1, 1, 0, 0, 0],
            [0, 0, 0, 1, 0, 1],  # two tips: a pixel of the mask, not the gap between them
        ],
        dtype=bool,
    )
    np.testing.assert_array_equal(extreme_points(mask), [[2.5, 0.5], [5.5, 3.5], [5.5, 3.5], [1.5, 1.5]])


def test_mask_boxes_worked_example():
    masks = np.zeros((2, 4, 7), dtype=bool)
    masks[0, 1:3, 2:7] = True
    masks[1, 3, 0] = True
    np.testing.assert_array_equal(mask_boxes(masks), [[2, 1, 7, 3], [0, 3, 1, 4]])
    assert mask_boxes(masks[:0]).shape == (0, 4)


def test_kinds_and_colours_are_the_painters():
    for index, sample in enumerate(DATA):
        things = things_of(DATA, index)[2]
        assert sample["kinds"].tolist() == [thing.kind for thing in things]
        assert sample["colours"].tolist() == [thing.colour for thing in things]
        assert sample["kinds"].tolist() == [DATA.classes[label - 1] for label in sample["labels"]]


def test_label_is_the_class_of_the_largest():
    for sample in DATA:
        assert sample["label"] == sample["labels"][np.argmax([mask.sum() for mask in sample["masks"]])]


def test_objects_lie_whole_inside():
    for sample in DATA:
        border = np.ones(DATA.size, dtype=bool)
        border[1:-1, 1:-1] = False
        assert not (sample["segmentation"][border] > 0).any()


def test_objects_show_the_colour_and_stand_out():
    """Shading and texture only darken, so the ratio of the channels stays near that of the named colour."""
    names = list(COLOURS)
    palette = np.array([COLOURS[name] for name in names], dtype=float)
    palette /= palette.sum(axis=1, keepdims=True)
    hits = []
    for index, sample in enumerate(DATA):
        for mask, thing in zip(sample["masks"], things_of(DATA, index)[2]):
            mean = sample["image"][mask].mean(axis=0)
            hits.append(names[np.abs(mean / mean.sum() - palette).sum(axis=1).argmin()] == thing.colour)
    assert np.mean(hits) > 0.98


NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def counted(sentence):
    """ "two red crosses and a star" -> {"red cross": 2, "star": 1}"""
    parts = re.split(", | and ", sentence)
    singular = {kind + ("es" if kind[-1] == "s" else "s"): kind for kind in KINDS} | {kind: kind for kind in KINDS}
    counts = Counter()
    for part in parts:
        number, *colour, noun = part.split()
        assert noun == singular[noun] or NUMBERS[number] > 1
        counts[" ".join([*colour, singular[noun]])] += NUMBERS[number]
    return counts


def test_captions_are_true():
    relations = Counter()
    for index, sample in enumerate(DATA):
        things = things_of(DATA, index)[2]
        kinds, colours, place = sample["caption"]
        assert counted(kinds) == Counter(DATA.classes[label - 1] for label in sample["labels"])
        assert counted(colours) == Counter(f"{thing.colour} {thing.kind}" for thing in things)
        order = sorted(range(len(things)), key=lambda i: -sample["masks"][i].sum())
        x, y = (sample["boxes"][order, :2] + sample["boxes"][order, 2:]).T / 2
        first = f"a {things[order[0]].colour} {things[order[0]].kind}"
        if len(things) == 1:
            relation = re.fullmatch(f"{first} in the (left|right) half", place)[1]
            assert {"left": x[0] <= 48, "right": x[0] >= 48}[relation]
        else:
            second = f"{things[order[1]].colour} {things[order[1]].kind}"
            article = "another" if first == f"a {second}" else "a"
            relation = re.fullmatch(f"{first} (left of|right of|above|below) {article} {second}", place)[1]
            apart = {"left of": x[1] - x[0], "right of": x[0] - x[1], "above": y[1] - y[0], "below": y[0] - y[1]}
            assert apart[relation] == max(apart.values()) > 0
        relations[relation] += 1
    assert relations.keys() == {"left", "right", "left of", "right of", "above", "below"}


def test_all_classes_colours_and_counts_occur():
    data = Shapes(150, size=(64, 80), seed=1)
    labels = np.concatenate([sample["labels"] for sample in data])
    share = np.bincount(labels, minlength=4) / len(labels)
    assert share[0] == 0
    assert (share[1:] > 0.2).all()
    assert len(share) == 4
    assert {len(sample["labels"]) for sample in data} == {1, 2, 3, 4, 5, 6}
    assert {thing.colour for i in range(60) for thing in things_of(data, i)[2]} == set(COLOURS)


def test_options():
    data = Shapes(30, size=(50, 40), seed=2, classes=("star", "circle"), max_objects=2)
    assert data.classes == ("star", "circle")
    for sample in data:
        assert sample["image"].shape == (50, 40, 3)
        assert len(sample["labels"]) <= 2
        assert set(sample["labels"]) <= {1, 2}
    text = " ".join(sample["caption"][0] for sample in data)
    assert "star" in text
    assert "circle" in text
    assert "square" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n, max_objects >= 1"),
        ({"max_objects": 0}, "n, max_objects >= 1"),
        ({"seed": -1}, "seed >= 0"),
        ({"size": (31, 100)}, r"size must be \(height, width\)"),
        ({"size": (100,)}, r"size must be \(height, width\)"),
        ({"classes": ()}, "classes must be some of circle, square"),
        ({"classes": ("circle", "hexagon")}, "classes must be some of circle, square"),
        ({"classes": ("circle", "circle")}, "none twice"),
        ({"classes": "circle"}, "classes must be some of circle, square"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"Shapes: .*{message}"):
        Shapes(**({"n": 4} | options))


def area_of_star(distance):
    """A pentagram whose lines pass the origin at `distance`: ten triangles between tips and inner corners."""
    tip, corner = distance / np.cos(np.radians(72)), distance / np.cos(np.radians(36))
    return 10 * tip * corner * np.sin(np.radians(36)) / 2


@pytest.mark.parametrize(
    ("kind", "area", "reach"),
    [
        ("circle", np.pi * 0.95**2, 0.95),
        ("square", 1.64**2, 0.82 * np.sqrt(2)),
        ("triangle", 3 * np.sqrt(3) * 0.6**2, 1.2),
        ("star", area_of_star(0.39), 0.39 / np.cos(np.radians(72))),
        ("cross", 4 * 0.98 * 0.36 * 2 - 4 * 0.36**2, np.hypot(0.98, 0.36)),
    ],
)
def test_kinds_have_the_area_and_reach_of_their_figure(kind, area, reach):
    ticks = np.linspace(-1.5, 1.5, 1201)
    u, v = np.meshgrid(ticks, ticks)
    inside = KINDS[kind](u, v) < 0
    assert inside.mean() * 3**2 == pytest.approx(area, rel=0.01)
    assert np.hypot(u, v)[inside].max() == pytest.approx(reach, abs=0.01)
    assert reach <= REACH
