"""The FCN of torchvision: ResNet-50 at a stride of 8 pixels, two convolutions, bilinear interpolation.

Reference: Long et al. 2015, arXiv:1411.4038 (the idea); torchvision.models.segmentation.fcn_resnet50 (the network).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import BatchNorm2d, Conv2d, Dropout, ReLU, Sequential, Upsample2d
from nn.layer import check_shape
from vision.backbones.resnet import BLOCKS, ResNet
from vision.model import Stage
from vision.registry import Tiny, register
from vision.segmentation.pixel_classifier import PixelClassifier, PixelNetwork, PixelOptions

AUXILIARY_WEIGHT = 0.5  # of the auxiliary loss, as in torchvision's references/segmentation


class Cache(NamedTuple):
    """The caches of the layers; up and auxiliary_up are each a layer and its cache."""

    backbone: Any
    head: Any
    up: Any
    auxiliary: Any
    auxiliary_up: Any


class FCNResNet(PixelNetwork):
    """images (N, 3, H, W) to logits (N, classes, H, W); `scores` gives those of the auxiliary head, too.

    backbone: a ResNet whose last two stages have dilations for strides. classifier: 3x3 to a quarter of the channels,
    batch normalisation, ReLU, dropout 0.1, 1x1 to the scores. auxiliary: whether there is a second one on layer3, for
    the loss alone. Names are torchvision's (aux_classifier.0.weight, ...), so that its checkpoints fit.
    """

    def __init__(
        self, classes: int, width: int = 64, blocks: tuple[int, ...] = BLOCKS["resnet50"], auxiliary: bool = True, *,
        rng: np.random.Generator,
    ):  # fmt: skip
        self.backbone = ResNet(blocks, width, (False, True, True), rng=rng)

        def head(channels):
            return Sequential(
                Conv2d(channels, channels // 4, 3, padding=1, bias=False, rng=rng), BatchNorm2d(channels // 4), ReLU(),
                Dropout(0.1, rng=rng.spawn(1)[0]), Conv2d(channels // 4, classes, 1, rng=rng),
            )  # fmt: skip

        channels = self.backbone.channels
        self.classifier = head(channels["layer4"])
        self.aux_classifier = head(channels["layer3"]) if auxiliary else None

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of torchvision's ResNet classifiers under the backbone's names; those of a whole network as are."""
        whole = any(name.startswith("backbone.") for name in arrays)
        return {name if whole else f"backbone.{name}": array for name, array in arrays.items()}

    def forward(self, x, training=True):
        (logits, _), cache = self.scores(x, training)
        return logits, cache

    def backward(self, dy, cache, images=True):
        return self.scores_backward((dy, None), cache, images)

    def backward_parameters(self, dy, cache):
        self.backward(dy, cache, images=False)

    def scores(self, x, training=True):
        """((logits, auxiliary logits or None), cache)."""
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        up = Upsample2d(x.shape[2:], mode="bilinear", align_corners=False)
        (layer3, layer4), c_backbone = self.backbone.forward_stages(x, training, ("layer3", "layer4"))
        small, c_head = self.classifier.forward(layer4, training)
        logits, c_up = up.forward(small)
        if self.aux_classifier is None or not training:
            return (logits, None), Cache(c_backbone, c_head, (up, c_up), None, None)
        small, c_auxiliary = self.aux_classifier.forward(layer3, training)
        auxiliary, c_auxiliary_up = up.forward(small)
        return (logits, auxiliary), Cache(c_backbone, c_head, (up, c_up), c_auxiliary, c_auxiliary_up)

    def scores_backward(self, dy, cache, images=True):
        """The gradient of the images from those of both logits; None for auxiliary logits that do not count."""
        dlogits, dauxiliary = dy
        up, c_up = cache.up
        dlayer4 = self.classifier.backward(up.backward(dlogits, c_up), cache.head)
        dlayer3 = None
        if dauxiliary is not None:
            dlayer3 = self.aux_classifier.backward(up.backward(dauxiliary, cache.auxiliary_up), cache.auxiliary)
        return self.backbone.backward_stages((dlayer3, dlayer4), cache.backbone, images)


class AuxiliaryCache(NamedTuple):
    """From loss to backward: the network's cache, and the gradients of both scores."""

    network: Any
    dscores: tuple


class AuxiliaryClassifier(PixelClassifier):
    """A network with two `scores` (N, C, H, W): {pixels, auxiliary}, the latter's cross-entropy times 0.5."""

    def stages(self) -> tuple[Stage, ...]:
        """The auxiliary head alone has ten times the rate, as in torchvision's references/segmentation/train.py."""
        rates = {} if self.network.aux_classifier is None else {"aux_classifier": 10.0}
        return (Stage(recipe={"lr_scale": rates}),)

    def loss(self, batch, rng: np.random.Generator, sampled=None):
        images, labels, *weights = batch
        (logits, auxiliary), c_network = self.network.scores(images)
        pixels, dlogits = self.pixel_loss(logits, labels, *weights)
        if auxiliary is None:
            return {"pixels": pixels}, AuxiliaryCache(c_network, (dlogits, None))
        value, dauxiliary = self.pixel_loss(auxiliary, labels, *weights)
        losses = {"pixels": pixels, "auxiliary": AUXILIARY_WEIGHT * value}
        return losses, AuxiliaryCache(c_network, (dlogits, AUXILIARY_WEIGHT * dauxiliary))

    def backward(self, cache: AuxiliaryCache):
        self.network.scores_backward(cache.dscores, cache.network, images=False)


@dataclass(frozen=True)
class Options(PixelOptions):
    """torchvision's network."""

    short_side: int = 520
    max_side: int = 1040
    width: int = 64  # channels of the backbone's first convolution
    blocks: tuple[int, ...] = BLOCKS["resnet50"]  # bottlenecks in each of its four stages
    auxiliary: bool = True  # whether a second classifier on layer3 has a loss, too


# torchvision's references/segmentation/train.py: 30 epochs, batches of 4 on each of 8 GPUs, rate 0.02, 480 x 480 pixels
# cut from pictures whose shorter side is 520 times 0.5 to 2. Those are epochs of COCO's 118,287 pictures, without
# those that lack VOC's classes, dozens of times VOC's 1,464: as many batches of VOC take as many times the epochs.
RECIPE = {
    "data": "voc", "epochs": 30, "batch_size": 32, "lr": 0.02, "weight_decay": 1e-4, "schedule": "polynomial",
    "warm_up": 0, "clip_norm": 0.0, "zoom": [0.5, 2.0], "crop": [480, 480],
}  # fmt: skip


@register(
    "fcn_resnet50", "segmentation", RECIPE, options=Options, tiny=Tiny({"width": 1, "blocks": [1] * 4}, size=(32, 32)),
    system="FCN", paper="Long et al. 2015, arXiv:1411.4038",
)  # fmt: skip
def fcn_resnet50(classes, options: Options, rng: np.random.Generator) -> AuxiliaryClassifier:
    """torchvision's fcn_resnet50: 35,322,218 parameters for 21 classes; its checkpoints load with --pretrained."""
    network = FCNResNet(len(classes), options.width, options.blocks, options.auxiliary, rng=rng)
    return AuxiliaryClassifier(network, classes, options)
