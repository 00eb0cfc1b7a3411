"""Step 18. Faster R-CNN, put together.

Question: we have convolutions, anchors, RoI pooling and two losses. How do they become one detector that learns?

    picture -> backbone -> features -+-> RPN: for each anchor 2 scores and 4 deltas -> proposals (by NMS)
                                     +-> RoI pooling of the proposals -> head: a class and 4 deltas for each -> boxes

Two stages, each with a loss of classes and one of boxes: the RPN's over a sample of the anchors (step 16), the head's
over a sample of the proposals; its class 0 is "nothing". `backward` is the mirror image of `loss`. features are used
twice, so dfeatures is a sum. What was sampled is constant: no gradient goes through the corners of a proposal. The rest
of the paper: vision/detection/faster_rcnn.py.
"""

import sys

import numpy as np

import nn
from datasets import Shapes
from docs.tour import drawing
from vision.boxes import base_anchors, clip, decode, grid_anchors, nms
from vision.boxes.matching import anchor_targets, sample_rois
from vision.detection.metrics import evaluate_detections

SIZE = (64, 64)
ANCHORS = grid_anchors(base_anchors((14, 24), (1,)), (16, 16), 4)  # (A, 4): k = 2, stride 4
ROIS = {"num_classes": 1, "samples": 32, "background_iou": (0, 0.5)}


def pixels(scenes):  # (N, 3, 64, 64), from -1 to 1
    return np.stack([scene["image"] for scene in scenes]).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1


