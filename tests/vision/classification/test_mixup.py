"""Mixup and label smoothing: their formulas, and every gradient with held draws."""

import numpy as np
import pytest

import vision
from nn.gradcheck import check_model
from vision.classification import ClassifierOptions
from vision.classification.mixup import Mix, draw_mix, mixed, mixed_cross_entropy

CLASSES = ("cat", "dog", "cow", "hen")


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def test_weights_are_beta_and_partners_a_permutation():
    rng = np.random.default_rng(0)
    drawn = [draw_mix(5, 0.4, rng) for _ in range(4000)]
    weights = np.array([mix.weight for mix in drawn])
    assert weights.mean() == pytest.approx(0.5, abs=0.02) and weights.var() == pytest.approx(0.25 / 1.8, abs=0.005)
    assert all(sorted(mix.partner) == [0, 1, 2, 3, 4] for mix in drawn)
    assert draw_mix(5, 0.0, rng) is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_with_mixed_labels(smoothing):
    """-sum of target log p, the target being one-hot labels, smoothed and mixed like the images."""
    mix, labels, logits = Mix(0.3, np.array([2, 0, 1])), np.array([3, 0, 1]), normal(3, 4)
    target = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    target = 0.3 * target + 0.7 * target[[2, 0, 1]]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    value, dlogits = mixed_cross_entropy(logits, labels, mix, smoothing)
    assert value == pytest.approx(-(target * log_p).sum(axis=1).mean(), rel=1e-12)
    np.testing.assert_allclose(dlogits, (np.exp(log_p) - target) / 3, rtol=1e-10)
    images = normal(3, 3, 2, 2)
    np.testing.assert_allclose(mixed(images, mix)[1], 0.3 * images[1] + 0.7 * images[0])


def test_every_gradient_with_held_draws():
    options = {"width": 2, "hidden": 3, "mixup": 0.5, "label_smoothing": 0.1}
    model = vision.build("vgg_small", CLASSES, np.random.default_rng(3), **options)
    errors = check_model(model, (normal(3, 3, 8, 9), np.array([3, 0, 2])), complex_step=True, tolerance=1e-9)
    assert set(errors) == {name for name, p in model.parameters().items() if p.trainable}


def test_the_options_of_all_classifiers():
    model = vision.build("resnet20_cifar", CLASSES, n=1, width=2)
    mix = vision.build("resnet20_cifar", CLASSES, n=1, width=2, mixup=1.0)
    mix.load_state_dict(model.state_dict())
    batch = normal(4, 3, 8, 8), np.array([0, 1, 2, 3])
    losses, cache = mix.loss(batch, np.random.default_rng(0))
    assert model.loss(batch, np.random.default_rng(0))[0] != losses
    again, _ = mix.loss(batch, np.random.default_rng(1), cache.sampled)
    assert again == losses and isinstance(cache.sampled, Mix)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mixup": -1.0}, "mixup must be at least 0, got -1"), ({"test_scales": [32, 0]}, r"at least 1, got \[32, 0\]"),
        ({"label_smoothing": 1.5}, "label_smoothing must be at most 1"), ({"test_crops": -1}, "test_crops must"),
    ],
)  # fmt: skip
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        vision.build("resnet20_cifar", CLASSES, n=1, width=2, **options)


def test_all_classifiers_but_those_of_glimpses_have_them():
    without = {
        name for name, entry in vision.MODELS.items()
        if entry.task == "classification" and not issubclass(entry.options, ClassifierOptions)
    }  # fmt: skip
    assert without == {"ram_mnist", "ram_translated"}
