"""torchvision's FCN: names and count, both heads' gradients, sizes; its outputs are compared in parity/."""

import numpy as np
import pytest

import vision
from nn import save_state
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
from vision.segmentation.fcn_resnet import FCNResNet
from vision.training.recipe import build_optimiser, with_defaults
from vision.training.saving import load_pretrained


def tiny(**options):
    return small("fcn_resnet50", **{"width": 1, "blocks": [1, 1, 2, 1]} | options)


def test_parameters_of_torchvision_s_net(monkeypatch):
    """35,322,218 (FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["num_params"]), 32,956,501 without the second head.

    The head on 2048 channels has 9 * 2048 * 512 + 2 * 512 + 512 * 21 + 21, that on 1024 a quarter, nearly.
    """
    without_drawing(monkeypatch)
    net = FCNResNet(21, rng=np.random.default_rng(0))
    assert count(net) == 35_322_218
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 256 * 21 + 21
    assert count(FCNResNet(21, auxiliary=False, rng=np.random.default_rng(0))) == 35_322_218 - auxiliary
    assert count(net.backbone) == 23_508_032  # torchvision's resnet50, 25,557,032, without 2048 * 1000 + 1000


def test_names():
    names = [*tiny().parameters()]
    assert names[:2] == ["backbone.conv1.weight", "backbone.bn1.weight"]
    assert {"backbone.layer3.1.conv2.weight", "backbone.layer4.0.downsample.1.bias", "classifier.4.bias"} < {*names}
    assert names[-1] == "aux_classifier.4.bias"


@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_a_classifier_s_weights_go_to_the_backbone(name, tmp_path):
    """torchvision's resnet50 has them without the prefix; those of a whole net have it already."""
    model, other = (vision.build(name, "abc", np.random.default_rng(i), width=1, blocks=[1, 1, 1, 1]) for i in (1, 2))
    backbone = model.network.backbone.state_dict()
    save_state(backbone | {"fc.weight": np.ones((10, 32))}, tmp_path / "resnet.npz")
    assert set(load_pretrained(tmp_path / "resnet.npz", other)) == {f"backbone.{name}" for name in backbone}
    np.testing.assert_array_equal(other.network.backbone["conv1"].weight.value, backbone["conv1.weight"])
    save_state(model.state_dict(), tmp_path / "whole.npz")
    assert set(load_pretrained(tmp_path / "whole.npz", other)) == model.state_dict().keys()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"FCNResNet: images must have shape \(N, 3, H, W\), got \(3, 9, 9\)"):
        tiny()(normal(3, 9, 9))


def test_stride_of_8():
    network = tiny().network
    sizes = [y.shape[2:] for y in network.backbone.forward_stages(normal(1, 3, 65, 48), False)[0][1:]]
    assert sizes == [(17, 12), (9, 6), (9, 6), (9, 6)]
    assert network(normal(1, 3, 65, 48)).shape == (1, 3, 65, 48)


@pytest.mark.parametrize("auxiliary", [True, False])
def test_every_gradient_of_the_whole_model(auxiliary):
    model = tiny(auxiliary=auxiliary)
    check_gradients(model, (17, 24), kinds=[(True, 1e-9)])
    losses, _ = model.loss((normal(1, 3, 17, 24), np.zeros((1, 17, 24), int)), np.random.default_rng(0))
    assert list(losses) == ["pixels", "auxiliary"][: 1 + auxiliary]


def test_the_second_head_counts_half():
    """With the scores of the first one: half of its loss."""
    model = tiny()
    scores = model.network.scores
    model.network.scores = lambda x, training=True: ((scores(x, False)[0][0],) * 2, None)
    losses, cache = model.loss((normal(1, 3, 16, 16), np.ones((1, 16, 16), int)), None)
    assert losses["auxiliary"] == pytest.approx(losses["pixels"] / 2)
    np.testing.assert_allclose(cache.dscores[1], cache.dscores[0] / 2)


def test_the_second_head_alone_has_ten_times_the_rate():
    """torchvision's references/segmentation/train.py: --lr for backbone and classifier, 10 lr for aux_classifier."""
    model = tiny()
    (stage,) = model.stages()
    groups = build_optimiser(model, with_defaults(stage.recipe) | {"lr": 0.02}).groups
    rates = {name: group["lr"] for group in groups for name in group["parameters"]}
    assert {name for name, rate in rates.items() if rate == 0.2} == {n for n in rates if n.startswith("aux_classifier")}
    assert set(rates.values()) == {0.02, 0.2}
    alone = tiny(auxiliary=False)
    build_optimiser(alone, with_defaults(alone.stages()[0].recipe))  # no rate for a head that is not there


def test_gradient_of_the_images_and_contract():
    network = tiny(auxiliary=False).network
    for _, layer in network.layers():
        if hasattr(layer, "p"):
            layer.p = 0.0  # of dropout
    check_contract(network, (normal(2, 3, 24, 17),), (normal(1, 3, 17, 24),))
    check_image_gradient(network, (17, 20), [(0, 0, 0), (1, 8, 9), (2, 16, 19)])


def test_overfits_two_images():
    fallen, right = overfit(tiny(width=4, auxiliary=False), 50, lr=0.01, size=32)
    assert fallen < 0.4 and right > 0.9
