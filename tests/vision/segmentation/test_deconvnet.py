"""DeconvNet: the paper's table, gradients as a whole, VGG's weights in it, prediction through windows."""

import numpy as np
import pytest

import vision
from nn import BatchNorm2d, ConvTranspose2d
from nn.gradcheck import check_contract
from tests.vision.segmentation.systems import (
    check_gradients,
    check_image_gradient,
    count,
    normal,
    overfit,
    small,
    without_drawing,
)  # fmt: skip
from vision.segmentation import DeconvNet
from vision.segmentation.deconvnet import grid_windows
from vision.training.trainer import Trainer


def tiny(**options):
    return small("deconvnet_small", **{"width": 2, "hidden": 3, "depth": 2, "bottleneck": 2} | options)


def test_the_paper_s_table(monkeypatch):
    """Table 2 and "approximately 252M parameters" (sec. 6.1): the sum over the authors' stage_1_train.prototxt."""
    without_drawing(monkeypatch)
    net = DeconvNet(21, rng=np.random.default_rng(0))
    vgg = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    deconv = [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 64]  # deconv5_1 ... deconv1_2
    norms = [*vgg, 4096, 4096, 512, *deconv]
    wanted = sum(9 * i * o + o for i, o in zip([3, *vgg], vgg))
    wanted += 49 * 512 * 4096 + 4096 + 4096 * 4096 + 4096 + 49 * 4096 * 512 + 512
    wanted += sum(9 * i * o + o for i, o in zip([512, *deconv], deconv)) + 64 * 21 + 21 + 2 * sum(norms)
    assert count(net) == wanted == 251_805_653 and round(wanted / 1e6) == 252
    found = [layer.out_channels for _, layer in net.layers() if isinstance(layer, ConvTranspose2d)]
    assert found == [512, *deconv]
    assert [layer.num_features for _, layer in net.layers() if isinstance(layer, BatchNorm2d)] == norms


def test_sizes_of_the_figure():
    """Fig. 2: 224 -> 7 -> 1 -> 7 -> 224; here with few channels."""
    net = DeconvNet(3, width=1, hidden=2, rng=np.random.default_rng(0))
    _, cache = net.forward(np.random.default_rng(1).random((2, 3, 224, 224), np.float32))
    assert [c.taps.shape[2] for c in cache.pools] == [112, 56, 28, 14, 7]
    fc6, fc6_deconv = net.classifier[0], net.classifier[6]
    assert fc6(np.zeros((1, 8, 7, 7), np.float32)).shape == (1, 2, 1, 1)
    assert fc6_deconv(np.zeros((1, 2, 1, 1), np.float32)).shape == (1, 8, 7, 7)


@pytest.mark.parametrize("size", [(8, 12), (7, 11)])
def test_every_gradient_of_the_whole_model(size):
    check_gradients(tiny(), size)


def test_gradient_of_the_images():
    check_image_gradient(tiny().network, (9, 12), [(0, 0, 0), (1, 4, 7), (2, 8, 11)])


def test_contract_of_the_network():
    check_contract(tiny().network, (normal(2, 3, 9, 12),), (normal(1, 3, 7, 11),))


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=6, hidden=16), 60, lr=0.02)
    assert fallen < 0.2 and right > 0.95


def test_the_classifier_s_weights_fit():
    """vgg16_bn's features by name; its fully connected layers become fc6 and fc7, its last layer is left out."""
    rng, net = np.random.default_rng(0), DeconvNet(3, width=1, hidden=5, bottleneck=2, rng=np.random.default_rng(1))
    theirs = {
        "features.0.weight": rng.random((1, 3, 3, 3)),
        "classifier.0.weight": rng.random((5, 8 * 4)), "classifier.0.bias": rng.random(5),
        "classifier.3.weight": rng.random((5, 5)), "classifier.6.weight": rng.random((10, 5)),
    }  # fmt: skip
    turned = net.pretrained_names(theirs)
    net.load_state_dict(turned, strict=False)
    x = rng.random((1, 8, 2, 2), np.float32)
    wanted = theirs["classifier.0.weight"] @ x.ravel() + theirs["classifier.0.bias"]
    np.testing.assert_allclose(net.classifier[0](x)[0, :, 0, 0], wanted, rtol=1e-5)
    np.testing.assert_allclose(net.classifier[3].weight.value[:, :, 0, 0], theirs["classifier.3.weight"], rtol=1e-6)
    np.testing.assert_allclose(net.backbone["features.0"].weight.value, theirs["features.0.weight"], rtol=1e-6)
    assert net.classifier[6].weight.value.shape == (5, 8, 2, 2) != turned["classifier.6.weight"].shape


