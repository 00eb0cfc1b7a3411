"""The content of the pictures, pixel by pixel where possible."""

import numpy as np
import pytest

from vision.boxes.boxes import iou
from vision.detection.draw import BLACK, COLOURS, WHITE, _free_position, draw_detections, grid

GREY = np.full((600, 800, 3), 100, np.uint8)  # large enough not to be enlarged
BOX = np.array([[200, 100, 400, 300]], np.float32)
ONE = np.array([1])


def count(picture, colour):
    return int((picture == colour).all(axis=-1).sum())


def test_draws_outlines_in_the_colours_of_the_classes():
    boxes = np.array([[200, 100, 400, 300], [500, 300, 700, 500]], np.float32)
    picture = draw_detections(GREY, boxes, np.array([1, 2]), np.array([0.9, 0.8]), ["cat", "dog"])
    assert picture.shape == GREY.shape and picture.dtype == np.uint8
    assert (GREY == 100).all()
    for (x1, y1, x2, y2), colour in zip(boxes.astype(int), COLOURS):
        for side in (picture[y1, x1:x2], picture[y2 - 1, x1:x2], picture[y1:y2, x1], picture[y1:y2, x2 - 1]):
            assert (side == colour).all()  # half-open: the last row inside is y2 - 1
        assert (picture[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8] == 100).all()
    assert (picture[520:, :] == 100).all() and (picture[:, 720:] == 100).all()


def test_writes_the_name_and_score_above_the_box():
    plain, named, scored = (
        draw_detections(GREY, BOX, ONE, scores, classes)
        for scores, classes in ((None, None), (None, ["cat"]), (np.array([0.5]), ["cat"]))
    )
    widths = [np.flatnonzero((p[90, :] != 100).any(axis=-1)).tolist() for p in (plain, named, scored)]
    assert all(w[0] == 200 for w in widths)  # the plate begins at the left end of the box
    assert len(widths[0]) < len(widths[1]) < len(widths[2])  # "1", "cat", "cat 0.50"
    assert count(scored[70:100, 200:300], WHITE) > 20  # letters, white on a dark background ...
    bright = draw_detections(GREY, BOX, np.array([11]))
    assert (
        count(bright[70:100, 200:300], COLOURS[10]) > 100 and count(bright[70:100, 204:300], WHITE) == 0
    )  # ... or black


@pytest.mark.parametrize("size, factor", [((120, 160), 4), ((240, 320), 2), ((600, 1000), 1), ((8, 8), 75)])
def test_enlarges_small_images_by_a_whole_number(size, factor):
    image = np.full((*size, 3), 100, np.uint8)
    h, w = size
    box = np.array([[w / 4, h / 4, w / 2, 3 * h / 4]])
    picture = draw_detections(image, box, ONE)
    assert picture.shape == (h * factor, w * factor, 3)
    y, x = h * factor * 5 // 8, w * factor // 4
    assert (picture[y, x] == COLOURS[0]).all() and (picture[y, x - 1] == 100).all()


def test_plates_stay_inside_and_apart():
    """Boxes that fill the picture, hang over its corners or coincide: every plate is still wholly visible."""
    boxes = np.array([[0, 0, 800, 600], [-50, -50, 60, 60], [700, 500, 900, 700], [0, 0, 800, 600]], float)
    picture = draw_detections(GREY, boxes, np.array([1, 2, 3, 4]), np.array([0.9, 0.8, 0.7, 0.6]), list("abcd"))
    plate = 20 * 40
    assert all(count(picture, COLOURS[i]) > plate for i in range(4))
    name = "a name much longer than its box"
    at_the_edge = draw_detections(GREY, np.array([[790, 590, 800, 600.0]]), ONE, None, [name])
    in_the_middle = draw_detections(GREY, np.array([[400, 300, 410, 310.0]]), ONE, None, [name])
    assert abs(count(at_the_edge, WHITE) - count(in_the_middle, WHITE)) < 10  # all the letters

    taken = np.zeros((0, 4))
    for _ in range(5):
        position = _free_position(np.array([300, 200, 500, 400]), 80, 20, (800, 600), taken)
        assert not iou(position[None], taken).any()
        taken = np.concatenate([taken, position[None]])


def test_the_best_detection_is_on_top():
    boxes, labels = np.tile(BOX, (3, 1)), np.array([1, 2, 3])
    picture = draw_detections(GREY, boxes, labels, np.array([0.2, 0.9, 0.5]))
    assert (picture[200, 200] == COLOURS[1]).all()
    assert count(picture[80:98, 203:240], COLOURS[1]) > 200  # and has the plate above the box


