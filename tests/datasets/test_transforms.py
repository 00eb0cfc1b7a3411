import copy
from functools import partial

import numpy as np
import pytest

from datasets import (
    Shapes,
    colour_jitter,
    compose,
    drop_difficult,
    horizontal_flip,
    mask_boxes,
    random_crop,
    random_scale,
    resize,
    vertical_flip,
)

SCENES = Shapes(40, size=(60, 81), seed=3)  # no two sides alike
TRANSFORMS = {
    "resize": partial(resize, short_side=47, max_side=1000),
    "resize larger": partial(resize, short_side=133, max_side=1000),
    "horizontal_flip": partial(horizontal_flip, probability=1),
    "vertical_flip": partial(vertical_flip, probability=1),
    "random_scale": random_scale,
    "zoom out": partial(random_scale, low=0.6, high=0.6),
    "zoom in": partial(random_scale, low=1.6, high=1.6),
    "random_crop": partial(random_crop, size=(40, 50)),
    "larger crop": partial(random_crop, size=(70, 60)),
    "colour_jitter": colour_jitter,
    "drop_difficult": drop_difficult,
    "composed": compose(partial(resize, short_side=80, max_side=1000), horizontal_flip, random_scale, colour_jitter),
}
each_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())


def rng(seed=0):
    return np.random.default_rng(seed)


def rectangle(h=40, w=50, box=(10, 5, 30, 25)):
    """A black image with a white rectangle, all fields of it alike."""
    x1, y1, x2, y2 = box
    mask = np.zeros((1, h, w), dtype=bool)
    mask[0, y1:y2, x1:x2] = True
    return {
        "image": np.repeat(np.where(mask[0], 255, 0).astype(np.uint8)[..., None], 3, axis=2),
        "boxes": np.array([box], dtype=np.float32),
        "labels": np.array([2]),
        "difficult": np.array([False]),
        "masks": mask,
        "segmentation": 2 * mask[0].astype(np.int64),
        "keypoints": np.array([[[x1, y1, 2], [x2, y2, 1], [0, 0, 0]]], dtype=np.float32),
    }


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@each_transform
def test_the_argument_stays_as_it_is(transform):
    for sample in (SCENES[i] for i in range(8)):
        before = copy.deepcopy(sample)
        transform(sample, rng(1))
        assert_same(sample, before)


@each_transform
def test_the_same_rng_gives_the_same_result(transform):
    assert_same(transform(SCENES[0], rng(5)), transform(SCENES[0], rng(5)))


@each_transform
def test_types_and_shapes(transform):
    for sample in (SCENES[i] for i in range(8)):
        new = transform(sample, rng(2))
        assert all(new[key].dtype == sample[key].dtype for key in sample if isinstance(sample[key], np.ndarray))
        h, w = new["image"].shape[:2]
        count = len(new["boxes"])
        assert new["image"].flags.c_contiguous
        assert new["masks"].shape == (count, h, w)
        assert new["segmentation"].shape == (h, w)
        assert len(new["labels"]) == len(new["difficult"]) == count
        assert new["keypoints"].shape == (count, 4, 3)
        assert (new["boxes"][:, :2] >= 0).all()
        assert (new["boxes"][:, 2:] <= (w, h)).all()
        assert (new["boxes"][:, 2:] > new["boxes"][:, :2]).all()


@each_transform
def test_an_image_alone_will_do(transform):
    new = transform({"image": SCENES[0]["image"]}, rng())
    assert new.keys() - {"scale", "original_size"} == {"image"}


@each_transform
def test_no_objects_will_do(transform):
    sample = SCENES[0]
    for key in ("boxes", "labels", "difficult", "masks", "keypoints"):
        sample[key] = sample[key][:0]
    new = transform(sample, rng())
    assert new["boxes"].shape == (0, 4)
    assert new["masks"].shape == (0, *new["image"].shape[:2])


@each_transform
def test_masks_and_segmentation_move_together(transform):
    for sample in (SCENES[i] for i in range(8)):
        new = transform(sample, rng(4))
        for mask, label in zip(new["masks"], new["labels"]):
            assert (new["segmentation"][mask] == label).all()


