"""Our side of the layers' cases: each function makes a work, of the sizes that cases gives it."""

import numpy as np

import nn
from scripts.benchmarks.work import FunctionWork, LayerWork, normal
from vision.boxes.nms import nms as suppress

NMS_IOU = 0.7
IMAGE = (600, 800)  # height and width of the images that boxes lie in


def layer(kind, x, backward=True, **options):
    """A layer of one input, of shape x."""
    return LayerWork(kind(**options), normal(*x), backward=backward)


def deform_conv(x, out_channels, kernel_size):
    """Offsets of a pixel or so, as they are once learned."""
    offset = normal(x[0], 2 * kernel_size**2, *x[2:], seed=2)
    conv = nn.DeformConv2d(x[1], out_channels, kernel_size, padding=kernel_size // 2)
    return LayerWork(conv, normal(*x), offset, differentiable=2)


def max_unpool(x):
    """The indices are those that max pooling of images of twice the size finds."""
    n, c, h, w = x
    _, indices = nn.MaxPool2d(2, return_indices=True)(normal(n, c, 2 * h, 2 * w, seed=2))
    return LayerWork(nn.MaxUnpool2d(2), normal(*x), indices)


def regions(kind, x, boxes, stride, **options):
    """Boxes of 32 pixels to all of the one image, whose features x are."""
    rng, extent = np.random.default_rng(3), np.array([x[3], x[2]]) * stride
    size = rng.uniform(32, extent, (boxes, 2))
    corner = rng.uniform(0, extent - size)
    corners = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return LayerWork(kind(spatial_scale=1 / stride, **options), normal(*x), corners, np.zeros(boxes, np.int64))


def attention(n, length, query_size, key_size, hidden_size):
    asked = nn.AdditiveAttention(query_size, key_size, hidden_size)
    return LayerWork(asked, normal(n, query_size), normal(n, length, key_size), differentiable=2)


def cross_entropy(x):
    labels = np.random.default_rng(4).integers(-1, x[1], (x[0], *x[2:]))  # -1: not counted
    return FunctionWork(nn.softmax_cross_entropy, normal(*x), labels)


def nms(boxes):
    """Boxes as a region proposal network makes them: many around each of 40 objects, better ones where they fit."""
    rng, (h, w) = np.random.default_rng(5), IMAGE
    objects = np.stack([rng.uniform(0, w, 40), rng.uniform(0, h, 40), *rng.uniform(30, 300, (2, 40))], axis=1)
    of = objects[rng.integers(0, 40, boxes)]
    centre = of[:, :2] + rng.normal(0, 0.1, (boxes, 2)) * of[:, 2:]
    half = of[:, 2:] * np.exp(rng.normal(0, 0.2, (boxes, 2))) / 2
    corners = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    scores = (rng.permutation(boxes) / boxes).astype(np.float32)
    return FunctionWork(best_boxes, corners, scores, backward=False)


def best_boxes(boxes, scores):
    return suppress(boxes, scores, NMS_IOU)
