"""The two CNNs of SDS: one sees a region's box, the other the region alone.

Reference: Hariharan et al. 2014, Simultaneous detection and segmentation, arXiv:1407.1808, sec. 3.2.
"""

import numpy as np

from nn.dispatch import array_module
from nn.layer import Layer
from vision.boxes.region_heads import fully_connected
from vision.detection.region_layers import region_backbone
from vision.detection.warp import warp_regions


class Pathway(Layer):
    """crops (R, 3, size, size) to fc7 (R, hidden): R-CNN's network without its last layer."""

    def __init__(self, options, *, rng: np.random.Generator):
        o = options
        self.backbone, self.pooling = region_backbone(o.backbone, o.width, o.frozen, rng)
        flat = self.pooling(self.backbone(np.zeros((1, 3, o.size, o.size), np.float32))).size
        self.classifier = fully_connected(flat, o.hidden, o.dropout, rng)

    def forward(self, x, training=True):
        maps, c_backbone = self.backbone.forward(x, training)
        pooled, c_pooling = self.pooling.forward(maps, training)
        y, c_hidden = self.classifier.forward(pooled.reshape(len(x), self.classifier[0].in_features), training)
        return y, (c_backbone, c_pooling, pooled.shape, c_hidden)

    def backward_parameters(self, dy, cache):
        c_backbone, c_pooling, shape, c_hidden = cache
        dpooled = self.classifier.backward(dy, c_hidden).reshape(shape)
        self.backbone.backward_parameters(self.pooling.backward(dpooled, c_pooling), c_backbone)


def region_crops(image, masks, boxes, options) -> tuple[np.ndarray, np.ndarray]:
    """(R, 3, size, size) twice: the boxes (R, 4) of an image (3, h, w), warped, and the same with all pixels outside of
    the regions, masks (R, h, w), set to 0, the mean colour of normalised images."""
    o, xp = options, array_module(image)
    crops = warp_regions(image, xp.asarray(boxes), o.size, o.padding)
    alone = xp.zeros_like(crops)
    for k in range(len(boxes)):
        alone[k] = warp_regions(image * xp.asarray(masks[k]), xp.asarray(boxes[k : k + 1]), o.size, o.padding)[0]
    return crops, alone
