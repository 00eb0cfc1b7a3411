"""Hypercolumns in boxes: a detector's box is cut out, and each of its pixels classified by its hypercolumn and place.

    boxes   Faster R-CNN                                             (the paper: SDS, or R-CNN's boxes)
    crop    the box with some context, size x size pixels
    scores  hypercolumns of the crop, K x K linear classifiers for each class, summed over depths    (P, K K, 50, 50)
    mask    interpolated between the classifiers, at least 0.5

The scores are those of the segmentation network, with K x K times the classes. Training sees the interpolated
probability, too; in the paper each classifier learns from the pixels of its own cell, and interpolation is for testing.

Reference: Hariharan et al. 2015, Hypercolumns for object segmentation and fine-grained localization, arXiv:1411.5752,
sec. 3 and 4.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import check_shape, positive
from vision.backbones import small_vgg
from vision.boxes.boxes import clip
from vision.detection.faster_rcnn import FasterRCNN
from vision.detection.warp import warp_regions, with_context
from vision.instances import mask_rcnn
from vision.instances.grid_picture import draw_grid
from vision.instances.location_grid import grid_cross_entropy, grid_weights, interpolated
from vision.instances.masks import mask_targets, paste
from vision.instances.segmenter import InstanceSegmenter
from vision.model import Stage
from vision.registry import Tiny, register
from vision.segmentation.hypercolumns import Hypercolumns


@dataclass(frozen=True)
class Options(mask_rcnn.Options):
    """For images of about 160 pixels, trained from random weights on a CPU; those of the detector are Mask R-CNN's."""

    grid: int = 5  # K: classifiers along each side of a box; 1: one for all locations
    size: int = 50  # pixels of a crop along each side, and cells of its mask
    padding: int = 4  # of these pixels context on each side of the box
    taps: tuple[str, ...] = ("conv2", "conv3", "conv4")  # depths that are added: conv1 .. conv5, pool1 .. pool5
    columns: int = 12  # channels of the first convolution of the masks' network
    sampling_ratio: int = 2  # not used: it is 2
    mask_pooled: int = 14  # not used: masks are those of the hypercolumns, as for the next two
    mask_convs: int = 2  # not used
    mask_channels: int = 48  # not used
    shift: float = 0.1  # masks are learned in objects' boxes whose sides are moved by up to this share of them
    crops: int = 16  # objects of a step at most

    def __post_init__(self):
        positive("HypercolumnBoxes", grid=self.grid, size=self.size, columns=self.columns, crops=self.crops)


class Sampled(NamedTuple):
    """Crops (P, 3, size, size) of a step, the labels (P,) of their objects, and their masks (P, size, size)."""

    crops: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


class Cache(NamedTuple):
    """From loss to backward."""

    network: Any
    dlogits: np.ndarray
    sampled: Sampled


