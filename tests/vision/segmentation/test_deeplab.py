"""DeepLab v1 and v2: the authors' counts, holes, positions of the cells, the subsampled loss, gradients."""

import numpy as np
import pytest

import vision
from nn import save_state, softmax_cross_entropy
from nn.gradcheck import check_contract
from tests.vision.segmentation.systems import (
    CLASSES,
    check_gradients,
    check_image_gradient,
    count,
    normal,
    overfit,
    small,
    without_drawing,
)
from vision.backbones import VGG, vgg16_plan
from vision.backbones.convolutional import decimated
from vision.classification import VGGNetwork
from vision.registry import find
from vision.segmentation import DeepLab
from vision.segmentation.deeplab import ASPP_L, LARGE_FOV
from vision.segmentation.enlarge import Enlarge
from vision.training.recipe import build_optimiser, with_defaults
from vision.training.saving import find_pretrained, load_pretrained


def tiny(version=1, **options):
    return small(f"deeplab_v{version}_small", **{"width": 2, "hidden": 3, "dropout": 0.3} | options)


@pytest.mark.parametrize("rates, millions", [(LARGE_FOV, 20.5), (ASPP_L, 37.9)])
def test_parameters_of_the_published_net(monkeypatch, rates, millions):
    """Chen et al. 2015, table 2: 20.5M with a 3x3 kernel, input stride 12. v2 has four such branches (fig. 7)."""
    without_drawing(monkeypatch)
    branch = (9 * 512 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 21 + 21)
    n = count(DeepLab(21, rates, rng=np.random.default_rng(0)))
    assert n == 14_714_688 + len(rates) * branch == {1: 20_505_429, 4: 37_877_652}[len(rates)]
    assert round(n / 1e6, 1) == millions


def test_holes_give_the_outputs_of_the_original_layers():
    """At every second position of the map the convolutions of conv5 and their poolings give what VGG's would after a
    pooling of stride 2: holes leave a net unchanged but denser (sec. 3.1)."""
    network = tiny(batch_norm=False, average=False, dropout=0.0).network.astype(np.float64)
    vgg = VGG(vgg16_plan(2), rng=np.random.default_rng(9)).astype(np.float64)
    vgg.load_state_dict(network.backbone.state_dict())
    x = normal(1, 16, 12, 10)
    dense, original = network.backbone.parts["conv5"](x), vgg.parts["conv5"](x[:, :, ::2, ::2])
    np.testing.assert_allclose(dense[:, :, ::2, ::2], original, rtol=1e-12)
    assert dense.shape == (1, 16, 12, 10)


def test_the_end_of_the_network_by_hand():
    """A 3x3 mean with zero padding after VGG's layers; the sum of branches of two ReLUs."""
    network = tiny(batch_norm=False, rates=[1, 2], dropout=0.0).network.astype(np.float64)
    before = network.backbone(x := normal(1, 3, 33, 41))
    padded = np.pad(before, ((0, 0), (0, 0), (1, 1), (1, 1)))
    h, w = before.shape[2:]
    features = sum(padded[:, :, r : r + h, c : c + w] for r in range(3) for c in range(3)) / 9
    np.testing.assert_allclose(network.average(before), features, rtol=1e-12)
    scores = 0
    for branch in network.branches:
        (fc6, *_), (fc7, *_), fc8 = branch
        scores = scores + fc8(np.maximum(fc7(np.maximum(fc6(features), 0)), 0))
    np.testing.assert_allclose(network.scores(x, training=False)[0], scores, rtol=1e-12)


def test_score_layers_start_small():
    """At 0.01 times standard normal values, as in the authors' train.prototxt."""
    network = DeepLab(30, (1, 2), width=2, hidden=100, rng=np.random.default_rng(0))
    for branch in network.branches:
        assert branch[2].weight.value.std() == pytest.approx(0.01, rel=0.05)


def test_values_of_the_published_networks(monkeypatch):
    """Rates of LargeFOV and ASPP-L; the CRF's values in the authors' scripts of the two networks."""
    without_drawing(monkeypatch)
    wanted = {1: ((12,), (3, 3), (4, 121, 5)), 2: ((6, 12, 18, 24), (2, 2), (4, 65, 3))}
    for version, values in wanted.items():
        options = vision.build(f"deeplab_v{version}", CLASSES).options
        assert (options.rates, options.crf_gaussian, options.crf_bilateral) == values
        assert options.crf and options.average == (version == 1)


