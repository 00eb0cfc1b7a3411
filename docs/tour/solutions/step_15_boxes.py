"""Solutions to step 15."""

import numpy as np

from docs.tour.step_15_boxes import BOXES, OBJECTS, SCORES, average_precision, judge, suppress


def exercise_1():
    """Below: nothing. They come after the last object is found, where the recall no longer rises.

    Above: AP falls to a fortieth. Each true positive now has a hundred false ones before it: precision is 3 of 105 at
    most. AP does not ask how many boxes there are, but in which order.
    """
    ap = {}
    for name, before, after in (("none", 0, 0), ("100 below", 0, 100), ("100 above", 100, 0)):
        right = judge(BOXES[suppress(BOXES, SCORES, 0.5)], OBJECTS)
        right = np.concatenate([np.zeros(before, bool), right, np.zeros(after, bool)])
        ap[name], _, _ = average_precision(right, len(OBJECTS))
        print(f"wrong boxes: {name}: AP {ap[name]:.3f}")
    assert ap["100 below"] == ap["none"] and ap["100 above"] < ap["none"] / 20


def exercise_2():
    """NMS at 0.5 drops one of the two boxes though it is right: one object is lost, and AP is at most 0.5.

    At 0.7 both stay, but so do second boxes on the same object whose IoU with the first is below 0.7, and those are
    wrong. No threshold is right for both; it is chosen on validation data.
    """
    objects = np.array([[10, 10, 50, 50], [20, 10, 60, 50]], float)  # IoU 0.6
    boxes = np.array([[10, 10, 50, 50], [10, 18, 50, 58], [20, 10, 60, 50]], float)  # the second: again on the first
    scores, ap = np.array([0.9, 0.85, 0.8]), {}
    for threshold in (0.5, 0.7):
        kept = suppress(boxes, scores, threshold)
        ap[threshold], _, _ = average_precision(judge(boxes[kept], objects), 2)
        print(f"NMS at {threshold}: keeps {len(kept)} of 3 boxes, AP {ap[threshold]:.3f}")
    assert ap[0.5] == 0.5 and 0.5 < ap[0.7] < 1


if __name__ == "__main__":
    exercise_1()
    exercise_2()
