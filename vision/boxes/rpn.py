"""The region proposal network: for each anchor an objectness score and the deltas to an object's box.

Reference: Ren et al. 2015, Faster R-CNN, arXiv:1506.01497, sec. 3.
"""

import numpy as np

from nn import Conv2d, ReLU, smooth_l1, softmax_cross_entropy
from nn.dispatch import array_module
from nn.layer import Layer, check_shape
from vision.boxes.anchors import base_anchors, grid_anchors
from vision.boxes.boxes import clip, decode
from vision.boxes.matching import anchor_targets
from vision.boxes.nms import nms_among


class RPN(Layer):
    """features (N, C, H, W) -> scores (N, H*W*k, 2), index 1 for "object", and deltas (N, H*W*k, 4).

    A 3x3 convolution with ReLU, then two sibling 1x1 convolutions with 2k and 4k channels (anchor by anchor). Anchors
    are in the order row, column, k of `grid_anchors`. The siblings are initialised by a Gaussian of standard deviation
    0.01, biases by 0; so is the 3x3 convolution, as in the paper, unless options.from_scratch gives it He's larger
    weights. options: those of Faster R-CNN for anchors, targets and proposals.

    Reference: sec. 3.1 and 3.1.3.
    """

    constants = ("base_anchors",)

    def __init__(self, in_channels: int, stride: int, options, *, rng: np.random.Generator):
        o = self.options = options
        self.stride, self.base_anchors = stride, base_anchors(o.anchor_scales, o.anchor_ratios)
        k = len(self.base_anchors)
        self.conv = Conv2d(in_channels, o.rpn_channels, 3, padding=1, rng=rng)
        self.relu = ReLU()
        self.cls_logits = Conv2d(o.rpn_channels, 2 * k, 1, rng=rng)
        self.bbox_pred = Conv2d(o.rpn_channels, 4 * k, 1, rng=rng)
        new = (self.cls_logits, self.bbox_pred) if o.from_scratch else (self.conv, self.cls_logits, self.bbox_pred)
        for layer in new:
            layer.weight.value[...] = gaussian(layer.weight.value.shape, 0.01, rng)

    def forward(self, x, training=True):
        hidden, c_conv = self.conv.forward(x, training)
        hidden, c_relu = self.relu.forward(hidden, training)
        scores, c_scores = self.cls_logits.forward(hidden, training)
        deltas, c_deltas = self.bbox_pred.forward(hidden, training)
        outputs = self._by_anchor(scores, 2), self._by_anchor(deltas, 4)
        return outputs, (c_conv, c_relu, c_scores, c_deltas)

    def backward(self, dy, cache):
        return self.conv.backward(self._dconv(dy, cache), cache[0])

    def backward_parameters(self, dy, cache):
        self.conv.backward_parameters(self._dconv(dy, cache), cache[0])

    def _dconv(self, dy, cache):
        """The gradient of the 3x3 convolution's output."""
        dscores, ddeltas = dy
        _, c_relu, c_scores, c_deltas = cache
        dhidden = self.cls_logits.backward(self._by_channel(dscores, c_scores.shape), c_scores)
        dhidden = dhidden + self.bbox_pred.backward(self._by_channel(ddeltas, c_deltas.shape), c_deltas)
        return self.relu.backward(dhidden, c_relu)

    def loss(self, outputs, labels, deltas):
        """Eq. 1: classification over N_cls sampled anchors + lambda * regression over N_reg anchor locations.

        labels (N, A), 1, 0 or -1 (does not count), deltas (N, A, 4), from `match`. -> losses, gradients of outputs.
        """
        (scores, predicted), o = outputs, self.options
        cls, dscores = softmax_cross_entropy(scores.reshape(-1, 2), labels.reshape(-1))  # (N * A, 2)
        locations, positive = labels.size // len(self.base_anchors), (labels == 1)[..., None]
        box, ddeltas = smooth_l1(predicted, deltas, o.rpn_beta, positive * o.rpn_lambda, normaliser=locations)
        return {"rpn_cls": cls, "rpn_box": box}, (dscores.reshape(scores.shape), ddeltas)

    def anchors(self, features: np.ndarray) -> np.ndarray:
        """(A, 4): the anchors of all cells of features (N, C, H, W), in pixels of the image."""
        return grid_anchors(self.base_anchors, features.shape[2:], self.stride)

    def match(self, anchors, target: dict, rng: np.random.Generator):
        """labels (A,) and deltas (A, 4) for a random sample of one image's anchors: see anchor_targets."""
        o = self.options
        return anchor_targets(
            anchors, target["boxes"], target["image_size"], rng, positive_iou=o.positive_iou,
            negative_iou=o.negative_iou, samples=o.anchor_samples, positive_fraction=o.anchor_positive_fraction,
        )  # fmt: skip

    def propose(self, scores, deltas, anchors, image_size: tuple[int, int], training: bool) -> np.ndarray:
        """Boxes (M, 4) of one image from its scores (A, 2) and deltas (A, 4); fewer where not training."""
        o, objectness = self.options, scores[:, 1] - scores[:, 0]  # the logit of softmax's p(object): the same order
        pre_nms, post_nms = (o.train_pre_nms, o.train_post_nms) if training else (o.test_pre_nms, o.test_post_nms)
        counts = {"pre_nms": pre_nms, "post_nms": post_nms}
        return propose(
            objectness, deltas, anchors, image_size, **counts, nms_iou=o.proposal_nms_iou, min_size=o.min_size
        )[0]

    def _by_anchor(self, y, per_anchor):
        """(N, k * per_anchor, H, W) -> (N, H * W * k, per_anchor)."""
        (n, _, h, w), k = y.shape, len(self.base_anchors)
        by_anchor = y.reshape(n, k, per_anchor, h, w).transpose(0, 3, 4, 1, 2)
        return by_anchor.reshape(n, h * w * k, per_anchor)

    def _by_channel(self, dy, feature_shape):
        """(N, H * W * k, per_anchor) -> (N, k * per_anchor, H, W): the way back."""
        (n, _, h, w), k, per_anchor = feature_shape, len(self.base_anchors), dy.shape[2]
        by_channel = dy.reshape(n, h, w, k, per_anchor).transpose(0, 3, 4, 1, 2).reshape(n, k * per_anchor, h, w)
        return array_module(dy).ascontiguousarray(by_channel)


