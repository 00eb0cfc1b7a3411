"""Runs of localizers that are killed in any of their stages and resumed: the same bits as an uninterrupted run."""

from argparse import Namespace

import pytest

from nn.io.checkpoint import read_checkpoint
from scripts.data import DEFAULTS, training_loader
from tests.vision.localization.models import scenes, tiny
from vision.registry import find
from vision.task import task_of
from vision.training import Trainer
from vision.training.saving import LAST

WAYS = {  # model: the methods that its stages call, one after another
    "localizer_small": ("class_loss", "box_loss"),
    "deep_pose_small": ("loss", "measure", "refine_loss"),
    "deep_pose_maps": ("loss", "measure", "refine_loss"),
    "overfeat_small": ("class_loss", "box_loss"),
    "overfeat_detector_small": ("class_loss", "box_loss"),
}
OPTIONS = {"deep_pose_small": {"cascade": 3}}
CASES = [(name, method, calls) for name, methods in WAYS.items() for method in methods for calls in (0, 2)]


class Killed(BaseException):
    """In place of kill -9."""


def trainer(name, folder):
    data = scenes(find(name).task, 6, find(name).tiny.size)
    model, _ = tiny(name, data, **OPTIONS.get(name, {}))
    arguments = Namespace(**DEFAULTS | {"batch_size": 3, "seed": 0, "workers": 0})
    loader = training_loader(model, task_of(name), data, arguments)
    recipe = {"epochs": 2, "batch_size": 3, "optimiser": "adam", "lr": 0.01}
    return Trainer(model, loader, recipe, folder, checkpoint_every=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The last checkpoint of an uninterrupted run of each model."""
    folder = tmp_path_factory.mktemp("whole")
    for name in WAYS:
        trainer(name, folder / name).run()
    return {name: read_checkpoint(folder / name / LAST)[0] for name in WAYS}


@pytest.mark.parametrize(("name", "method", "calls"), CASES)
def test_killed_in_a_stage_and_resumed(tmp_path, whole, name, method, calls):
    run, left = trainer(name, tmp_path), [calls]
    own = getattr(run.model, method)

    def killing(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return own(*arguments)

    setattr(run.model, method, killing)
    if method == "measure" and calls:
        pytest.skip("one round a stage")
    with pytest.raises(Killed):
        run.run()
    resumed = trainer(name, tmp_path)
    resumed.resume()
    resumed.run()
    arrays = read_checkpoint(tmp_path / LAST)[0]
    assert list(arrays) == list(whole[name])
    assert all(arrays[key].tobytes() == whole[name][key].tobytes() for key in arrays)