@each_transform
def test_boxes_move_with_the_image(transform):
    """The white rectangle is still where its box, its mask and its corner points say."""
    for seed in range(20):
        new = transform(rectangle(), rng(seed))
        if len(new["boxes"]) == 0:
            continue
        red = new["image"][..., 0]
        bright = red > 0.6 * red.max()  # the border of a zoomed-out image is half as bright as the rectangle
        np.testing.assert_allclose(mask_boxes(bright[None]), new["boxes"], atol=1.01)
        np.testing.assert_allclose(mask_boxes(new["masks"]), new["boxes"], atol=1.01)
        x1, y1, x2, y2 = new["boxes"][0]
        for x, y, v in new["keypoints"][0, :2]:
            assert v == 0 or (min(abs(x - x1), abs(x - x2)) < 1e-3 and min(abs(y - y1), abs(y - y2)) < 1e-3)
        np.testing.assert_array_equal(new["keypoints"][0, 2], 0)  # absent stays absent


@pytest.mark.parametrize(("short_side", "atol"), [(47, 2.01), (60, 0), (133, 2.01)])
def test_resized_masks_agree_with_resized_boxes(short_side, atol):
    for i in range(20):
        new = resize(SCENES[i], short_side=short_side, max_side=1000)
        np.testing.assert_allclose(mask_boxes(new["masks"]), new["boxes"], atol=atol)


@pytest.mark.parametrize(
    ("flip", "order"), [(horizontal_flip, Shapes.horizontal_order), (vertical_flip, Shapes.vertical_order)]
)
def test_flipped_fields_agree_exactly(flip, order):
    for i in range(20):
        new = flip(SCENES[i], rng(), probability=1, keypoint_order=order)
        np.testing.assert_array_equal(mask_boxes(new["masks"]), new["boxes"])
        unhidden = (new["keypoints"][..., 2] == 2).all(axis=1)
        x1, y1, x2, y2 = new["boxes"][unhidden].T
        top, right, bottom, left = new["keypoints"][unhidden, :, :2].transpose(1, 0, 2)
        np.testing.assert_array_equal([top[:, 1], bottom[:, 1]], [y1 + 0.5, y2 - 0.5])  # still what they are named
        np.testing.assert_array_equal([left[:, 0], right[:, 0]], [x1 + 0.5, x2 - 0.5])


def test_proposals_are_carried_along_like_boxes():
    boxes = np.array([[10, 20, 40, 50], [0, 0, 200, 100], [150, 60, 190, 90]], np.float32)
    sample = {"image": np.zeros((100, 200, 3), np.uint8), "boxes": boxes[:1], "proposals": boxes}
    for transform in (horizontal_flip, vertical_flip, partial(resize, short_side=30, max_side=100), random_scale):
        for seed in range(3):
            new = transform(sample, rng(seed))
            np.testing.assert_array_equal(new["proposals"][: len(new["boxes"])], new["boxes"])
    new = random_crop(sample, rng(1), size=(100, 60))  # those outside are dropped, the others clipped
    assert len(new["proposals"]) < 3 and (new["proposals"][:, ::2] <= 60).all()


def test_horizontal_flip_worked_example():
    sample = {
        "image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        "boxes": np.array([[0, 0, 1, 2], [1, 1, 4, 2]], dtype=np.float32),
        "caption": ["a cat left of a dog right of a leftover", "a bird above"],
    }
    new = horizontal_flip(sample, rng(), probability=1)
    np.testing.assert_array_equal(new["image"][0, :, 0], [9, 6, 3, 0])
    np.testing.assert_array_equal(new["boxes"], [[3, 0, 4, 2], [0, 1, 3, 2]])
    assert new["caption"] == ["a cat right of a dog left of a leftover", "a bird above"]
    new = vertical_flip(sample, rng(), probability=1)
    np.testing.assert_array_equal(new["image"][:, 0, 0], [12, 0])
    np.testing.assert_array_equal(new["boxes"], [[0, 0, 1, 2], [1, 0, 4, 1]])
    assert new["caption"] == ["a cat left of a dog right of a leftover", "a bird below"]


@pytest.mark.parametrize("flip", [horizontal_flip, vertical_flip])
def test_two_flips_are_none(flip):
    sample = SCENES[1]
    assert_same(flip(flip(sample, rng(), probability=1), rng(), probability=1), sample)


@pytest.mark.parametrize("flip", [horizontal_flip, vertical_flip])
def test_flip_probability(flip):
    sample, generator = SCENES[0], rng()
    assert_same(flip(sample, generator, probability=0), sample)
    flipped = [not np.array_equal(flip(sample, generator)["image"], sample["image"]) for _ in range(200)]
    assert 70 < sum(flipped) < 130


def test_keypoint_order_moves_points_with_a_side():
    points = np.array([[[5, 1, 2], [3, 2, 2], [7, 2, 1]]], dtype=np.float32)  # nose, left eye, right eye
    sample = {"image": np.zeros((10, 10, 3), dtype=np.uint8), "keypoints": points}
    new = horizontal_flip(sample, rng(), probability=1, keypoint_order=(0, 2, 1))
    np.testing.assert_array_equal(new["keypoints"], [[[5, 1, 2], [3, 2, 1], [7, 2, 2]]])


