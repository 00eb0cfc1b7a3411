r"""DeconvNet: VGG-16 whole, its fully connected layers as a 7x7 bottleneck, and all of it mirrored.

Training has two stages (sec. 4.2): first crops with an object in their middle, all else background; then crops round
proposals, with all that is seen in them. So it has two runs here, --crop-objects none being a third stage on whole
pictures, or the only one. An epoch takes one crop, drawn anew, from each picture (see datasets/object_crops.py):

    python -m scripts.train --model deconvnet_small --crop-objects objects --run-dir runs/stage1
    python -m scripts.train --model deconvnet_small --crop-objects proposals --pretrained runs/stage1 \
        --set windows=[1,2] --run-dir runs/stage2

Other than in the authors' training: their crops are scaled to 250 x 250, of which each step takes 224 x 224 at random,
here they are scaled to the net's input at once; their proposals are edge boxes. Other than in their inference: see
ProposalClassifier.

Reference: Noh, Hong and Han 2015, Learning deconvolution network for semantic segmentation, arXiv:1505.04366.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from nn import BatchNorm2d, Conv2d, ConvTranspose2d, ReLU, Sequential, Upsample2d
from nn.dispatch import array_module
from nn.layer import check_shape, positive
from vision.backbones.vgg import VGG
from vision.classification.classifier import complete
from vision.registry import register
from vision.segmentation.encoder_decoder import (
    EncoderDecoder,
    block,
    blocks,
    freeze_cancelled,
    mirrored,
    of_plain_vgg,
    widened,
)
from vision.segmentation.fcn import convolutional
from vision.segmentation.pixel_classifier import ON_SHAPES, OPTIONS, PixelClassifier, probabilities, whole_numbers


class DeconvNet(EncoderDecoder):
    """images (N, 3, H, W) to logits (N, classes, H, W): 224x224 become 7x7, 1x1, 7x7 and 224x224 again (table 2).

    bottleneck: 7, the kernel of fc6, which goes over to 1x1, and of its mirror image; larger images give more than one
    cell there, 2^depth (bottleneck - 1) + 1 pixels at least are needed. hidden: the channels of fc6 and fc7, 4096
    there. width, depth: see SegNet. Batch normalisation and ReLU after each layer but the last. The convolutions stand
    in `features` and `classifier` under the numbers of torchvision's vgg16_bn, whose weights fit, as do its vgg16's:
    the authors began with these. New weights are He's (theirs were normal, std 0.01). unpool: see Unpool2d; the
    paper's is "max". Raises ValueError for images that are too small.
    """

    smallest_batch = 2  # one image of the least size is one cell in fc6, and nothing to normalise with

    def __init__(
        self, classes: int, width: int = 64, hidden: int = 4096, bottleneck: int = 7, depth: int = 5,
        unpool: str = "max", *, rng: np.random.Generator,
    ):  # fmt: skip
        positive(self, classes=classes, width=width, hidden=hidden, bottleneck=bottleneck, depth=depth)
        super().__init__(unpool)
        self.bottleneck, plan = bottleneck, widened(width, depth)
        deepest = plan[-2]
        self.least = 2**depth * (bottleneck - 1) + 1
        self.features = freeze_cancelled(VGG(plan, batch_norm=True, rng=rng).features)
        self.encoders = blocks(self.features)
        self.classifier = self.middle = freeze_cancelled(Sequential(
            Conv2d(deepest, hidden, bottleneck, rng=rng), BatchNorm2d(hidden), ReLU(),
            Conv2d(hidden, hidden, 1, rng=rng), BatchNorm2d(hidden), ReLU(),
            ConvTranspose2d(hidden, deepest, bottleneck, rng=rng), BatchNorm2d(deepest), ReLU(),
        ))  # fmt: skip

        def layers(inputs, outputs):
            return ConvTranspose2d(inputs, outputs, 3, padding=1, rng=rng), BatchNorm2d(outputs), ReLU()

        upward = mirrored(plan)
        upward[-1].append((width, width))  # the image of conv1_1
        self.decoders = [freeze_cancelled(block(pairs, layers)) for pairs in upward]
        self.decoder = Sequential(*(layer for decoder in self.decoders for layer in decoder))
        self.score = Conv2d(width, classes, 1, rng=rng)

    def children(self):
        """features (the encoders), classifier (the bottleneck), decoder (from the deepest) and score."""
        yield "features", self.features
        yield "classifier", self.classifier
        yield "decoder", self.decoder
        yield "score", self.score

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Weights of a VGG-16, with batch normalisation or without, as this net takes them: see fcn.convolutional."""
        return convolutional(of_plain_vgg(arrays, self.features), self.bottleneck)

    def forward(self, x, training=True):
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        if min(x.shape[2:]) < self.least:
            raise ValueError(
                f"DeconvNet: images must have at least {self.least} x {self.least} pixels for a bottleneck of "
                f"{self.bottleneck} x {self.bottleneck}, got {x.shape[2:]}"
            )
        return super().forward(x, training)