def test_windows():
    """n x n windows overlap by half and cover the image; odd sizes, too."""
    assert grid_windows(60, 90, [1]) == [(slice(0, 60), slice(0, 90))]
    rows = [(r.start, r.stop) for r, c in grid_windows(60, 90, [2])[::2]]
    assert rows == [(0, 40), (20, 60)]
    for counts in ([1], [2], [1, 3], [4]):
        reached = np.zeros((37, 51), int)
        for rows, columns in grid_windows(37, 51, counts):
            reached[rows, columns] += 1
        assert reached.min() >= len(counts)


def test_one_window_of_the_network_s_size_changes_nothing():
    images = normal(2, 3, 16, 16).astype(np.float32)
    plain, windowed = tiny(), tiny(windows=[1], short_side=16)
    np.testing.assert_allclose(windowed.predict(images), plain.predict(images), rtol=1e-5)


def test_the_largest_score_of_all_windows_counts():
    """Eq. 1, with a network whose scores are pixels of its input; a window has score 0 outside."""
    model = tiny(windows=[1, 2], short_side=16)
    model.network.forward = lambda x, training=True: (x, None)
    images = np.full((1, 3, 16, 16), -1.0)
    images[0, 1, 2, 3] = 5
    scores = np.log(model.predict(images))
    # every pixel is outside some window, with score 0 for all classes; only the bright one has more
    np.testing.assert_allclose(scores[0, :, 12, 12], np.log(1 / 3))
    assert scores[0, 1, 2, 3] == pytest.approx(np.log(np.exp(5) / (np.exp(5) + 2)), rel=1e-6)


def test_every_window_is_scaled_to_the_network_s_input():
    """And its scores back to the window: at a pixel they equal the picture there."""
    model, sizes = tiny(windows=[1, 3], short_side=12), []

    def forward(x, training=True):
        sizes.append(x.shape)
        return x, None

    model.network.forward = forward
    images = np.broadcast_to(np.arange(1.0, 4)[:, None, None], (2, 3, 18, 30))
    p = model.predict(images)
    assert sizes == 10 * [(2, 3, 12, 12)]
    wanted = np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum()
    np.testing.assert_allclose(p, np.broadcast_to(wanted[:, None, None], p.shape), rtol=1e-6)


def test_a_batch_of_one_is_too_small_to_normalise_fc6():
    model = tiny()
    assert model.smallest_batch == 2
    with pytest.raises(ValueError, match="BatchNorm2d"):
        model.network.forward(normal(1, 3, 8, 8))


@pytest.mark.parametrize("windows, least", [([0], " >= 1"), ([2, -1], " >= 1"), ([1.5], "")])
def test_bad_windows(windows, least):
    with pytest.raises(ValueError, match=f": windows must be a list of whole numbers{least}, got "):
        tiny(windows=windows)


def test_stages_of_training(tmp_path):
    """Sec. 4.2: crops of objects, then around proposals; the loader gets the kind. The small model has one."""
    assert [stage.recipe for stage in tiny().stages()] == [{}]
    model = tiny(two_stages=True, short_side=16)
    assert [stage.name for stage in model.stages()] == ["objects", "proposals"]
    published = vision.MODELS["deconvnet"].recipe
    epochs = [published | dict(stage.recipe) for stage in model.stages()]
    assert [recipe["epochs"] * 1464 // recipe["batch_size"] for recipe in epochs] == [19901, 39802]  # of 20,000, 40,000
    asked = []

    class Batches(list):
        def epoch(self, number, start=0):
            return iter(self[start:])

    def loader(recipe):
        asked.append((recipe["crop_objects"], recipe["epochs"]))
        return Batches([(normal(2, 3, 16, 16).astype(np.float32), np.zeros((2, 16, 16), int))])

    recipe = vision.MODELS["deconvnet_small"].recipe | {"epochs": 2, "crop_objects": "none"}
    Trainer(model, loader, recipe, tmp_path, fixed=("epochs",)).run()
    assert asked == [("objects", 2), ("proposals", 2)]


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: tiny()(normal(1, 3, 4, 12)),
            r"DeconvNet: images must have at least 5 x 5 pixels .* 2 x 2, got \(4, 12\)",
        ),
        (lambda: tiny(bottleneck=0), "DeconvNet: bottleneck must be a whole number >= 1, got 0"),
        (lambda: tiny()(normal(8, 12)), r"DeconvNet: images must have shape \(N, 3, H, W\), got \(8, 12\)"),
        (lambda: tiny()(normal(1, 1, 8, 12)), r"DeconvNet: images must have shape \(N, 3, H, W\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
