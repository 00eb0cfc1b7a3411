"""Non-maximum suppression on the device keeps the same boxes as on the CPU; only their number is copied to the CPU."""

import numpy as np
import pytest

from nn.gpu import nms as nms_cuda
from tests.cupy_stand_in import count_transfers, kernels, no_transfers
from vision.boxes.nms import nms, nms_among


def crowd(n, seed=0, dtype=np.float32, scores=10):
    """n boxes in groups, on whole pixels so that many overlaps are exactly a threshold, with tied scores."""
    rng = np.random.default_rng([17, seed])
    low = rng.integers(0, 40, (n, 2))
    boxes = np.concatenate([low, low + rng.integers(-1, 16, (n, 2))], axis=1).astype(dtype)  # some without area
    return boxes, (rng.integers(0, scores, n) / scores).astype(dtype), rng.integers(0, 3, n)


def on_device(device, function, *args, **options):
    """A function's result for the same arrays on the device, copied to the CPU."""
    moved = [device.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
    with no_transfers("number_kept"):
        kept = function(*moved, **options)
    assert isinstance(kept, device.ndarray) and kept.dtype == np.int64
    return device.asnumpy(kept)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.0, 0.25, 1 / 3, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 63, 64, 65, 300])
def test_keeps_the_boxes_of_the_cpu(n, threshold, dtype, device):
    boxes, scores, classes = crowd(n, dtype=dtype)
    for own_classes in (None, classes):
        for most in (None, 1, 7):
            args = boxes, scores, threshold, own_classes, most
            np.testing.assert_array_equal(on_device(device, nms, *args), nms(*args))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("pre_nms, max_keep", [(None, None), (70, None), (1, 5), (130, 9)])
def test_among_the_valid_ones(pre_nms, max_keep, share, device):
    boxes, scores, classes = crowd(200, 1)
    valid = np.random.default_rng(2).random(200) < share
    args = valid, boxes, scores, 0.3, classes, pre_nms, max_keep
    np.testing.assert_array_equal(on_device(device, nms_among, *args), nms_among(*args))


def test_nan_scores_are_last_but_before_invalid_boxes(device):
    boxes, scores, _ = crowd(150, 3)
    scores[::3] = np.nan
    scores[1::7] = -np.inf
    valid = np.arange(150) % 2 == 0
    args = valid, boxes, scores, 0.4, None, 60
    np.testing.assert_array_equal(on_device(device, nms_among, *args), nms_among(*args))


def test_equal_boxes_and_equal_scores(device):
    """The lower index first, and at threshold 1 nothing is suppressed, not even an equal box."""
    boxes, scores = np.tile(np.float32([[2, 3, 9, 8]]), (130, 1)), np.ones(130, np.float32)
    np.testing.assert_array_equal(on_device(device, nms, boxes, scores, 0.5), [0])
    np.testing.assert_array_equal(on_device(device, nms, boxes, scores, 1.0), np.arange(130))
    np.testing.assert_array_equal(on_device(device, nms, boxes, scores, 0.5, np.arange(130) % 2), [0, 1])


@pytest.mark.parametrize("options", [{}, {"max_keep": 3}, {"max_keep": 0}])
def test_no_boxes(options, device):
    args = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5
    assert on_device(device, nms, *args, **options).shape == (0,)
    valid = np.zeros(5, bool)
    assert on_device(device, nms_among, valid, *crowd(5)[:2], 0.5, **options).shape == (0,)


def test_in_parts_of_the_matrix_of_bits(device, monkeypatch):
    boxes, scores, classes = crowd(300, 4)
    monkeypatch.setattr(nms_cuda, "WORDS_TOGETHER", 1)  # 64 boxes at a time
    for most in (None, 40):
        args = boxes, scores, 0.3, classes, most
        np.testing.assert_array_equal(on_device(device, nms, *args), nms(*args))


def test_boxes_that_are_views(device):
    boxes, scores, _ = crowd(100, 5)
    kept = nms(device.asarray(np.repeat(boxes, 2, axis=1))[:, ::2], device.asarray(np.repeat(scores, 2))[::2], 0.3)
    np.testing.assert_array_equal(device.asnumpy(kept), nms(boxes, scores, 0.3))


def test_threads_in_reverse_and_overlaps_equal_to_the_threshold(device, monkeypatch):
    """Overlaps of integer boxes are ratios such as 1/3: a threshold with the same bits does not suppress."""
    monkeypatch.setattr(kernels, "reversed_threads", True)
    for seed in range(5):
        boxes, scores, _ = crowd(128, seed, scores=1000)
        for threshold in (1 / 3, 0.2, 0.4, 0.6):
            args = boxes, scores, threshold
            np.testing.assert_array_equal(on_device(device, nms, *args), nms(*args))


def test_only_the_number_kept_is_copied(device):
    boxes, scores, _ = (device.asarray(a) for a in crowd(100, 6))
    with count_transfers() as counted:
        nms(boxes, scores, 0.5)
    assert sum(counted.values()) == 1 and all("number_kept" in place for _, place in counted)
