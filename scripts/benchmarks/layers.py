"""Our side of the layers' cases: each function makes the work of one family, of the sizes in `o` (see cases)."""

import numpy as np

from nn import (
    GRU,
    LSTM,
    AdditiveAttention,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    DeformConv2d,
    MaxPool2d,
    MaxUnpool2d,
    RoIAlign,
    RoIPool,
    Upsample2d,
    softmax_cross_entropy,
)
from scripts.benchmarks.work import FunctionWork, LayerWork, normal
from vision.boxes.nms import nms as suppress

NMS_IOU = 0.7
IMAGE = (600, 800)  # height and width of the images that boxes lie in


def images(o):
    return normal(o.n, o.channels, o.size, o.size)


def conv(o):
    options = {name: getattr(o, name) for name in ("stride", "padding", "dilation", "groups") if hasattr(o, name)}
    return LayerWork(Conv2d(o.channels, o.out, o.kernel, **options), images(o), backward=o.backward)


def conv_transpose(o):
    return LayerWork(ConvTranspose2d(o.channels, o.out, o.kernel, stride=2, padding=o.padding), images(o))


def deform_conv(o):
    """Offsets of a pixel or so, as they are once learned."""
    offset = normal(o.n, 2 * o.kernel**2, o.size, o.size, seed=2)
    return LayerWork(
        DeformConv2d(o.channels, o.out, o.kernel, padding=o.kernel // 2), images(o), offset, differentiable=2
    )


def max_pool(o):
    return LayerWork(MaxPool2d(o.kernel, o.stride, o.padding), images(o))


def max_unpool(o):
    """The indices are those that max pooling of images of twice the size finds."""
    _, indices = MaxPool2d(2, return_indices=True)(normal(o.n, o.channels, 2 * o.size, 2 * o.size, seed=2))
    return LayerWork(MaxUnpool2d(2), images(o), indices)


def batch_norm(o):
    return LayerWork(BatchNorm2d(o.channels), images(o))


def upsample_bilinear(o):
    return LayerWork(Upsample2d(scale_factor=o.scale, mode="bilinear"), images(o))


def roi_pool(o):
    return LayerWork(RoIPool(o.pooled, 1 / o.stride), *regions(o))


def roi_align(o):
    return LayerWork(RoIAlign(o.pooled, 1 / o.stride, sampling_ratio=o.samples), *regions(o))


def regions(o):
    """Features of one image, boxes of 32 pixels to all of it, and the image's number for each."""
    rng, extent = np.random.default_rng(3), np.array([o.width, o.height]) * o.stride
    size = rng.uniform(32, extent, (o.regions, 2))
    corner = rng.uniform(0, extent - size)
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return normal(1, o.channels, o.height, o.width), boxes, np.zeros(o.regions, np.int64)


def lstm(o):
    return LayerWork(LSTM(o.inputs, o.hidden), normal(o.steps, o.n, o.inputs))


def gru(o):
    """The variant that PyTorch computes."""
    return LayerWork(GRU(o.inputs, o.hidden, reset_after=True), normal(o.steps, o.n, o.inputs))


def additive_attention(o):
    layer = AdditiveAttention(o.query, o.key, o.hidden)
    return LayerWork(layer, normal(o.n, o.query), normal(o.n, o.length, o.key), differentiable=2)


def softmax_cross_entropy_over_image(o):
    labels = np.random.default_rng(4).integers(-1, o.classes, (o.n, o.size, o.size))  # -1: not counted
    return FunctionWork(softmax_cross_entropy, normal(o.n, o.classes, o.size, o.size), labels)


def nms(o):
    """Boxes as a region proposal network makes them: many around each of 40 objects, better ones where they fit."""
    rng, (h, w) = np.random.default_rng(5), IMAGE
    objects = np.stack([rng.uniform(0, w, 40), rng.uniform(0, h, 40), *rng.uniform(30, 300, (2, 40))], axis=1)
    of = objects[rng.integers(0, 40, o.boxes)]
    centre = of[:, :2] + rng.normal(0, 0.1, (o.boxes, 2)) * of[:, 2:]
    size = of[:, 2:] * np.exp(rng.normal(0, 0.2, (o.boxes, 2)))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
    scores = (rng.permutation(o.boxes) / o.boxes).astype(np.float32)
    return FunctionWork(lambda b, s: suppress(b, s, NMS_IOU), boxes, scores, backward=False)