@pytest.mark.parametrize(
    ("size", "short_side", "max_side", "expected"),
    [
        ((480, 640), 240, 1000, (240, 320)),
        ((640, 480), 240, 1000, (320, 240)),
        ((100, 400), 200, 500, (125, 500)),  # the longer side decides
        ((50, 75), 100, 1000, (100, 150)),
        ((33, 100), 20, 1000, (20, 61)),  # 60.6
    ],
)
def test_resize_keeps_the_aspect(size, short_side, max_side, expected):
    sample = {"image": np.zeros((*size, 3), dtype=np.uint8), "boxes": np.array([[0, 0, size[1], size[0]]], np.float32)}
    new = resize(sample, short_side=short_side, max_side=max_side)
    assert new["image"].shape == (*expected, 3)
    assert new["original_size"] == size
    np.testing.assert_allclose(new["scale"], (expected[1] / size[1], expected[0] / size[0]))
    np.testing.assert_allclose(new["boxes"], [[0, 0, expected[1], expected[0]]], rtol=1e-6)


def test_scale_maps_boxes_back_even_after_two_resizes():
    sample = SCENES[2]
    new = resize(resize(sample, short_side=97, max_side=1000), short_side=40, max_side=1000)
    np.testing.assert_allclose(new["boxes"] / np.tile(new["scale"], 2), sample["boxes"], rtol=1e-5)
    assert new["original_size"] == (60, 81)


def test_resized_ramps_stay_where_they_are():
    """A pixel's value tells its place: centre (j + 0.5) of the new image shows (j + 0.5) / scale of the old one."""
    ramp = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[None, :, None], 90, axis=0).repeat(3, axis=2)  # 2 * column
    for short_side in (30, 200):
        new = resize({"image": ramp}, short_side=short_side, max_side=1000)
        place = (np.arange(new["image"].shape[1]) + 0.5) / new["scale"][0]
        inner = (place > 4) & (place < 116)
        np.testing.assert_allclose(new["image"][5, inner, 0], 2 * (place - 0.5)[inner], atol=0.76)


def test_labels_come_from_the_nearest_pixel():
    sample = {"image": np.zeros((9, 12, 3), dtype=np.uint8), "segmentation": np.arange(108).reshape(9, 12)}
    new = resize(sample, short_side=3, max_side=1000)
    np.testing.assert_array_equal(new["segmentation"], sample["segmentation"][1::3, 1::3])  # the middle of each 3 x 3
    new = resize(sample, short_side=18, max_side=1000)
    np.testing.assert_array_equal(new["segmentation"], sample["segmentation"].repeat(2, axis=0).repeat(2, axis=1))