class ProposalClassifier(PixelClassifier):
    """A network trained on crops of one object, that looks at an image through windows and adds up what it finds.

    Its option windows: a list of numbers n, n x n windows each, that overlap by half and cover the image together (1:
    the image itself); empty: images go in as they are. Each window is scaled to short_side x short_side, its scores
    back, and of all scores for a pixel the greatest counts, 0 where a window does not reach: P = softmax(max_i G_i).
    Windows are cut from the images as they come, which scripts have scaled to short_side already: a small one is
    enlarged again and has no more detail than they. Raises ValueError for other `windows`.

    The paper takes the 50 best of edge boxes' proposals; the authors' code, those of 112 pixels and more, cut from the
    picture in its own size. EDeconvNet, an ensemble with FCN-8s, and the dense CRF after it are not here.

    Reference: Noh et al. 2015, sec. 5.1, eq. 1.
    """

    def __init__(self, network: DeconvNet, classes: Sequence[str], options: dict):
        whole_numbers(self, windows=options["windows"])
        super().__init__(network, classes, options)

    def predict(self, images) -> np.ndarray:
        """(N, C, H, W): the probability of each class at each pixel."""
        numbers = self.hyperparameters["windows"]
        if not numbers:
            return super().predict(images)
        (h, w), side = images.shape[2:], self.hyperparameters["short_side"]
        greatest = None
        for rows, columns in grid_windows(h, w, numbers):
            part = images[:, :, rows, columns]
            scores = _bilinear(self(_bilinear(part, (side, side))), part.shape[2:])
            if greatest is None:
                xp = array_module(scores)
                greatest = xp.full((*scores.shape[:2], h, w), -np.inf, scores.dtype)
                reached = xp.zeros((h, w), np.int64)
            greatest[:, :, rows, columns] = xp.maximum(greatest[:, :, rows, columns], scores)
            reached[rows, columns] += 1
        count = len(grid_windows(h, w, numbers))
        return probabilities(xp.where(reached < count, xp.maximum(greatest, 0), greatest))


def grid_windows(height: int, width: int, numbers: Sequence[int]) -> list[tuple[slice, slice]]:
    """(rows, columns) of n x n windows for each n of numbers: sides 2 / (n + 1) of the image's, overlapping by half."""

    def parts(size, n):
        step = size / (n + 1)
        return [slice(int(i * step), -int(-(i + 2) * step // 1)) for i in range(n)]

    return [both for n in numbers for both in product(parts(height, n), parts(width, n))]


def _bilinear(x, size):
    return Upsample2d(size, mode="bilinear", align_corners=False)(x)


# Sec. 6.1: batches of 64, rate 0.01, divided by 10 when validation no longer improved. The authors' solvers: 20,000
# batches, divided at 9,000 and 18,000: 6 epochs of the paper's 0.2 million crops, but 870 of one crop from each of
# VOC's 1,464 training pictures. Second stage: 40,000, divided every 10,000: --epochs 1740 --milestones 0.25 0.5 0.75.
RECIPE = {
    "data": "voc", "epochs": 870, "batch_size": 64, "lr": 0.01, "weight_decay": 0.0005, "milestones": [0.45, 0.9],
    "warm_up": 0, "clip_norm": 0.0,
}  # fmt: skip
# From random weights within minutes: as segnet_small.
SMALL = ON_SHAPES | {"epochs": 4}


@register("deconvnet", "segmentation", recipe=RECIPE)
def deconvnet(classes, rng: np.random.Generator, **options) -> ProposalClassifier:
    """DeconvNet: 251,805,653 parameters for VOC's 21 classes, "approximately 252M" (sec. 6.1)."""
    own = {
        "width": 64, "hidden": 4096, "bottleneck": 7, "depth": 5, "unpool": "max", "windows": [], "short_side": 224,
        "max_side": 448,
    }  # fmt: skip
    return _made("deconvnet", classes, rng, options, own)


@register("deconvnet_small", "segmentation", recipe=SMALL)
def deconvnet_small(classes, rng: np.random.Generator, **options) -> ProposalClassifier:
    """A narrow DeconvNet with three poolings and a 5x5 bottleneck, for generated scenes of 64x80 and CPUs."""
    own = {
        "width": 12, "hidden": 128, "bottleneck": 5, "depth": 3, "unpool": "max", "windows": [], "short_side": 64,
        "max_side": 80,
    }  # fmt: skip
    return _made("deconvnet_small", classes, rng, options, own)


def _made(name, classes, rng, options, own):
    options = complete(name, options, **OPTIONS | own)
    sizes = {name: options[name] for name in ("width", "hidden", "bottleneck", "depth", "unpool")}
    return ProposalClassifier(DeconvNet(len(classes), **sizes, rng=rng), classes, options)
