"""Step 19. From boxes to masks.

Question: a box says where an object is, not which pixels are its own. What is missing for a mask, one for each object?

Little. Mask R-CNN adds a third branch to the head of step 18. RoIAlign cuts the region out of the features (step 17),
convolutions look at it, a transposed one doubles its size (step 6), and a 1x1 convolution gives a grid of m x m scores
for EACH class. Cell (i, j) answers: is this place of the region inside the object? Yes or no, so each score x is
squashed by a sigmoid, p = 1 / (1 + exp(-x)). The loss is the binary cross-entropy with the target t, 0 or 1:

    loss = -t log p - (1 - t) log(1 - p)
    dloss/dx = p - t                            since dp/dx = p (1 - p): log and exp undo each other, as in step 4

Only the grid of the region's own class has a loss, so classes do not compete within a mask: what the thing is, the box
branch has said. The target is the part of the object's mask that lies in the region, on the same grid. And back: the
grid is laid into the box, each pixel takes the interpolated p at its centre, and is the object's from 0.5 on.
(Here the boxes are the true ones, and only the mask branch learns: vision/instances/mask_rcnn.py has all branches.)
"""

import sys

import numpy as np

from datasets import Shapes
from docs.tour import drawing
from docs.tour.step_17_roi_pooling import at
from nn import Adam, BatchNorm2d, Conv2d, ConvTranspose2d, Layer, MaxPool2d, ReLU, RoIAlign, Sequential, sigmoid
from nn import binary_cross_entropy_with_logits as bce
from nn.gradcheck import check_loss
from vision.instances.masks import mask_targets, paste

SIZE, M = (64, 64), 16


def binary_cross_entropy(x, t):
    """The mean loss of scores x, and its gradient."""
    p = sigmoid(x)
    return (-t * np.log(p) - (1 - t) * np.log(1 - p)).mean(), (p - t) / x.size


def paste_one(p, box):
    """The mask (H, W) of one grid p (M, M) laid into its box."""
    mask, (x1, y1, x2, y2) = np.zeros(SIZE, bool), box
    for row in range(int(np.ceil(y1 - 0.5)), int(np.floor(y2 - 0.5)) + 1):
        for column in range(int(np.ceil(x1 - 0.5)), int(np.floor(x2 - 0.5)) + 1):  # pixels whose centre is in the box
            r, c = (row + 0.5 - y1) / (y2 - y1) * M - 0.5, (column + 0.5 - x1) / (x2 - x1) * M - 0.5  # in cells
            mask[row, column] = at(p, r, c) >= 0.5
    return mask


class MaskNetwork(Layer):
    """Pictures (N, 3, H, W) and boxes (K, 4) to mask scores (K, classes, M, M)."""

    def __init__(self, classes, rng, width=16):
        conv = Conv2d(3, width, 3, padding=1, rng=rng)
        self.backbone = Sequential(conv, BatchNorm2d(width), ReLU(), MaxPool2d(2))  # the stride is 2
        self.align = RoIAlign(M // 2, 1 / 2, sampling_ratio=2, aligned=True)
        convs = Conv2d(width, 32, 3, padding=1, rng=rng), Conv2d(32, 32, 3, padding=1, rng=rng)
        larger = ConvTranspose2d(32, 32, 2, stride=2, rng=rng)  # (K, 32, 8, 8) to (K, 32, 16, 16)
        own = Conv2d(32, classes, 1, rng=rng)  # a grid for each class
        self.head = Sequential(convs[0], ReLU(), convs[1], ReLU(), larger, ReLU(), own)

    def forward(self, images, boxes, image_index, training=True):
        features, c_backbone = self.backbone.forward(images, training)
        regions, c_align = self.align.forward(features, boxes, image_index)
        scores, c_head = self.head.forward(regions, training)
        return scores, (c_backbone, c_align, c_head)

    def backward(self, dscores, cache):
        c_backbone, c_align, c_head = cache
        dfeatures, _, _ = self.align.backward(self.head.backward(dscores, c_head), c_align)  # none for the boxes
        return self.backbone.backward(dfeatures, c_backbone), None, None


def batch_of(scenes):
    """images, boxes, image_index, labels, and targets (K, M, M), of all objects of some scenes."""
    images = np.stack([scene["image"].transpose(2, 0, 1) for scene in scenes]).astype(np.float32) / 127.5 - 1
    boxes, labels = (np.concatenate([scene[key] for scene in scenes]) for key in ("boxes", "labels"))
    index = np.repeat(np.arange(len(scenes)), [len(scene["labels"]) for scene in scenes])
    targets = [mask_targets(s["masks"], s["boxes"], np.arange(len(s["boxes"])), M) for s in scenes]
    return images, boxes, index, labels, np.concatenate(targets)


def main(out="tour_out", steps=60):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((2, 3, 4)), rng.integers(2, size=(2, 3, 4)).astype(float)
    assert all(map(np.allclose, binary_cross_entropy(x, t), bce(x, t)))
    print(f"binary cross-entropy as in nn; relative error of its gradient {check_loss(bce, x, t):.0e}")

    scenes, test, model = [*Shapes(60, SIZE)], [*Shapes(20, SIZE, seed=1)], MaskNetwork(3, rng)
    optimiser = Adam(model.parameters(), lr=0.004)
    for step in range(steps):
        images, boxes, index, labels, targets = batch_of([scenes[i] for i in rng.choice(60, 4, replace=False)])
        scores, cache = model.forward(images, boxes, index)
        own = np.arange(len(labels)), labels - 1  # the grid of each region's own class
        dscores = np.zeros_like(scores)
        loss, dscores[own] = bce(scores[own], targets)
        optimiser.zero_grad()
        model.backward(dscores, cache)
        optimiser.step()
        if step % 20 in (0, 19):
            print(f"step {step:3}: loss {loss:.3f} (guessing: {np.log(2):.3f})")

    overlaps, drawn = [], []
    for scene in test:
        images, boxes, index, labels, _ = batch_of([scene])
        p = sigmoid(model(images, boxes, index)[np.arange(len(labels)), labels - 1].astype(float))
        drawn.append(paste(p, boxes.astype(float), SIZE))
        assert np.array_equal(drawn[-1][0], paste_one(p[0], boxes[0].astype(float)))
        overlaps += [(mask & true).sum() / (mask | true).sum() for mask, true in zip(drawn[-1], scene["masks"])]
    print(f"{len(overlaps)} objects in unseen scenes: mean IoU with the true masks {np.mean(overlaps):.3f}")
    drawing.save_masks(out, "step_19.png", test, drawn)
    assert np.mean(overlaps) > 0.65


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_19_masks.py)
# 1. How good can a branch be at all? Paste the targets themselves, with M = 16, 8, 4 and 1, and measure the IoU.
# 2. binary_cross_entropy fails at x = 800, t = 0. Show that max(x, 0) - x t + log(1 + exp(-|x|)) is the same, and safe.