def test_shrinking_averages():
    """No aliasing: fine stripes become their mean instead of all black or all white."""
    stripes = np.zeros((80, 80, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    new = resize({"image": stripes}, short_side=20, max_side=20)["image"]
    assert np.abs(new[:, 2:-2].astype(int) - 127.5).max() < 10


@pytest.mark.parametrize("sides", [(0, 10), (-1, 10), (20, 10)])
def test_resize_arguments(sides):
    with pytest.raises(ValueError, match=f"resize: need 0 < short_side <= max_side, got {sides[0]} and {sides[1]}"):
        resize(SCENES[0], short_side=sides[0], max_side=sides[1])


def test_zooming_out_shows_all_within_a_border():
    for seed in range(10):
        new = random_scale(rectangle(), rng(seed), low=0.5, high=0.5, fill=(1, 2, 3))
        assert new["image"].shape == (40, 50, 3)
        covered = new["segmentation"] >= 0
        assert covered.sum() == 20 * 25
        np.testing.assert_array_equal(new["image"][~covered], np.tile([1, 2, 3], (1500, 1)))
        np.testing.assert_allclose(new["boxes"][:, 2:] - new["boxes"][:, :2], [[10, 10]])


def test_zooming_is_random_in_place_and_factor():
    sides = [np.ptp(random_scale(rectangle(), rng(seed), low=0.5, high=0.9)["boxes"][0, ::2]) for seed in range(200)]
    assert min(sides) >= 20 * 0.5 - 0.5
    assert max(sides) <= 20 * 0.9 + 0.5
    assert np.std(sides) > 1
    assert np.median(sides) == pytest.approx(
        20 * np.sqrt(0.5 * 0.9), abs=1
    )  # as many above the mean of the logs as below
    places = {tuple(random_scale(rectangle(), rng(seed), low=0.5, high=0.5)["boxes"][0, :2]) for seed in range(100)}
    assert min(x for x, _ in places) == 5
    assert max(x for x, _ in places) == 30
    assert min(y for _, y in places) <= 4
    assert max(y for _, y in places) >= 20


def test_zooming_in_drops_what_is_nearly_gone():
    dropped = kept_cut = 0
    for seed in range(60):
        sample = SCENES[seed % 40]
        whole = random_scale(sample, rng(seed), low=1.8, high=1.8, min_area_left=0)
        new = random_scale(sample, rng(seed), low=1.8, high=1.8, min_area_left=0.3)
        full_area = 1.8**2 * np.prod(sample["boxes"][:, 2:] - sample["boxes"][:, :2], axis=1)
        area = np.prod(new["boxes"][:, 2:] - new["boxes"][:, :2], axis=1)
        same = [(sample["labels"] == label) for label in new["labels"]]
        assert all((share > 0.29 * full_area[i].min()) for share, i in zip(area, same))
        assert (whole["boxes"][:, 2:] > whole["boxes"][:, :2]).all()  # wholly outside is dropped in any case
        dropped += len(whole["boxes"]) - len(new["boxes"])
        kept_cut += (np.abs(area[:, None] / full_area - 1) > 0.02).all(axis=1).sum()
        for box, mask in zip(new["boxes"], new["masks"]):
            y, x = np.nonzero(mask)
            assert (x + 0.5 > box[0] - 1).all()
            assert (x + 0.5 < box[2] + 1).all()
            assert (y + 0.5 > box[1] - 1).all()
            assert (y + 0.5 < box[3] + 1).all()
    assert dropped > 20
    assert kept_cut > 20


def test_a_box_with_less_than_the_share_left_is_dropped_worked_example():
    sample = rectangle(40, 40, box=(0, 0, 20, 40))  # left half
    for seed in range(50):
        new = random_scale(sample, rng(seed), low=2, high=2, min_area_left=0.31)
        # The window, 40 of 80 pixels wide, starts at x0; what is left of the 40 x 80 box is (40 - x0) wide.
        x0 = 40 - (random_scale(sample, rng(seed), low=2, high=2, min_area_left=0)["masks"].any(axis=(0, 1)).sum())
        assert len(new["boxes"]) == ((40 - x0) * 40 >= 0.31 * 40 * 80)


def test_points_outside_become_absent():
    absent = 0
    for seed in range(30):
        points = random_scale(rectangle(), rng(seed), low=2, high=2, min_area_left=0)["keypoints"]
        outside = points[..., 2] == 0
        assert (points[outside] == 0).all()
        assert (points[..., :2] >= 0).all()
        assert (points[..., 0] <= 50).all()
        assert (points[..., 1] <= 40).all()
        absent += outside[:, :2].sum()
    assert absent > 5


def test_scale_one_changes_nothing():
    assert_same(random_scale(SCENES[5], rng(), low=1, high=1), SCENES[5])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (2, 1)])
def test_random_scale_arguments(low, high):
    with pytest.raises(ValueError, match="random_scale: need 0 < low <= high"):
        random_scale(SCENES[0], rng(), low=low, high=high)


def test_colour_jitter_of_strength_zero_changes_nothing():
    assert_same(colour_jitter(SCENES[0], rng(), brightness=0, contrast=0, saturation=0), SCENES[0])


class Fixed:
    """In place of a generator: the factors one after the other."""

    def __init__(self, *values):
        self.values = list(values)

    def uniform(self, low, high):
        return self.values.pop(0)


def test_colour_jitter_worked_examples():
    image = np.array([[[100, 100, 100], [200, 100, 0]]], dtype=np.uint8)
    sample = {"image": image}
    grey = 0.299 * 200 + 0.587 * 100  # luma of the second pixel: 118.5
    mean = (100 + grey) / 2
    brighter = colour_jitter(sample, Fixed(1.5, 1, 1))["image"]
    np.testing.assert_array_equal(brighter, [[[150, 150, 150], [255, 150, 0]]])
    flatter = colour_jitter(sample, Fixed(1, 0.5, 1))["image"]
    np.testing.assert_allclose(flatter, mean + 0.5 * (image - mean), atol=0.5 + 1e-3)
    colourless = colour_jitter(sample, Fixed(1, 1, 0))["image"]
    np.testing.assert_allclose(colourless, [[[100] * 3, [grey] * 3]], atol=0.5 + 1e-3)
    both = colour_jitter(sample, Fixed(0.8, 1.2, 1.1))["image"].astype(float)
    x = 0.8 * image.astype(float)
    x = 0.8 * mean + 1.2 * (x - 0.8 * mean)
    luma = (x @ [0.299, 0.587, 0.114])[..., None]
    np.testing.assert_allclose(both, np.clip(luma + 1.1 * (x - luma), 0, 255), atol=0.5 + 1e-3)


