"""FCN on SqueezeNet: places of its maps derived anew, published weights, gradients."""

import os
from pathlib import Path

import numpy as np
import pytest

import vision
from nn.gradcheck import check_contract
from tests.vision.segmentation.systems import CLASSES, check_gradients, check_image_gradient, normal, overfit, small
from vision.classification import SqueezeNet
from vision.saving import load_pretrained
from vision.segmentation import FCNSqueezeNet

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data"))


def tiny(**options):
    return small("fcn_squeezenet", **{"width": 1, "dropout": 0.0} | options)


def test_places_as_derived_from_the_layers():
    """(scale, shift) of each map: cell i has its middle at pixel scale i + shift of the padded image."""

    def window(at, kernel, stride):
        scale, shift = at
        return scale * stride, shift + scale * (kernel - 1) / 2

    def transposed(at, kernel, stride):
        scale, shift = at
        return scale / stride, shift - scale / stride * (kernel - 1) / 2

    at4 = window(window((1, 0), 7, 2), 3, 2)  # conv1, pool1; the Fire modules move nothing
    at8 = window(at4, 3, 2)
    at16 = window(at8, 3, 2)
    assert (at4, at8, at16) == ((4, 5), (8, 9), (16, 17))
    assert transposed(at16, 3, 2) == at8 and transposed(at8, 3, 2) == at4
    assert transposed(at4, 7, 4) == (1, 2)
    assert FCNSqueezeNet.around - FCNSqueezeNet.final_start == 2


@pytest.mark.parametrize("size", [(1, 1), (33, 46), (64, 47)])
def test_any_size_gives_its_size(size):
    assert tiny()(np.zeros((1, 3, *size), np.float32)).shape == (1, 3, *size)


def test_parts_are_those_of_squeezenet():
    network, squeezenet = tiny().network, SqueezeNet(10, 1, rng=np.random.default_rng(1))
    network.load_state_dict(squeezenet.state_dict(), strict=False)
    x = normal(1, 3, 40, 41)
    maps = [x]
    for part in network.parts:
        maps.append(part(maps[-1]))
    assert [m.shape[1] for m in maps[1:]] == [16, 32, 32]
    np.testing.assert_array_equal(maps[-1], squeezenet.features(x))


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
