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
        """Blocks (by number) that can be swapped: those of a stage whose shortcut is x itself."""
        runs = [[]]
        for number, index in enumerate(self.blocks):
            if keeps_shape(self.layers[index]):
                runs[-1].append(number)
            else:
                runs.append([])
        return [run for run in runs if run]


def layers_of(block: ResidualBlock) -> list[Layer]:
    """The layers of a block, the sum F(x) + shortcut(x) being one of them: before it what is in front of its fork."""
    return list(block.body) if isinstance(block.body, Sequential) else [block.body]


def residual_of(block: ResidualBlock) -> Residual | None:
    """The sum F(x) + shortcut(x) of a block, None in a plain one."""
    return next((layer for layer in layers_of(block) if isinstance(layer, Residual)), None)


def keeps_shape(block: ResidualBlock) -> bool:
    """Whether the input of a block has the shape of its output."""
    first, last = block["conv1"], block[max(name for name in block.named if name.startswith("conv"))]
    strides = {block[name].geometry.stride for name in block.named if name.startswith("conv")}
    return first.in_channels == last.out_channels and strides == {(1, 1)}


def left_of(block: ResidualBlock) -> Sequential:
    """What is left of a block without its F: the shortcut, what is before and behind the sum; of a plain one nothing.

    ValueError for a plain block that changes the shape: it has nothing to leave.
    """
    residual = residual_of(block)
    if residual is None:
        if not keeps_shape(block):
            raise ValueError("left_of: a plain block that changes the shape cannot be deleted")
        return Sequential()
    kept = (residual.shortcut if layer is residual else layer for layer in layers_of(block))
    return Sequential(*(layer for layer in kept if layer is not None))  # None: the shortcut is x itself


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
    Adds to the gradients of the parameters.

    Reference: Veit et al. 2016, sec. 5, fig. 6.
    """
    through, caches = {*through}, []
    for layer in unrolled.layers:
        images, cache = layer.forward(images, training=False)
        caches.append(cache)
    d, number = dlogits, len(unrolled.blocks)
    for i in reversed(range(unrolled.blocks[0], len(unrolled.layers))):
        if i in unrolled.blocks:
            number -= 1
            d = along(unrolled.layers[i], d, caches[i], number in through)
        else:
            d = unrolled.layers[i].backward(d, caches[i])
    return float(array_module(d).sqrt((d * d).sum(axis=(1, 2, 3))).mean())


def along(block: ResidualBlock, dy: np.ndarray, cache, through: bool) -> np.ndarray:
    """The gradient of a block's input along one of its two ways: through F, or through the shortcut."""
    layers = layers_of(block)
    caches = cache if isinstance(block.body, Sequential) else [cache]
    for layer, own in zip(reversed(layers), reversed(caches)):
        if not isinstance(layer, Residual):
            dy = layer.backward(dy, own)
            continue
        c_body, c_shortcut = own
        if through:
            dy = layer.body.backward(dy, c_body)
        elif layer.shortcut is not None:
            dy = layer.shortcut.backward(dy, c_shortcut)
    return dy
