import os
import signal
import threading
import time
from functools import partial
from itertools import chain

import numpy as np
import pytest

from datasets import Loader, Shapes, colour_jitter, compose, detection_batch, horizontal_flip, resize


class Numbers:
    """Sample i is {"id": i}; counts what was read; may be told to fail."""

    def __init__(self, n, fail_at=None):
        self.n, self.fail_at, self.read = n, fail_at, []

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.read.append(index)
        if index == self.fail_at:
            raise ValueError(f"photo {index}.jpg is damaged")
        return {"id": index}


def ids(samples):
    return [sample["id"] for sample in samples]


def joined(batches):
    return list(chain.from_iterable(batches))


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


@pytest.fixture(autouse=True)
def threads_end():
    yield
    assert loader_threads() == []


workers = pytest.mark.parametrize("workers", [0, 1, 2])


@workers
def test_in_parts(workers):
    whole, in_parts = (Loader(Numbers(7), 4, ids, workers=workers, parts=parts) for parts in (1, 3))
    for batch, parts in zip(whole.epoch(0), in_parts.epoch(0), strict=True):
        assert joined(parts) == batch
        assert len(parts) == 3 and min(map(len, parts)) > 0
    assert [len(parts) for parts in Loader(Numbers(5), 4, ids, parts=3).epoch(0)] == [3, 1]


@workers
def test_in_order_without_shuffling(workers):
    loader = Loader(Numbers(7), 3, ids, shuffle=False, workers=workers)
    assert len(loader) == 3
    assert list(loader.epoch(0)) == list(loader.epoch(1)) == [[0, 1, 2], [3, 4, 5], [6]]
    loader = Loader(Numbers(7), 3, ids, shuffle=False, workers=workers, drop_last=True)
    assert len(loader) == 2
    assert list(loader.epoch(0)) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("n", "batch_size", "whole", "dropped"), [(6, 3, 2, 2), (1, 1, 1, 1), (5, 2, 3, 2), (9, 4, 3, 2)]
)
def test_length(n, batch_size, whole, dropped):
    assert len(Loader(Numbers(n), batch_size, ids)) == whole
    assert len(Loader(Numbers(n), batch_size, ids, drop_last=True)) == dropped


@workers
def test_each_epoch_has_every_sample_once_in_its_own_order(workers):
    loader = Loader(Numbers(50), 7, ids, seed=3, workers=workers)
    epochs = [joined(loader.epoch(number)) for number in range(4)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert epochs[2] == joined(loader.epoch(2))  # whatever was read before
    assert epochs[2] == joined(Loader(Numbers(50), 7, ids, seed=3).epoch(2))
    assert epochs[2] != joined(Loader(Numbers(50), 7, ids, seed=4).epoch(2))


@workers
@pytest.mark.parametrize("start", range(9))
def test_resuming_gives_the_rest_of_the_epoch(workers, start):
    loader = Loader(Numbers(50), 7, ids, workers=workers)
    assert list(loader.epoch(5, start=start)) == list(loader.epoch(5))[start:]


def real_loader(workers, **options):
    transform = compose(partial(resize, short_side=40, max_side=80), horizontal_flip, colour_jitter)
    collate = partial(detection_batch, mean=(120, 115, 100), std=(60, 60, 60))
    return Loader(Shapes(10, size=(48, 64)), 3, collate, transform=transform, workers=workers, **options)


def flat(batch):
    images, targets = batch
    return [images, *(value for target in targets for _, value in sorted(target.items()))]


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_batches_do_not_depend_on_the_threads(ahead):
    expected = list(real_loader(0).epoch(1))
    for workers in (1, 2, 4):
        batches = list(real_loader(workers, ahead=ahead).epoch(1))
        assert len(batches) == len(expected) == 4
        for ours, theirs in zip(batches, expected):
            for a, b in zip(flat(ours), flat(theirs)):
                np.testing.assert_array_equal(a, b)


def test_the_transform_is_random_by_epoch_and_sample_but_not_by_position():
    def draw(sample, rng):
        return {"id": (sample["id"], rng.random())}

    def epoch(number, **options):
        return dict(joined(Loader(Numbers(20), 4, ids, transform=draw, **options).epoch(number)))

    assert epoch(0) == epoch(0, shuffle=False)
    assert len(set(epoch(0).values()) | set(epoch(1).values()) | set(epoch(0, seed=1).values())) == 60


def test_the_first_samples_draws_are_not_those_of_the_order():
    """NumPy seeds [a, b] and [a, b, 0] alike: sample 0 must not share its stream with the shuffling."""
    draws = []
    loader = Loader(Numbers(1), 1, ids, transform=lambda sample, rng: draws.append(rng.random()) or sample, seed=4)
    list(loader.epoch(2))
    assert draws != [np.random.default_rng([4, 2]).random()]


@workers
def test_an_error_surfaces_in_its_place(workers):
    loader = Loader(Numbers(10, fail_at=5), 2, ids, shuffle=False, workers=workers)
    batches = loader.epoch(0)
    assert [next(batches), next(batches)] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match=r"photo 5\.jpg is damaged"):
        next(batches)
    assert loader_threads() == []
    assert next(batches, "ended") == "ended"


