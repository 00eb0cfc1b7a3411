"""A classification network cut into stages, for segmenters, detectors and captioners to stand on."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from nn import BatchNorm2d, Sequential
from nn.layer import Layer


class FeatureMap(NamedTuple):
    """The output of a stage."""

    end: int  # layers of `features` up to here
    channels: int
    stride: int  # pixels of the image a cell


class Backbone(Layer):
    """A network whose `features` are layers one after another, in stages that have names, channels and strides.

    stages: {name: FeatureMap}, in the order of the network. Subclasses say what their own forward gives.
    """

    def __init__(self, features: Sequential, stages: Mapping[str, FeatureMap]):
        self.features, self.stages = features, dict(stages)

    def cut(self, *names: str) -> list[Sequential]:
        """The layers up to the end of the first stage named, from there to that of the second, and so on.

        They are the same layer objects. Raises ValueError unless the names are stages, in their order.
        """
        if not names or [*names] != [name for name in self.stages if name in names]:
            known = ", ".join(self.stages)
            raise ValueError(f"{type(self).__name__}: cuts must be some of {known}, in this order, got {list(names)}")
        return [self.features[a:b] for a, b in pairwise([0, *(self.stages[name].end for name in names)])]


def freeze_cancelled(layers: Sequential) -> Sequential:
    """The layers; biases before a batch normalisation, which subtracts them again, are no longer trained.

    Published weights of such networks have these biases, so the networks here have them, too.
    """
    for layer, following in pairwise(layers):
        if isinstance(following, BatchNorm2d) and layer.bias is not None:
            layer.bias.trainable = False
    return layers