@pytest.mark.parametrize("version", [1, 2])
def test_weights_of_the_classifier_are_decimated(version, tmp_path):
    """fc6 by hand: every second output, rows and columns 0, 3 and 6 of 7; fc7 both ways. All branches alike."""
    vgg = VGGNetwork(5, vgg16_plan(2), hidden=8, rng=np.random.default_rng(0))
    save_state(vgg.state_dict(), tmp_path / "vgg16.npz")
    model = tiny(version, hidden=4, batch_norm=False)
    loaded, own = load_pretrained(tmp_path / "vgg16.npz", model), model.state_dict()
    w, branches = vgg.state_dict(), {1: 1, 2: 4}[version]
    assert len(loaded) == 26 + 4 * branches and not any("fc8" in name for name in loaded)
    for name in loaded[:26]:
        np.testing.assert_array_equal(own[name], w[name])
    fc6, fc7 = w["classifier.0.weight"].reshape(8, 16, 7, 7), w["classifier.3.weight"]
    for i in range(branches):
        np.testing.assert_array_equal(own[f"fc6.{i}.0.weight"], fc6[[0, 2, 4, 6]][:, :, [0, 3, 6]][..., [0, 3, 6]])
        np.testing.assert_array_equal(own[f"fc7.{i}.0.weight"][..., 0, 0], fc7[[0, 2, 4, 6]][:, [0, 2, 4, 6]])
        np.testing.assert_array_equal(own[f"fc6.{i}.0.bias"], w["classifier.0.bias"][::2])
    narrow = tiny(version, width=1, hidden=4, batch_norm=False)
    left_out = find_pretrained(tmp_path / "vgg16.npz", narrow).left_out
    assert "fc6.0.0.weight has shape (8, 16, 7, 7), wanted (4, 8, 3, 3)" in left_out
    alone = model.network.pretrained_names({"classifier.0.weight": np.zeros(3)})  # damaged, and without its bias
    assert alone["fc6.0.0.weight"].shape == (3,) and "fc6.0.0.bias" not in alone


def test_decimation_keeps_the_ends_and_gives_the_published_shapes():
    rows = np.arange(7.0)[:, None] + np.zeros((4096, 2, 7, 7))
    assert decimated(rows, (1024, 2, 3, 3)).shape == (1024, 2, 3, 3)
    np.testing.assert_array_equal(decimated(rows, (1024, 2, 3, 3))[0, 0, :, 0], [0, 3, 6])
    np.testing.assert_array_equal(decimated(np.arange(4096), (1024,)), np.arange(0, 4096, 4))
    np.testing.assert_array_equal(decimated(np.arange(5), (1,)), [0])
    assert decimated(rows, (1024, 3, 3, 3)) is rows  # fewer channels than wanted


@pytest.mark.parametrize("name", ["deeplab_v1", "deeplab_v2"])
def test_rates_of_the_score_layers(name):
    """Chen et al. 2015, sec. 4, and the authors' train.prototxt: ten times for fc8's weights, twenty for its biases."""
    model = tiny({"deeplab_v1": 1, "deeplab_v2": 2}[name], batch_norm=False)
    optimiser = build_optimiser(model, with_defaults(find(name).recipe))
    rates = {key: group["lr"] for group in optimiser.groups for key in group["parameters"]}
    layers = ("fc8.0", "fc6.0", "features.0")
    assert {key: round(rate / 0.001) for key, rate in rates.items() if key.startswith(layers)} == {
        "features.0.weight": 1, "features.0.bias": 2, "fc6.0.0.weight": 1, "fc6.0.0.bias": 2,
        "fc8.0.weight": 10, "fc8.0.bias": 20,
    }  # fmt: skip


def test_cell_i_is_at_pixel_8_i():
    """Its gradient extends as far to the left as to the right of this pixel, away from the border."""
    network = tiny(batch_norm=False, rates=[1], dropout=0.0).network.astype(np.float64)
    for name, parameter in network.parameters().items():
        parameter.value[...] = 0.1 if name.endswith("weight") else 0.0
    x = np.ones((1, 3, 1, 321)) + 1e-6 * abs(np.arange(321) - 160)  # no ties except between mirrored pixels
    scores, cache = network.scores(x)
    assert scores.shape[3] == 41
    dy = np.zeros_like(scores)
    dy[..., 20] = 1
    seen = np.flatnonzero(network.scores_backward(dy, cache)[0, 0, 0])
    assert seen.min() + seen.max() == 2 * 160


