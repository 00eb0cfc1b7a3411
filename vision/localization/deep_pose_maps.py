"""DeepPose on the maps of a frozen network, which are computed once for each picture and its mirror image.

Later stages cut their crops out of the map, not out of the picture, and see them in its cells. Training then costs
little more than its fully connected layers, and some hundred people can be looked at for many epochs. It takes one of
both views at random, and of that for the first network a random window; after each stage an estimate is the mean of
both views, as the two sides of a person look alike.

Reference: Toshev and Szegedy 2014, DeepPose, arXiv:1312.4659; features of a map in place of those of crops: Girshick
2015, Fast R-CNN, arXiv:1504.08083, sec. 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from nn import AffineGrid, BatchNorm2d, GridSample
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import positive
from vision.backbones import Remembered
from vision.localization.deep_pose import ABOUT, RECIPE, DeepPose, Regressor, Simulated
from vision.localization.deep_pose_options import Options
from vision.localization.trunk import BACKBONES
from vision.localization.two_views import TwoViews
from vision.localization.windows import Windows, cut
from vision.model import Stage
from vision.registry import Tiny, register


@dataclass(frozen=True)
class MapOptions(Options):
    """On the published EfficientNet-Lite0, a map of 16x12 cells."""

    backbone: Literal["small_cnn", "squeezenet", "alexnet", "efficientnet_lite0"] = "efficientnet_lite0"  # the CNN
    frozen: str = "stage5"  # stage of the CNN whose map is looked at; all up to it is frozen
    crop: int = 8  # cells of both sides of a crop as its network sees it
    move: float = 0.25  # the first network learns from windows of 1 - move to 1 + move times the size, off centre
    coarse: int = 2  # and sees them in cells of so many cells of the map
    spread: float = 2.0  # standard deviations of simulated errors, in units of those measured on the training pictures
    channels: int = 32  # of the 1x1 convolution before the fully connected layers
    hidden: int = 256  # units of the fully connected layers
    dropout: float = 0.1  # before and behind the fully connected layer
    height: int = 256  # pixels of the picture
    breadth: int = 192  # pixels of its width
    mean: float | tuple[float, float, float] = 127.0  # subtracted from each channel, in units of 0..255
    std: float | tuple[float, float, float] = 128.0  # then each channel is divided by this


class Drawn(NamedTuple):
    """What is looked at of N people: turned (N,), 1 for the mirror image; windows of scale (N,) times the picture, off
    its middle by shift (N, 2) pixels; simulated: the crops of a later stage."""

    turned: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    simulated: Simulated | None = None


class DeepPoseOnMaps(DeepPose):
    """The cascade on features (N, 2, F): see TwoViews. `sampled` of both losses is a Drawn."""

    def make_networks(self, sizes, rng) -> list[Regressor]:
        """A regressor of the whole map, and one of crops for each later stage."""
        o, names, count = self.options, list(self.classes), len(self.classes)
        positive(self, coarse=o.coarse)
        if not 0 <= o.move < 1:
            raise ValueError(f"DeepPoseOnMaps: move must be from 0 on and below 1, got {o.move}")
        backbone = BACKBONES[o.backbone](o.width, rng=rng)
        self.views = TwoViews(backbone, sizes[0], o.frozen)
        self.features = Remembered(self.views)
        others = [other_side(name) for name in names]
        self.swapped = [names.index(other if other in names else name) for name, other in zip(names, others)]
        channels, h, w = self.views.shape
        shapes = [(channels, h // o.coarse, w // o.coarse)] + [(channels, *size) for size in sizes[1:]]
        return [Regressor(count, BatchNorm2d(channels, affine=False), shape, o, rng=rng) for shape in shapes]

    def stages(self) -> tuple[Stage, ...]:
        """As DeepPose; no network has a CNN of its own, to be trained at a rate of its own."""
        first, *later = super().stages()
        return replace(first, recipe={}), *(stage if stage.fit else replace(stage, recipe=LATER) for stage in later)

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Published weights of the CNN, and one's own of this model."""
        return self.views.names_of(arrays, self.state_dict())

    def loss(self, batch, rng, sampled: Drawn | None = None):
        """({pose}, cache): see DeepPose; of a window of one view of each picture."""
        drawn = sampled or self.drawn(batch, rng)
        maps, points, seen = self.one_view(batch, drawn.turned)
        xp = array_module(maps)
        middle = xp.asarray((self.options.breadth, self.options.height), points.dtype) / 2
        points = middle + (points - middle - drawn.shift[:, None]) / drawn.scale[:, None, None]
        losses, cache = super().loss((self.window(maps, drawn), points.astype(maps.real.dtype), seen), rng)
        return losses, cache._replace(sampled=drawn)

    def refine_loss(self, batch, rng, sampled: Drawn | None = None):
        """({offset}, cache): see DeepPose; of one view of each picture."""
        drawn = sampled or self.drawn(batch, rng)
        losses, cache = super().refine_loss(self.one_view(batch, drawn.turned), rng, drawn.simulated)
        return losses, cache._replace(sampled=drawn._replace(simulated=cache.sampled))

    def drawn(self, batch, rng) -> Drawn:
        """One of both views of each picture of a batch, and a window of it."""
        o, n = self.options, len(batch[0])
        reach = o.move / 4 * np.array((o.breadth, o.height))
        drawn = rng.integers(0, 2, n), rng.uniform(1 - o.move, 1 + o.move, n), rng.uniform(-1, 1, (n, 2)) * reach
        return Drawn(*to_device(drawn, device_of(batch[0])))

    def window(self, maps, drawn: Drawn):
        """(N, D, h / coarse, w / coarse): the windows of maps (N, D, h, w)."""
        xp, o = array_module(maps), self.options
        theta = xp.zeros((len(maps), 2, 3), maps.real.dtype)
        theta[:, 0, 0] = theta[:, 1, 1] = drawn.scale
        theta[:, :, 2] = 2 * drawn.shift / xp.asarray((o.breadth, o.height))
        size = tuple(side // o.coarse for side in maps.shape[2:])
        return GridSample()(maps, AffineGrid(size)(theta))

    def first(self, maps):
        """points (N, J, 2) of the first network, which sees all of the picture."""
        xp, n = array_module(maps), len(maps)
        return super().first(self.window(maps, Drawn(xp.zeros(n), xp.ones(n), xp.zeros((n, 2)))))

    def one_view(self, batch, turned):
        """(maps (N, D, h, w), points (N, J, 2), seen (N, J)) of these views of a batch."""
        features, points, seen = batch
        xp = array_module(features)
        maps, _ = self.views.split(features[xp.arange(len(features)), turned])
        points = xp.where(turned[:, None, None] == 1, self.mirrored(points), points)
        return maps, points, xp.where(turned[:, None] == 1, seen[:, xp.asarray(self.swapped)], seen)

    def mirrored(self, points):
        """points (N, J, 2) in the mirror image, where left and right have changed their names."""
        xp = array_module(points)
        flipped = xp.stack([self.options.breadth - points[..., 0], points[..., 1]], axis=-1)
        return flipped[:, xp.asarray(self.swapped)]

    def estimates(self, features, stages: int):
        """(N, stages, J, 2): the points after each of the first stages, means over both views, in pixels."""
        one, other = (self.views.split(features[:, view])[0] for view in (0, 1))
        found = [(self.first(one) + self.mirrored(self.first(other))) / 2]
        for network in self.networks[1:stages]:
            there = self.mirrored(self.refined(network, other, self.mirrored(found[-1])))
            found.append((self.refined(network, one, found[-1]) + there) / 2)
        return array_module(features).stack(found, axis=1)

    def cut(self, maps, crops: Simulated):
        """(M, D, crop, crop): the squares around the points, which are in the picture's pixels."""
        scale = maps.shape[3] / self.options.breadth  # cells a pixel
        windows = Windows(crops.image, crops.centre * scale, crops.side * scale)
        return cut(maps, windows, self.options.crop)

    def predict(self, features):
        """(N, S, J, 2): the points after each stage that is trained, in the pictures' pixels."""
        return self.estimates(features, int(self.current) + 1)


def other_side(name: str) -> str:
    """The name of the same point on the other side: left for right, and right for left."""
    return name.replace("left", "\0").replace("right", "left").replace("\0", "right")


LATER = {"epochs": 25}
ON_MAPS = RECIPE | {
    "epochs": 80, "batch_size": 32, "weight_decay": 0.01, "flip_horizontal": 0.0, "jitter": 0.0, "zoom": [1.0, 1.0],
}  # fmt: skip

register(
    "deep_pose_maps", "pose", ON_MAPS, options=MapOptions,
    tiny=Tiny(
        {
            "backbone": "small_cnn", "width": 1, "frozen": "conv2", "height": 32, "breadth": 32, "crop": 3, "crops": 2,
            "channels": 3, "hidden": 6, "cascade": 2, "dropout": 0.2,
        }, scenes=3, size=(32, 32),
    ),
    **ABOUT,
    figures="93 people of COCO, PCK@0.2 of the shorter side by stage 0.552, 0.628, 0.635 (mean pose 0.363)",
)(DeepPoseOnMaps)  # fmt: skip
