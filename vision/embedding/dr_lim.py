"""DrLIM: a convolutional network that draws a map, trained on pairs that should lie close together or apart.

Which pairs are similar may come from labels, from neighbours in pixel space, or from known changes of an image such as
shifts: then no labels are needed, and the map ignores the change.

Reference: Hadsell, Chopra and LeCun 2006, Dimensionality reduction by learning an invariant mapping.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nn import AvgPool2d, Conv2d, Flatten, Linear, Sequential, Tanh, contrastive
from nn.layer import positive
from vision.classification.mnist_networks import Grey
from vision.embedding.embedder import Embedder, SquareOptions, TwinCache, twins
from vision.registry import Tiny, register
from vision.sampling import Sampling

C1, S2 = 6, 3  # sides of the first kernels and of the subsampling: 32 -> 27 -> 9


@dataclass(frozen=True)
class Options(SquareOptions):
    """Images of 28x28 stand in 32x32: the border is black."""

    dimensions: int = 2  # of the map
    margin: float = 1.0  # distance at which dissimilar pairs no longer push each other apart
    pairs: Literal["labels", "neighbours"] = "neighbours"  # where similar pairs come from; neighbours: no labels
    similar: float = 0.5  # share of similar pairs in a batch
    nearest: int = 5  # neighbours of an image in pixel space
    width: int = 15  # feature maps of the first convolution; the second has twice as many


# No mirroring or jitter: the data says what is to be ignored.
RECIPE = {
    "data": "mnist", "epochs": 20, "batch_size": 128, "optimiser": "adam", "lr": 0.001, "weight_decay": 0.0,
    "schedule": "polynomial", "warm_up": 0, "flip_horizontal": 0.0, "jitter": 0.0,
}  # fmt: skip


@register(
    "dr_lim", "embedding", RECIPE, options=Options, tiny=Tiny({"width": 3}, scenes=8, size=(32, 32)),
    system="DrLIM", paper="Hadsell, Chopra and LeCun 2006",
    figures="shifted 4 and 9 without labels: of the ten nearest of other images, 20.5 % have the same of 5 shifts; "
    "a digit that turns: a cylinder in 3-D, the angle read in a plane of it to 5.4 degrees",
)  # fmt: skip
class DrLIM(Embedder):
    """images (N, 3, S, S) to a map (N, dimensions): 6x6 convolution, 3x3 subsampling, one over all, a linear layer."""

    smallest_batch = 2

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        positive("dr_lim", dimensions=options.dimensions, width=options.width)
        if not 0 <= options.similar <= 1:
            raise ValueError(f"dr_lim: similar must be in 0..1, got {options.similar}")
        preprocess = options.preprocess(resize="square", multiple=32)
        side, width = -(-options.short_side // 32) * 32, options.width
        self.sampling = Sampling(options.pairs, similar=options.similar, nearest=options.nearest)
        last = (side - C1 + 1) // S2  # 9: the second convolution sees the whole map, C3
        layers = Grey(side), Conv2d(1, width, C1, rng=rng), Tanh(), AvgPool2d(S2)  # C1, S2
        layers += Conv2d(width, 2 * width, last, rng=rng), Tanh(), Flatten()  # C3
        layers += (Linear(2 * width, options.dimensions, bias=False, rng=rng),)  # a bias is in both twins: no matter
        network = Sequential(*layers)
        super().__init__(network, classes, options, preprocess)

    def loss(self, batch, rng, sampled=None):
        """({contrastive}, cache): the twins are one network, applied to both images of each pair."""
        first, second, similar = twins(batch)
        x1, c_first = self.forward(first)
        x2, c_second = self.forward(second)
        value, (dx1, dx2) = contrastive(x1, x2, similar, self.options.margin)
        return {"contrastive": value}, TwinCache(c_first, c_second, dx1, dx2)

    def backward(self, cache: TwinCache):
        """Add the gradients of the loss to all parameters: those of the two passes add up."""
        self.network.backward_parameters(cache.dsecond, cache.second)
        self.network.backward_parameters(cache.dfirst, cache.first)
