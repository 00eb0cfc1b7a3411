"""The encoders of captioning: frozen ones, published weights, remembered features. (Gradients: the models.)"""

import os
from pathlib import Path

import numpy as np
import pytest

from nn.gradcheck import check_layer
from nn.io.state import read_state, save_state
from vision.backbones import Remembered, SqueezeNet
from vision.captioning import Encoder, ImageVector
from vision.captioning.captioner import PhotoOptions

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data"))
WEIGHTS = DATA / "weights" / "squeezenet1_0_imagenet.npz"


def encoder(kind="small_cnn", width=1, fine_tune=True, weights=None):
    return Encoder(kind, width, fine_tune, weights, rng=np.random.default_rng(0))


def images(n=2, size=(16, 24)):
    return np.random.default_rng(1).standard_normal((n, 3, *size))


@pytest.mark.parametrize(
    ("kind", "size", "wanted"),
    [
        ("small_cnn", (64, 80), (16, 8, 10)),
        ("squeezenet", (65, 97), (64, 3, 5)),
        ("vgg16", (32, 48), (64, 2, 3)),
        ("efficientnet_lite0", (33, 64), (1280, 2, 2)),
    ],
)
def test_the_shape_of_the_feature_map(kind, size, wanted):
    model = encoder(kind, width=2)
    assert model(images(1, size).astype(np.float32)).shape == (1, *wanted)
    assert model.out_channels == wanted[0]


@pytest.mark.parametrize("levels", [(3, 1), None])
def test_gradients_of_the_image_vector(levels):
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 5))
    layer = ImageVector(3, levels, 4, rng=np.random.default_rng(0))
    check_layer(layer, x, complex_step=True, tolerance=1e-12)
    check_layer(layer, x, tolerance=1e-7)


def test_a_frozen_encoder_takes_features_and_gives_no_gradient():
    frozen = encoder(fine_tune=False)
    x = images().astype(np.float32)
    features, cache = frozen.forward(x)
    np.testing.assert_array_equal(features, frozen(x))  # running statistics, in training too
    np.testing.assert_array_equal(frozen.forward(features)[0], features)
    assert frozen.backward(features, cache) is None
    with pytest.raises(ValueError, match=r"images must have shape \(N, 3, H, W\) or features \(N, 8, h, w\), got"):
        frozen.forward(features[:, :5])


def test_remembered_features_are_the_features():
    frozen, x = encoder(fine_tune=False), images(4).astype(np.float32)
    remember = Remembered(frozen, most=2)
    for batch in (x, x[::-1].copy(), x[1:3]):
        np.testing.assert_allclose(remember(batch), frozen(batch), rtol=1e-5, atol=1e-6)
    assert len(remember.known) == 2
    known = remember.of(x[0])
    assert remember.of(x[0].copy()) is known, "the same pixels are not seen twice"
    assert remember.of(x[0] + 1) is not known


def test_weights_of_squeezenet_are_loaded_into_its_features(tmp_path):
    network = SqueezeNet(7, 1, rng=np.random.default_rng(5))
    save_state(network, tmp_path / "w.npz")
    loaded = encoder("squeezenet", 1, False, str(tmp_path / "w.npz"))
    x = images(1, (65, 97)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), network.up_to("fire9")(x) / 32)
    with pytest.raises(ValueError, match=r"w\.npz: .*give the weights of SqueezeNet 1\.0, and width=16"):
        encoder("squeezenet", 2, False, str(tmp_path / "w.npz"))


def test_the_mean_of_the_class_maps_is_the_output_of_squeezenet(tmp_path):
    network = SqueezeNet(1000, 1, rng=np.random.default_rng(5))
    network["classifier.1"].bias.value[:] = 0.01
    save_state(network, tmp_path / "w.npz")
    loaded = encoder("squeezenet_classes", 1, False, str(tmp_path / "w.npz"))
    x = images(1, (65, 97)).astype(np.float32)
    np.testing.assert_allclose(loaded(x).mean(axis=(2, 3)), network(x).mean(axis=(2, 3)) / 32, rtol=1e-5)
    assert loaded.out_channels == 1000


@pytest.mark.parametrize("fine_tune", [True, False])
def test_standardised_features_have_mean_0_and_variance_1(fine_tune):
    model = Encoder("small_cnn", 2, fine_tune, None, True, rng=np.random.default_rng(0))
    x = images(3, (48, 64)).astype(np.float32)
    y, cache = model.forward(x)
    seen = y.std(axis=(0, 2, 3)) > 0.5  # a channel that is 0 everywhere stays so
    assert seen.sum() > 8
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y[:, seen].var(axis=(0, 2, 3)), 1, rtol=0.02)
    assert (model.backward(np.ones_like(y), cache) is None) is not fine_tune
    if not fine_tune:
        features = model.see(x)[0]
        np.testing.assert_array_equal(model.forward(features)[0], y)


def test_gradients_through_standardised_features():
    layer = Encoder("small_cnn", 1, True, None, True, rng=np.random.default_rng(0)).astype(np.float64)
    check_layer(layer, images(2, (8, 16)), complex_step=True, tolerance=1e-10)


PUBLISHED = {  # file, channels, a weight
    "squeezenet": ("squeezenet1_0_imagenet.npz", 512, "features.0.weight"),
    "vgg16": ("vgg16/vgg16_features.npz", 512, "features.28.weight"),
    "efficientnet_lite0": ("efficientnet_lite0/efficientnet_lite0.npz", 1280, "_conv_head.weight"),
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_published_weights_fit(kind):
    file, channels, name = PUBLISHED[kind]
    if not (path := WEIGHTS.parent / file).exists():
        pytest.skip("needs the shared weights")
    loaded = encoder(kind, 16, False, str(path))
    np.testing.assert_array_equal(loaded.backbone.state_dict()[name], read_state(path)[name].astype(np.float32))
    assert loaded.out_channels == channels


@pytest.mark.parametrize(
    ("kind", "value"),
    [("small_cnn", 73 / 64), ("squeezenet", 73), ("vgg16", 72.325 / 58.395), ("efficientnet_lite0", 69 / 128)],
)
def test_photographs_are_normalised_as_the_weights_want(kind, value):
    """Red is 196; what the user gives goes before."""
    photograph = np.full((8, 8, 3), 196, np.uint8)
    for options, wanted in (({}, value), ({"mean": 96.0, "std": 10.0}, 10)):
        x = PhotoOptions(encoder=kind, **options).preprocess().batch([photograph])
        assert x[0, 0, 0, 0] == pytest.approx(wanted, rel=1e-6)
