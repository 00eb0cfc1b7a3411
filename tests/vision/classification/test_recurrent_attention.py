"""Recurrent attention: gradients, the REINFORCE estimator against an exact expectation, the paper's sizes."""

from itertools import product
from math import erf, sqrt

import numpy as np
import pytest

import vision
from nn.gradcheck import check_loss, check_model
from nn.optim.adaptive import Adam
from nn.optim.clipping import clip_gradient_norm
from vision.classification.glimpse import sense, summed_area
from vision.classification.reinforce import reinforce

CLASSES = ("one", "two", "three")


SMALL = {
    "glimpses": 3, "glimpse_size": 2, "scales": 2, "hidden": 5, "location_std": 0.4, "episodes": 0, "detach": "none",
}  # fmt: skip


def tiny(core="rnn", **options):
    """A model for images of about 9x7, with larger weights than initial ones, and biases that are not 0."""
    model = vision.build("ram_mnist", CLASSES, np.random.default_rng(3), core=core, **SMALL | options)
    rng = np.random.default_rng(4)
    for name, parameter in model.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = 0.3 * rng.standard_normal(parameter.value.shape)
    model.location[0].weight.value *= 10
    return model.astype(np.float64)


def batch(n=4, h=9, w=7, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((n, 3, h, w)), rng.integers(0, 3, n)


@pytest.mark.parametrize("core", ["rnn", "lstm"])
@pytest.mark.parametrize("complex_step", [True, False])
def test_every_gradient_of_the_hybrid_loss(core, complex_step):
    model, tolerance = tiny(core, location_weight=0.7, baseline_weight=1.3), 1e-10 if complex_step else 1e-6
    errors = check_model(model, batch(), complex_step=complex_step, tolerance=tolerance)
    assert set(errors) == set(model.parameters())


@pytest.mark.parametrize("detach, held", [("baseline", ["location"]), ("both", [])])
def test_detached_heads_learn_but_send_nothing_into_the_core(detach, held):
    """The gradients are those of a model without these losses, but for the heads' own."""
    without = {f"{name}_weight": 0.0 for name in ("location", "baseline") if name not in held}
    model, whole, rest = tiny(detach=detach), tiny(), tiny(**without)
    for each in (model, whole, rest):
        each.zero_grad()
        each.backward(each.loss(batch(), np.random.default_rng(0))[1])
    for name, parameter in model.parameters().items():
        wanted = whole if name.startswith(("location", "baseline")) else rest
        np.testing.assert_allclose(parameter.grad, wanted.parameters()[name].grad, rtol=1e-12, atol=1e-15)
        assert np.abs(parameter.grad).max() > 0


def test_gradients_with_an_image_that_does_not_count():
    model, (images, labels) = tiny(), batch()
    labels[2] = -1
    check_model(model, (images, labels), tolerance=1e-10)
    rest = np.array([0, 1, 3])
    losses, cache = model.loss((images, labels), np.random.default_rng(0))
    fixed = cache.sampled._replace(**{name: value[..., rest, :] for name, value in cache.sampled._asdict().items()})
    alone, _ = model.loss((images[rest], labels[rest]), np.random.default_rng(0), fixed)
    assert losses == pytest.approx(alone)
    nothing, _ = model.loss((images, np.full(4, -1)), np.random.default_rng(0))
    assert nothing == {"cls": 0, "location": 0, "baseline": 0}


def naive_forward(model, images, noise):
    """Logits and locations of one image after the other, in plain matrix products."""
    p, o = {name: parameter.value for name, parameter in model.parameters().items()}, model.options

    def linear(x, name):
        return p[f"{name}.weight"] @ x + p[f"{name}.bias"]

    logits, locations = [], []
    for n, image in enumerate(images):
        h, path = np.zeros(o.hidden), []
        for t in range(o.glimpses):
            location = np.tanh(linear(h, "location.0")) + o.location_std * noise[t, n]
            patch = sense(summed_area(image.mean(axis=0)[None]), location[None], o.glimpse_size, o.scales)
            what = linear(np.maximum(linear(patch.ravel(), "glimpse.what.0"), 0), "glimpse.what.2")
            where = linear(np.maximum(linear(location, "glimpse.where.0"), 0), "glimpse.where.2")
            g = np.maximum(what + where, 0)
            h = p["core.weight_ih"] @ g + p["core.bias_ih"] + p["core.weight_hh"] @ h + p["core.bias_hh"]
            h = np.maximum(h, 0)
            path.append(location)
        logits.append(linear(h, "action"))
        locations.append(path)
    return np.array(logits), np.array(locations).swapaxes(0, 1)


def test_forward_is_the_paper_s_recurrence():
    model, (images, _) = tiny(), batch()
    noise = np.random.default_rng(2).standard_normal((3, 4, 2))
    (logits, glimpses), _ = model.forward(images, noise)
    wanted, locations = naive_forward(model, images, noise)
    np.testing.assert_allclose(logits, wanted, rtol=1e-10)
    np.testing.assert_allclose([g.location for g in glimpses], locations, rtol=1e-10)
    given = np.random.default_rng(3).uniform(-1, 1, (3, 4, 2))
    assert [g.location.tolist() for g in model.forward(images, noise, given)[0][1]] == given.tolist()


def test_losses_are_their_formulas():
    model, (images, labels) = tiny(location_weight=0.5, baseline_weight=2.0), batch(20)
    losses, cache = model.loss((images, labels), np.random.default_rng(5))
    noise = np.random.default_rng(5).standard_normal((3, 20, 2))
    (logits, glimpses), _ = model.forward(images, noise)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = logits.argmax(axis=1) == labels
    assert 0 < right.sum() < 20
    assert losses["cls"] == pytest.approx(-np.log(p[np.arange(20), labels]).mean())
    location, baseline = 0.0, 0.0
    for t, g in enumerate(glimpses):
        for n in range(20):
            density = np.exp(-(noise[t, n] @ noise[t, n]) / 2) / (2 * np.pi * 0.4**2)
            location -= (right[n] - g.expected[n, 0]) * np.log(density) / 20
            baseline += (right[n] - g.expected[n, 0]) ** 2 / 2 / (3 * 20)
    assert losses["location"] == pytest.approx(0.5 * location)
    assert losses["baseline"] == pytest.approx(2 * baseline)
    np.testing.assert_array_equal(cache.sampled.reward[:, 0], right)


def test_reinforce_is_the_gradient_of_its_loss():
    rng = np.random.default_rng(0)
    means, locations, advantage = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 1))
    for complex_step in (True, False):
        check_loss(reinforce, means, locations, advantage, 0.3, 4, complex_step=complex_step)


