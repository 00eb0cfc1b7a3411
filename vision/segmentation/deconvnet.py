r"""DeconvNet: VGG-16 whole, its fully connected layers as a 7x7 bottleneck, and all of it mirrored.

Training has two stages (sec. 4.2): "objects", on crops with an object in their middle and background around it, then
"proposals", on crops around proposals with all labels in them. An epoch takes one crop, drawn anew, from each picture
(see datasets/object_crops.py). The small network trains in one stage, on whole pictures, unless it is told otherwise:

    python -m scripts.train --model deconvnet_small --set two_stages=true windows=[1,2] --epochs 4 --run-dir runs/two

Differences to the authors' training: their crops are scaled to 250 x 250, of which each step takes 224 x 224 at random,
here crops are scaled to the network's input at once; their proposals are edge boxes. For inference see
ProposalClassifier.

Reference: Noh, Hong and Han 2015, Learning deconvolution network for semantic segmentation, arXiv:1505.04366.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from nn import BatchNorm2d, Conv2d, ConvTranspose2d, ReLU, Sequential, Upsample2d
from nn.dispatch import array_module
from nn.layer import check_shape, positive
from vision.backbones import VGG, freeze_cancelled, vgg16_plan
from vision.backbones.convolutional import convolutional
from vision.model import Stage
from vision.registry import Tiny, register
from vision.segmentation.encoder_decoder import EncoderDecoder, block, mirrored
from vision.segmentation.pixel_classifier import ON_SHAPES, PixelClassifier, PixelOptions, probabilities, whole_numbers
from vision.segmentation.unpooling import Mode


class DeconvNet(EncoderDecoder):
    """images (N, 3, H, W) to logits (N, classes, H, W): 224x224 become 7x7, 1x1, 7x7 and 224x224 again (table 2).

    bottleneck: 7, the kernel size of fc6, which goes to 1x1, and of its mirror; larger images have more than one cell
    there; at least 2^depth (bottleneck - 1) + 1 pixels are needed. hidden: channels of fc6 and fc7, 4096 in the paper.
    width, depth: see SegNet. unpool: see Unpool2d; the paper's is "max". Batch normalisation and ReLU follow each layer
    but the last. The layers of backbone and bottleneck have the names of torchvision's vgg16_bn, features.N and
    classifier.N, so that its weights fit, and those of its vgg16, with which the authors began. New weights are He's
    (theirs were normal, std 0.01). Raises ValueError for images that are too small.
    """

    smallest_batch = 2  # an image of the least size has one cell in fc6: one value to normalise

    def __init__(
        self, classes: int, width: int = 64, hidden: int = 4096, bottleneck: int = 7, depth: int = 5,
        unpool: Mode = "max", *, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, hidden=hidden, bottleneck=bottleneck, depth=depth)
        super().__init__(unpool)
        self.bottleneck, plan = bottleneck, vgg16_plan(width, depth)
        deepest = plan[-2]
        self.least = 2**depth * (bottleneck - 1) + 1
        self.backbone = VGG(plan, batch_norm=True, rng=rng)
        self.encoders = self.backbone.blocks
        freeze_cancelled(self.backbone.body)
        self.classifier = self.middle = freeze_cancelled(Sequential(
            Conv2d(deepest, hidden, bottleneck, rng=rng), BatchNorm2d(hidden), ReLU(),
            Conv2d(hidden, hidden, 1, rng=rng), BatchNorm2d(hidden), ReLU(),
            ConvTranspose2d(hidden, deepest, bottleneck, rng=rng), BatchNorm2d(deepest), ReLU(),
        ))  # fmt: skip

        def layers(inputs, outputs):
            return ConvTranspose2d(inputs, outputs, 3, padding=1, rng=rng), BatchNorm2d(outputs), ReLU()

        upward = mirrored(plan)
        upward[-1].append((width, width))  # the mirror of conv1_1
        self.decoders = [freeze_cancelled(block(pairs, layers)) for pairs in upward]
        self.decoder = Sequential(*(layer for decoder in self.decoders for layer in decoder))
        self.score = Conv2d(width, classes, 1, rng=rng)

    def children(self):
        """features.N (the encoders), classifier (the bottleneck), decoder (from the deepest) and score."""
        yield from self.backbone.children()
        yield "classifier", self.classifier
        yield "decoder", self.decoder
        yield "score", self.score

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of a VGG-16, with batch normalisation or without, as this network takes them: see fcn.py."""
        return convolutional(self.backbone.pretrained_names(arrays), self.bottleneck)

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        if min(x.shape[2:]) < self.least:
            raise ValueError(
                f"DeconvNet: images must have at least {self.least} x {self.least} pixels for a bottleneck of "
                f"{self.bottleneck} x {self.bottleneck}, got {x.shape[2:]}"
            )
        return super().forward(x, training)


@dataclass(frozen=True)
class Options(PixelOptions):
    """The published network and its training."""

    short_side: int = 224
    max_side: int = 448
    width: int = 64  # channels of the first convolution
    hidden: int = 4096  # channels of fc6 and fc7
    bottleneck: int = 7  # kernel size of fc6
    depth: int = 5  # blocks of VGG-16, each with a pooling
    unpool: Mode = "max"  # how the decoder upsamples, see Unpool2d
    windows: tuple[int, ...] = ()  # n x n windows each to predict through, such as [1,2]; none: whole images
    two_stages: bool = True  # train on crops of objects, then around proposals; false: on whole pictures