def test_colour_jitter_range():
    image = np.full((4, 4, 3), 100, dtype=np.uint8)
    values = [colour_jitter({"image": image}, rng(i), brightness=0.3)["image"][0, 0, 0] for i in range(300)]
    assert 70 <= min(values) < 75
    assert 125 < max(values) <= 130


def test_drop_difficult():
    sample = next(scene for scene in SCENES if scene["difficult"].any())
    new = drop_difficult(sample)
    easy = np.flatnonzero(~sample["difficult"])
    assert len(easy) < len(sample["labels"])
    for key in ("boxes", "labels", "difficult", "masks", "keypoints"):
        np.testing.assert_array_equal(new[key], sample[key][easy])
    np.testing.assert_array_equal(new["segmentation"], sample["segmentation"])


def test_compose_applies_in_order_with_one_rng():
    def note(name):
        return lambda sample, generator: {**sample, "log": [*sample.get("log", []), name, generator.random()]}

    expected = np.random.default_rng(7)
    new = compose(note("a"), note("b"))({}, rng(7))
    assert new["log"] == ["a", expected.random(), "b", expected.random()]
    assert compose()({"id": "x"}, rng()) == {"id": "x"}


@pytest.mark.parametrize("size", [(20, 30), (40, 50), (50, 30), (60, 70)])
def test_a_crop_is_a_part_of_the_image(size):
    """Every pixel is numbered: the crop holds them side by side as they were, and what is new has label -1."""
    sample = rectangle()
    numbers = np.arange(40 * 50).reshape(40, 50)
    sample |= {"segmentation": numbers, "instances": numbers.copy()}
    places = set()
    for seed in range(30):
        got = random_crop(sample, rng(seed), size=size)
        assert got["image"].shape == (*size, 3) and got["segmentation"].shape == got["masks"].shape[1:] == size
        rows, columns = min(size[0], 40), min(size[1], 50)
        inside = got["segmentation"][:rows, :columns]
        places.add(first := int(inside[0, 0]))
        np.testing.assert_array_equal(inside, first + np.arange(rows)[:, None] * 50 + np.arange(columns))
        assert (got["segmentation"] >= 0).sum() == rows * columns
        np.testing.assert_array_equal(got["instances"], got["segmentation"])
        known = got["segmentation"][got["segmentation"] >= 0]
        np.testing.assert_array_equal(
            got["image"][:rows, :columns].reshape(-1, 3), sample["image"].reshape(-1, 3)[known]
        )
    assert len(places) == 1 if size == (60, 70) or size == (40, 50) else len(places) > 10
    for wrong in ((0, 5), (5,), 5, (5, 6.0), "ab"):
        with pytest.raises(ValueError, match=r"random_crop: size must be \(height, width\), whole numbers"):
            random_crop(sample, rng(), size=wrong)


@each_transform
def test_labels_of_pixels_are_moved_and_never_mixed(transform):
    """Labels far apart stay as they are: none between two of them comes up; instances move as segmentation does."""
    sample = dict(SCENES[5])
    sample["segmentation"] = 100 * sample["segmentation"]
    sample["instances"] = sample["segmentation"] + 1
    got = transform(sample, rng(2))
    assert set(np.unique(got["segmentation"])) <= {-1, *np.unique(sample["segmentation"])}
    known = got["segmentation"] >= 0
    np.testing.assert_array_equal(got["instances"][known], got["segmentation"][known] + 1)
    assert (got["instances"][~known] == -1).all()


def test_crowd_and_area_go_along():
    sample = rectangle() | {"crowd": np.array([True]), "area": np.array([400.0])}
    doubled = resize(sample, short_side=80, max_side=1000)
    assert doubled["area"].tolist() == [1600] and doubled["crowd"].tolist() == [True]
    assert horizontal_flip(sample, rng(), probability=1)["area"].tolist() == [400]
    assert drop_difficult(sample | {"difficult": np.array([True])})["area"].shape == (0,)
    for seed in range(5):
        cut = random_crop(sample, rng(seed), size=(20, 25), min_area_left=0.0)
        np.testing.assert_allclose(cut["area"], cut["masks"].sum(axis=(1, 2)))
        assert len(cut["crowd"]) == len(cut["area"]) == len(cut["boxes"])
