"""Step 16. Anchors, and the targets of a region proposal network.

Question: a convolution has as many outputs at every place, always. How can it predict boxes, of any number and size?

Lay a fixed set of boxes over the picture: at each cell of the feature map the same k boxes, of several sizes and
shapes. These are the anchors. For EACH anchor the network answers two questions:

    is there an object near it?      2 scores (no, yes)
    how must it be moved to fit?     4 numbers, its deltas

So for k anchors a cell the two 1x1 convolutions have 2k and 4k channels. (Not 2k and 2k, as many notes have it.) The
number of answers is fixed; the number of boxes is how many anchors say yes.

The deltas. With the centre (x, y) and the size (w, h) of the object, and those of the anchor (x_a, y_a), (w_a, h_a):

    t_x = (x - x_a) / w_a     t_y = (y - y_a) / h_a     t_w = log(w / w_a)     t_h = log(h / h_a)

Divided by the anchor's size: "a tenth to the right" looks alike at every size. With log, since a size is positive, and
twice as large is as far from 1 as half as large. Backwards: x = x_a + w_a t_x, w = w_a exp(t_w). Their loss is smooth
L1, d^2 / 2 near 0 and |d| - 1/2 beyond 1: no slope above 1, so one impossible box cannot spoil a step.

The targets, from the IoU of each anchor with each object:

    1, yes         IoU at least 0.7 with some object, or the best anchor of an object (else a small object had none)
    0, no          IoU below 0.3 with every object
    -1, ignore     in between, or across the border of the picture: no loss

Most anchors are "no". A training step takes a random sample, at most half of it "yes". The second stage of a detector
samples its regions in the same way, an object from an IoU of 0.5 on: `sample_rois`.
"""

import sys

import numpy as np

from datasets import Shapes
from docs.tour import drawing
from nn import Conv2d, smooth_l1
from nn.gradcheck import check_loss
from vision.boxes import base_anchors, decode, encode, grid_anchors, iou
from vision.boxes.matching import anchor_targets

STRIDE, SCALES, RATIOS = 8, (16, 32, 48), (0.5, 1, 2)  # ratio: height / width


def anchors_of(h, w):
    """(h w k, 4): for each cell, row by row, its k anchors."""
    boxes = []
    for i, j in np.ndindex(h, w):
        x, y = (j + 0.5) * STRIDE, (i + 0.5) * STRIDE  # the centre of the cell, in pixels
        for ratio in RATIOS:
            for scale in SCALES:
                width, height = scale / np.sqrt(ratio), scale * np.sqrt(ratio)  # the area is scale^2
                boxes.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return np.array(boxes)


def deltas_to(boxes, anchors):
    """t (A, 4) from each anchor to its box."""
    size, size_a = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    away = (boxes[:, :2] + boxes[:, 2:]) / 2 - (anchors[:, :2] + anchors[:, 2:]) / 2  # of the centres
    return np.concatenate([away / size_a, np.log(size / size_a)], axis=1)


def targets_of(anchors, objects, image_size):
    """labels (A,), 1, 0 or -1, and deltas (A, 4)."""
    h, w = image_size
    inside = (anchors[:, :2] >= 0).all(axis=1) & (anchors[:, 2] <= w) & (anchors[:, 3] <= h)
    overlap = iou(anchors, objects) * inside[:, None]  # (A, G)
    best = (overlap == overlap.max(axis=0)) & (overlap > 0)  # the best anchor, or anchors, of each object
    labels = np.full(len(anchors), -1)
    labels[inside & (overlap.max(axis=1) < 0.3)] = 0
    labels[inside & ((overlap.max(axis=1) >= 0.7) | best.any(axis=1))] = 1
    deltas = deltas_to(objects[overlap.argmax(axis=1)], anchors)
    return labels, np.where(labels[:, None] == 1, deltas, 0)


def main(out="tour_out"):
    scene, rng = Shapes(8, size=(120, 160))[6], np.random.default_rng(0)
    h, w = 120 // STRIDE, 160 // STRIDE
    anchors, objects = anchors_of(h, w), scene["boxes"].astype(float)
    assert np.allclose(anchors, grid_anchors(base_anchors(SCALES, RATIOS, float), (h, w), STRIDE))
    k = len(SCALES) * len(RATIOS)
    features = rng.standard_normal((1, 64, h, w))
    print(
        f"features {features.shape}, k = {k}: {len(anchors)} anchors; scores",
        Conv2d(64, 2 * k, 1)(features).shape,
        end="",
    )
    print(", deltas", Conv2d(64, 4 * k, 1)(features).shape)

    labels, deltas = targets_of(anchors, objects, (120, 160))
    its_labels, its_deltas = anchor_targets(anchors, objects, (120, 160), rng, samples=10**6, positive_fraction=1.0)
    assert np.array_equal(labels, its_labels) and np.allclose(deltas, its_deltas)
    assert np.allclose(deltas_to(objects, anchors[: len(objects)]), encode(objects, anchors[: len(objects)]))
    yes = labels == 1
    matched = objects[iou(anchors, objects).argmax(axis=1)]
    assert np.allclose(decode(deltas[yes], anchors[yes]), matched[yes])  # the deltas lead back to the objects
    print(f"{len(objects)} objects; anchors: {yes.sum()} yes, {(labels == 0).sum()} no, {(labels == -1).sum()} ignored")
    print("one of the yes:", anchors[yes][0].round(1), "deltas", deltas[yes][0].round(2), "object", matched[yes][0])

    d = np.array([0.3, -0.5, 2.0, -4.0])
    loss, gradient = smooth_l1(d, np.zeros(4), reduction="sum")
    assert np.isclose(loss, (0.3**2 + 0.5**2) / 2 + 1.5 + 3.5) and np.allclose(gradient, [0.3, -0.5, 1, -1])
    check_loss(smooth_l1, d, np.zeros(4))
    figure, (one, positives) = drawing.new(1, 2, width=5)
    drawing.show(one, scene["image"], "the k = 9 anchors of a cell")
    drawing.show(positives, scene["image"], "green: yes; dashed: the objects")
    drawing.draw_boxes(one, anchors.reshape(h, w, k, 4)[h // 2, w // 2], "tab:blue")
    drawing.draw_boxes(positives, anchors[yes], "tab:green")
    drawing.draw_boxes(positives, objects, "white", style="--")
    drawing.save(figure, out, "step_16.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_16_anchors.py)
# 1. Leave out the rule of the best anchor. How many of the objects in 50 scenes have no "yes" at all?
# 2. Move the picture and everything in it by one stride. What happens to the labels? And by half a stride?
