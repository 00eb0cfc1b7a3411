"""A torchvision checkpoint of fcn_resnet50 with random weights gives what torchvision's network gives.

Where torchvision is not installed the same module is built of torch's own layers, with torchvision's names.
"""

import numpy as np
import pytest

import vision
from tests.vision.segmentation.systems import normal
from vision.training.saving import load_pretrained

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
CLASSES = [f"class{i}" for i in range(21)]


class Bottleneck(nn.Module):
    def __init__(self, inside, width, stride, dilation):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if stride > 1 or inside != 4 * width:
            conv = nn.Conv2d(inside, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(4 * width))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class ByHand(nn.Module):
    """torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True)."""

    def __init__(self, classes):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.backbone.bn1 = nn.BatchNorm2d(64)
        inside = 64
        # replace_stride_with_dilation=[False, True, True]: blocks, width, the first's stride and dilation, the others'
        plan = [(3, 64, 1, 1, 1), (4, 128, 2, 1, 1), (6, 256, 1, 1, 2), (3, 512, 1, 2, 4)]
        for i, (blocks, width, stride, first, rest) in enumerate(plan, 1):
            layers = [Bottleneck(inside, width, stride, first)]
            layers += [Bottleneck(4 * width, width, 1, rest) for _ in range(blocks - 1)]
            setattr(self.backbone, f"layer{i}", nn.Sequential(*layers))
            inside = 4 * width
        self.classifier, self.aux_classifier = self.head(2048, classes), self.head(1024, classes)

    @staticmethod
    def head(inside, classes):
        conv = nn.Conv2d(inside, inside // 4, 3, padding=1, bias=False)
        return nn.Sequential(
            conv, nn.BatchNorm2d(inside // 4), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(inside // 4, classes, 1)
        )

    def forward(self, x):
        b, size = self.backbone, x.shape[2:]
        y = F.max_pool2d(b.bn1(b.conv1(x)).relu(), 3, 2, 1)
        layer3 = b.layer3(b.layer2(b.layer1(y)))
        heads = {"out": self.classifier(b.layer4(layer3)), "aux": self.aux_classifier(layer3)}
        return {name: F.interpolate(y, size, mode="bilinear", align_corners=False) for name, y in heads.items()}


def theirs():
    """torchvision's network where it is installed, random weights and running statistics in it."""
    torch.manual_seed(0)
    try:
        from torchvision.models.segmentation import fcn_resnet50

        net = fcn_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    except ImportError:
        net = ByHand(21)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.3, 0.7)
            module.bias.data.normal_(0, 0.1)
    return net.eval()


def test_a_checkpoint(tmp_path):
    net = theirs()
    assert sum(p.numel() for p in net.parameters()) == 35_322_218  # as torchvision's documentation has it
    torch.save(net.state_dict(), tmp_path / "fcn.pth")
    model = vision.build("fcn_resnet50", CLASSES)
    assert set(load_pretrained(tmp_path / "fcn.pth", model)) == model.state_dict().keys() == net.state_dict().keys()
    assert sum(p.value.size for p in model.parameters().values()) == 35_322_218
    images = normal(1, 3, 65, 81).astype(np.float32)
    with torch.no_grad():
        wanted = {name: y.numpy() for name, y in net(torch.tensor(images)).items()}
    np.testing.assert_allclose(model(images), wanted["out"], atol=1e-4 * abs(wanted["out"]).max())
    network = model.network
    (layer3,), _ = network.backbone.forward_stages(images, training=False, names=["layer3"])
    small = torch.tensor(network.aux_classifier(layer3))
    auxiliary = F.interpolate(small, (65, 81), mode="bilinear", align_corners=False).numpy()
    np.testing.assert_allclose(auxiliary, wanted["aux"], atol=1e-4 * abs(wanted["aux"]).max())