EDGES = np.array([-np.inf, -1, -1 / 3, 1 / 3, 1, np.inf])  # of the pixels, along x or y
MIDDLES = np.array([-4 / 3, -2 / 3, 0, 2 / 3, 4 / 3])
PATHS = np.array([*product(range(5), repeat=4)])  # column and row of the first glimpse, and of the second


def all_paths(model, image):
    """Logits and glimpses for every path."""
    locations = MIDDLES[PATHS].reshape(-1, 2, 2).swapaxes(0, 1)
    return model.forward(np.repeat(image, len(PATHS), axis=0), locations=locations)[0]


def expected_reward(model, image, label):
    """E[R] over the locations of two glimpses, exactly: a sum over all pairs of whole-pixel positions.

    A glimpse of 1x1 on 3x3 pixels sees one of 9 pixels or, outside, zeros: x and y fall into one of 5 intervals each.
    """
    logits, (one, two) = all_paths(model, image)
    means = np.concatenate([one.mean, two.mean], axis=1)
    below = (1 + np.vectorize(erf)((EDGES - means[:, :, None]) / (model.options.location_std * sqrt(2)))) / 2
    probability = np.take_along_axis(np.diff(below, axis=2), PATHS[:, :, None], axis=2).prod(axis=(1, 2))
    assert probability.sum() == pytest.approx(1)
    return probability[logits.argmax(axis=1) == label].sum()


