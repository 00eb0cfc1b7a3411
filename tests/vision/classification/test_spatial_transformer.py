"""Spatial transformers: what each transformation does, where they stand, gradients, the frames that are drawn."""

import numpy as np
import pytest

import vision
from nn import GridSample
from nn.gradcheck import check_contract, check_layer, check_model
from scripts.gradcheck import check_tiny_model
from scripts.train_arguments import model_option
from vision.classification.draw_frames import draw_frame
from vision.classification.spatial_transformer import TRANSFORMS, AttentionGrid, SpatialTransformer, outline
from vision.classification.task import draw_classified
from vision.registry import find

CLASSES = tuple("0123")


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def build(**options):
    small = {"width": 3, "short_side": 30, "max_side": 30, "frame": 28, "spread": 0.02} | options
    return vision.build("stn_mnist", CLASSES, np.random.default_rng(3), **small)


def parameters(model):
    return sum(p.value.size for p in model.parameters().values())


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_transformation_begins_with_the_whole_image(transform):
    layer = SpatialTransformer(2, (30, 28), (30, 28), transform, rng=np.random.default_rng(0)).astype(np.float64)
    x = normal(3, 2, 30, 28)
    np.testing.assert_allclose(layer(x), x, atol=5e-6)  # the bias, such as 1 / 3, is rounded to float32
    sizes = {"affine": 6, "attention": 3, "projective": 8, "tps": 32}
    assert len(layer.localise[len(layer.localise) - 1].bias.value) == sizes[transform]


def test_attention_is_a_scaled_and_moved_crop():
    """s = 1/2, t = (1/2, -1/2): the upper right quarter."""
    x = normal(1, 1, 8, 12)
    grid = AttentionGrid((4, 6))(np.array([[0.5, 0.5, -0.5]]))
    np.testing.assert_allclose(GridSample()(x, grid), x[:, :, :4, 6:], atol=1e-12)
    errors = check_layer(AttentionGrid((3, 4)), normal(2, 3))
    assert set(errors) == {"x"}
    check_contract(AttentionGrid((3, 4)), (normal(2, 3),), (normal(3, 3),))


@pytest.mark.parametrize("localisation", ["fcn", "cnn"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_every_gradient_at_the_input_and_between_convolutions(transform, localisation):
    """The complex step, since pixels are kinks of the sampler; "cnn" needs larger maps than those between."""
    at = "both" if localisation == "fcn" else "input"
    model = build(transform=transform, localisation=localisation, at=at)
    rng = np.random.default_rng(4)
    for name, parameter in model.parameters().items():
        if name.endswith("bias"):  # off the kinks, near the identity
            parameter.value[...] += 0.05 * rng.standard_normal(parameter.value.shape)
    errors = check_model(model, (normal(2, 3, 30, 30), np.array([3, 1])), tolerance=1e-9)
    assert set(errors) == set(model.parameters())
    assert sum("transformer2" in name for name in errors) == (6 if at == "both" else 0)


@pytest.mark.parametrize("complex_step", [False, True])
def test_every_gradient_of_the_tiny_model(complex_step):
    check_tiny_model("stn_mnist", find("stn_mnist").tiny, complex_step)


def test_contract():
    layer = SpatialTransformer(2, (9, 8), (5, 6), "projective", "fcn", 0.1, rng=np.random.default_rng(0))
    check_contract(layer, (normal(2, 2, 9, 8),), (normal(3, 2, 9, 8),))


def test_where_transformers_stand():
    names = {
        at: [n for n, _ in build(at=at, localisation="fcn").network.backbone.children() if "transformer" in n]
        for at in ("input", "between", "both")
    }
    assert names == {"input": ["transformer1"], "between": ["transformer2"], "both": ["transformer1", "transformer2"]}
    backbone = build(transform="off").network.backbone
    assert backbone.names == ("input", "conv1", "conv2") and backbone.transformer is None
    fully = build(classifier="fcn").network
    assert fully.backbone.names == ("input",) and fully.head_names == ("flatten", "fc1", "fc1_relu", "fc2", "fc2_relu",
                                                                       "last")  # fmt: skip
    assert fully(np.zeros((2, 3, 30, 30), np.float32)).shape == (2, 4)


def test_sizes_with_equal_parameters():
    """The pairs of docs/classification.md, on 42x42 pixels: within 3 % of each other."""
    counts = [
        parameters(vision.build("stn_mnist", tuple("0123456789"), **options))
        for options in ({"transform": "off", "width": 37}, {}, {"transform": "tps"})
    ]
    assert max(counts) / min(counts) < 1.03


def test_the_outline_of_the_identity_is_the_image_and_it_is_drawn():
    model = build(spread=0.0)
    image = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    found = model.classify(image)
    frame = found["frame"]
    assert frame.shape == (4 * 27, 2)
    np.testing.assert_allclose(frame[0], [60 / 56, 60 / 56], rtol=1e-5)  # the centre of the first of 28 pixels
    np.testing.assert_allclose([frame.min(), frame.max()], [60 / 56, 60 - 60 / 56], rtol=1e-5)
    drawn = draw_classified(image, found, CLASSES, {"label": 2})
    assert drawn.shape[1] == 360 and drawn.shape[0] > 360
    assert (draw_frame(image, frame) != image.repeat(6, 0).repeat(6, 1)).any(axis=2).mean() < 0.1
    assert "frame" not in build(transform="off").classify(image)


def test_an_outline_goes_round():
    rows, columns = np.mgrid[0:3, 0:4]
    grid = np.stack([columns, rows], axis=-1).astype(float)
    points = outline(grid, 2, 2) - 1  # (g + 1) / 2 * 2 - 1 = g
    steps = abs(np.diff(points, axis=0, append=points[:1])).sum(axis=1)
    assert len(points) == 10 and (steps == 1).all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: build(at="between", classifier="fcn"), "stn_mnist: at='between' goes with classifier='cnn'"),
        (lambda: build(at="both"), "localisation 'cnn' needs at least 28x28, 'fcn' any size"),
        (lambda: build(frame=0), "stn_mnist: frame must be a whole number >= 1, got 0"),
        (lambda: build().predict(np.zeros((1, 3, 28, 28), np.float32)), r"Grey: images must have shape \(N, 3, 30, 30"),
        (lambda: draw_frame(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 3))), "draw_frame: frame must have shape"),
        (lambda: draw_frame(np.zeros((4, 4), np.uint8), np.zeros((4, 2))), "draw_frame: image must be"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_transformation_can_be_typed():
    """none would be no value at all on a command line."""
    for transform in ("off", *TRANSFORMS):
        assert build(**dict([model_option(f"transform={transform}")])).options.transform == transform
