"""Backbone: a classification network without its head, cut into named stages."""

from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np

from nn import BatchNorm2d, Sequential
from nn.layer import Layer, check_shape


class FeatureMap(NamedTuple):
    """The output of a stage."""

    end: int  # layers of the network up to here
    channels: int
    stride: int  # pixels of the image a cell


class Cache(NamedTuple):
    """names: the stages whose maps were returned. parts: the caches of all stages up to the deepest of these."""

    names: tuple[str, ...]
    parts: list[Any]  # None where the stage is frozen


class Backbone(Layer):
    """images (N, 3, H, W) to the map of the last stage (N, out_channels, about H / stride, about W / stride).

    layers: {name: layer} in the order of the forward pass. The names are those of published weights and may have dots,
    such as features.0. stages: {name: FeatureMap} in the same order; the last one ends with the network.

    names: of the stages. channels, strides: {stage: those of its map}. out_channels, stride: those of the last map.
    parts: {stage: its own layers}; body: all layers.

    forward_stages gives the maps of several stages. They fork, so their gradients add up on the way back:

        (finer, coarser), cache = backbone.forward_stages(images, names=("layer3", "layer4"))
        dimages = backbone.backward_stages((dfiner, dcoarser), cache)

    freeze("layer1") freezes all stages up to layer1: forward is inference there and keeps no cache, and backward stops
    above them and returns None, not the gradient of the images. Where the gradient of the images is not wanted, as in
    training, backward_parameters and backward_stages(..., images=False) end with the lowest trainable layer.

    Raises ValueError for stages that are out of order or do not end with the last layer, and for unknown names.
    """

    def __init__(self, layers: Mapping[str, Layer], stages: Mapping[str, FeatureMap]):
        ends = [stage.end for stage in stages.values()]
        if not ends or ends != sorted({*ends}) or ends[0] < 1 or ends[-1] != len(layers):
            wanted = f"must rise from 1 at least to the number of layers, {len(layers)}"
            raise ValueError(f"{type(self).__name__}: the ends of stages {wanted}, got {ends}")
        self.layer_names, self.body, self.stages, self.frozen = tuple(layers), Sequential(*layers.values()), stages, 0
        self.parts = {name: self.body[a:b] for name, (a, b) in zip(stages, pairwise([0, *ends]))}
        self.names = tuple(stages)
        self.channels = {name: stage.channels for name, stage in stages.items()}
        self.strides = {name: stage.stride for name, stage in stages.items()}
        _, self.out_channels, self.stride = stages[self.names[-1]]

    def children(self):
        """All layers by their names."""
        return zip(self.layer_names, self.body)

    def __getitem__(self, name: str) -> Layer:
        """The layer of a name."""
        return self.body[self.layer_names.index(name)]

    def forward(self, x, training=True):
        (y,), cache = self.forward_stages(x, training, self.names[-1:])
        return y, cache

    def backward(self, dy, cache):
        return self.backward_stages((dy,), cache)

    def backward_parameters(self, dy, cache):
        self.backward_stages((dy,), cache, images=False)

    def forward_stages(
        self, x: np.ndarray, training: bool = True, names: Sequence[str] | None = None
    ) -> tuple[tuple[np.ndarray, ...], Cache]:
        """(maps of the named stages, in the order of `names`, cache). names=None: all stages.

        Stages above the deepest named one are not computed.
        """
        check_shape(self, images=(x, ("N", 3, "H", "W")))
        names = self.names if names is None else tuple(names)
        maps, cache = {}, Cache(names, [])
        for i, (name, part) in enumerate(islice(self.parts.items(), self._count(names))):
            x, c = (part(x), None) if i < self.frozen else part.forward(x, training)
            cache.parts.append(c)
            if name in names:
                maps[name] = x
        return tuple(maps[name] for name in names), cache

    def backward_stages(
        self, dmaps: Sequence[np.ndarray | None], cache: Cache, images: bool = True
    ) -> np.ndarray | None:
        """The gradient of the images, None if stages are frozen.

        dmaps: the gradients of the maps, in the order of `names`; None for a map on which nothing depends.
        images=False: nobody wants the gradient of the images, so backward ends with the lowest trainable layer.
        """
        dx, lowest = None, self.frozen if images else self._lowest_trainable()
        for i in reversed(range(lowest, len(cache.parts))):
            for name, dmap in zip(cache.names, dmaps, strict=True):
                if name == self.names[i] and dmap is not None:
                    dx = dmap if dx is None else dx + dmap  # the map forks: gradients add up
            if dx is not None and not images and i == lowest:
                self.parts[self.names[i]].backward_parameters(dx, cache.parts[i])
            elif dx is not None:
                dx = self.parts[self.names[i]].backward(dx, cache.parts[i])
        return dx if images and not self.frozen else None

    def _lowest_trainable(self) -> int:
        """The index of the lowest stage with a trainable parameter; how many stages there are if there is none."""
        trainable = (i for i, part in enumerate(self.parts.values()) if i >= self.frozen and part.is_trainable())
        return next(trainable, len(self.parts))

    def freeze(self, last: str):
        """Stop training the stages up to `last`: no gradient, no cache, no backward."""
        self.frozen = max(self.frozen, self._count([last]))
        for part in islice(self.parts.values(), self.frozen):
            for parameter in part.parameters().values():
                parameter.trainable = False

    def stop_below_trained(self):
        """Freeze the first stages, as far as none of their parameters is trainable."""
        for name, part in self.parts.items():
            if any(parameter.trainable for parameter in part.parameters().values()):
                return
            self.freeze(name)

    def up_to(self, last: str) -> "Backbone":
        """A backbone of the same layer objects that ends with the stage `last`."""
        count = self._count([last])
        stages = dict(islice(self.stages.items(), count))
        cut = Backbone(dict(islice(self.children(), stages[last].end)), stages)
        cut.frozen = min(self.frozen, count)
        return cut

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Published weights of this network under the names of its layers."""
        return arrays

    def _count(self, names: Sequence[str]) -> int:
        """How many stages there are up to the deepest of `names`."""
        for name in names:
            if name not in self.stages:
                known = ", ".join(self.stages)
                raise ValueError(f"{type(self).__name__}: there is no stage {name!r}, choose from {known}")
        return max(map(self.names.index, names), default=-1) + 1


def freeze_cancelled(layers: Sequential) -> Sequential:
    """The layers; biases before a batch normalisation, which subtracts them again, are no longer trained.

    Published weights of such networks have these biases, so the networks here have them, too.
    """
    for layer, following in pairwise(layers):
        if isinstance(following, BatchNorm2d) and layer.bias is not None:
            layer.bias.trainable = False
    return layers
