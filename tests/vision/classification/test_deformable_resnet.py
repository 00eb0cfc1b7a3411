"""Deformable convolutions in a ResNet: they begin as convolutions, gradients, where a cell looks."""

import numpy as np
import pytest

import vision
from nn import Conv2d
from nn.gradcheck import check_contract, check_layer
from scripts.gradcheck import check_tiny_model
from vision.backbones.deformable import DeformableConv, offsets_in, sampling_points
from vision.classification.draw_frames import draw_points
from vision.classification.task import draw_classified
from vision.registry import find
from vision.training.saving import load_pretrained

CLASSES = ("cat", "dog", "cow")


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def build(**options):
    small = {"width": 2, "blocks": [1, 1, 1, 2]} | options
    return vision.build("deformable_resnet", CLASSES, np.random.default_rng(3), **small)


def layer(modulated=True, stride=1, moved=True):
    made = DeformableConv(3, 4, stride, 1, modulated, rng=np.random.default_rng(0)).astype(np.float64)
    if moved:
        for parameter, size in ((made.offset.weight, 0.2), (made.offset.bias, 0.7)):
            parameter.value[...] = size * normal(*parameter.value.shape, seed=5)
    return made


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_it_begins_as_a_convolution(modulated, stride):
    made, plain = layer(modulated, stride, moved=False), Conv2d(3, 4, 3, stride, 1, bias=False).astype(np.float64)
    plain.weight.value[...] = made.weight.value
    x = normal(2, 3, 6, 7)
    np.testing.assert_allclose(made(x), plain(x) * (0.5 if modulated else 1), rtol=1e-12)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_with_moved_taps(modulated, stride):
    errors = check_layer(layer(modulated, stride), normal(2, 3, 4, 5), tolerance=1e-10, complex_step=True)
    assert set(errors) == {"x", "weight", "offset.weight", "offset.bias"}


def test_contract():
    check_contract(layer(), (normal(2, 3, 5, 6),), (normal(3, 3, 4, 4),))


def test_only_layer4_is_deformable_and_published_weights_fit(tmp_path):
    model = build()
    names = {name for name in model.parameters() if "offset" in name}
    assert names == {f"layer4.{i}.conv2.offset.{p}" for i in (0, 1) for p in ("weight", "bias")}
    plain = vision.build("resnet50", CLASSES, np.random.default_rng(7), width=2, blocks=[1, 1, 1, 2])
    np.savez(tmp_path / "plain.npz", **plain.state_dict())
    loaded = load_pretrained(tmp_path / "plain.npz", model)
    assert set(model.state_dict()) - set(loaded) == names
    (stage,) = model.stages()
    assert stage.recipe["lr_scale"] == {f"layer4.{i}.conv2.offset": 0.1 for i in (0, 1)}


def test_without_modulation_it_begins_as_the_plain_network(tmp_path):
    model = build(modulated=False)
    plain = vision.build("resnet50", CLASSES, np.random.default_rng(7), width=2, blocks=[1, 1, 1, 2])
    plain.load_state_dict(model.state_dict(), strict=False)
    images = normal(1, 3, 64, 64).astype(np.float32)
    np.testing.assert_allclose(model.predict(images), plain.predict(images), rtol=1e-5)


@pytest.mark.parametrize("complex_step", [False, True])
def test_every_gradient_of_the_tiny_model(complex_step):
    check_tiny_model("deformable_resnet", find("deformable_resnet").tiny, complex_step)


def test_where_a_cell_looks():
    """Offsets of 0: 3x3 taps; two layers, the lower one with stride 2: 9 cells, 9 taps around twice each."""
    below, above = layer(stride=2, moved=False), layer(moved=False)
    lower, upper = (made.forward(normal(1, 3, n, n))[1].offset[0] for made, n in ((below, 8), (above, 4)))
    of = [below.conv.geometry, above.conv.geometry]
    around = [(r, c) for r in (1, 2, 3) for c in (0, 1, 2)]
    np.testing.assert_array_equal(sampling_points(of[1:], [upper], 2, 1), around)
    points = sampling_points(of, [lower, upper], 2, 1)
    assert points.shape == (81, 2)
    assert points.min(axis=0).tolist() == [1, -1] and points.max(axis=0).tolist() == [7, 5]
    below.offset.bias.value[:2] = 0.5, -0.25  # tap 0 of each cell: half a cell down, a quarter to the left
    lower = below.forward(normal(1, 3, 8, 8))[1].offset[0]
    moved = sampling_points(of, [lower, upper], 2, 1) - points
    assert np.unique(moved, axis=0).tolist() == [[0, 0], [0.5, -0.25]] and (moved[:, 0] > 0).sum() == 9


def test_sampling_positions_are_drawn_on_the_photograph():
    model, image = build(short_side=64, max_side=96), np.zeros((128, 160, 3), np.uint8)
    found = model.classify(image)
    assert found["samples"].shape == (81, 2)
    middle = found["samples"].mean(axis=0)
    assert abs(middle - (80, 64)).max() < 48  # one cell of layer4 is 64 pixels of the photograph
    drawn = draw_classified(image, found, CLASSES)
    assert (drawn == (255, 60, 60)).all(axis=2).any()
    _, cache = model.network.backbone.forward_stages(normal(1, 3, 64, 64).astype(np.float32), training=False)
    assert len(list(offsets_in(cache.parts))) == 2
    with pytest.raises(ValueError, match="draw_points: points must have shape"):
        draw_points(image, np.zeros((3, 3)))
