"""Training in several processes, which are threads here."""

from functools import partial

import numpy as np
import pytest

from datasets import Loader
from nn import Dropout, Linear, Sequential, softmax_cross_entropy
from nn.io.checkpoint import read_checkpoint
from tests.vision.training.threads import in_threads
from vision.model import Model
from vision.training import Follower, Stopped, Trainer
from vision.training.communicator import Communicator, OtherFailed, buckets

RECIPE = {"epochs": 2, "batch_size": 8, "lr": 0.1, "warm_up": 0, "clip_norm": 1.0, "schedule": "constant"}


class Classifier(Model):
    """A net in float64; `drop`: with dropout. Labels of -1 do not count, so that shares count differently."""

    buffers = ("mean",)

    def __init__(self, drop=0.0, fail=()):
        super().__init__(["a", "b", "c"], None)
        rng, self.name, self.fail = np.random.default_rng(1), "classifier", fail
        self.net = Sequential(Linear(4, 6, rng=rng), Dropout(drop, rng=rng.spawn(1)[0]), Linear(6, 3, rng=rng))
        self.net.astype(np.float64)
        self.mean = np.zeros(4)

    config = {"model": "classifier", "classes": ["a", "b", "c"]}  # noqa: RUF012

    def loss(self, batch, rng, sampled=None):
        x, labels = batch
        if any(value in self.fail for value in x[:, 0]):
            raise ValueError("it cannot be")
        self.mean = 0.9 * self.mean + 0.1 * x.mean(axis=0)
        logits, cache = self.net.forward(x)
        value, dlogits = softmax_cross_entropy(logits, labels)
        return {"cls": value}, (dlogits, cache)

    def backward(self, cache):
        self.net.backward(*cache)


class Rows:
    """42 rows with labels; the 25th cannot be read where `damaged`."""

    def __init__(self, damaged=False):
        rng = np.random.default_rng(0)
        self.x, self.labels, self.damaged = rng.standard_normal((42, 4)), rng.integers(-1, 3, 42), damaged

    def __len__(self):
        return 42

    def __getitem__(self, index):
        if self.damaged and index == 25:
            raise ValueError("row 25 is damaged")
        return {"x": self.x[index], "label": self.labels[index]}


def collate(samples):
    return np.stack([s["x"] for s in samples]), np.array([s["label"] for s in samples])


def train(folder, others, recipe=(), model=None, data=None, resume=False, **options):
    """Train in one of the processes; the arrays of the model."""
    model, recipe = model or Classifier(), RECIPE | dict(recipe)
    share, parts = (others.rank, others.size), recipe.get("accumulate", 1)
    data = data or Rows()
    loader = Loader(data, recipe["batch_size"], collate, seed=3, workers=0, share=share, parts=parts)
    options["evaluate"] = (lambda model: {"score": float(model.mean[0])}) if others.rank == 0 else (lambda model: None)
    trainer = (Follower if others.rank else Trainer)(
        model, loader, recipe, folder, seed=5, others=others, metric="score", **options
    )
    if resume:
        trainer.resume()
    trainer.run()
    return model.state_dict(), trainer


def weights_of(results):
    for _, error in results:
        if error:
            raise error
    return [arrays for (arrays, _), _ in results]


@pytest.mark.parametrize(("size", "accumulate"), [(2, 1), (4, 1), (3, 2)])
def test_the_weights_are_those_of_one_process(tmp_path, size, accumulate):
    """24 steps of 8 rows; the last batch has 2, so of four processes two have nothing to do."""
    alone, _ = train(tmp_path / "alone", Communicator(), {"epochs": 4})
    recipe = {"epochs": 4, "accumulate": accumulate}
    together = weights_of(in_threads(size, lambda others: train(tmp_path / "together", others, recipe)))
    for name, value in alone.items():
        for arrays in together:
            assert arrays[name].tobytes() == together[0][name].tobytes()
        if name != "mean":  # a statistic of the last batches of one process
            np.testing.assert_allclose(together[0][name], value, rtol=0, atol=1e-12)


