"""FCN on SqueezeNet: positions of its maps derived again, published weights, gradients."""

import os
from pathlib import Path

import numpy as np
import pytest

import vision
from nn.gradcheck import check_contract
from tests.vision.segmentation.systems import CLASSES, check_gradients, check_image_gradient, normal, overfit, small
from vision.backbones import SqueezeNet
from vision.segmentation import FCNSqueezeNet
from vision.training.saving import load_pretrained

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data"))


def tiny(**options):
    return small("fcn_squeezenet", **{"width": 1, "dropout": 0.0} | options)


def test_positions_as_derived_from_the_layers():
    """(scale, shift) of each map: cell i has its centre at pixel scale i + shift of the padded image."""

    def window(at, kernel, stride):
        scale, shift = at
        return scale * stride, shift + scale * (kernel - 1) / 2

    def transposed(at, kernel, stride):
        scale, shift = at
        return scale / stride, shift - scale / stride * (kernel - 1) / 2

    at4 = window(window((1, 0), 7, 2), 3, 2)  # conv1, pool1; the Fire modules do not shift
    at8 = window(at4, 3, 2)
    at16 = window(at8, 3, 2)
    assert (at4, at8, at16) == ((4, 5), (8, 9), (16, 17))
    assert transposed(at16, 3, 2) == at8 and transposed(at8, 3, 2) == at4
    assert transposed(at4, 7, 4) == (1, 2)
    assert FCNSqueezeNet.around - FCNSqueezeNet.final_start == 2


def test_layers_and_names():
    network = FCNSqueezeNet(3, width=1, rng=np.random.default_rng(0))
    assert network.starts == [0, 0]
    assert [(up.weight.value.shape, up.geometry.stride, up.geometry.padding) for up in network.ups] == [
        ((3, 3, 3, 3), (2, 2), (0, 0)), ((3, 3, 3, 3), (2, 2), (0, 0)),
    ]  # fmt: skip
    assert (network.final.kernel_size, network.final.stride, network.final.padding) == (7, 4, 0)
    names = [name for name in network.parameters() if not name.startswith("features.")]
    assert names == [
        *(f"{name}.{i}.{p}" for name, at in (("classifier", (1, 2)), ("score_fire8", (0, 1)), ("score_fire4", (0, 1)))
          for i in at for p in ("weight", "bias")), "upscore2.weight", "upscore_fire8.weight",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["classifier", "score_fire8", "score_fire4"])
def test_scores_are_at_their_pixels(name):
    """Each score alone, of a net that copies brightness: the scores of a bright pixel are centred on it.

    The pixel is the centre of the receptive field at each of the three strides: 33 + 16 = 16 * 2 + 17 = 8 * 5 + 9.
    """
    network = FCNSqueezeNet(1, width=1, rng=np.random.default_rng(0))
    parameters = network.parameters()
    for key, parameter in parameters.items():
        if parameter.value.ndim == 4 and not key.startswith("upscore"):  # no convolutions except those set below
            parameter.value[...] = 0
        if key.endswith(("squeeze.weight", "expand1x1.weight")):
            parameter.value[0, 0] = 1
    parameters["features.0.weight"].value[0, 0, 3, 3] = 1
    parameters[f"{name}.{2 if name == 'classifier' else 1}.weight"].value[0, 0] = 1
    x = np.zeros((1, 3, 80, 96), np.float32)
    x[0, 0, 33, 49] = 1
    scores = network(x)[0, 0]
    assert scores.sum() > 1
    rows, columns = (np.average(np.arange(n), weights=scores.sum(axis=a)) for n, a in ((80, 1), (96, 0)))
    assert (rows, columns) == (pytest.approx(33, abs=1e-3), pytest.approx(49, abs=1e-3))


@pytest.mark.parametrize("size", [(1, 1), (33, 46), (64, 47)])
def test_any_size_gives_its_size(size):
    assert tiny()(np.zeros((1, 3, *size), np.float32)).shape == (1, 3, *size)


def test_parts_are_those_of_squeezenet():
    network, squeezenet = tiny().network, SqueezeNet(10, 1, rng=np.random.default_rng(1))
    network.load_state_dict(squeezenet.state_dict(), strict=False)
    x = normal(1, 3, 40, 41)
    maps, _ = network.backbone.forward_stages(x, training=False, names=network.taps)
    assert [m.shape[1] for m in maps] == [16, 32, 32]
    np.testing.assert_array_equal(maps[-1], squeezenet.up_to("fire9")(x))


@pytest.mark.skipif(not (DATA / "weights").exists(), reason="no published weights here")
def test_published_weights():
    path = next((DATA / "weights").glob("squeezenet1_0*"))
    model = vision.build("fcn_squeezenet", CLASSES)
    loaded = load_pretrained(path, model)
    assert set(loaded) == {name for name in model.parameters() if name.startswith("features.")}
    assert len(loaded) == 2 * (1 + 8 * 3)


def test_every_gradient_of_the_whole_model():
    check_gradients(tiny(width=2), (24, 20), kinds=[(True, 1e-9)])


def test_gradient_of_the_images_and_contract():
    check_contract(tiny().network, (normal(2, 3, 33, 40),), (normal(1, 3, 40, 31),))
    check_image_gradient(tiny().network, (24, 30), [(0, 2, 2), (1, 14, 17), (2, 21, 28)])


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=2), 50, lr=0.01, size=32)
    assert fallen < 0.3 and right > 0.9


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="FCNSqueezeNet: width must be a whole number >= 1, got 0"):
        tiny(width=0)
    with pytest.raises(ValueError, match=r"FCNSqueezeNet: images must have shape \(N, 3, H, W\)"):
        tiny()(normal(1, 1, 8, 8))