def propose(
    scores: np.ndarray,
    deltas: np.ndarray,
    anchors: np.ndarray,
    image_size: tuple[int, int],
    *,
    pre_nms: int = 12000,
    post_nms: int = 2000,
    nms_iou: float = 0.7,
    min_size: float = 16,
) -> tuple[np.ndarray, np.ndarray]:
    """Region proposals of one image, best first.

    Anchors are moved by their deltas and clipped to the image; those narrower or lower than min_size pixels are
    dropped; the pre_nms best by score go through non-maximum suppression at nms_iou; the post_nms best are returned.

    scores (A,) objectness, a logit or a probability, deltas (A, 4), anchors (A, 4), image_size (h, w)
    -> boxes (M, 4), scores (M,), M <= post_nms, possibly 0. The defaults are those of training: nms_iou and post_nms
    from the paper, pre_nms and min_size from its code. For testing they are pre_nms = 6000, post_nms = 300.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.3
    """
    check_shape("propose", scores=(scores, ("A",)), deltas=(deltas, ("A", 4)), anchors=(anchors, ("A", 4)))
    boxes = clip(decode(deltas, anchors), image_size)
    keep = best_boxes(scores, boxes, pre_nms, post_nms, nms_iou, min_size)
    return boxes[keep], scores[keep]


def best_boxes(scores, boxes, pre_nms: int, post_nms: int, nms_iou: float, min_size: float) -> np.ndarray:
    """The indices of the boxes (A, 4), decoded and clipped, that `propose` returns."""
    # A comparison with NaN is False: boxes of a network that has diverged are dropped here; its loss shows it.
    large = (boxes[:, 2:] - boxes[:, :2] >= min_size).all(axis=1)
    return nms_among(large, boxes, scores, nms_iou, pre_nms=pre_nms, max_keep=post_nms)


def gaussian(shape, std, rng):
    """float32 weights of the given standard deviation: how the papers initialise new layers."""
    return (std * rng.standard_normal(shape)).astype(np.float32)
