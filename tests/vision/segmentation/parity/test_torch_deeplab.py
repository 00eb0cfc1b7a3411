"""PyTorch as a second opinion on DeepLab: v1 and v2 in functional calls, v3 from a torchvision checkpoint."""

import numpy as np
import pytest

import vision
from tests.vision.segmentation.parity.test_torch_fcn_resnet import ByHand
from tests.vision.segmentation.systems import normal, small
from vision.training.saving import load_pretrained

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


@pytest.mark.parametrize("version, rates", [(1, [12]), (2, [6, 12, 18, 24])])
@pytest.mark.parametrize("subsampled", [False, True])
def test_loss_and_every_gradient(version, rates, subsampled):
    """The layers of the authors' train.prototxt of DeepLab-LargeFOV and of DeepLabv2_VGG16."""
    options = {"width": 2, "hidden": 5, "dropout": 0.0, "batch_norm": False, "subsampled": subsampled}
    model = small(f"deeplab_v{version}_small", **options).astype(np.float64)
    images, labels = normal(2, 3, 33, 41), np.random.default_rng(2).integers(-1, 3, (2, 33, 41))
    losses, cache = model.loss((images, labels), np.random.default_rng(0))
    model.backward(cache)
    w = {name: torch.tensor(p.value, requires_grad=True) for name, p in model.parameters().items()}

    def conv(name, x, **words):
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **words)

    x, i = torch.tensor(images), 0
    for level, convolutions in enumerate((2, 2, 3, 3, 3), 1):
        for _ in range(convolutions):
            hole = 2 if level == 5 else 1
            x, i = conv(f"features.{i}", x, padding=hole, dilation=hole).relu(), i + 2
        x, i = F.max_pool2d(x, 3, 2 if level <= 3 else 1, 1), i + 1
    if version == 1:
        x = F.avg_pool2d(x, 3, 1, 1)
    scores = 0
    for b, rate in enumerate(rates):
        y = conv(f"fc6.{b}.0", x, padding=rate, dilation=rate).relu()
        scores = scores + conv(f"fc8.{b}", conv(f"fc7.{b}.0", y).relu())
    theirs = torch.tensor(labels)
    if subsampled:
        theirs = theirs[:, ::8, ::8]
    else:  # the authors' layer "Interp", align_corners of 33 x 41 pixels
        scores = F.interpolate(scores, (33, 41), mode="bilinear", align_corners=True)
    loss = F.cross_entropy(scores, theirs, ignore_index=-1)
    loss.backward()
    assert losses["pixels"] == pytest.approx(loss.item(), rel=1e-10)
    largest = max(abs(p.grad).max() for p in model.parameters().values())
    for name, p in model.parameters().items():
        np.testing.assert_allclose(p.grad, w[name].grad.numpy(), rtol=1e-7, atol=1e-9 * largest, err_msg=name)


def conv_norm(inside, outside, kernel=1, rate=1):
    conv = nn.Conv2d(inside, outside, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False)
    return [conv, nn.BatchNorm2d(outside), nn.ReLU()]


class ASPP(nn.Module):
    def __init__(self, inside, rates):
        super().__init__()
        parts = [conv_norm(inside, 256), *(conv_norm(inside, 256, 3, rate) for rate in rates)]
        parts.append([nn.AdaptiveAvgPool2d(1), *conv_norm(inside, 256)])
        self.convs = nn.ModuleList(nn.Sequential(*part) for part in parts)
        self.project = nn.Sequential(*conv_norm(len(parts) * 256, 256), nn.Dropout(0.5))

    def forward(self, x):
        *parts, pooled = [conv(x) for conv in self.convs]
        pooled = F.interpolate(pooled, x.shape[-2:], mode="bilinear", align_corners=False)
        return self.project(torch.cat([*parts, pooled], dim=1))


class DeepLabByHand(ByHand):
    """torchvision.models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=True)."""

    def __init__(self, classes):
        super().__init__(classes)
        self.classifier = nn.Sequential(ASPP(2048, (12, 24, 36)), *conv_norm(256, 256, 3), nn.Conv2d(256, classes, 1))


def theirs():
    """torchvision's network where it is installed, random weights and running statistics in it."""
    torch.manual_seed(0)
    try:
        from torchvision.models.segmentation import deeplabv3_resnet50

        net = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    except ImportError:
        net = DeepLabByHand(21)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.3, 0.7)
            module.bias.data.normal_(0, 0.1)
    return net.eval()


def test_a_checkpoint(tmp_path):
    net = theirs()
    assert sum(p.numel() for p in net.parameters()) == 42_004_074
    torch.save(net.state_dict(), tmp_path / "deeplab.pth")
    model = vision.build("deeplabv3_resnet50", [f"class{i}" for i in range(21)])
    assert set(load_pretrained(tmp_path / "deeplab.pth", model)) == model.state_dict().keys() == net.state_dict().keys()
    images = normal(1, 3, 65, 81).astype(np.float32)
    with torch.no_grad():
        wanted = {name: y.numpy() for name, y in net(torch.tensor(images)).items()}
    np.testing.assert_allclose(model(images), wanted["out"], atol=1e-4 * abs(wanted["out"]).max())
    (layer3,), _ = model.network.backbone.forward_stages(images, training=False, names=["layer3"])
    small_scores = torch.tensor(model.network.aux_classifier(layer3))
    auxiliary = F.interpolate(small_scores, (65, 81), mode="bilinear", align_corners=False).numpy()
    np.testing.assert_allclose(auxiliary, wanted["aux"], atol=1e-4 * abs(wanted["aux"]).max())
