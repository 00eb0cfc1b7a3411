"""Faster R-CNN by four-step alternating training: two networks that come to share their convolutions.

    1  rpn             the RPN, with convolutions of its own                    moves rpn_backbone, rpn
    2  detector        the detector on its proposals, with convolutions of its own    backbone, head
    3  rpn_again       the RPN on the detector's convolutions, which are fixed        rpn
    4  detector_again  the detector's own layers on the new proposals                 head

Both networks begin with the same published weights, where there are some. From step 3 on the convolutions of step 2
are shared and only infer: neither their weights nor the statistics of a batch normalisation move.

Reference: Ren et al. 2015, arXiv:1506.01497 (v3), sec. 3.2. Step 3 fine-tunes the RPN's own layers, as the text says;
the authors' code draws them anew.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from nn.containers import backward_chain
from vision.backbones import Backbone
from vision.boxes.region_heads import Regions
from vision.detection import fast_rcnn
from vision.detection.fast_rcnn import region_backbone
from vision.detection.faster_rcnn import BackboneOptions, FasterRCNN, Options, held, stacked
from vision.model import Stage
from vision.registry import Tiny, register


class RPNCache(NamedTuple):
    """From the loss of step 1 or 3 to its backward. sampled: labels (N, A) and deltas (N, A, 4) of the anchors."""

    backbone: Any  # None where the convolutions are fixed
    rpn: Any
    drpn: tuple
    sampled: tuple[np.ndarray, np.ndarray]


class FourStepFasterRCNN(FasterRCNN):
    """Faster R-CNN with a second backbone, of the RPN in steps 1 and 2. `shared` is 1 from step 3 on."""

    buffers = ("shared",)

    def __init__(self, classes, backbone: Backbone, rpn_backbone: Backbone, options: Options, *, rng):
        super().__init__(classes, backbone, options, rng=rng)
        self.rpn_backbone, self.shared = rpn_backbone, np.zeros((), np.int64)

    def stages(self) -> tuple[Stage, ...]:
        """The four steps; `--epochs` holds for each."""
        parts = {
            "rpn": ("rpn_backbone.", "rpn."), "detector": ("backbone.", "roi_pool.", "head."),
            "rpn_again": ("rpn.",), "detector_again": ("roi_pool.", "head."),
        }  # fmt: skip
        return tuple(
            Stage(
                name, self.slower if "detector" in name else {}, trains, f"{name}_loss", f"{name}_backward",
                begin="share" if name == "rpn_again" else None, evaluated="detector" in name,
            )
            for name, trains in parts.items()
        )  # fmt: skip

    def share(self):
        """From now on the RPN, too, is on the detector's convolutions."""
        self.shared[...] = 1

    # step 1

    def rpn_loss(self, batch, rng: np.random.Generator, sampled=None):
        """({rpn_cls, rpn_box}, cache)."""
        features, c_backbone = self.rpn_backbone.forward(batch[0])
        losses, cache = self.rpn_error(features, batch[1], rng, sampled)
        return losses, cache._replace(backbone=c_backbone)

    def rpn_backward(self, cache: RPNCache):
        """Add the gradients of the RPN's losses to its own layers and its convolutions."""
        self.rpn_backbone.backward_parameters(self.rpn.backward(cache.drpn, cache.rpn), cache.backbone)

    # step 2

    def detector_loss(self, batch, rng: np.random.Generator, sampled: Regions | None = None):
        """({cls, box}, cache). The RPN of step 1 only infers."""
        images, targets = batch
        sampled = sampled or self.sample_regions(self.rpn_backbone(images), targets, rng)
        features, c_backbone = self.backbone.forward(images)
        losses, c_regions = self.region_loss(features, sampled)
        return losses, fast_rcnn.Cache(c_backbone, c_regions, sampled)

    def detector_backward(self, cache: fast_rcnn.Cache):
        """Add the gradients of the detector's losses to its own layers and its convolutions."""
        self.backbone.backward_parameters(self.region_backward(cache.regions), cache.backbone)

    # step 3

    def rpn_again_loss(self, batch, rng: np.random.Generator, sampled=None):
        """({rpn_cls, rpn_box}, cache). The shared convolutions only infer, so backward ends above them."""
        return self.rpn_error(self.backbone(batch[0]), batch[1], rng, sampled)

    def rpn_again_backward(self, cache: RPNCache):
        """Add the gradients of the RPN's losses to its own layers."""
        self.rpn.backward_parameters(cache.drpn, cache.rpn)

    # step 4

    def detector_again_loss(self, batch, rng: np.random.Generator, sampled: Regions | None = None):
        """({cls, box}, cache). The shared convolutions and the RPN only infer."""
        images, targets = batch
        features = self.backbone(images)
        sampled = sampled or self.sample_regions(features, targets, rng)
        losses, c_regions = self.region_loss(features, sampled)
        return losses, fast_rcnn.Cache(None, c_regions, sampled)

    def detector_again_backward(self, cache: fast_rcnn.Cache):
        """Add the gradients of the detector's losses to its own layers."""
        own = cache.regions
        backward_chain((self.roi_pool, self.head), (own.pool, own.head), own.dhead)

    # of all steps

    def rpn_error(self, features, targets, rng, sampled):
        """The RPN's losses on features (N, C, H, W), and a cache without that of the backbone."""
        rpn_out, c_rpn = self.rpn.forward(features)
        if sampled is None:
            anchors = self.rpn.anchors(features)
            sampled = stacked([self.rpn.match(anchors, target, rng) for target in targets])
        losses, drpn = self.rpn.loss(rpn_out, *sampled)
        return losses, RPNCache(None, c_rpn, drpn, sampled)

    def sample_regions(self, features, targets, rng) -> Regions:
        """Regions sampled from what the RPN proposes on these features."""
        anchors, proposals = self.rpn.anchors(features), []
        for scores, deltas, target in zip(*self.rpn(features), targets):
            proposals.append(self.rpn.propose(scores, deltas, anchors, target["image_size"], training=True))
        return self.head.sample_batch(proposals, targets, rng)

    def predict(self, images, image_sizes=None) -> list[dict]:
        """As Faster R-CNN's; before step 3 the RPN is on its own convolutions."""
        features, sizes = self.backbone(images), image_sizes or [images.shape[2:]] * len(images)
        rpn_out = self.rpn(features if self.shared else self.rpn_backbone(images))
        return self.detections_by(rpn_out, features, sizes)

    def pretrained_names(self, arrays):
        """Published weights of the convolutions are those of both backbones."""
        named = super().pretrained_names(arrays)
        return {f"rpn_{name}": array for name, array in named.items() if name.startswith("backbone.")} | named


@register(
    "faster_rcnn_four_step", "detection", {"epochs": 15, "batch_size": 2, "lr": 0.01},
    options=BackboneOptions, tiny=Tiny({
        "width": 2, "stride": 8, "hidden": 12, "anchor_scales": (16, 32), "anchor_samples": 32,
        "roi_samples": 16, "min_size": 2,
    }),
    system="Faster R-CNN", paper="Ren et al. 2015, arXiv:1506.01497",
    figures="AP50 0.888 on 72 photographs of blood cells",
)  # fmt: skip
def faster_rcnn_four_step(classes, options: BackboneOptions, rng) -> FourStepFasterRCNN:
    """On the backbones of faster_rcnn_small."""
    options = replace(options, rpn_channels=options.rpn_channels or 8 * options.width)
    both = [region_backbone(options, rng) for _ in range(2)]
    return held(FourStepFasterRCNN(classes, *both, options, rng=rng), options.frozen, *both)
