"""SPP-net: convolutions once an image and scale, a spatial pyramid over each region of their maps, then SVMs.

Training has four stages: the pyramids of all regions, stored; the fully connected layers, fine-tuned on them; an SVM a
class; box regression. The convolutions are never trained. See vision.detection.region_svm for the last two.

Reference: He, Zhang, Ren and Sun 2014, Spatial pyramid pooling in deep convolutional networks for visual recognition,
arXiv:1406.4729 (v4), sec. 4. In two things their code is followed, not the paper: of negatives that overlap one another
by more than 0.7 all stay; fine-tuning begins at a rate of 0.001. The code fine-tunes on mirrored images and at random
scales, too; here each region is seen as in testing.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from nn import softmax_cross_entropy
from nn.dispatch import array_module
from nn.gpu.device import device_of, to_device
from nn.layer import check_shape
from vision.backbones.alexnet import OnAlexNet
from vision.boxes.region_pyramid import RegionPyramid, nearest_scale
from vision.detection.feature_store import IOU, LABEL, FeatureStore, reopened
from vision.detection.region_layers import region_backbone
from vision.detection.region_options import PLAIN, RegionOptions
from vision.detection.region_svm import STORE, RegionSVM
from vision.detection.warp import resized
from vision.model import Stage
from vision.registry import Tiny, register


@dataclass(frozen=True)
class Options(RegionOptions, OnAlexNet):
    """The paper's, on the published AlexNet of one column; the penalty of box regression is the code's."""

    short_side: int = 688  # pixels of the shorter side of the image that is scaled again
    max_side: int = 1200  # pixels of the longer side at most
    scales: tuple[int, ...] = (480, 576, 688, 864, 1200)  # shorter sides that the convolutions see
    region_side: int = 224  # a region is taken from the scale where it is nearest to this, squared
    levels: tuple[int, ...] = (6, 3, 2, 1)  # cells along each side of the pyramid's grids, such as [4,2,1]
    background_iou: tuple[float, float] = (0.1, 0.5)  # IoU of regions that count as background in fine-tuning
    ridge: float = 4000.0  # penalty of box regression
    box_iou: float = 0.5  # a region learns the box of the object that it overlaps from this IoU on


class Sampled(NamedTuple):
    """Regions of a step: constants. pool5 (R, D), labels (R,), 0 for background."""

    pool5: np.ndarray
    labels: np.ndarray


class Cache(NamedTuple):
    """From loss to backward."""

    head: Any
    dlogits: np.ndarray
    sampled: Sampled


class SPPNet(RegionSVM):
    """Frozen backbone, pyramid over regions, two fully connected layers."""

    behind_features = ("backbone",)

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        o = options
        if not o.scales or min(*o.scales, o.region_side) < 1:
            raise ValueError(f"SPPNet: need scales and region_side >= 1, got {o.scales}, {o.region_side}")
        self.backbone, _ = region_backbone(o.backbone, o.width, o.frozen, rng, o.conv1_padding)
        self.backbone.freeze(self.backbone.names[-1])
        self.needs_weights = True
        self.pyramid = RegionPyramid(o.levels, 1 / self.backbone.stride)
        self.init_regions(self.backbone.out_channels * self.pyramid.bins, rng)
        self.rows: tuple[FeatureStore, list[np.ndarray]] | None = None  # stored, objects and background

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("features", PLAIN, fit="fit_features", evaluated=False),
            Stage("fine-tune", trains=("head",), evaluated=False, reads=False),
            Stage("svm", PLAIN, fit="fit_svms", evaluated=False),
            Stage("boxes", PLAIN, fit="fit_boxes"),
        )

    def stored_layers(self) -> dict[str, int]:
        """The pyramid alone: fc6 and fc7 are computed from it."""
        return {"pool5": self.head.widths["pool5"]}

    def loss(self, batch, rng: np.random.Generator, sampled: Sampled | None = None):
        """({cls}, cache): softmax cross-entropy of 32 objects and 96 regions of background.

        They are drawn from the images of the batch; where that is None, from the store of all images.
        """
        if batch is None:
            sampled = sampled or self.sample_stored(rng)
        else:
            images, targets = batch
            check_shape(self, images=(images, ("N", 3, "H", "W")))
            sampled = sampled or self.sample(images, targets, rng)
        logits, c_head = self.head.forward(sampled.pool5)
        cls, dlogits = softmax_cross_entropy(logits, sampled.labels)
        return {"cls": cls}, Cache(c_head, dlogits, sampled)

    def backward(self, cache: Cache):
        """Add the gradients to the fully connected layers: nothing below them is trained."""
        self.head.backward_parameters(cache.dlogits, cache.head)

    def sample(self, images, targets, rng) -> Sampled:
        """Regions of the images."""
        xp, pool5, labels = array_module(images), [], []
        for image, rois, own in self.sampled(images, targets, rng):
            pool5.append(self.pool5(image, rois))
            labels.append(own)
        return Sampled(xp.concatenate(pool5), xp.concatenate(labels))

    def sample_stored(self, rng) -> Sampled:
        """Rows of the store."""
        if self.rows is None:
            self.open_rows()
        (store, rows), o, where = self.rows, self.options, device_of(self.svm.weight.value)
        objects = rng.permutation(rows[0])[: int(o.samples * o.foreground_fraction)]
        chosen = np.concatenate([objects, rng.permutation(rows[1])[: o.samples - len(objects)]])
        labels = np.where(np.arange(len(chosen)) < len(objects), store.regions[chosen, LABEL].astype(np.int64), 0)
        return to_device(Sampled(store.read("pool5", chosen), labels), where)

    def open_rows(self):
        """Find the rows of the store that are objects, and those that are background, for fine-tuning."""
        o, store = self.options, reopened(self.folder / STORE, self.depends_on())
        overlap, (low, high) = store.regions[:, IOU], o.background_iou
        rows = [np.flatnonzero(overlap >= o.foreground_iou), np.flatnonzero((overlap >= low) & (overlap < high))]
        if not len(rows[1]):
            rows[1] = np.flatnonzero(overlap < o.foreground_iou)
        self.rows = store, rows

    def pool5(self, image, rois) -> np.ndarray:
        """(R, D): the pyramids of regions (R, 4) of an image (3, H, W), each at its scale."""
        o, xp, (h, w) = self.options, array_module(image), image.shape[1:]
        factors = np.array(o.scales) / min(h, w)
        scale = nearest_scale(rois, factors, o.region_side)
        y = xp.zeros((len(rois), self.head.widths["pool5"]), self.svm.weight.value.dtype)
        for k, factor in enumerate(factors.tolist()):
            own = xp.flatnonzero(scale == k)
            if len(own):
                features = self.backbone(resized(image, (max(1, round(h * factor)), max(1, round(w * factor))))[None])
                y[own] = self.pyramid(features, rois[own] * factor, xp.zeros(len(own), np.int64))
        return y


PAPER = {"system": "SPP-net", "paper": "He et al. 2014, arXiv:1406.4729"}
TINY = {
    "proposals": "sliding_windows count=30", "train_regions": 30, "test_regions": 30, "width": 1, "hidden": 5,
    "backbone": "small_vgg", "scales": (32, 48), "region_side": 24, "samples": 8, "capacity": 50, "dropout": 0.0,
}  # fmt: skip

register(  # in the code fc8 learns no faster than fc6 and fc7
    "spp_net", "detection",
    {"epochs": 20, "batch_size": 2, "lr": 0.001, "milestones": [0.333, 0.667], "bias_rate": 2.0, "jitter": 0.0},
    options=Options, tiny=Tiny(TINY), **PAPER,
)(SPPNet)  # fmt: skip


@dataclass(frozen=True)
class SmallOptions(Options):
    """On the small VGG that rcnn_small has trained, whose crops hold regions of 40 pixels."""

    proposals: str = "selective_search_fast width=320 min_side=8"  # method, with its options: see vision.proposals
    short_side: int = 240  # pixels of the shorter side of the image that is scaled again
    max_side: int = 400  # pixels of the longer side at most
    train_regions: int = 500  # proposals of an image in training, the best ones
    test_regions: int = 1000  # proposals of an image in testing, the best ones
    backbone: Literal["small_vgg", "alexnet", "vgg16"] = "small_vgg"  # the convolutions
    hidden: int = 256  # units of fc6 and fc7
    dropout: float = 0.0  # share of them dropped in fine-tuning
    scales: tuple[int, ...] = (96, 144, 216, 320)  # shorter sides that the convolutions see
    region_side: int = 40  # a region is taken from the scale where it is nearest to this, squared
    levels: tuple[int, ...] = (4, 2, 1)  # cells along each side of the pyramid's grids
    ridge: float = 1000.0  # penalty of box regression, as R-CNN's
    box_iou: float = 0.6  # a region learns the box of the object that it overlaps from this IoU on


register(
    "spp_net_small", "detection", {"epochs": 20, "batch_size": 8, "lr": 0.02, "after": "rcnn_small"},
    options=SmallOptions, tiny=Tiny(TINY | {"features": "fc6", "box_features": "fc7"}), **PAPER,
    figures="AP50 0.829 on 72 photographs of blood cells",
)(SPPNet)  # fmt: skip
