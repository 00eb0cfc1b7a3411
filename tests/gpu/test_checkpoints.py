"""Checkpoints and weights: saved from the device and loaded on a CPU, and the reverse."""

import numpy as np
import pytest

import nn
import vision
from vision.training.saving import load_model


def layer(seed):
    made = nn.Sequential(nn.Conv2d(2, 3, 3, rng=np.random.default_rng(seed)), nn.BatchNorm2d(3))
    made[1].running_mean[...] = seed
    return made


def assert_equal(one, other):
    one, other = (nn.to_device(dict(state), "cpu") for state in (one, other))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("where", [("gpu", "cpu"), ("cpu", "gpu"), ("gpu", "gpu")], ids="->".join)
def test_weights_of_both_devices_load_on_both(device, tmp_path, where, ending):
    saved, loaded = layer(1).to(where[0]), layer(2).to(where[1])
    nn.save_state(saved, tmp_path / f"weights.{ending}")
    assert nn.load_state(loaded, tmp_path / f"weights.{ending}") == []
    assert nn.device_of(loaded) == where[1]
    assert_equal(loaded.state_dict(), saved.state_dict())


def test_equal_content_gives_equal_files(device, tmp_path):
    for name, where in (("a", "cpu"), ("b", "gpu")):
        nn.write_checkpoint(tmp_path / name, layer(1).to(where).state_dict(), {"step": 3})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    arrays, meta = nn.read_checkpoint(tmp_path / "b")
    assert meta == {"step": 3}
    assert all(type(array) is np.ndarray for array in arrays.values())


def test_a_state_dict_is_loaded_on_the_other_device(device):
    for there, here in (("gpu", "cpu"), ("cpu", "gpu")):
        saved, loaded = layer(1).to(there), layer(2).to(here)
        loaded.load_state_dict(saved.state_dict())
        assert_equal(loaded.state_dict(), saved.state_dict())


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, 0.1, momentum=0.9), nn.Adam], ids=["SGD", "Adam"])
def test_states_of_optimisers_and_averages(device, make):
    for there, here in (("gpu", "cpu"), ("cpu", "gpu")):
        ours, theirs = layer(1).to(there), layer(1).to(here)
        kept = [(make(one.parameters()), nn.ExponentialMovingAverage(one)) for one in (ours, theirs)]
        for p in ours.parameters().values():
            p.grad[...] = 1
        kept[0][0].step()
        kept[0][1].update()
        for mine, other in zip(*kept):
            other.load_state_dict(mine.state_dict())
            assert_equal(other.state_dict(), mine.state_dict())


def test_a_model_saved_on_the_gpu_predicts_on_a_cpu(device, tmp_path):
    model = vision.build("mnist_fc", ["a", "b"], hidden=4)
    images = np.random.default_rng(0).random((2, 3, 28, 28), np.float32)
    wanted = model.predict(images)
    arrays = {f"model/{name}": array for name, array in model.to("gpu").state_dict().items()}
    nn.write_checkpoint(tmp_path / "model.npz", arrays, {"model": model.config})
    loaded, _ = load_model(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(images), wanted)


def test_the_carried_state_of_a_language_model_takes_its_shape(device):
    words = ["<pad>", "<start>", "<end>", "<unk>", "a", "b"]
    there, here = (vision.build("char_lstm", words, hidden=3) for _ in range(2))
    there.to("gpu").loss(nn.to_device((np.full((4, 5), 4), np.full((4, 5), 5), True), "gpu"), None)
    here.load_state_dict(there.state_dict())
    assert here.carried.shape == (2, 2, 5, 3)
    assert_equal(here.state_dict(), there.state_dict())