def test_the_mean_of_reinforce_is_the_gradient_of_the_expected_reward():
    """On images of 3x3 and two glimpses of 1x1 all paths can be enumerated; the baseline is far from 0."""
    options = {"glimpses": 2, "glimpse_size": 1, "scales": 1, "hidden": 6, "location_std": 0.5, "location_weight": 1.0}
    model = tiny(**options)
    model.location[0].weight.value /= 2
    for name, parameter in model.glimpse.where.parameters().items():
        parameter.value *= name.endswith("bias")  # so that the state depends only on the pixel seen
    model.baseline.bias.value[...] = 0.4
    image, label, rng = np.random.default_rng(6).random((1, 3, 3, 3)), 1, np.random.default_rng(7)
    model.action.bias.value -= all_paths(model, image)[0].mean(
        axis=0
    )  # so that each class is predicted on some of the paths
    right = all_paths(model, image)[0].argmax(axis=1) == label
    assert 0.2 < right.mean() < 0.8

    n, rounds, policy = 4000, 40, model.location[0]
    estimates = []
    for _ in range(rounds):
        model.zero_grad()
        _, cache = model.loss((np.repeat(image, n, axis=0), np.full(n, label)), rng)
        model.backward(cache._replace(dlogits=np.zeros_like(cache.dlogits)))  # only the REINFORCE part
        estimates.append(np.concatenate([-policy.weight.grad.ravel(), -policy.bias.grad]))
    mean, error = np.mean(estimates, axis=0), np.std(estimates, axis=0, ddof=1) / sqrt(rounds)

    exact = []
    for parameter in (policy.weight, policy.bias):
        for index in np.ndindex(parameter.value.shape):
            value, both = parameter.value[index], []
            for moved in (value + 1e-5, value - 1e-5):
                parameter.value[index] = moved
                both.append(expected_reward(model, image, label))
            parameter.value[index] = value
            exact.append((both[0] - both[1]) / 2e-5)
    exact = np.array(exact)
    assert (abs(mean - exact) < 4 * error + 1e-12).all(), (mean, exact, error)
    assert (abs(exact) > 10 * error).sum() >= 4  # the errors are small relative to the values


def test_predictions_are_means_over_episodes_with_the_same_noise_for_every_image():
    model, (images, _) = tiny(episodes=3), batch()
    noises = np.random.default_rng(0).standard_normal((3, 3, 1, 2))
    logits = np.stack([naive_forward(model, images, np.repeat(noise, 4, axis=1))[0] for noise in noises])
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    np.testing.assert_allclose(model.predict(images), p.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(model.predict(images[2:3]), model.predict(images)[2:3], rtol=1e-9)
    assert (np.ptp(p, axis=0) > 1e-6).all()  # so it is a mean of different values


def test_without_episodes_the_locations_are_the_means():
    model, (images, _) = tiny(episodes=0), batch()
    logits, _ = naive_forward(model, images, np.zeros((3, 4, 2)))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(images), p, rtol=1e-9)
    np.testing.assert_allclose(model(images)[0], logits, rtol=1e-9)


def test_look_gives_the_outlines_of_the_means():
    model, (images, _) = tiny(), batch()
    _, locations = naive_forward(model, images, np.zeros((3, 4, 2)))
    boxes = model.look(images)
    assert boxes.shape == (4, 3, 2, 4)  # image, glimpse, scale
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    wanted = (locations.swapaxes(0, 1)[:, :, None] + 1) / 2 * np.array([7, 9])
    assert abs(centres - wanted).max() <= 0.5
    assert (boxes[..., 2:] - boxes[..., :2] == np.array([2, 4])[:, None]).all()


def test_samples_depend_only_on_the_generator():
    model, data = tiny(), batch()
    one, two, three = (model.loss(data, np.random.default_rng(seed))[1].sampled.locations for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != three).all()


@pytest.mark.parametrize("core", ["rnn", "lstm"])
def test_float32_is_kept_and_arguments_are_not_changed(core):
    model, (images, labels) = tiny(core).astype(np.float32), batch()
    images = images.astype(np.float32)
    copies = images.copy(), labels.copy()
    losses, cache = model.loss((images, labels), np.random.default_rng(0))
    model.backward(cache)
    assert all(type(value) is float for value in losses.values())
    grads = {name: parameter.grad.copy() for name, parameter in model.parameters().items()}
    assert {str(a.dtype) for a in [*grads.values(), *cache.sampled, model.predict(images)]} == {"float32"}
    model.backward(cache)
    for name, parameter in model.parameters().items():
        np.testing.assert_allclose(parameter.grad, 2 * grads[name], rtol=1e-5, err_msg=name)
    np.testing.assert_array_equal(images, copies[0])
    np.testing.assert_array_equal(labels, copies[1])


