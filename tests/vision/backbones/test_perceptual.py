"""LPIPS: its formula, and the published distances of two photographs."""

import numpy as np
import pytest
from PIL import Image

from nn.io.state import read_state
from tests.vision.published import heads, shared
from vision.backbones import VGG, AlexNet, perceptual_distance, vgg16_plan
from vision.preprocess import Preprocess

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
FILES = ("000000000790.jpg", "000000030213.jpg")


def small():
    return VGG(vgg16_plan(2, 2), rng=np.random.default_rng(0)).astype(np.float64)


def test_the_formula():
    """Eq. 1, pixel by pixel."""
    backbone, rng = small(), np.random.default_rng(1)
    one, two = rng.standard_normal((2, 2, 3, 8, 12))
    weights = {"conv1": rng.random(2), "conv2": rng.random(4)}
    wanted = np.zeros(2)
    for name, w in weights.items():
        u, v = (backbone.up_to(name)(images) for images in (one, two))
        n, _, rows, columns = u.shape
        for i, r, c in np.ndindex(n, rows, columns):
            a, b = (x[i, :, r, c] / (np.linalg.norm(x[i, :, r, c]) + 1e-10) for x in (u, v))
            wanted[i] += (w * (a - b) ** 2).sum() / (rows * columns)
    np.testing.assert_allclose(perceptual_distance(backbone, weights, one, two), wanted, rtol=1e-12)
    assert not perceptual_distance(backbone, weights, one, one).any()


@pytest.mark.parametrize("name, shape", [("conv1", r"\(2,\)"), ("conv9", r"\(None,\)")])
def test_mistakes_are_named(name, shape):
    images = np.zeros((1, 3, 8, 8))
    with pytest.raises(ValueError, match=rf"weights of {name} must have shape {shape}, got \(3,\)"):
        perceptual_distance(small(), {name: np.ones(3)}, images, images)


@pytest.mark.parametrize("name, distance", [("alexnet", 0.7282), ("vgg16", 0.7371)])
def test_published_distances(name, distance):
    rng, weights = np.random.default_rng(0), shared("weights", name, f"{name}_features.npz")
    backbone = AlexNet(1, rng=rng) if name == "alexnet" else VGG(vgg16_plan()[:-1], rng=rng)
    backbone.load_state_dict({k: a for k, a in read_state(weights).items() if k in backbone.state_dict()})
    images = []
    for file in FILES:
        with Image.open(shared("coco_det_open", "images", file)) as image:
            images.append(Preprocess().batch([np.array(image.convert("RGB"))[:128, :128]]))
    got = perceptual_distance(backbone, heads(weights, CONVOLUTIONS), *images)
    assert got == pytest.approx([distance], abs=1e-4)