@pytest.mark.parametrize("size", [(1, 1), (8, 9), (33, 46)])
def test_any_size_gives_its_size(size):
    model = tiny()
    assert model.network(np.zeros((1, 3, *size), np.float32)).shape == (1, 3, *size)
    h, w = model.network.scores(np.zeros((1, 3, *size), np.float32), training=False)[0].shape[2:]
    assert (h, w) == tuple(-(-(n - 1) // 8) + 1 for n in size)


def test_interpolation_meets_the_cells():
    x = normal(2, 3, 4, 5)
    y, _ = Enlarge(8, "points").forward(x, (23, 33))
    np.testing.assert_allclose(y[:, :, ::8, ::8], x[:, :, :3], rtol=1e-12)
    blocks, _ = Enlarge(2).forward(x, (7, 10))
    np.testing.assert_allclose(blocks[:, :, 1, 1:3], x[:, :, :2, :2].mean(axis=2) * 0 + _quarter(x), rtol=1e-12)
    with pytest.raises(ValueError, match=r"Enlarge: \(4, 5\) cells of 8 pixels do not cover \(26, 33\)"):
        Enlarge(8, "points").forward(x, (26, 33))
    with pytest.raises(ValueError, match="Enlarge: cells must be 'blocks' or 'points', got 'middle'"):
        Enlarge(2, "middle")


def _quarter(x):
    """Pixels (1, 1) and (1, 2) of x enlarged twice: 3/4 of their own cell's row and column, 1/4 of the next one's."""
    rows = 0.75 * x[:, :, 0] + 0.25 * x[:, :, 1]
    return np.stack([0.75 * rows[..., 0] + 0.25 * rows[..., 1], 0.25 * rows[..., 0] + 0.75 * rows[..., 1]], axis=-1)


def test_subsampled_loss_is_that_of_every_8th_pixel():
    model = tiny(2, subsampled=True, dropout=0.0).astype(np.float64)
    images, labels = normal(2, 3, 20, 25), np.random.default_rng(1).integers(-1, 3, (2, 20, 25))
    losses, _ = model.loss((images, labels), None)
    scores, _ = model.network.scores(images)
    wanted, _ = softmax_cross_entropy(scores[:, :, :3, :4], labels[:, ::8, ::8])
    assert losses["pixels"] == pytest.approx(wanted, rel=1e-12)
    weights = np.random.default_rng(2).random(labels.shape)
    weighted, _ = model.loss((images, labels, weights), None)
    assert weighted["pixels"] != losses["pixels"]


@pytest.mark.parametrize("options", [{}, {"version": 2, "subsampled": True}, {"batch_norm": False}])
def test_every_gradient_of_the_whole_model(options):
    check_gradients(tiny(**{"width": 1} | options), (17, 20), n=2, kinds=[(True, 1e-9)])


def test_gradient_of_the_images_and_contract():
    network = tiny(2, width=1, dropout=0.0, batch_norm=False).network
    check_contract(network, (normal(2, 3, 17, 20),), (normal(1, 3, 20, 9),))
    check_image_gradient(network, (17, 20), [(0, 0, 0), (1, 8, 9), (2, 16, 19)])


@pytest.mark.parametrize("rates", [[2], [1, 2]])
def test_overfits_two_images(rates):
    """Of 65 pixels: with one score for 8 x 8 of them the edges of small objects cannot be right."""
    fallen, right = overfit(tiny(rates=rates, hidden=16, dropout=0.0), 50, lr=0.02, size=65)
    assert fallen < 0.22 and right > 0.88


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: tiny(rates=[]), "DeepLab: at least one rate is needed, got none"),
        (lambda: tiny(rates=[6, 0]), "DeepLab: rate must be a whole number >= 1, got 0"),
        (lambda: tiny(hidden=0), "DeepLab: hidden must be a whole number >= 1, got 0"),
        (lambda: tiny(rate=3), "deeplab_v1_small: there is no option 'rate'"),
        (lambda: tiny().network(normal(1, 1, 8, 8)), r"DeepLab: images must have shape \(N, 3, H, W\), got"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_classes_of_the_registered_model():
    assert tiny().classes == CLASSES and tiny().options.rates == (12,)