class FasterRCNN(nn.Layer):
    def __init__(self, rng):
        layers = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False, rng=rng)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
        self.backbone = nn.Sequential(*layers[:-1])  # no pooling behind the last: the stride is 4
        self.rpn = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, rng=rng), nn.ReLU())
        self.rpn_out = nn.Linear(64, 2 * 6, rng=rng)  # a 1x1 convolution: k = 2 times 2 scores and 4 deltas
        self.pool, hidden = nn.RoIPool(5, 1 / 4), nn.Linear(64 * 5 * 5, 64, rng=rng)
        self.head = nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(64, 2 + 4, rng=rng))

    def loss(self, scenes, rng, sampled=None):
        """The four losses of N scenes, samples of Shapes with image, boxes and labels; and the cache."""
        features, c_backbone = self.backbone.forward(pixels(scenes))  # (N, 64, 16, 16)
        hidden, c_rpn = self.rpn.forward(features)
        rows = hidden.transpose(0, 2, 3, 1)  # (N, 16, 16, 64): Linear wants the channels last
        answers, c_rpn_out = self.rpn_out.forward(rows.reshape(-1, 64))
        answers = answers.reshape(-1, 6)  # (N A, 6): those of all anchors of the first picture, then of the next
        sampled = sampled or self.sample(answers.reshape(len(scenes), -1, 6), scenes, rng)  # constants
        anchor_labels, anchor_deltas, image_index, rois, labels, deltas = sampled
        pooled, c_pool = self.pool.forward(features, rois, image_index)
        found, c_head = self.head.forward(pooled)  # (R, 6)
        losses, danswers, dfound = {}, np.zeros_like(answers), np.zeros_like(found)
        losses["rpn_cls"], danswers[:, :2] = nn.softmax_cross_entropy(answers[:, :2], anchor_labels)
        yes, cells = 10.0 * (anchor_labels[:, None] == 1), len(anchor_labels) // 2  # lambda 10, eq. 1
        losses["rpn_box"], danswers[:, 2:] = nn.smooth_l1(answers[:, 2:], anchor_deltas, 1, yes, "mean", cells)
        losses["cls"], dfound[:, :2] = nn.softmax_cross_entropy(found[:, :2], labels)
        losses["box"], dfound[:, 2:] = nn.smooth_l1(found[:, 2:], deltas, 1, labels[:, None] > 0, "mean", len(labels))
        return losses, (c_backbone, c_rpn, c_rpn_out, c_pool, c_head, danswers, dfound, sampled)

    def backward(self, cache):
        c_backbone, c_rpn, c_rpn_out, c_pool, c_head, danswers, dfound, _ = cache
        dpooled = self.head.backward(dfound, c_head)
        dfeatures, _, _ = self.pool.backward(dpooled, c_pool)  # none for the boxes
        drows = self.rpn_out.backward(danswers.reshape(-1, 12), c_rpn_out).reshape(-1, 16, 16, 64)
        dfeatures = dfeatures + self.rpn.backward(drows.transpose(0, 3, 1, 2), c_rpn)  # features fork: gradients add
        self.backbone.backward(dfeatures, c_backbone)

    def propose(self, answers, keep):
        """Boxes (M, 4) of one picture from the RPN's answers (A, 6): moved anchors, the best after NMS."""
        boxes = clip(decode(answers[:, 2:], ANCHORS), SIZE)
        return boxes[nms(boxes, answers[:, 1] - answers[:, 0], 0.7, max_keep=keep)]

    def sample(self, answers, scenes, rng):
        """Targets of the anchors, (N A,) and (N A, 4), and R sampled regions with theirs."""
        anchors = [anchor_targets(ANCHORS, t["boxes"], SIZE, rng, samples=32, border=8) for t in scenes]
        pairs = zip(answers, scenes)
        regions = [sample_rois(self.propose(own, 100), t["boxes"], t["labels"], rng, **ROIS) for own, t in pairs]
        image_index = np.repeat(np.arange(len(regions)), [len(rois) for rois, _, _ in regions])
        return *map(np.concatenate, zip(*anchors)), image_index, *map(np.concatenate, zip(*regions))

    def detect(self, scene):
        """boxes, labels and scores in one picture."""
        features = self.backbone(pixels([scene]))
        rois = self.propose(self.rpn_out(self.rpn(features)[0].reshape(64, -1).T).reshape(-1, 6), keep=30)
        found = self.head(self.pool(features, rois, np.zeros(len(rois), int)))
        deltas = found[:, 2:] * np.float32([0.1, 0.1, 0.2, 0.2])  # sample_rois divides by these
        boxes, scores = clip(decode(deltas, rois), SIZE), nn.softmax(found[:, :2], axis=1)[:, 1]
        keep = nms(boxes, scores, 0.3)
        return {"boxes": boxes[keep], "labels": np.ones(len(keep), int), "scores": scores[keep]}


def main(out="tour_out", steps=150):
    rng = np.random.default_rng(0)
    scenes, test = (Shapes(n, SIZE, seed, classes=("circle",), max_objects=2) for n, seed in ((200, 0), (40, 1)))
    model = FasterRCNN(rng)
    optimiser, schedule = nn.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4), nn.cosine(steps)
    for step in range(steps):
        losses, cache = model.loss([scenes[i] for i in rng.choice(200, 4, replace=False)], rng)
        optimiser.zero_grad()
        model.backward(cache)
        optimiser.step(rate=schedule(step))
        if step % 30 == 0 or step == steps - 1:
            print(f"step {step:3}:", "  ".join(f"{name} {value:.3f}" for name, value in losses.items()))
    found = [model.detect(scene) for scene in test]
    print(f"AP in 40 unseen scenes: {(ap := evaluate_detections(found, [*test], ['circle'])['circle']):.3f}")
    drawing.save_scenes(out, "step_18.png", test, [f["boxes"][f["scores"] > 0.5] for f in found])
    assert ap > 0.7


if __name__ == "__main__":
    main(*sys.argv[1:])

# Exercises (answers: solutions/step_18_faster_rcnn.py)
# 1. Check a dozen gradients of the whole detector by differences, in float64. Why must `sampled` be held fixed?
# 2. Leave out the RPN's part of dfeatures. Which parameters get a wrong gradient, and which none at all?
