"""How a detector of HOG and a linear SVM is trained: random negatives, then rounds of hard negatives.

Reference: Dalal and Triggs 2005, doi:10.1109/CVPR.2005.177, sec. 4.
"""

import numpy as np

from vision.boxes.nms import nms
from vision.detection.hog_windows import HOGWindows
from vision.detection.linear_svm import fit_svm
from vision.detection.windows import is_free, photographs

BIAS_SCALE = 10.0  # the bias is the weight of a feature of this size, so the norm hardly holds it down


class HOGTraining(HOGWindows):
    """An SVM of the objects, mirrored too, and random windows without objects; then in each round the windows that it
    takes for objects are added to the negatives, and the SVM is solved again.

    The buffer mined (capacity, 5) says where the negatives are: class, image, level, row and column of each, -1 behind
    the last. So a run that is killed goes on within a round, and sees the same windows again.
    """

    buffers = ("mined",)

    def make_cache(self):
        """Space for negatives."""
        self.mined = np.full((self.options.capacity, 5), -1, np.int64)

    def random_negatives(self, image_size, target, rng) -> np.ndarray:
        """(K, 4), class, level, row and column: `negatives` windows for each class, each that overlaps an object of it
        left out. Levels are drawn by their numbers of windows."""
        o, found = self.options, []
        shapes = [self.map_size(image_size, f) for f in self.factors(image_size)]
        counts = np.array([(h - self.size[0] + 1) * (w - self.size[1] + 1) for h, w in shapes])
        for k in range(len(self.classes)):
            level = rng.choice(len(counts), o.negatives, p=counts / counts.sum()) if len(counts) else np.zeros(0, int)
            across = np.array([w - self.size[1] + 1 for _, w in shapes], np.int64)[level]
            down = np.array([h - self.size[0] + 1 for h, _ in shapes], np.int64)[level]
            rows = np.stack(
                [level, *(np.floor(rng.random(len(level)) * n).astype(np.int64) for n in (down, across))], 1
            )
            free = is_free(self.boxes(image_size, rows), target, k + 1, o.negative_iou)
            found.append(np.insert(rows[free], 0, k, axis=1))
        return np.concatenate(found)

    def hard_negatives(self, picture: np.ndarray, target) -> np.ndarray:
        """(K, 4): the `hard` best-scored windows of each class above the margin that overlap no object of it."""
        rows, boxes, scores = self.windows_above(picture, -1.0)
        free = np.concatenate(
            [
                np.flatnonzero((rows[:, 0] == k) & is_free(boxes, target, k + 1, self.options.negative_iou))
                for k in range(len(self.classes))
            ]
        )
        keep = nms(boxes[free], scores[free], 0.8, rows[free, 0] + 1)
        best = [free[keep][rows[free[keep], 0] == k][: self.options.hard] for k in range(len(self.classes))]
        return rows[np.concatenate(best)]

    def fit_first(self, loader, rng: np.random.Generator, start: int):
        """The SVM of objects and random negatives."""
        seed = int(rng.integers(2**32))
        if start < 1:
            yield self.remember(
                self.random_negatives(picture.shape[:2], target, np.random.default_rng([seed, i]))
                for i, (picture, target) in enumerate(photographs(loader))
            )
        if start < 2:
            yield self.solve(loader, rng)

    def fit_round(self, loader, rng: np.random.Generator, start: int):
        """The windows above the margin that hold no object become negatives; then the SVM of all."""
        rng.integers(2**32)  # as in fit_first
        if start < 1:
            yield self.remember(self.hard_negatives(*sample) for sample in photographs(loader))
        if start < 2:
            yield self.solve(loader, rng)

    def remember(self, found) -> dict:
        """Add the negatives (K, 4) of each image to those mined, each once, as many as there is room for."""
        known = self.mined[self.mined[:, 0] >= 0]
        rows = np.concatenate([known, *(np.insert(own, 1, i, axis=1) for i, own in enumerate(found))])
        kept = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])][: len(self.mined)]
        self.mined[: len(kept)] = kept
        return {"negatives": len(kept), "new": len(kept) - len(known)}

    def solve(self, loader, rng: np.random.Generator) -> dict:
        """The SVM of each class from the objects of the samples, those mirrored, and the negatives kept."""
        examples = [([], []) for _ in self.classes]
        mined = self.mined[self.mined[:, 0] >= 0]
        for i, (picture, target) in enumerate(photographs(loader)):
            own = mined[mined[:, 1] == i].tolist()
            maps = self.maps(picture, {row[2] for row in own})
            for box, label in zip(target["boxes"], target["labels"]):
                examples[label - 1][0].extend(self.positive(picture, box, mirrored) for mirrored in (False, True))
            for k, _, *where in own:
                examples[k][1].append(self.window(maps, *where))
        figures = {}
        for k, (name, (objects, others)) in enumerate(zip(self.classes, examples)):
            if not objects or not others:
                raise ValueError(f"hog_svm: {name} has {len(objects)} examples, and {len(others)} windows without it")
            x, y = np.stack(objects + others), np.repeat([1, -1], [len(objects), len(others)])
            svm = fit_svm(x.reshape(len(x), -1), y, self.options.c, bias_scale=BIAS_SCALE, tolerance=0.01, rng=rng)
            self.classifier.weight.value[k] = svm.weight.reshape(x.shape[1:])
            self.classifier.bias.value[k] = svm.bias
            figures |= {f"{name}: violation": svm.violation, f"{name}: gap": svm.gap, f"{name}: epochs": svm.epochs}
        return figures
