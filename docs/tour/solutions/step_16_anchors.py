"""Solutions to step 16."""

import numpy as np

from datasets import Shapes
from docs.tour.step_16_anchors import STRIDE, anchors_of, targets_of
from vision.boxes import iou


def exercise_1():
    """About a quarter, 38 of 161: no anchor has an IoU of 0.7 with them, and the RPN would learn nothing of them."""
    anchors, missed, total = anchors_of(120 // STRIDE, 160 // STRIDE), 0, 0
    inside = (anchors >= 0).all(axis=1) & (anchors[:, 2] <= 160) & (anchors[:, 3] <= 120)
    for scene in Shapes(50, size=(120, 160)):
        highest = iou(anchors[inside], scene["boxes"].astype(float)).max(axis=0)  # for each object
        missed, total = missed + (highest < 0.7).sum(), total + len(highest)
    print(f"{missed} of {total} objects have no anchor with an IoU of 0.7 or more")
    assert missed > total / 8


def exercise_2():
    """By a stride: they move by one cell, all else is the same. By half a stride: other anchors fit.

    Here four with an IoU of 0.62 share the object first, then two with 0.78.
    So a detector is, like its convolutions, the same at every cell, but not at every pixel.
    """
    anchors, thing = anchors_of(15, 20), np.array([[56, 40, 88, 72]], float)  # 32 x 32, centred on the corner of cells

    def labels_at(shift):
        return targets_of(anchors, thing + np.array([shift, 0, shift, 0]), (120, 160))[0].reshape(15, 20, 9)

    here, stride, half = labels_at(0), labels_at(STRIDE), labels_at(STRIDE / 2)
    same = np.array_equal(here[:, 5:12] == 1, stride[:, 6:13] == 1)
    print(f"shifted by a stride the labels move by a cell: {same}")
    print(f"anchors that say yes: {(here == 1).sum()}, and with the object half a stride on: {(half == 1).sum()}")
    assert same and (half == 1).sum() != (here == 1).sum()


if __name__ == "__main__":
    exercise_1()
    exercise_2()
