"""PyTorch as a second opinion on VGG-16, in float64."""

import numpy as np
import pytest

import vision

torch = pytest.importorskip("torch")
modules = torch.nn


def their_vgg16(classes, width, hidden):
    """torchvision.models.vgg16, written out: layer numbers, pooling to 7x7, classifier."""
    layers, channels = [], 3
    for block, repeats in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
        for _ in range(repeats):
            layers += [modules.Conv2d(channels, block * width, 3, padding=1), modules.ReLU(inplace=True)]
            channels = block * width
        layers.append(modules.MaxPool2d(2, 2))
    classifier = modules.Sequential(
        modules.Linear(channels * 49, hidden), modules.ReLU(True), modules.Dropout(),
        modules.Linear(hidden, hidden), modules.ReLU(True), modules.Dropout(),
        modules.Linear(hidden, classes),
    )  # fmt: skip
    return modules.ModuleDict({"features": modules.Sequential(*layers), "classifier": classifier}).double()


@pytest.mark.parametrize("size", [(32, 32), (64, 97), (224, 224)])
def test_loss_and_every_gradient(size):
    ours = vision.build("vgg16", ["a", "b", "c"], np.random.default_rng(1), width=2, hidden=6, dropout=0.0)
    ours.astype(np.float64)
    theirs = their_vgg16(3, 2, 6).eval()  # no dropout
    theirs.load_state_dict({name: torch.tensor(value) for name, value in ours.state_dict().items()})
    images = np.random.default_rng(2).standard_normal((2, 3, *size))
    labels = np.array([2, 0])

    losses, cache = ours.loss((images, labels), np.random.default_rng(0))
    dimages = ours.network.backward(cache.dlogits, cache.network)
    x = torch.tensor(images, requires_grad=True)
    features = modules.functional.adaptive_avg_pool2d(theirs["features"](x), 7)
    loss = modules.functional.cross_entropy(theirs["classifier"](features.flatten(1)), torch.tensor(labels))
    loss.backward()

    assert losses["cls"] == pytest.approx(loss.item(), rel=1e-12)
    pairs = {name: (p.grad, ours.parameters()[name].grad) for name, p in theirs.named_parameters()}
    for name, (wanted, got) in ({"images": (x.grad, dimages)} | pairs).items():
        wanted = wanted.numpy()
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12 * max(abs(wanted).max(), 1e-9), err_msg=name)