@workers
@pytest.mark.parametrize("part", ["transform", "collate"])
def test_errors_of_transform_and_collate_surface_too(workers, part):
    def fail(*_):
        raise KeyError(part)

    options = {"collate": ids, "transform": lambda sample, rng: sample} | {part: fail}
    with pytest.raises(KeyError, match=part):
        next(Loader(Numbers(4), 2, workers=workers, **options).epoch(0))


@pytest.mark.parametrize("number", [1, 2])
def test_threads_end_with_the_epoch(number):
    batches = Loader(Numbers(6), 2, ids, workers=number).epoch(0)
    assert loader_threads() == []  # none before the first batch is asked for
    next(batches)
    assert 1 <= len(loader_threads()) <= number
    list(batches)
    assert loader_threads() == []


def test_threads_end_when_the_loop_is_left():
    loader = Loader(Numbers(1000), 2, ids, workers=2)
    for _ in loader.epoch(0):
        break
    assert loader_threads() == []

    def train():
        for _ in loader.epoch(0):
            raise RuntimeError("in the loop")

    with pytest.raises(RuntimeError, match="in the loop"):
        train()
    assert wait_until(lambda: loader_threads() == [])
    batches = loader.epoch(0)
    next(batches)
    batches.close()
    assert loader_threads() == []
    assert len(loader.dataset.read) < 100


def test_batches_that_wait_are_given_up():
    def slow(sample, rng):
        time.sleep(0.002)
        return sample

    loader = Loader(Numbers(1000), 1, ids, transform=slow, workers=1, ahead=1000)
    for _ in loader.epoch(0):
        break
    assert len(loader.dataset.read) < 900


def test_threads_end_with_ctrl_c():
    """An interrupt that arrives while the consumer waits for a batch."""

    def interrupt(sample, rng):
        if sample["id"] == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        return sample

    loader = Loader(Numbers(100), 1, ids, transform=interrupt, shuffle=False, workers=2)
    with pytest.raises(KeyboardInterrupt):
        for _ in loader.epoch(0):
            pass
    assert wait_until(lambda: loader_threads() == [])
    assert len(loader.dataset.read) < 20


def test_batches_are_prepared_ahead_but_not_without_limit():
    data = Numbers(100)
    batches = Loader(data, 2, ids, shuffle=False, workers=1, ahead=3).epoch(0)
    next(batches)
    assert wait_until(lambda: len(data.read) == 8)  # the one given out, and three ahead of it
    time.sleep(0.05)
    assert len(data.read) == 8
    next(batches)
    assert wait_until(lambda: len(data.read) == 10)
    batches.close()


def test_workers_work_at_the_same_time():
    meeting = threading.Barrier(2, timeout=10)  # broken if only one thread ever comes

    def meet(sample, rng):
        meeting.wait()
        return sample

    assert len(list(Loader(Numbers(8), 1, ids, transform=meet, workers=2).epoch(0))) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"ahead": 0}, "ahead must be at least 1, got 0"),
        ({"dataset": Numbers(0)}, "0 samples make no batch of 2"),
        ({"dataset": Numbers(1), "drop_last": True}, "1 samples make no batch of 2"),
    ],
)
def test_arguments(options, message):
    with pytest.raises(ValueError, match=f"Loader: {message}"):
        Loader(**({"dataset": Numbers(4), "batch_size": 2, "collate": ids} | options))


@pytest.mark.parametrize(("number", "start"), [(-1, 0), (0, -1), (0, 3)])
def test_epoch_arguments_are_checked_at_the_call(number, start):
    with pytest.raises(ValueError, match=rf"need epoch >= 0 and start in 0\.\.2, got {number} and {start}"):
        Loader(Numbers(4), 2, ids).epoch(number, start)


def test_detection_batch_pads_at_the_right_and_the_bottom():
    rng = np.random.default_rng(0)
    shapes = [(5, 9), (7, 4), (6, 6)]
    samples = [{"image": rng.integers(0, 256, (*shape, 3), dtype=np.uint8), "id": str(shape)} for shape in shapes]
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)
    images, targets = detection_batch(samples, mean, std)
    assert images.shape == (3, 3, 7, 9)
    assert images.dtype == np.float32
    for n, (h, w) in enumerate(shapes):
        assert targets[n]["image_size"] == (h, w)
        for c in range(3):
            for i in range(7):
                for j in range(9):
                    inside = i < h and j < w
                    expected = (samples[n]["image"][i, j, c] - mean[c]) / std[c] if inside else 0
                    assert images[n, c, i, j] == pytest.approx(expected, rel=1e-6)


def test_detection_batch_targets():
    sample = Shapes(1)[0]
    small = resize(sample, short_side=60, max_side=1000)
    _, (plain, resized, bare) = detection_batch([sample, small, {"image": sample["image"]}], 127.5, 60)
    assert plain.keys() == {"boxes", "labels", "difficult", "id", "image_size", "scale", "original_size"}
    np.testing.assert_array_equal(plain["boxes"], sample["boxes"])
    assert plain["scale"] == (1, 1)
    assert plain["original_size"] == plain["image_size"] == (120, 160)
    assert resized["scale"] == (0.5, 0.5)
    assert resized["original_size"] == (120, 160)
    assert resized["image_size"] == (60, 80)
    np.testing.assert_array_equal(resized["boxes"], sample["boxes"] / 2)
    assert bare.keys() == {"image_size", "scale", "original_size"}  # a picture to predict on
