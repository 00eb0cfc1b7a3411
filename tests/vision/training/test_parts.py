"""A batch in parts has the losses and the gradient of the whole batch, for every registered model."""

import numpy as np
import pytest

import nn
import vision
from nn.losses.parts import batch_in_parts, count_of_batch
from scripts.gradcheck import begun_pairs, off_the_kinks, tiny_data
from vision.model import Model, Stage
from vision.registry import find
from vision.task import task_of
from vision.training.communicator import Communicator
from vision.training.parts import add_gradients
from vision.training.validation import as_in_inference

OTHER_DRAWS = "what it samples differs with the batch"
NOT_THE_SAME = {
    **dict.fromkeys(("deep_pose", "deep_pose_small", "deep_pose_maps"), OTHER_DRAWS),
    **dict.fromkeys(("fractalnet", "ram_mnist", "ram_translated"), OTHER_DRAWS),
    **dict.fromkeys(("rcnn", "rcnn_small", "spp_net", "spp_net_small", "show_attend_tell_hard"), OTHER_DRAWS),
    **dict.fromkeys(("sds", "sds_small", "hypercolumn_boxes_small"), OTHER_DRAWS),
    **dict.fromkeys(("dpm", "hog_svm"), "all its stages are fits"),
    **dict.fromkeys(("ff_a3c", "lstm_a3c", "nav_a3c", "nav_a3c_d1d2l"), "it plays its batches itself"),
    "triplet_net": "it mines in the batch",
}
SLOW = {"stacked_attention_vqa", "mask_rcnn_resnet50_fpn", "fcn8s", "ssd300"}  # smaller ones do


def gradients(model, stage, parts):
    """The losses and the gradients by name."""
    model.zero_grad()
    losses = add_gradients(model, stage, parts, np.random.default_rng(5), "cpu", "here", Communicator())
    return losses, {name: p.grad.copy() for name, p in model.parameters().items() if p.trainable}


def in_float64(batch):
    return tuple(x.astype(np.float64) if getattr(x, "dtype", np.dtype(int)).kind == "f" else x for x in batch)


@pytest.mark.parametrize("name", sorted(set(vision.MODELS) - set(NOT_THE_SAME) - SLOW))
def test_of_every_model(name):
    tiny = find(name).tiny
    data = tiny_data(name, tiny._replace(scenes=6))
    model = off_the_kinks(vision.build(name, data.classes, np.random.default_rng(3), **tiny.options))
    collate, samples = task_of(name).collate, [data[i] for i in range(6)]
    whole, first, rest = (in_float64(collate(model, each)) for each in (samples, samples[:4], samples[4:]))
    for parameter in model.parameters().values():
        parameter.value, parameter.grad = parameter.value.astype(np.float64), parameter.grad.astype(np.float64)
    for (loss, backward), _ in begun_pairs(model):
        stage = Stage(loss=loss, backward=backward)
        with as_in_inference(model):
            losses, expected = gradients(model, stage, [whole])
            in_parts, got = gradients(model, stage, [first, rest])
        assert in_parts == pytest.approx(losses, rel=1e-9)
        for key, value in expected.items():
            assert np.abs(got[key] - value).max() <= 1e-12 * max(1, np.abs(value).max()), key


def test_the_names_are_those_of_models():
    assert set(NOT_THE_SAME) | SLOW <= set(vision.MODELS)


def test_the_mean_of_means_would_be_another():
    """4 and 1 labels that count: each part divides by 5, as the whole batch."""
    logits, labels = np.random.default_rng(0).standard_normal((6, 3)), np.array([0, 2, 1, 1, -1, 0])
    value, gradient = nn.softmax_cross_entropy(logits, labels)
    with batch_in_parts(lambda count: {4.0: 5.0, 1.0: 5.0}[count]):
        parts = [nn.softmax_cross_entropy(logits[a:b], labels[a:b]) for a, b in ((0, 4), (4, 6))]
    assert sum(v for v, _ in parts) == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(np.concatenate([g for _, g in parts]), gradient, rtol=1e-13)
    assert np.mean([nn.softmax_cross_entropy(logits[a:b], labels[a:b])[0] for a, b in ((0, 4), (4, 6))]) != value
    assert count_of_batch(3) == 3.0  # outside of the block


def test_a_part_where_nothing_counts_adds_nothing():
    logits = np.random.default_rng(0).standard_normal((2, 3))
    with batch_in_parts(lambda count: count + 7):
        value, gradient = nn.softmax_cross_entropy(logits, np.array([-1, -1]))
    assert value == 0 and not gradient.any()


class Uneven(Model):
    """Computes a second loss only for batches of more than two."""

    def __init__(self):
        super().__init__(["a"], None)
        self.weight = nn.Parameter(np.ones(1))
        self.name, self.calls = "uneven", 0

    def loss(self, batch, rng, sampled=None):
        self.calls += 1
        losses = [nn.l2(batch * self.weight.value, 0 * batch)[0] for _ in range(1 + (len(batch) > 2))]
        return dict(zip("ab", losses)), None

    def backward(self, cache):
        pass


def test_parts_with_other_losses_are_refused():
    parts = [np.ones(3), np.ones(2)]
    with pytest.raises(ValueError, match="uneven: computes 2 losses of one part of a batch and 1 of another; train it"):
        add_gradients(Uneven(), Stage(), parts, np.random.default_rng(0), "cpu", "here", Communicator())