class HypercolumnBoxes(InstanceSegmenter):
    """A detector and a network for the masks in its boxes, trained one after the other."""

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        o = replace(options, rpn_channels=options.rpn_channels or 8 * options.width)
        self.detector = FasterRCNN(classes, small_vgg(width=o.width, stride=o.stride, rng=rng), o, rng=rng)
        channels = len(self.classes) * o.grid**2
        self.network = Hypercolumns(channels, o.taps, width=o.columns, hidden=1, batch_norm=True, rng=rng)
        self.alpha = grid_weights(o.size, o.grid)

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("boxes", trains=("detector",), loss="box_loss", backward="box_backward", evaluated=False),
            Stage("masks", {"lr": 0.02, "batch_size": 8}, trains=("network",)),
        )

    def box_loss(self, batch, rng: np.random.Generator, sampled=None):
        """The detector's."""
        return self.detector.loss(batch, rng, sampled)

    def box_backward(self, cache):
        """The detector's."""
        self.detector.backward(cache)

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({mask}, cache): the masks in the boxes of objects, by the classifiers of the true class."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        sampled = sampled or self.sample(images, targets, rng)
        if not len(sampled.crops):
            return {"mask": 0.0}, Cache(None, sampled.masks, sampled)
        logits, c_network = self.network.forward(sampled.crops)  # (P, classes K K, size, size)
        own, each = by_class(logits, len(self.classes)), array_module(logits).arange(len(logits))
        value, down = grid_cross_entropy(own[each, sampled.labels - 1], self.alpha, sampled.masks)
        down_all = array_module(logits).zeros_like(own)  # the classifiers of other classes do not contribute
        down_all[each, sampled.labels - 1] = down
        return {"mask": value}, Cache(c_network, down_all.reshape(logits.shape), sampled)

    def backward(self, cache: Cache):
        """Add the gradients to all parameters of the network."""
        if len(cache.sampled.crops):
            self.network.backward_parameters(cache.dlogits, cache.network)

    def sample(self, images, targets, rng) -> Sampled:
        """Objects drawn from the batch, their boxes moved a little, as a detector's are."""
        o, xp = self.options, array_module(images)
        pairs = [(n, k) for n, target in enumerate(targets) for k in range(len(target["boxes"]))]
        chosen = [pairs[i] for i in sorted(rng.permutation(len(pairs))[: o.crops])]
        crops, labels = [xp.zeros((0, 3, o.size, o.size), images.dtype)], [xp.zeros(0, np.int64)]
        masks = [xp.zeros((0, o.size, o.size), images.dtype)]
        for n in dict.fromkeys(n for n, _ in chosen):
            target, (h, w) = targets[n], targets[n]["image_size"]
            own = np.array([k for m, k in chosen if m == n])
            boxes = to_device(target["boxes"], "cpu")[own]
            boxes = boxes + o.shift * rng.uniform(-1, 1, boxes.shape) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            crops.append(warp_regions(images[n, :, :h, :w], boxes, o.size, o.padding))
            labels.append(target["labels"][xp.asarray(own)])
            seen = xp.asarray(self.around(boxes), images.dtype)
            masks.append(mask_targets(target["masks"], seen, xp.asarray(own), o.size))
        return Sampled(*map(xp.concatenate, (crops, labels, masks)))

    def around(self, boxes: np.ndarray) -> np.ndarray:
        """The parts (K, 4) of the image that the crops of boxes (K, 4) show."""
        seen = [with_context(box, self.options.size, self.options.padding) for box in boxes.tolist()]
        return np.array(seen).reshape(len(boxes), 4)

    def predict(self, images, image_sizes=None) -> list[dict]:
        """The detector's boxes, labels and scores, on the CPU, and masks (D, h, w) in them."""
        sizes = image_sizes or [images.shape[2:]] * len(images)
        found = to_device(self.detector.predict(images, sizes), "cpu")
        return [each | self.masks_of(x, each, size) for x, each, size in zip(images, found, sizes)]

    def masks_of(self, image, found: dict, size: tuple[int, int]) -> dict:
        """{masks}: what is the object's in each of the boxes found in an image (3, H, W)."""
        o, boxes = self.options, clip(found["boxes"], size)
        scores = self.scores(image[:, : size[0], : size[1]], boxes, found["labels"])
        seen = interpolated(scores, self.alpha) if len(boxes) else np.zeros((0, o.size, o.size))
        return {"masks": paste(seen, self.around(boxes), size)}

    def scores(self, image, boxes, labels) -> np.ndarray:
        """(D, K K, size, size), on the CPU: what the classifiers of each box's class say of its pixels."""
        o, cells = self.options, self.options.grid**2
        if not len(boxes):
            return np.zeros((0, cells, o.size, o.size))
        logits = to_device(self.network(warp_regions(image, boxes, o.size, o.padding)), "cpu")
        return by_class(logits, len(self.classes))[np.arange(len(boxes)), labels - 1]

    def pictures(self, dataset) -> dict[str, np.ndarray]:
        """{grid}: for the largest object of the first sample what each classifier of its class says."""
        sample = dataset[0]
        if not len(sample["labels"]):
            return {}
        scaled, k = self.preprocess.scaled(sample["image"]), sample["masks"].sum(axis=(1, 2)).argmax()
        factor = np.tile(np.array(scaled.shape[1::-1]) / sample["image"].shape[1::-1], 2)
        box, label = sample["boxes"][[k]] * factor, sample["labels"][[k]]
        image = to_device(self.preprocess.batch([scaled]), device_of(self.detector.rpn.bbox_pred.bias.value))[0]
        return {"grid": draw_grid(scaled, self.around(box)[0], self.scores(image, box, label)[0], self.alpha)}

    def dense(self, images) -> dict[str, np.ndarray]:
        """The detector's."""
        return self.detector.dense(images)

    def pretrained_names(self, arrays):
        """A Faster R-CNN of the same options gives the boxes."""
        return {f"detector.{name}": array for name, array in arrays.items()} | dict(arrays)


def by_class(logits, classes: int):
    """(P, classes, K K, size, size) of logits (P, classes K K, size, size)."""
    p, channels, h, w = logits.shape
    return logits.reshape(p, classes, channels // classes, h, w)


@register(
    "hypercolumn_boxes_small", "instances", {"epochs": 8, "batch_size": 2, "lr": 0.01},
    options=Options, tiny=Tiny({
        "width": 2, "stride": 8, "hidden": 6, "anchor_scales": (16, 32), "anchor_samples": 32, "roi_samples": 8,
        "min_size": 2, "grid": 2, "size": 12, "padding": 1, "taps": ("conv1", "conv2"), "columns": 2
    }),
    system="Hypercolumns in boxes", paper="Hariharan et al. 2015, arXiv:1411.5752",
    figures="generated scenes: mask AP50 0.940, AP 0.807; in true boxes mean IoU 0.908, with one classifier 0.864",
)  # fmt: skip
def hypercolumn_boxes_small(classes, options: Options, rng) -> HypercolumnBoxes:
    """On a narrow Faster R-CNN."""
    return HypercolumnBoxes(classes, options, rng)
