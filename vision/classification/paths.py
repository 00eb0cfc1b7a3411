"""A residual network as an ensemble of 2^n paths: blocks deleted and swapped, and the gradient along single paths.

Unrolled, y = x + F1(x) + F2(x + F1(x)) and so on: with n blocks there are 2^n paths from the input to the output, and
deleting a block removes half of them, not all as in a network without shortcuts.

Reference: Veit et al. 2016, Residual networks behave like ensembles of relatively shallow networks, arXiv:1605.06431.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from nn import Residual, Sequential
from nn.dispatch import array_module
from nn.layer import Layer
from vision.backbones.residual import ResidualBlock
from vision.classification.classifier import ClassificationNetwork


class Unrolled:
    """The layers of a classifier one after another, its residual blocks among them: stages are taken apart.

    layers: all of them; blocks: the indices of the blocks among them, in order.
    """

    def __init__(self, network: ClassificationNetwork):
        self.layers = []
        for _, layer in network.backbone.children():
            stage = isinstance(layer, Sequential) and len(layer) and isinstance(layer[0], ResidualBlock)
            self.layers += [layer[i] for i in range(len(layer))] if stage else [layer]
        self.layers += [network.head[i] for i in range(len(network.head))]
        self.blocks = [i for i, layer in enumerate(self.layers) if isinstance(layer, ResidualBlock)]
        if not self.blocks:
            raise ValueError("Unrolled: the network has no residual blocks")

    def without(self, deleted: Iterable[int]) -> Sequential:
        """The network without some of its blocks (by number): of each only the shortcut is left."""
        layers = list(self.layers)
        for number in deleted:
            layers[self.blocks[number]] = left_of(layers[self.blocks[number]])
        return Sequential(*layers)

    def reordered(self, order: Sequence[int]) -> Sequential:
        """The network with block order[i] in the position of block i."""
        layers = list(self.layers)
        for position, number in zip(self.blocks, order, strict=True):
            layers[position] = self.layers[self.blocks[number]]
        return Sequential(*layers)

    def same_shape(self) -> list[list[int]]:
        """Blocks (by number) that can change places: those of a stage whose shortcut is x itself."""
        runs = [[]]
        for number, index in enumerate(self.blocks):
            if keeps_shape(self.layers[index]):
                runs[-1].append(number)
            else:
                runs.append([])
        return [run for run in runs if run]


def residual_of(block: ResidualBlock) -> Residual | None:
    """The sum F(x) + shortcut(x) of a block, None in a plain one."""
    sums = [layer for layer in getattr(block.body, "_layers", [block.body]) if isinstance(layer, Residual)]
    return sums[0] if sums else None


def keeps_shape(block: ResidualBlock) -> bool:
    """Whether the input of a block has the shape of its output."""
    first, last = block["conv1"], block[max(name for name in block.named if name.startswith("conv"))]
    strides = {block[name].geometry.stride for name in block.named if name.startswith("conv")}
    return first.in_channels == last.out_channels and strides == {(1, 1)}


def left_of(block: ResidualBlock) -> Layer:
    """What is left of a block without its F: the shortcut, x itself where that has no layer, and always in a plain net.

    The ReLU after the addition changes nothing: the input is not negative, being behind one. ValueError for a plain
    block that changes the shape: it has nothing to leave.
    """
    residual = residual_of(block)
    if residual is None and not keeps_shape(block):
        raise ValueError("left_of: a plain block that changes the shape cannot be deleted")
    return Sequential() if residual is None or residual.shortcut is None else residual.shortcut


def kendall_tau(order: Sequence[int]) -> float:
    """The correlation of an order with 0, 1, 2, ...: pairs in their order less those exchanged, over all pairs."""
    order = np.asarray(order)
    ahead = np.triu(np.sign(order[None, :] - order[:, None]), 1)
    return float(ahead.sum() / (len(order) * (len(order) - 1) / 2))


def swapped(groups: Sequence[Sequence[int]], count: int, swaps: int, rng: np.random.Generator) -> list[int]:
    """0 .. count - 1, after so many exchanges of two random members of a random group."""
    order, large = list(range(count)), [group for group in groups if len(group) > 1]
    for _ in range(swaps):
        a, b = rng.choice(large[rng.integers(len(large))], 2, replace=False)
        order[a], order[b] = order[b], order[a]
    return order


def path_gradient(unrolled: Unrolled, images: np.ndarray, dlogits: np.ndarray, through: Iterable[int]) -> float:
    """The norm of dL/dx along one path: through F in the blocks `through` (numbers), through the shortcut elsewhere.

    x is the input of the first block, the mean norm over the images; the forward pass is that of the whole network.
    Blocks are of the form relu(F(x) + shortcut(x)). Adds to the gradients of the parameters.

    Reference: Veit et al. 2016, sec. 5, fig. 6.
    """
    through, caches = {*through}, []
    for layer in unrolled.layers:
        images, cache = layer.forward(images, training=False)
        caches.append(cache)
    d, number = dlogits, len(unrolled.blocks)
    for i in reversed(range(unrolled.blocks[0], len(unrolled.layers))):
        if i not in unrolled.blocks:
            d = unrolled.layers[i].backward(d, caches[i])
            continue
        number -= 1
        residual, relu = unrolled.layers[i].body
        (c_body, c_shortcut), c_relu = caches[i]
        d = relu.backward(d, c_relu)
        if number in through:
            d = residual.body.backward(d, c_body)
        elif residual.shortcut is not None:
            d = residual.shortcut.backward(d, c_shortcut)
    return float(array_module(d).sqrt((d * d).sum(axis=(1, 2, 3))).mean())
