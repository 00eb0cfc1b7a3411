"""DeepPose: the pose of a person as a regression, refined by a cascade of networks that look closer.

The first network sees the whole person and gives all J points, normalised by the image (eq. 1). Each later network sees
a crop around the last estimate of one point, of the size sigma * diam(pose), and gives by how much that point is off,
normalised by the crop (eq. 6). It is trained on simulated estimates: the true point, displaced by a Gaussian with the
mean and variance of the errors that the stage before makes on the training pictures (sec. 3.2.2). These are measured in
a round of their own between two stages of training. A crop of point i uses outputs i of the 2 J of its network.

Differences to the paper: SqueezeNet, from published convolutions, in place of AlexNet, with one hidden layer in place
of two of 4096 units, batch normalisation and Adam; diam(pose), there the torso's length, is the largest distance of two
points, as shoulders and hips are not always labelled; so sigma, there 1 and 2, is smaller, and poses are measured by
PCK in place of parts (PCP) and of distances over the torso's length (PDJ).

Reference: Toshev and Szegedy 2014, DeepPose: human pose estimation via deep neural networks, arXiv:1312.4659.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from nn import l2
from nn.containers import backward_chain
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import Layer, check_shape, positive
from vision.localization.deep_pose_options import Options, SmallOptions
from vision.localization.poser import Poser
from vision.localization.trunk import Trunk, hidden_layers, last_layer
from vision.localization.windows import Windows, cut
from vision.model import Stage
from vision.registry import Tiny, register
from vision.task import on_its_device

SPREAD = 0.2  # normalised points are divided by this, to have a variance of about 1
TOGETHER = 128  # crops in one forward pass


class Regressor(Layer):
    """images (N, 3, H, W) of one size to (N, J, 2): a CNN, fully connected layers, and 2 J outputs (sec. 3.1).

    trunk: the CNN. shape: (D, h, w) of its map.
    """

    def __init__(self, points: int, trunk: Layer, shape: tuple[int, int, int], options: Options, *, rng):
        o, (channels, *size) = options, shape
        self.points, self.trunk = points, trunk
        self.fc = hidden_layers(channels, size, o.channels, o.hidden, o.dropout, rng=rng)
        self.score = last_layer(o.hidden, 2 * points, rng=rng)

    def forward(self, x, training=True):
        y, c_trunk = self.trunk.forward(x, training)
        hidden, c_fc = self.fc.forward(y, training)
        points, c_score = self.score.forward(hidden, training)
        return points.reshape(len(x), self.points, 2), (c_trunk, c_fc, c_score)

    def backward(self, dy, cache):
        # nobody wants the gradient of the images
        backward_chain((self.trunk, self.fc, self.score), cache, dy.reshape(len(dy), 2 * self.points))


class Simulated(NamedTuple):
    """M crops of a later stage: which image and point each is of (M,), its centre (M, 2) and side (M,), in pixels."""

    image: np.ndarray
    point: np.ndarray
    centre: np.ndarray
    side: np.ndarray


class Cache(NamedTuple):
    """From a loss to its backward. `sampled` are constants: a gradient check reuses them."""

    network: Any
    dpoints: np.ndarray
    sampled: Any = None


class DeepPose(Poser):
    """The cascade.

    Buffers: errors_mean and errors_std (S - 1, J, 2), of the errors of each stage but the last, as fractions of the
    diameter of the pose; current: the stage that is trained, and the last one that predictions go through.
    """

    buffers = ("errors_mean", "errors_std", "current")

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        o, points = options, len(classes)
        positive(self, cascade=o.cascade, crops=o.crops, crop=o.crop)
        if not o.sigma > 0:
            raise ValueError(f"DeepPose: sigma must be above 0, got {o.sigma}")
        if points < 2 and o.cascade > 1:
            raise ValueError("DeepPose: one point has no diameter for crops of later stages; set cascade=1")
        super().__init__(classes, o, o.preprocess(resize="fixed", fixed=(o.height, o.breadth)))
        sizes = [(o.height, o.breadth)] + (o.cascade - 1) * [(o.crop, o.crop)]
        self.networks = self.make_networks(sizes, rng)
        self.errors_mean = np.zeros((o.cascade - 1, points, 2), np.float32)
        self.errors_std = np.full((o.cascade - 1, points, 2), 0.1, np.float32)
        self.current, self.smallest_batch, self.needs_weights = np.zeros((), np.int64), 2, o.frozen is not None

    def make_networks(self, sizes, rng) -> list[Regressor]:
        """A network for each stage, for pictures of its size (h, w)."""
        o, networks = self.options, []
        for size in sizes:
            trunk = Trunk(o.backbone, o.width, o.frozen, rng=rng)
            shape = trunk.out_channels, *trunk.map_size(*size)
            networks.append(Regressor(len(self.classes), trunk, shape, o, rng=rng))
        return networks

    def stages(self) -> tuple[Stage, ...]:
        """The first network; then for each later one a round that measures the errors before it, and its training."""
        rates = [{"lr_scale": {f"networks.{s}.trunk": self.options.slower}} for s in range(self.options.cascade)]
        stages = [Stage("person", rates[0], ("networks.0.",))]
        for s in range(1, self.options.cascade):
            stages.append(Stage(f"errors of stage {s}", begin="advance", fit="measure"))
            own = LATER | rates[s], (f"networks.{s}.",), "refine_loss", "refine_backward"
            stages.append(Stage(f"refinement {s}", *own))
        return tuple(stages)

    def advance(self):
        """The next network is trained from now on."""
        self.current[...] += 1

    def pretrained_names(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Published weights of the CNN for each network, and one's own of this model."""
        own, names = self.state_dict(), [f"networks.{s}.trunk.backbone." for s in range(len(self.networks))]
        kept = {name: array for name, array in arrays.items() if name in own}
        return kept | {prefix + name: array for prefix in names for name, array in arrays.items()}

    def loss(self, batch, rng, sampled=None):
        """({pose}, cache): L2 of the first network over the points that are seen (eq. 4)."""
        (images, points, seen), xp = batch, array_module(batch[0])
        predicted, c_network = self.networks[0].forward(images)
        size = xp.asarray((self.options.breadth, self.options.height), points.dtype)
        target = (points / size - 0.5) / SPREAD
        pose, dpredicted = l2(predicted, target, weights=seen[..., None], normaliser=int(seen.sum()))
        return {"pose": pose}, Cache(c_network, dpredicted)

    def backward(self, cache: Cache):
        """Add the gradients of the loss to the first network's parameters."""
        self.networks[0].backward(cache.dpoints, cache.network)

    def refine_loss(self, batch, rng, sampled: Simulated | None = None):
        """({offset}, cache): L2 of the current network over its crops, each of which has one point (eq. 8)."""
        images, points, seen = batch
        sampled = sampled or to_device(self.simulate(*to_device((points, seen), "cpu"), rng), device_of(images))
        xp, own = array_module(images), sampled.point
        predicted, c_network = self.networks[int(self.current)].forward(self.cut(images, sampled))
        target, counted = xp.zeros(predicted.shape, points.dtype), xp.zeros((*predicted.shape[:2], 1), bool)
        m = xp.arange(len(own))
        target[m, own] = (points[sampled.image, own] - sampled.centre) / sampled.side[:, None] / SPREAD
        counted[m, own] = True
        offset, dpredicted = l2(predicted, target, weights=counted, normaliser=len(m))
        return {"offset": offset}, Cache(c_network, dpredicted, sampled)

    def refine_backward(self, cache: Cache):
        """Add the gradients of refine_loss to the current network's parameters."""
        self.networks[int(self.current)].backward(cache.dpoints, cache.network)

    def simulate(self, points, seen, rng) -> Simulated:
        """Estimates of the stage before as they might be, of some points of each image that are seen (sec. 3.2.2).

        On the CPU, as the points (N, J, 2) and seen (N, J) are. A pose of one point has no size, and is left out.
        """
        seen = with_a_size(seen)
        chosen = [rng.permutation(np.flatnonzero(row))[: self.options.crops] for row in seen]
        image, point = np.repeat(np.arange(len(points)), [*map(len, chosen)]), np.concatenate(chosen)
        if len(image) < 2:
            raise ValueError("DeepPose: a batch must have at least 2 points that are seen")
        s, errors = int(self.current) - 1, to_device((self.errors_mean, self.errors_std), "cpu")
        mean, std = (each[s, point] for each in errors)
        size = diameter(points, seen)[image]
        error = mean + self.options.spread * std * rng.standard_normal(mean.shape)
        centre = points[image, point] + size[:, None] * error
        return Simulated(image, point, centre.astype(points.dtype), self.options.sigma * size)

    def measure(self, loader, rng, start: int):
        """One round: mean and standard deviation of the errors of the stages before the current one, for simulate."""
        if start:
            return
        errors, counted = [], []
        for images, points, seen in loader.epoch(0):
            found, seen = on_its_device(self, self.estimates, images, int(self.current))[:, -1], with_a_size(seen)
            errors.append((found - points) / diameter(points, seen)[:, None, None])
            counted.append(seen[..., None])
        errors, counted, s = np.concatenate(errors), np.concatenate(counted), int(self.current) - 1
        count = np.maximum(counted.sum(axis=0), 1)
        mean = (errors * counted).sum(axis=0) / count
        std = np.sqrt(((errors - mean) ** 2 * counted).sum(axis=0) / count)
        self.errors_mean[s], self.errors_std[s] = to_device((mean, std), device_of(self.errors_mean))
        yield {"error_mean": abs(mean).mean(), "error_std": std.mean()}

    def estimates(self, images, stages: int):
        """(N, stages, J, 2): the points after each of the first stages, in the images' pixels."""
        found = [self.first(images)]
        for network in self.networks[1:stages]:
            found.append(self.refined(network, images, found[-1]))
        return array_module(images).stack(found, axis=1)

    def first(self, images):
        """points (N, J, 2) of the first network (eq. 2)."""
        found = self.networks[0](images) * SPREAD + 0.5
        return found * array_module(images).asarray((self.options.breadth, self.options.height), found.dtype)

    def refined(self, network, images, points):
        """points (N, J, 2), each moved by what the network sees in the crop around it (eq. 6)."""
        xp, (n, j, _) = array_module(points), points.shape
        side = self.options.sigma * diameter(points)  # (N,)
        image, point = xp.divmod(xp.arange(n * j), j)
        crops = Simulated(image, point, points.reshape(n * j, 2), side[image])
        offsets = []
        for first in range(0, n * j, TOGETHER):
            part = Simulated(*(each[first : first + TOGETHER] for each in crops))
            rows = xp.arange(len(part.image))
            offsets.append(network(self.cut(images, part))[rows, part.point] * part.side[:, None] * SPREAD)
        return points + xp.concatenate(offsets).reshape(n, j, 2)

    def cut(self, images, crops: Simulated):
        """(M, 3, crop, crop): the squares around the points."""
        return cut(images, Windows(crops.image, crops.centre, crops.side), self.options.crop)

    def predict(self, images):
        """(N, S, J, 2): the points after each stage that is trained, in the images' pixels."""
        check_shape(self, images=(images, ("N", 3, self.options.height, self.options.breadth)))
        return self.estimates(images, int(self.current) + 1)


