"""Batch normalisation folded into convolutions: the same outputs, from fewer passes."""

import numpy as np
import pytest

import vision
from nn import BatchNorm2d, Conv2d, ReLU, Sequential
from nn.layer import Layer
from scripts.gradcheck import tiny_data
from vision.fold import fold_batch_norm
from vision.model import Model
from vision.preprocess import Preprocess
from vision.registry import find

TASKS = ("classification", "segmentation", "detection", "instances")
SLOW = {"resnet101", "resnet152", "deeplabv3_resnet101", "mask_rcnn_resnet50_fpn", "segnet"}  # as their smaller kin
REFUSED = {"overfeat", "overfeat_small", "overfeat_detector_small", "sds", "sds_small"}


def trained(model, seed=1):
    """The model with statistics and scales as training leaves them."""
    rng = np.random.default_rng(seed)
    for _, layer in model.layers():
        if isinstance(layer, BatchNorm2d):
            layer.running_mean[...] = 0.1 * rng.standard_normal(layer.running_mean.shape)
            layer.running_var[...] = rng.uniform(0.5, 2, layer.running_var.shape)
            if layer.weight is not None:
                layer.weight.value[...] = rng.uniform(0.5, 1.5, layer.weight.value.shape)
                layer.bias.value[...] = 0.1 * rng.standard_normal(layer.bias.value.shape)
    return model


def tiny(name):
    entry = find(name)
    data = tiny_data(name, entry.tiny)
    return vision.build(name, data.classes, np.random.default_rng(3), **entry.tiny.options)


NAMES = [name for name in sorted(set(vision.MODELS) - SLOW - REFUSED) if find(name).task in TASKS]


@pytest.mark.parametrize("name", NAMES)
def test_the_outputs_of_every_model_stay(name):
    model = trained(tiny(name))
    if not any(isinstance(layer, BatchNorm2d) for _, layer in model.layers()):
        assert fold_batch_norm(model) == 0
        return
    side = model.preprocess.short_side
    images = np.random.default_rng(5).standard_normal((2, 3, side, side), np.float32)
    images = (
        images if model.preprocess.multiple == 1 else model.preprocess.batch([np.zeros((side, side, 3), np.uint8)] * 2)
    )
    expected = model.dense(images)
    assert fold_batch_norm(model) >= 0
    for key, value in model.dense(images).items():
        assert abs(value - expected[key]).max() <= 2e-5 * max(abs(expected[key]).max(), 1e-6), key


@pytest.mark.parametrize("name", ["show_and_tell", "stacked_attention_vqa", "overfeat_small"])
def test_other_models_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: only classifiers, segmenters and detectors are folded"):
        fold_batch_norm(tiny(name))


def test_a_resnet_has_none_left_and_cannot_be_trained():
    model = trained(tiny("resnet20_cifar"))
    norms = sum(isinstance(layer, BatchNorm2d) for _, layer in model.layers())
    assert fold_batch_norm(model) == norms > 0
    with pytest.raises(ValueError, match="load it without fold=True to train it"):
        model.loss((np.zeros((2, 3, 32, 32), np.float32), np.array([0, 1])), np.random.default_rng(0))


class Twice(Layer):
    """The convolution's output is normalised, and used beside it."""

    def __init__(self):
        self.conv, self.norm = Conv2d(3, 2, 3, padding=1), BatchNorm2d(2)

    def forward(self, x, training=True):
        y, _ = self.conv.forward(x, training)
        return self.norm.forward(y, training)[0] + y, None


class Net(Model):
    def __init__(self, part):
        super().__init__(["a"], None, Preprocess(short_side=8, max_side=8))
        self.part, self.name = part, "net"

    def dense(self, images):
        return {"y": self.part.forward(images, False)[0]}


def test_by_hand():
    net = Net(Sequential(Conv2d(3, 2, 1, bias=False), BatchNorm2d(2), ReLU()))
    conv, norm = net.part[0], net.part[1]
    conv.weight.value[...] = 1
    norm.running_mean[...], norm.running_var[...] = [3, 0], 4 - norm.eps
    norm.weight.value[...], norm.bias.value[...] = [1, 2], [10, 20]
    assert fold_batch_norm(net) == 1
    np.testing.assert_allclose(conv.weight.value[:, 0, 0, 0], [0.5, 1])
    np.testing.assert_allclose(conv.bias.value, [10 - 1.5, 20])


def test_a_model_where_that_is_wrong_is_refused_and_left_as_it_was():
    net = trained(Net(Twice()))
    before = {name: value.copy() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="net: y differs by .* after folding; load it without fold=True"):
        fold_batch_norm(net)
    after = net.state_dict()
    assert list(after) == list(before) and all((after[name] == value).all() for name, value in before.items())
    assert type(net.part.norm) is BatchNorm2d


def test_a_normalisation_before_its_convolution_stays():
    net = trained(Net(Sequential(BatchNorm2d(3), Conv2d(3, 2, 1))))
    assert fold_batch_norm(net) == 0


def test_load(tmp_path):
    from vision.training.progress import Progress
    from vision.training.run_state import RunState

    model = trained(tiny("resnet20_cifar"))
    RunState(model, {}, Progress(), None, 1, {}).write_model(tmp_path / "best.npz")
    images = np.random.default_rng(5).standard_normal((2, 3, 32, 32), np.float32)
    plain, folded = vision.load(tmp_path).predict(images), vision.load(tmp_path, fold=True).predict(images)
    np.testing.assert_allclose(folded, plain, atol=1e-5)