def test_draws_invisible_and_no_boxes():
    nothing = draw_detections(GREY, BOX[:0], ONE[:0])
    np.testing.assert_array_equal(nothing, GREY)
    outside = np.array([[900, 0, 950, 50], [-20, 10, -5, 50], [50, 50, 50, 90]], np.float32)
    np.testing.assert_array_equal(draw_detections(GREY, outside, np.array([1, 2, 3])), GREY)
    many = draw_detections(GREY, BOX, np.array([len(COLOURS) + 1]))
    np.testing.assert_array_equal(many[200:300], draw_detections(GREY, BOX, ONE)[200:300])  # colours repeat


def test_ground_truth_is_dashed_and_misses_are_marked():
    truth = {"boxes": np.array([[100, 350, 300, 550], [500, 350, 700, 550.0]]), "labels": np.array([1, 2])}
    met = np.array([[100, 352, 300, 560.0]])
    picture = draw_detections(GREY, met, ONE, np.array([0.9]), ["cat", "dog"], truth=truth)
    edge = picture[549, 502:698]  # lower edge of the second box
    assert count(edge, WHITE) > 60 and count(edge, BLACK) > 60 and count(edge, WHITE) + count(edge, BLACK) == len(edge)
    assert count(picture[320:350, 500:640], WHITE) > 500  # "missed dog" on white
    assert count(picture[320:350, 100:240], WHITE) < 300  # the first was met: red plate, white letters
    assert count(picture[:60, :300], BLACK) > 1000  # the legend

    wrong_class = draw_detections(GREY, met, np.array([2]), None, ["cat", "dog"], truth=truth)
    assert count(wrong_class, WHITE) > count(picture, WHITE) + 500
    excused = draw_detections(GREY, met, ONE, None, None, truth=truth | {"difficult": np.array([False, True])})
    assert count(excused[320:350, 500:640], WHITE) == 0


def test_grid_has_images_in_rows():
    images = [np.full((20 + 4 * i, 30, 3), 40 * i, np.uint8) for i in range(5)]
    sheet = grid(images, columns=2, gap=10)
    assert sheet.shape == (3 * (36 + 10) + 10, 2 * (30 + 10) + 10, 3)
    for i, image in enumerate(images):
        y, x = 10 + i // 2 * 46, 10 + i % 2 * 40
        np.testing.assert_array_equal(sheet[y : y + image.shape[0], x : x + 30], image)
    assert (sheet[:10] == 255).all()
    assert grid(images[:1], columns=4).shape == (20 + 24, 30 + 24, 3)  # no empty columns
    h, w, _ = grid([GREY] * 12).shape
    assert 0.6 < h / w < 1.6


def test_grid_writes_titles():
    images = [GREY, GREY]
    plain, titled = grid(images, columns=2), grid(images, columns=2, titles=["before", "after"])
    above = titled.shape[0] - plain.shape[0]
    assert above > 10 and titled.shape[1] == plain.shape[1]
    strip = titled[: above + 12]
    assert (strip < 100).all(axis=-1).sum() > 50
    assert (titled[12 + above : 612 + above, 12:812] == 100).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: draw_detections(GREY[..., 0], BOX, ONE),
            r"image must be \(H, W, 3\) uint8 in RGB, got uint8 \(600, 800\)",
        ),
        (lambda: draw_detections(GREY / 255, BOX, ONE), r"image must be \(H, W, 3\) uint8 in RGB, got float64"),
        (lambda: draw_detections(GREY[:0], BOX, ONE), r"draw_detections: image must be .* got uint8 \(0, 800, 3\)"),
        (
            lambda: draw_detections(GREY, BOX[0], ONE),
            r"draw_detections: boxes: boxes must have shape \(D, 4\), got \(4,\)",
        ),
        (lambda: draw_detections(GREY, BOX, np.array([1, 2])), r"labels must be integers of shape \(1,\)"),
        (lambda: draw_detections(GREY, BOX, np.array([3]), None, ["a", "b"]), r"labels must lie in 1..2, got \[3\]"),
        (lambda: draw_detections(GREY, BOX, ONE, np.ones(2)), r"scores must have shape .* got \(2,\)"),
        (lambda: draw_detections(GREY, BOX * np.inf, ONE), r"boxes: must be finite, got \[inf"),
        (lambda: grid([]), "grid: wanted images and as many titles, got 0"),
        (lambda: grid([GREY], titles=["a", "b"]), "grid: wanted images and as many titles, got 1 and"),
        (lambda: grid([GREY[0]]), r"grid: image must be \(H, W, 3\) uint8"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
