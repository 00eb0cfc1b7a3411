"""Short runs on the device: the losses of the CPU, the same bits twice, and transfers only of batches and losses."""

import json
from collections import Counter

import numpy as np
import pytest

from nn.gpu.device import map_arrays
from tests.cupy_stand_in import count_transfers
from tests.gpu.families import FAMILIES, ON_A_GPU, small_model
from vision.training.log import LOG
from vision.training.trainer import Trainer

STEPS = 2
RECIPE = {"epochs": 1, "batch_size": 2, "optimiser": "adam", "lr": 1e-3, "warm_up": 0, "schedule": "constant"}

# Transfers of a step besides the arrays of the batch and the values of the losses and of the gradient's norm.
WORDS = {"in": 3}  # the text of the batch as ids: words, next words, lengths
ALSO = {
    "faster_rcnn_small": {
        "in": 4,
        "out": 6,
    },  # counts of candidates and the positions drawn; number of boxes kept by NMS
    "neuraltalk": WORDS,
    "patch_classifier_small": {"in": 1, "out": 1},  # the labels to draw patches from, and the positions drawn
    "ram_mnist": {"in": 1},  # the noise of the policy: see nn.random.normal
    "show_attend_tell_hard": WORDS,
    "show_attend_tell_soft": WORDS,
    "stacked_attention_vqa": WORDS,  # and, unless equal to that of the last batch, the image of each question
}


class Repeated:
    """A loader with one batch."""

    def __init__(self, batch):
        self.batch = batch

    def __len__(self):
        return STEPS

    def epoch(self, number, start=0):
        yield from [self.batch] * (STEPS - start)


def trainer_of(name, folder, device, **options):
    """A trainer and the batch that it gets at each step."""
    model, batch, _, _ = small_model(name)
    return Trainer(model, Repeated(batch), RECIPE, folder, device=device, **options), batch


def curve(folder):
    """The losses and the norm of the gradient of each step."""
    records = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return np.array([[*record["losses"].values(), record["gradient_norm"]] for record in records if "losses" in record])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_losses_are_the_cpus_and_only_they_are_copied_back(name, device, tmp_path):
    trainer_of(name, tmp_path / "cpu", "cpu")[0].run()
    trainer, batch = trainer_of(name, tmp_path / "gpu", "gpu")
    crossings = trainer.run() if ON_A_GPU else counted(trainer)  # only the stand-in counts
    np.testing.assert_allclose(curve(tmp_path / "gpu"), curve(tmp_path / "cpu"), rtol=2e-3, atol=2e-4)
    if not ON_A_GPU:
        arrays, losses = [], curve(tmp_path / "gpu").shape[1]  # and the gradient's norm
        map_arrays(arrays.append, batch)
        wanted = Counter({"in": len(arrays), "out": losses}) + Counter(ALSO.get(name, {}))
        for crossing in crossings[1:]:  # in the first step tables of the parameters are copied, too
            found = Counter()
            for (kind, _), times in crossing.items():
                found[kind] += times
            assert found == wanted, crossing


def counted(trainer):
    """Run the trainer; the transfers of each step."""
    crossings, step = [], trainer.step

    def counting(batch):
        with count_transfers() as crossing:
            losses = step(batch)
        crossings.append(crossing)
        return losses

    trainer.step = counting
    trainer.run()
    return crossings


@pytest.mark.parametrize("name", ["char_rnn", "mnist_conv"])
def test_two_runs_end_in_the_same_bits(name, device, tmp_path):
    for folder in ("one", "two"):
        trainer_of(name, tmp_path / folder, "gpu")[0].run()

    np.testing.assert_array_equal(curve(tmp_path / "one"), curve(tmp_path / "two"))
    with np.load(tmp_path / "one" / "last.npz") as first, np.load(tmp_path / "two" / "last.npz") as second:
        for key in first.files:
            if key != "__meta__":
                np.testing.assert_array_equal(first[key], second[key], err_msg=key)


@pytest.mark.parametrize("first, then", [("cpu", "gpu"), ("gpu", "cpu")])
def test_a_run_continues_on_the_other_device(first, then, device, tmp_path):
    """char_rnn: its dropout draws from generators, its state is carried from batch to batch."""
    trainer_of("char_rnn", tmp_path / "whole", "cpu")[0].run()
    stopped, _ = trainer_of("char_rnn", tmp_path / "parts", first, checkpoint_every=1)
    step = stopped.step

    def stop(batch):
        if stopped.progress.step == 1:
            raise KeyboardInterrupt
        return step(batch)

    stopped.step = stop
    with pytest.raises(BaseException, match="interrupted"):
        stopped.run()
    resumed, _ = trainer_of("char_rnn", tmp_path / "parts", then)
    resumed.resume()
    assert resumed.progress.step == 1
    resumed.run()
    np.testing.assert_allclose(curve(tmp_path / "parts"), curve(tmp_path / "whole"), rtol=1e-3, atol=1e-5)
