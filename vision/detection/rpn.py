"""The region proposal network's layers."""

import numpy as np

from nn import Conv2d, ReLU
from nn.dispatch import array_module
from nn.layer import Layer


class RPNHead(Layer):
    """For each anchor two scores (object or not) and four box deltas.

    features (N, C, H, W) -> scores (N, H*W*k, 2), index 1 for "object", and deltas (N, H*W*k, 4), the anchors in the
    order row, column, k of `grid_anchors`. A 3x3 convolution with ReLU, then two sibling 1x1 convolutions with 2k and
    4k channels (anchor by anchor). The siblings start from a Gaussian of standard deviation 0.01, biases 0; so does the
    3x3 convolution, as in the paper, unless from_scratch=True, which gives it He's larger weights.

    Reference: Ren et al. 2015, arXiv:1506.01497, sec. 3.1 and 3.1.3.
    """

    def __init__(self, in_channels: int, channels: int, anchors_per_cell: int, *, from_scratch=False, rng):
        self.anchors_per_cell = anchors_per_cell
        self.conv = Conv2d(in_channels, channels, 3, padding=1, rng=rng)
        self.relu = ReLU()
        self.cls_logits = Conv2d(channels, 2 * anchors_per_cell, 1, rng=rng)
        self.bbox_pred = Conv2d(channels, 4 * anchors_per_cell, 1, rng=rng)
        for layer in (
            (self.cls_logits, self.bbox_pred) if from_scratch else (self.conv, self.cls_logits, self.bbox_pred)
        ):
            layer.weight.value[...] = gaussian(layer.weight.value.shape, 0.01, rng)

    def forward(self, x, training=True):
        hidden, c_conv = self.conv.forward(x, training)
        hidden, c_relu = self.relu.forward(hidden, training)
        scores, c_scores = self.cls_logits.forward(hidden, training)
        deltas, c_deltas = self.bbox_pred.forward(hidden, training)
        outputs = self._by_anchor(scores, 2), self._by_anchor(deltas, 4)
        return outputs, (c_conv, c_relu, c_scores, c_deltas)

    def backward(self, dy, cache):
        dscores, ddeltas = dy
        c_conv, c_relu, c_scores, c_deltas = cache
        dhidden = self.cls_logits.backward(self._by_channel(dscores, c_scores.shape), c_scores)
        dhidden = dhidden + self.bbox_pred.backward(self._by_channel(ddeltas, c_deltas.shape), c_deltas)
        return self.conv.backward(self.relu.backward(dhidden, c_relu), c_conv)

    def _by_anchor(self, y, per_anchor):
        """(N, k * per_anchor, H, W) -> (N, H * W * k, per_anchor)."""
        n, _, h, w = y.shape
        by_anchor = y.reshape(n, self.anchors_per_cell, per_anchor, h, w).transpose(0, 3, 4, 1, 2)
        return by_anchor.reshape(n, -1, per_anchor)

    def _by_channel(self, dy, feature_shape):
        """(N, H * W * k, per_anchor) -> (N, k * per_anchor, H, W): the way back."""
        (n, _, h, w), k = feature_shape, self.anchors_per_cell
        by_channel = dy.reshape(n, h, w, k, -1).transpose(0, 3, 4, 1, 2).reshape(n, -1, h, w)
        return array_module(dy).ascontiguousarray(by_channel)


def gaussian(shape, std, rng):
    """float32 weights of the given standard deviation: how the papers start their new layers."""
    return (std * rng.standard_normal(shape)).astype(np.float32)
