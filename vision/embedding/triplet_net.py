"""FaceNet's triplets: vectors of length 1, in which an anchor is closer to its class than to any other, by a margin.

Reference: Schroff, Kalenichenko and Philbin 2015, FaceNet: a unified embedding for face recognition and clustering,
arXiv:1503.03832.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import L2Norm, Linear, Sequential, triplet
from nn.dispatch import array_module
from nn.layer import positive
from nn.losses.mining import Triplets, hard, semi_hard
from vision.embedding.embedder import Embedder, SquareOptions
from vision.embedding.siamese_one_shot import four_blocks
from vision.registry import Tiny, register
from vision.sampling import Sampling


@dataclass(frozen=True)
class Options(SquareOptions):
    """Images are squares of short_side = max_side pixels."""

    dimensions: int = 32  # of the embedding
    margin: float = 0.2  # by which the squared distance to a negative should be larger
    mining: Literal["semi_hard", "hard", "random"] = "semi_hard"  # which triplets are used; random: drawn, not mined
    images_per_class: int = 8  # K: a batch to mine in holds batch_size / K classes with K images each
    width: int = 32  # channels of each convolution
    colour: bool = True  # false: the network sees the mean of the three channels, as is enough for characters


class Cache(NamedTuple):
    """From loss to backward. `sampled`, the triplets, are constants: a gradient check reuses them."""

    network: Any
    dembeddings: np.ndarray
    sampled: Triplets


RECIPE = {
    "data": "mnist", "epochs": 10, "batch_size": 80, "optimiser": "adam", "lr": 0.001, "weight_decay": 0.0001,
    "schedule": "cosine", "flip_horizontal": 0.0, "jitter": 0.0,
}  # fmt: skip
TINY = {"width": 2, "dimensions": 5, "short_side": 32, "max_side": 32, "margin": 2.0}


@register(
    "triplet_net", "embedding", RECIPE, options=Options, tiny=Tiny(TINY, scenes=8, size=(32, 32)),
    system="Triplet network", paper="Schroff et al. 2015, arXiv:1503.03832",
    figures="MNIST in 32-D: nearest neighbour error 1.03 %; Omniglot from 5 alphabets: one-shot error 15.2 %",
)  # fmt: skip
class TripletNetwork(Embedder):
    """images (N, 3, S, S) to vectors (N, dimensions) of length 1, by four blocks of convolution and a linear layer.

    FaceNet's own networks are a Zeiler and Fergus net and an Inception net on faces; the loss is the same here.
    """

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        o = options
        positive("triplet_net", dimensions=o.dimensions, width=o.width, images_per_class=o.images_per_class)
        self.sampling = Sampling("triplets" if o.mining == "random" else "classes", images=o.images_per_class)
        layers, size = four_blocks(o.short_side, o.width, rng, o.colour)
        length = L2Norm(o.dimensions, scale=1.0)
        length.weight.trainable = False  # ||f(x)|| = 1, sec. 3.1
        super().__init__(Sequential(*layers, Linear(size, o.dimensions, rng=rng), length), classes, options)

    def loss(self, batch, rng, sampled: Triplets | None = None):
        """({triplet}, cache): over the triplets mined in the batch, of eq. 3; 0 where there is none."""
        images, labels, _ = batch
        x, c_network = self.forward(images)
        sampled = sampled or self.mine(x, labels)
        a, p, n = sampled
        value, slopes = triplet(x[a], x[p], x[n], self.options.margin)
        dx = array_module(x).zeros_like(x)
        for index, slope in zip(sampled, slopes):
            array_module(x).add.at(dx, index, slope)  # an image is in many triplets: its gradients add up
        return {"triplet": value}, Cache(c_network, dx, sampled)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to all parameters."""
        self.network.backward_parameters(cache.dembeddings, cache.network)

    def mine(self, x, labels) -> Triplets:
        """The triplets of the batch, by the option `mining`; random: images 0, 1, 2, then 3, 4, 5, as drawn."""
        if self.options.mining == "random":
            first = array_module(x).arange(0, len(x) - 2, 3)
            return Triplets(first, first + 1, first + 2)
        return hard(x, labels) if self.options.mining == "hard" else semi_hard(x, labels, self.options.margin)
