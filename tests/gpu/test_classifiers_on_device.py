"""Mixup, class-activation maps and excitations on the device are the CPU's."""

import numpy as np
import pytest

import vision
from nn.gpu.device import to_device
from vision.classification.pictures import draw_classifier

CLASSES = ("cat", "dog", "cow")


class Few(list):
    classes = CLASSES


def made(**options):
    return vision.build("se_resnet20_cifar", CLASSES, np.random.default_rng(3), n=1, width=4, **options)


def test_mixup(device):
    rng = np.random.default_rng(1)
    batch = rng.standard_normal((3, 3, 8, 8)).astype(np.float32), np.array([2, 0, 1])
    options = {"mixup": 0.5, "label_smoothing": 0.1}
    wanted, _ = made(**options).loss(batch, np.random.default_rng(2))
    found, _ = made(**options).to("gpu").loss(to_device(batch, "gpu"), np.random.default_rng(2))
    assert found == pytest.approx(wanted, rel=1e-4)


def test_pictures(device):
    rng = np.random.default_rng(1)
    data = Few({"image": rng.integers(0, 256, (32, 32, 3), np.uint8), "label": i, "id": str(i)} for i in range(3))
    wanted, found = draw_classifier(made(), data), draw_classifier(made().to("gpu"), data)
    assert wanted.keys() == found.keys() >= {"activations", "excitation", "filters"}
    for name, picture in wanted.items():
        assert abs(picture.astype(int) - found[name]).max() <= 1, name
