"""The times of detectors on one picture: what is timed, their order, and bad input."""

import numpy as np
import pytest

from scripts import detection_speed
from vision.detection import Detector
from vision.detection.speed import Seconds, seconds_an_image
from vision.preprocess import Preprocess


class Wanting(Detector):
    """Wants proposals, and remembers those that it gets."""

    proposals = "sliding_windows count=20"

    def predict(self, images, image_sizes, proposals):
        self.got = proposals[0]
        return [{"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64), "scores": np.zeros(0)}]


def test_proposals_are_timed_apart():
    model = Wanting(["cat"], None, Preprocess(32, 64))
    seconds = seconds_an_image(model, np.zeros((32, 40, 3), np.uint8))
    assert seconds.proposals > 0 and seconds.detector > 0
    np.testing.assert_array_equal(model.got, model.proposer(np.zeros((32, 40, 3), np.uint8))[0])


def test_the_slowest_comes_first(capsys):
    tiny = ["yolo_small:width=2,short_side=64,grid=2", "yolo_small:width=24,short_side=160,grid=5"]
    assert detection_speed.main([*tiny, "--repeat", 3]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["detector", *reversed(tiny)]
    assert lines[1].split()[1] == "-"  # no proposals


def test_the_order_is_checked(capsys):
    fast, slow = Seconds(0.0, 0.2), Seconds(0.2, 0.1)
    assert detection_speed.in_order({"rcnn": slow, "ssd": fast}) == 0
    assert detection_speed.in_order({"ssd": fast, "rcnn": slow}) == 1
    assert "ssd is faster than rcnn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        ("yolo_smal", "there is no model 'yolo_smal' of the task detection"),
        ("vgg16", "there is no model 'vgg16'"),
        ("runs/none", "runs/none: there is no such run or checkpoint"),
    ],
)
def test_bad_input(error_of, detector, message):
    assert message in error_of(detection_speed.main, detector)