@dataclass(frozen=True)
class SmallOptions(Options):
    """Three poolings and a 5x5 bottleneck, for generated scenes of 64x80 and CPUs."""

    short_side: int = 64
    max_side: int = 80
    width: int = 12
    hidden: int = 128
    bottleneck: int = 5
    depth: int = 3
    two_stages: bool = False


class ProposalClassifier(PixelClassifier):
    """A network trained on crops of one object, that looks at an image through windows and adds up what it finds.

    Option windows: for each n of them there are n x n windows, which overlap by half and cover the image together (1:
    the image itself); empty: images go in whole. Each window is scaled to short_side x short_side, its scores are
    scaled back, and the greatest score at a pixel counts, 0 where a window does not reach: P = softmax(max_i G_i).
    Windows are cut from images that are scaled to short_side already: a small window is enlarged again and shows no
    more detail than they. Raises ValueError for windows below 1.

    The paper takes the 50 best of edge boxes' proposals; the authors' code those of 112 pixels and more, cut from the
    picture in its own size. EDeconvNet, an ensemble with FCN-8s, and the dense CRF after it are not here.

    Reference: Noh et al. 2015, sec. 5.1, eq. 1.
    """

    def __init__(self, network: DeconvNet, classes: Sequence[str], options: Options):
        whole_numbers(self, windows=options.windows)
        super().__init__(network, classes, options)

    def stages(self) -> tuple[Stage, ...]:
        """The two of sec. 4.2, or one on whole pictures."""
        return TWO_STAGES if self.options.two_stages else super().stages()

    def predict(self, images) -> np.ndarray:
        """(N, C, H, W): the probability of each class at each pixel."""
        counts = self.options.windows
        if not counts:
            return super().predict(images)
        (h, w), side = images.shape[2:], self.options.short_side
        greatest = None
        for rows, columns in grid_windows(h, w, counts):
            part = images[:, :, rows, columns]
            scores = _bilinear(self(_bilinear(part, (side, side))), part.shape[2:])
            if greatest is None:
                xp = array_module(scores)
                greatest = xp.full((*scores.shape[:2], h, w), -np.inf, scores.dtype)
                reached = xp.zeros((h, w), np.int64)
            greatest[:, :, rows, columns] = xp.maximum(greatest[:, :, rows, columns], scores)
            reached[rows, columns] += 1
        count = len(grid_windows(h, w, counts))
        return probabilities(xp.where(reached < count, xp.maximum(greatest, 0), greatest))


def grid_windows(height: int, width: int, counts: Sequence[int]) -> list[tuple[slice, slice]]:
    """(rows, columns) of n x n windows for each n of counts; each is 2 / (n + 1) of the image high and wide.

    Neighbours overlap by half.
    """

    def parts(size, n):
        step = size / (n + 1)
        return [slice(int(i * step), -int(-(i + 2) * step // 1)) for i in range(n)]

    return [both for n in counts for both in product(parts(height, n), parts(width, n))]


def _bilinear(x, size):
    return Upsample2d(size, mode="bilinear", align_corners=False)(x)


# Sec. 6.1: batches of 64, rate 0.01, divided by 10 when validation no longer improved. The authors' solvers: 20,000
# batches, divided at 9,000 and 18,000: 6 epochs of the paper's 0.2 million crops, but 870 of one crop from each of
# VOC's 1,464 training pictures. Second stage: 40,000 batches, divided every 10,000.
RECIPE = {
    "data": "voc", "epochs": 870, "batch_size": 64, "lr": 0.01, "weight_decay": 0.0005, "milestones": [0.45, 0.9],
    "warm_up": 0, "clip_norm": 0.0,
}  # fmt: skip
TWO_STAGES = (
    Stage("objects", {"crop_objects": "objects"}),
    Stage("proposals", {"crop_objects": "proposals", "epochs": 1740, "milestones": [0.25, 0.5, 0.75]}),
)
SMALL = ON_SHAPES | {"epochs": 4}  # from random weights within minutes
TABLE = {"system": "DeconvNet", "paper": "Noh et al. 2015, arXiv:1505.04366"}
TINY = Tiny({"width": 2, "hidden": 3, "bottleneck": 3, "depth": 2}, scenes=1, size=(32, 32))
TINY_SMALL = Tiny({"width": 2, "hidden": 3, "bottleneck": 2, "depth": 2}, scenes=1, size=(32, 32))


@register(
    "deconvnet_small", "segmentation", SMALL, options=SmallOptions, tiny=TINY_SMALL,
    figures="mIoU 0.911 on generated scenes", **TABLE,
)  # fmt: skip
@register("deconvnet", "segmentation", RECIPE, options=Options, tiny=TINY, **TABLE)
def deconvnet(classes, options: Options, rng: np.random.Generator) -> ProposalClassifier:
    """DeconvNet: 251,805,653 parameters for VOC's 21 classes, "approximately 252M" (sec. 6.1)."""
    o = options
    network = DeconvNet(len(classes), o.width, o.hidden, o.bottleneck, o.depth, o.unpool, rng=rng)
    return ProposalClassifier(network, classes, options)
