"""DeepLab v3: torchvision's names and counts, strides and rates, both heads' gradients; see parity/ for its outputs."""

import numpy as np
import pytest

import vision
from nn import SGD, BatchNorm2d, save_state
from nn.gradcheck import check_contract
from tests.vision.segmentation.systems import (
    check_gradients,
    check_image_gradient,
    count,
    normal,
    overfit,
    small,
    without_drawing,
)
from vision.backbones.resnet import BLOCKS
from vision.segmentation import DeepLabV3
from vision.training.saving import load_pretrained


def tiny(**options):
    return small("deeplabv3_small", **{"width": 1, "rates": [1, 2]} | options)


@pytest.mark.parametrize("blocks, parameters", [("resnet50", 42_004_074), ("resnet101", 60_996_202)])
def test_parameters_of_torchvision_s_net(monkeypatch, blocks, parameters):
    """DeepLabV3_ResNet50_Weights and ..101_..: COCO_WITH_VOC_LABELS_V1.meta["num_params"]; with the second head."""
    without_drawing(monkeypatch)
    rng = np.random.default_rng(0)
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21
    assert count(DeepLabV3(21, blocks=BLOCKS[blocks], rng=rng)) == parameters
    assert count(DeepLabV3(21, blocks=BLOCKS[blocks], auxiliary=False, rng=rng)) == parameters - auxiliary
    assert count(DeepLabV3(1, auxiliary=False, rng=rng)) == 39_638_869 - 20 * (256 + 1)


def test_names():
    names = set(tiny(auxiliary=True).state_dict())
    assert {
        "backbone.layer4.0.conv2.weight", "classifier.0.convs.0.0.weight", "classifier.0.convs.2.1.running_mean",
        "classifier.0.convs.3.1.weight", "classifier.0.convs.3.2.bias", "classifier.0.project.0.weight",
        "classifier.1.weight", "classifier.2.bias", "classifier.4.bias", "aux_classifier.4.bias",
    } <= names  # fmt: skip


@pytest.mark.parametrize("output_stride, rates", [(16, [1, 2]), (8, [2, 4])])
def test_strides_and_rates(output_stride, rates):
    network = tiny(output_stride=output_stride).network
    assert network.backbone(normal(1, 3, 65, 48)).shape[2:] == (-(-65 // output_stride), 48 // output_stride)
    convs = network.classifier[0].convs.branches
    assert [conv[0].geometry.dilation[0] for conv in convs[1:-1]] == rates
    assert network(normal(1, 3, 65, 48)).shape == (1, 3, 65, 48)


def test_published_rates(monkeypatch):
    """6, 12, 18 at an output stride of 16, twice those at 8 (sec. 3.3)."""
    without_drawing(monkeypatch)
    for output_stride, rates in ((16, (6, 12, 18)), (8, (12, 24, 36))):
        network = DeepLabV3(3, output_stride=output_stride, rng=np.random.default_rng(0))
        convs = network.classifier[0].convs.branches
        assert tuple(conv[0].geometry.dilation[0] for conv in convs[1:-1]) == rates


@pytest.mark.parametrize("output_stride, dilations", [(16, [2, 4, 8]), (8, [4, 8, 16])])
def test_multi_grid(output_stride, dilations):
    """The three blocks of layer4 spread by 1, 2 and 4 times the dilation of the stage (sec. 3.2)."""
    network = tiny(output_stride=output_stride, multi_grid=[1, 2, 4], blocks=[1, 1, 1, 3]).network
    assert [block["conv2"].geometry.dilation[0] for block in network.backbone["layer4"]] == dilations


def test_the_whole_image_is_one_part_of_the_pyramid():
    """Image pooling is the same at every position, and depends on the far end of the image."""
    pooling = tiny().network.classifier[0].convs.branches[-1].astype(np.float64)
    x = normal(2, 32, 3, 4)
    y = pooling(x)
    assert y.shape == (2, 4, 3, 4) and (y == y[:, :, :1, :1]).all()
    x[:, :, 2, 3] += 10 * normal(32)
    assert (pooling(x)[:, :, 0, 0] != y[:, :, 0, 0]).any()


@pytest.mark.parametrize("options", [{"auxiliary": True}, {"output_stride": 16, "multi_grid": [1, 2, 4]}])
def test_every_gradient_of_the_whole_model(options):
    # with width 1 the first 1x1 convolution is one weight, undone by the normalisation behind it: only rounding stays
    check_gradients(tiny(**options, width=2), (33, 40), n=3, kinds=[(True, 1e-9)])


def test_the_paper_s_two_stages(tmp_path):
    """Output stride 16, then 8 from its weights, multi-grid (1, 2, 4), statistics held; scales of 0.5 to 2 (sec. 4)."""
    first, second = (vision.MODELS[f"deeplabv3_stride{stride}"] for stride in (16, 8))
    for stage, stride, rate in ((first, 16, 0.007), (second, 8, 0.001)):
        o = stage.options()
        assert (o.output_stride, o.multi_grid, o.frozen_norms, o.auxiliary) == (stride, (1, 2, 4), stride == 8, False)
        assert (stage.recipe["lr"], stage.recipe["zoom"], stage.recipe["crop"]) == (rate, [0.5, 2.0], [513, 513])
    assert vision.MODELS["deeplabv3_resnet50"].recipe["zoom"] == [0.5, 2.0]
    assert second.recipe["after"] == first.name
    coarse, dense = (small(stage.name, width=1, blocks=[1] * 4, rates=[1]) for stage in (first, second))
    images, labels = normal(2, 3, 33, 40).astype(np.float32), np.random.default_rng(1).integers(-1, 3, (2, 33, 40))
    coarse.loss((images, labels), None)  # moves the running statistics
    save_state(coarse.state_dict(), tmp_path / "coarse.npz")
    assert set(load_pretrained(tmp_path / "coarse.npz", dense)) == dense.state_dict().keys()
    before = {name: array.copy() for name, array in dense.state_dict().items()}
    optimiser = SGD(dense.parameters(), lr=0.1)
    dense.backward(dense.loss((images, labels), None)[1])
    optimiser.step()
    moved = {name for name, array in dense.state_dict().items() if (array != before[name]).any()}
    norms = {name for name, layer in dense.layers() if isinstance(layer, BatchNorm2d)}
    assert moved == {name for name in before if name.rpartition(".")[0] not in norms}


def test_gradient_of_the_images_and_contract():
    network = tiny(dropout=0.0).network
    for _, layer in network.layers():
        if type(layer).__name__ == "BatchNorm2d":
            layer.frozen = True  # with one image, image pooling has one value per channel: nothing to normalise
    check_image_gradient(network, (17, 20), [(0, 0, 0), (1, 8, 9), (2, 16, 19)])
    check_contract(network, (normal(2, 3, 24, 17),), (normal(1, 3, 17, 24),))


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=4, dropout=0.0, rates=[6, 12, 18]), 40, size=32)
    assert fallen < 0.4 and right > 0.9


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="deeplabv3_small: output_stride must be 16 or 8, got 4"):
        tiny(output_stride=4)
    with pytest.raises(ValueError, match="DeepLabV3: output_stride must be 16 or 8, got 4"):
        DeepLabV3(3, output_stride=4, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="DeepLabV3: width must be a whole number >= 1, got 0"):
        tiny(width=0)
    with pytest.raises(ValueError, match=r"images must have shape \(N, 3, H, W\)"):
        tiny().network(normal(1, 1, 8, 8))