def test_the_paper_s_sizes():
    """Sec. 4: f_g has 128 units for patch and for location, 256 together, the core 256; tables 1 and 2."""
    for name, patch in (("ram_mnist", 8 * 8), ("ram_translated", 3 * 12 * 12)):
        model = vision.build(name, "0123456789")
        shapes = {name: parameter.value.shape for name, parameter in model.parameters().items()}
        assert shapes["glimpse.what.0.weight"] == (128, patch)
        assert shapes["glimpse.where.0.weight"] == (128, 2)
        assert shapes["glimpse.what.2.weight"] == shapes["glimpse.where.2.weight"] == (256, 128)
        assert shapes["core.weight_ih"] == shapes["core.weight_hh"] == (256, 256)
        assert shapes["location.0.weight"] == (2, 256)
        assert shapes["action.weight"] == (10, 256)
        assert shapes["baseline.weight"] == (1, 256)
        assert (model.options.glimpses, model.options.detach) == (6, "both")  # REINFORCE is for the policy, sec. 3.2
        side = model.preprocess.short_side
        assert model.predict(np.zeros((2, 3, side, side), np.float32)).shape == (2, 10)
    assert model.options.glimpse_size * 4 == 48  # of 60: the coarsest patch does not cover the image


def test_config_rebuilds_the_model():
    model, (images, _) = tiny("lstm", episodes=2, location_std=0.3), batch()
    again = vision.build(**model.config).astype(np.float64)
    assert again.config == model.config
    again.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


def test_an_easy_task_is_learned():
    """One of three corners is white: the class; the policy must find it (a glimpse has 6x6 of 16x16 pixels)."""
    options = {"glimpses": 3, "glimpse_size": 6, "scales": 1, "hidden": 24, "location_std": 0.2, "location_weight": 1.0}
    model, rng = vision.build("ram_mnist", CLASSES, np.random.default_rng(0), **options), np.random.default_rng(1)
    optimiser, rewards = Adam(model.parameters(), lr=0.01), []
    for _ in range(300):
        labels, images = rng.integers(0, 3, 64), np.zeros((64, 3, 16, 16), np.float32)
        for image, (y, x) in zip(images, np.array([[0, 0], [0, 12], [12, 0]])[labels]):
            image[:, y : y + 4, x : x + 4] = 1
        model.zero_grad()
        cache = model.loss((images, labels), rng)[1]
        model.backward(cache)
        clip_gradient_norm(model.parameters(), 5.0)
        optimiser.step()
        rewards.append(cache.sampled.reward.mean())
    assert np.mean(rewards[-20:]) > 0.95


@pytest.mark.parametrize(
    "options, message",
    [
        ({"glimpse": 3}, "ram_mnist: there is no option 'glimpse'; did you mean 'glimpses'"),
        ({"glimpses": 0}, "RecurrentAttention: glimpses must be a whole number >= 1, got 0"),
        ({"scales": 1.5}, "ram_mnist: scales must be a whole number, got 1.5"),
        ({"core": "gru"}, "ram_mnist: core must be 'rnn' or 'lstm', got 'gru'"),
        ({"location_std": 0}, "RecurrentAttention: location_std must be a positive number, got 0"),
        ({"location_weight": -1}, "RecurrentAttention: location_weight must be a number of at least 0, got -1"),
        ({"episodes": -1}, "RecurrentAttention: episodes must be a whole number >= 0, got -1"),
        ({"episodes": 2.5}, "ram_mnist: episodes must be a whole number, got 2.5"),
    ],
)
def test_mistakes_in_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        vision.build("ram_mnist", CLASSES, **options)


def test_images_of_another_kind_are_named():
    with pytest.raises(ValueError, match=r"RecurrentAttention: images must have shape \(N, 3, H, W\), got \(2, 1, 28"):
        tiny().predict(np.zeros((2, 1, 28, 28)))