def with_a_size(seen):
    """seen (N, J), without the points that are seen alone."""
    return seen & (seen.sum(axis=1, keepdims=True) > 1)


def diameter(points, seen=None):
    """(N,): the largest distance between two points (N, J, 2) of a pose, of those that are seen; at least a pixel."""
    xp = array_module(points)
    distance = xp.sqrt(((points[:, :, None] - points[:, None]) ** 2).sum(axis=-1))  # (N, J, J)
    if seen is not None:
        distance = distance * (seen[:, :, None] & seen[:, None])
    return xp.maximum(distance.max(axis=(1, 2)), 1)


LATER = {"epochs": 8}
RECIPE = {
    "data": "pose_crops", "epochs": 12, "batch_size": 16, "optimiser": "adam", "lr": 0.001, "weight_decay": 0.001,
    "schedule": "cosine", "warm_up": 30, "zoom": [0.85, 1.2],
}  # fmt: skip
SMALL = RECIPE | {"data": "shapes", "shapes_size": [64, 64], "lr": 0.002, "zoom": [1.0, 1.0]}
ABOUT = {"system": "DeepPose", "paper": "Toshev and Szegedy 2014, arXiv:1312.4659"}
TINY = Tiny({
    "backbone": "small_cnn", "width": 1, "height": 32, "breadth": 32, "crop": 32, "crops": 2, "channels": 2,
    "hidden": 3, "cascade": 2,
}, scenes=3, size=(32, 32))  # fmt: skip

register(
    "deep_pose", "pose", RECIPE, options=Options, tiny=TINY, **ABOUT,
    figures="93 people of COCO, PCK@0.2 of the box's longer side 0.788 after three stages, of its shorter side 0.433, "
    "0.488, 0.511 by stage (mean pose 0.743 and 0.363)",
)(DeepPose)  # fmt: skip
register("deep_pose_small", "pose", SMALL, options=SmallOptions, tiny=TINY, **ABOUT)(DeepPose)