def test_two_processes_resume_to_the_same_bits(tmp_path):
    recipe, drop = {"epochs": 4}, partial(Classifier, drop=0.3)
    whole = weights_of(in_threads(2, lambda others: train(tmp_path / "whole", others, recipe, drop())))
    stopped = in_threads(2, lambda others: train(tmp_path / "parts", others, recipe, drop(), time_limit=0))
    assert all(isinstance(error, Stopped) for _, error in stopped)
    resumed = in_threads(2, lambda others: train(tmp_path / "parts", others, recipe, drop(), resume=True))
    for arrays in weights_of(resumed):
        assert all(arrays[name].tobytes() == value.tobytes() for name, value in whole[0].items())
    written = {path.name for path in (tmp_path / "parts").iterdir()}
    assert {"best.npz", "last.npz", "metrics.csv", "metrics.jsonl"} <= written


def test_what_is_evaluated_is_known_to_all(tmp_path):
    results = in_threads(2, lambda others: train(tmp_path, others))
    best = {trainer.progress.best for (_, trainer), _ in results}
    assert len(best) == 1 and None not in best


def test_a_damaged_sample_of_one_process_ends_all(tmp_path):
    errors = [error for _, error in in_threads(2, lambda others: train(tmp_path, others, data=Rows(damaged=True)))]
    assert all(isinstance(error, ValueError) for error in errors), errors
    assert all("row 25 is damaged" in str(error) for error in errors)
    assert sum("process" in str(error) for error in errors) == 1


def test_a_failing_loss_of_one_process_ends_all(tmp_path):
    model = partial(Classifier, fail=(Rows().x[7, 0],))
    errors = [error for _, error in in_threads(3, lambda others: train(tmp_path, others, model=model()))]
    assert all("it cannot be" in str(error) for error in errors), errors
    assert read_checkpoint(tmp_path / "last.npz")  # the steps before are kept


def test_a_failing_evaluation_ends_all(tmp_path):
    def work(others):
        def evaluate(model):
            raise ValueError("no picture can be read")

        trainer = (Follower if others.rank else Trainer)(
            Classifier(), Loader(Rows(), 8, collate, workers=0, share=(others.rank, 2)), RECIPE, tmp_path,
            others=others, evaluate=evaluate if others.rank == 0 else (lambda model: None),
        )  # fmt: skip
        trainer.run()

    errors = [str(error) for _, error in in_threads(2, work)]
    assert all("no picture can be read" in error for error in errors)


def test_other_data_is_noticed(tmp_path):
    def work(others):
        return train(tmp_path, others, data=Rows(), recipe={"batch_size": 8 + 8 * others.rank})

    errors = [str(error) for _, error in in_threads(2, work)]
    assert all("the processes have other batches and data: [6, None], [3, None]" in error for error in errors)


def test_processes_at_different_points_are_noticed():
    def work(others):
        return others.exchange("count" if others.rank else "losses", 1)

    errors = [str(error) for _, error in in_threads(2, work)]
    assert errors == ["the processes are not at the same point of the training: losses, count"] * 2


def test_an_error_is_told_with_its_process():
    def work(others):
        with others.failing():
            if others.rank == 1:
                raise OSError("no space")
            others.any(False)

    (_, first), (_, second) = in_threads(2, work)
    assert isinstance(first, OtherFailed) and str(first) == "process 1 of 2: OSError: no space"
    assert isinstance(second, OSError)


def test_sums_of_arrays_of_several_dtypes():
    def work(others):
        arrays = [np.full((2, 3), others.rank + 1.0), np.ones(4, np.float32), np.zeros((0, 2)), np.array(2.0)]
        others.sum_(arrays)
        return arrays

    for arrays, _ in in_threads(3, work):
        np.testing.assert_array_equal(arrays[0], np.full((2, 3), 6.0))
        np.testing.assert_array_equal(arrays[1], np.full(4, 3, np.float32))
        assert arrays[3] == 6 and [a.dtype for a in arrays] == [np.float64, np.float32, np.float64, np.float64]


def test_buckets_are_of_one_dtype_and_hold_everything(monkeypatch):
    monkeypatch.setattr("vision.training.communicator.BUCKET", 10)
    arrays = [np.zeros(n, dtype) for n, dtype in ((4, "f4"), (7, "f8"), (8, "f4"), (20, "f8"), (1, "f4"))]
    groups = list(buckets(arrays))
    assert [[a.size for a in group] for group in groups] == [[4, 8], [7, 20], [1]]
    assert all(len({a.dtype for a in group}) == 1 for group in groups)


def test_one_process_alone():
    alone, x = Communicator(), np.ones(3)
    alone.sum_([x])
    assert (x == 1).all() and alone.count(4.0) == 4.0 and alone.broadcast("a") == "a" and not alone.any(0)
