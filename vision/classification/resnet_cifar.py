"""ResNet for CIFAR-10: 6n + 2 layers, shortcuts without parameters, and the plain networks they are compared with.

Reference: He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385, sec. 4.2; He et al. 2016,
Identity mappings in deep residual networks, arXiv:1603.05027 (pre-activation).
"""

from dataclasses import dataclass

import numpy as np

from nn import BatchNorm2d, Conv2d, GlobalAvgPool2d, Linear, ReLU, Sequential
from nn.layer import positive
from vision.backbones import Backbone, BasicBlock, FeatureMap, Style
from vision.backbones.residual import Form, Shortcut
from vision.backbones.resnet import stem
from vision.classification.classifier import ClassificationNetwork, Classifier, ClassifierOptions
from vision.registry import Tiny, register

STYLE = Style(shortcut="A", name="shortcut")  # names as in the code that the published weights are from


class ResNetCifar(Backbone):
    """images (N, 3, H, W) to features (N, 4 width, about H / 4, about W / 4): a 3x3 convolution, 3 stages of n blocks.

    Stages: conv1 (with batch normalisation and ReLU) and layer1 with `width` channels, layer2 with 2 width and layer3
    with 4 width channels, which begin with stride 2. The paper's images are 32x32, its width is 16; n = 3, 5, 7, 9, 18
    make its ResNet-20, 32, 44, 56, 110, the last layer being the classifier's. style: see vision.backbones.residual;
    with pre-activation conv1 is a convolution only, and layer3 ends with batch normalisation and ReLU.
    """

    def __init__(self, n: int = 3, width: int = 16, style: Style = STYLE, *, rng: np.random.Generator):
        positive(self, n=n, width=width)
        layers = stem(Conv2d(3, width, 3, padding=1, bias=False, rng=rng), style)
        stages, channels = {"conv1": FeatureMap(len(layers), width, 1)}, width
        for i in range(3):
            blocks = []
            for j in range(n):
                stride = 2 if i and not j else 1
                blocks.append(BasicBlock(channels, width * 2**i, stride, 1, style, j == 0, rng=rng))
                channels = width * 2**i
            layers[f"layer{i + 1}"] = Sequential(*blocks)
            if i == 2 and style.form == "pre_activation":
                layers |= {"bn_last": BatchNorm2d(channels), "relu_last": ReLU()}
            stages[f"layer{i + 1}"] = FeatureMap(len(layers), channels, 2**i)
        super().__init__(layers, stages)


# Sec. 4.2: batches of 128, 64,000 steps (182 epochs of its 45,000 images), the rate divided by 10 at half and three
# quarters. Its augmentation, 4 pixels of padding and a random crop, is a shift by up to 4 pixels.
RECIPE = {
    "epochs": 182, "batch_size": 128, "lr": 0.1, "weight_decay": 0.0001, "milestones": [0.5, 0.75], "warm_up": 0,
    "clip_norm": 0.0, "shift": 4, "jitter": 0.0,
}  # fmt: skip


PAPER = "He et al. 2016, arXiv:1512.03385"


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """ResNet-20 or, by n, another depth."""

    n: int = 3  # blocks a stage: 3, 5, 7, 9, 18 for ResNet-20, 32, 44, 56, 110
    width: int = 16  # channels of the first stage
    shortcut: Shortcut = "A"  # where the shape changes: "A" zeros, "B" a convolution; "C": a convolution everywhere
    form: Form = "residual"  # of the blocks: "plain" without shortcuts, "pre_activation" as in arXiv:1603.05027
    short_side: int = 32  # pixels of the shorter side
    max_side: int = 64  # pixels of the longer side at most


@dataclass(frozen=True)
class PlainOptions(Options):
    """The plain twin."""

    form: Form = "plain"


@register(
    "resnet20_cifar", "classification", RECIPE, options=Options, tiny=Tiny({"n": 1, "width": 2}),
    system="ResNet for CIFAR-10", paper=PAPER,
    figures="915 of 1,000 test images right with the published weights of ResNet-20, 926 with those of ResNet-56",
    published="https://github.com/akamaster/pytorch_resnet_cifar10, pretrained_models/resnet20-12fca82f.th as .pth",
    classes="airplane automobile bird cat deer dog frog horse ship truck".split(),
)  # fmt: skip
def resnet20_cifar(classes, options: Options, rng: np.random.Generator) -> Classifier:
    """ResNet-20 (n=3) or another depth: 0.27 million parameters, 41 million multiply-adds for an image of 32x32."""
    return cifar_classifier(classes, options, Style(options.shortcut, options.form, name=STYLE.name), rng)


@register(
    "plain20_cifar", "classification", RECIPE, options=PlainOptions, tiny=Tiny({"n": 1, "width": 2}),
    system="Plain networks for CIFAR-10", paper=PAPER,
    figures="CIFAR-10 (JPEG), 8 channels, 12 epochs, training error: 20 layers 23.2 %, 56 46.7 %; with shortcuts "
    "19.9 and 16.7 %",
)  # fmt: skip
def plain20_cifar(classes, options: PlainOptions, rng: np.random.Generator) -> Classifier:
    """The same without shortcuts: what a depth costs that is not learned as residuals."""
    return resnet20_cifar(classes, options, rng)


def cifar_classifier(classes, options: Options, style: Style, rng: np.random.Generator) -> Classifier:
    """The backbone, global average pooling and one fully connected layer."""
    backbone = ResNetCifar(options.n, options.width, style, rng=rng)
    head = {"pool": GlobalAvgPool2d(), "linear": Linear(backbone.out_channels, len(classes), rng=rng)}
    return Classifier(ClassificationNetwork(backbone, head), classes, options)
