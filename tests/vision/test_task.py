"""predicted: the samples of an evaluation with their predictions; one bad sample does not cost the others."""

import pytest

from tests.vision.training.threads import in_threads
from vision.task import images_and_speed, predicted
from vision.training.communicator import evaluated_together


class Data:
    """Samples {"id": k}; those in `damaged` cannot be read."""

    def __init__(self, n, damaged=()):
        self.n, self.damaged = n, damaged

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if index in self.damaged:
            raise ValueError(f"{index}.png: damaged")
        return {"id": str(index)}


def predict(samples, bad=(), error=ValueError):
    """Squares; fails where a sample is bad, whatever the others are."""
    for sample in samples:
        if sample["id"] in bad:
            raise error("too thin")
    return [int(sample["id"]) ** 2 for sample in samples]


def results(*arguments, **options):
    return [(sample["id"], found) for sample, found in predicted(*arguments, **options)]


@pytest.mark.parametrize("together", [1, 2, 5, 50])
def test_every_sample_in_order_with_its_prediction(together):
    assert results(Data(5), predict, together=together) == [(str(k), k * k) for k in range(5)]


@pytest.mark.parametrize("together", [1, 2, 5, 50])
@pytest.mark.parametrize("error", [ValueError, MemoryError])
def test_what_fails_is_left_out_and_named(together, error):
    failed = []
    found = results(Data(6, damaged=(1,)), lambda s: predict(s, "3", error), together=together, failed=failed)
    assert found == [(str(k), k * k) for k in (0, 2, 4, 5)]
    assert sorted(failed) == ["1.png: damaged", "3: too thin"]


@pytest.mark.parametrize("together", [1, 50])
@pytest.mark.parametrize("error", [ValueError, MemoryError])
def test_without_a_list_it_is_raised_with_the_id(together, error):
    with pytest.raises(error, match="^3: too thin$"):
        results(Data(6), lambda s: predict(s, "3", error), together=together)
    with pytest.raises(ValueError, match=r"^1\.png: damaged$"):
        results(Data(6, damaged=(1,)), predict, together=together)


def test_a_batch_that_is_too_large_as_a_whole_goes_one_by_one():
    def small_only(samples):
        if len(samples) > 1:
            raise MemoryError
        return predict(samples)

    assert results(Data(3), small_only, together=3) == [("0", 0), ("1", 1), ("2", 4)]


def test_where_nothing_is_left_it_says_so():
    with pytest.raises(ValueError, match=r"none of 2 images can be evaluated; the first: 0\.png: damaged"):
        results(Data(2, damaged=(0, 1)), predict, failed=[])


def test_other_errors_are_bugs_and_come_through():
    with pytest.raises(KeyError):
        results(Data(2), lambda samples: {}["bug"], failed=[])


@pytest.mark.parametrize(("size", "together"), [(2, 1), (3, 2), (2, 50)])
def test_processes_share_the_predictions(size, together):
    """All get what one alone would get, in order; each predicts a part."""

    def work(others):
        predicted_here, failed = [], []

        def own(samples):
            predicted_here.extend(sample["id"] for sample in samples)
            return predict(samples, "3")

        with evaluated_together(others):
            return results(Data(9, damaged=(1,)), own, together=together, failed=failed), failed, predicted_here

    every = [result for result, error in in_threads(size, work)]
    assert all(found == [(str(k), k * k) for k in (0, 2, 4, 5, 6, 7, 8)] for found, _, _ in every)
    assert all(sorted(failed) == ["1.png: damaged", "3: too thin"] for _, failed, _ in every)
    everywhere = [set(here) for _, _, here in every]
    assert set.union(*everywhere) == set("02345678") and not set.intersection(*everywhere)


def test_a_damaged_sample_ends_the_evaluation_of_all():
    def work(others):
        with evaluated_together(others), others.failing():
            return results(Data(9, damaged=(1,)), predict)

    errors = [str(error) for _, error in in_threads(2, work)]
    assert errors == ["process 1 of 2: ValueError: 1.png: damaged", "1.png: damaged"]


def test_one_image_is_one():
    assert images_and_speed({"images": 1, "images_per_second": 2.25}) == "1 image, 2.2 images/s"
    assert images_and_speed({"images": 0, "images_per_second": 0}) == "0 images, 0.0 images/s"
