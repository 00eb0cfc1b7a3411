"""Solutions to step 19."""

import numpy as np

from datasets import Shapes
from docs.tour.step_19_masks import SIZE, binary_cross_entropy
from nn import binary_cross_entropy_with_logits
from vision.instances.masks import mask_targets, paste


def exercise_1():
    """The grid limits it: corners are lost. M = 1 is the whole box, or nothing for an object that fills less than half.

    Mask R-CNN has M = 28, for larger objects than these.
    """
    limits = []
    for m in (16, 8, 4, 1):
        overlaps = []
        for scene in Shapes(20, SIZE, seed=1):
            boxes, true = scene["boxes"].astype(float), scene["masks"]
            found = paste(mask_targets(true, boxes, np.arange(len(true)), m), boxes, SIZE)
            overlaps += list((found & true).sum(axis=(1, 2)) / (found | true).sum(axis=(1, 2)))
        limits.append(np.mean(overlaps))
        print(f"M = {m:2}: a perfect branch would have a mean IoU of {limits[-1]:.3f}")
    assert limits == sorted(limits, reverse=True)


def stable(x, t):
    """The same loss from the scores: no overflow, no log of 0."""
    return (np.maximum(x, 0) - x * t + np.log1p(np.exp(-abs(x)))).mean()


def exercise_2():
    """-log p = log(1 + exp(-x)), and -log(1 - p) = x + log(1 + exp(-x)). With weights t and 1 - t: x - x t + log(...).

    For x < 0 write log(1 + exp(-x)) = -x + log(1 + exp(x)): the x cancels. So max(x, 0), and exp only of -|x|.
    """
    rng = np.random.default_rng(0)
    x, t = 3 * rng.standard_normal(1000), rng.random(1000)
    assert np.isclose(stable(x, t), binary_cross_entropy(x, t)[0])
    x, t = np.array([800.0]), np.array([0.0])
    with np.errstate(all="ignore"):
        naive, _ = binary_cross_entropy(x, t)
    print(f"x = 800, t = 0: from p {naive}, from x {stable(x, t)}, nn {binary_cross_entropy_with_logits(x, t)[0]}")
    assert not np.isfinite(naive) and stable(x, t) == binary_cross_entropy_with_logits(x, t)[0] == 800


if __name__ == "__main__":
    exercise_1()
    exercise_2()
