"""Step 15. Boxes: IoU, non-maximum suppression, average precision by hand.

Question: a detector has found seven boxes, and there are three objects. How good is that, in one number?

A box is (x1, y1, x2, y2) in pixels: its left, upper, right and lower side; x2 - x1 is its width.

IoU, intersection over union, says how much two boxes agree: 1 if they are the same, 0 if they do not meet.

    IoU = area of what both cover / area of what at least one covers

NMS, non-maximum suppression. A detector finds the same object several times. Take the box with the best score, drop all
boxes that overlap it by more than a threshold, go on with the next one that is left.

Right or wrong. Go through the boxes by falling score. A box is right, a true positive, if its IoU with an object is at
least 0.5 and that object has not been found before; else it is a false positive. A second box on an object is wrong!

Precision and recall, after each box:  precision = right so far / boxes so far,  recall = right so far / objects.
A detector that gives few boxes has a high precision and a low recall; one that gives many, the reverse. Average
precision, AP, looks at all of these at once:

    p(r) = the largest precision at a recall of r or more         AP = the area under p(r), from r = 0 to 1

With several classes: AP for each class, with the boxes of all test images in one list; then their mean, mAP.
"""

import sys

import numpy as np

from docs.tour import drawing
from vision.boxes import iou, nms
from vision.detection.metrics import evaluate_detections

OBJECTS = np.array([[10, 10, 50, 50], [60, 20, 100, 80], [20, 58, 45, 95]], float)
BOXES = np.array(
    [[12, 8, 52, 49], [8, 14, 44, 54], [62, 24, 98, 84], [80, 84, 112, 98], [14, 60, 42, 86], [66, 22, 108, 72],
     [2, 64, 16, 90]], float,
)  # fmt: skip
SCORES = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3])


def overlap(a, b):
    """The IoU of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)  # negative: they do not meet
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return both / (area_a + area_b - both)  # the areas count `both` twice


def suppress(boxes, scores, threshold):
    """The indices of the boxes that NMS keeps, best first."""
    left, kept = list(np.argsort(-scores)), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if overlap(boxes[best], boxes[i]) <= threshold]
    return kept


def judge(boxes, objects, threshold=0.5):
    """For each box, in order of falling score: is it right?"""
    found, right = set(), []
    for box in boxes:
        overlaps = [overlap(box, thing) for thing in objects]
        best = int(np.argmax(overlaps))
        right.append(overlaps[best] >= threshold and best not in found)
        if right[-1]:
            found.add(best)
    return np.array(right)


def average_precision(right, objects):
    """AP, and the precision and recall after each box."""
    true_positives = np.cumsum(right)
    precision, recall = true_positives / np.arange(1, len(right) + 1), true_positives / objects
    ap, before = 0.0, 0.0
    for i in np.flatnonzero(right):  # the recall rises only here
        ap += (recall[i] - before) * precision[i:].max()  # a strip of the area: width times p(r)
        before = recall[i]
    return ap, precision, recall


def main(out="tour_out"):
    assert np.allclose([[overlap(a, b) for b in OBJECTS] for a in BOXES], iou(BOXES, OBJECTS))
    kept = suppress(BOXES, SCORES, 0.5)
    assert kept == list(nms(BOXES, SCORES, 0.5))
    figure, (*panels, curve) = drawing.new(1, 3, width=4)
    for panel, (name, chosen) in zip(panels, (("all boxes", np.arange(7)), ("after NMS", np.array(kept)))):
        boxes, scores = BOXES[chosen], SCORES[chosen]
        right = judge(boxes, OBJECTS)
        ap, precision, recall = average_precision(right, len(OBJECTS))
        truth = {"boxes": OBJECTS, "labels": np.ones(3, int)}
        found = {"boxes": boxes, "scores": scores, "labels": np.ones(len(boxes), int)}
        assert np.isclose(
            ap, evaluate_detections([found], [truth], ["thing"])["thing"]
        )  # the library's, for a data set
        print(f"{name}: AP {ap:.3f}\n  score  best IoU  right?  precision  recall")
        for i, box in enumerate(boxes):
            best = max(overlap(box, thing) for thing in OBJECTS)
            print(
                f"  {scores[i]:5.2f} {best:9.2f} {'yes' if right[i] else 'no':>7} {precision[i]:10.2f} {recall[i]:7.2f}"
            )
        panel.set(xlim=(0, 120), ylim=(105, 0), aspect="equal", title=f"{name}: AP {ap:.3f}")
        drawing.draw_boxes(panel, OBJECTS, "gray", style="--")
        for box, score, good in zip(boxes, scores, right):
            drawing.draw_boxes(panel, [box], "tab:green" if good else "tab:red", [f"{score:.2f}"])
        p = np.maximum.accumulate(precision[::-1])[::-1]  # the largest from here on
        curve.step([0, *recall], [p[0], *p], where="pre", marker="o", label=name)
    curve.set(xlabel="recall r", ylabel="p(r)", ylim=(0, 1.05))
    drawing.save(figure, out, "step_15.png")


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_15_boxes.py)
# 1. Add a hundred wrong boxes with scores below 0.3. What happens to AP? And with scores above 0.95?
# 2. Two objects of one class overlap with an IoU of 0.6, and both are found. What does NMS at 0.5 do? What is the cost
#    of a threshold of 0.7?
