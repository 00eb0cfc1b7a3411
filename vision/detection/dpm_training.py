"""How a mixture of part models is trained: roots, then the mixture of them, then parts, then boxes.

The latent SVM goes back and forth between two steps (sec. 4.3): with the weights held, choose the best placement of
each object; with the placements held, minimise over the weights, in passes over the images that add hard negatives. A
negative example is one component's root at one position, with all placements of its parts that were found hard so far;
so each component has examples of its own, and is solved on its own.

Reference: Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167, sec. 4 and 5.
"""

import numpy as np

from vision.boxes.boxes import iou
from vision.detection.dpm_boxes import fit_boxes, root_only, to_root
from vision.detection.dpm_placements import COLUMN, IMAGE, MIRRORED, MODEL, PARTS, ROW, Found, Placements
from vision.detection.dpm_star import FIRST_COSTS, Shown
from vision.detection.dpm_start import by_aspect, facing, parts_of_root, root_size, warped
from vision.detection.latent_svm import fit_latent_svm, keep_hard
from vision.detection.windows import is_free, photographs


class DPMTraining(Placements):
    """The fits of the stages. The buffers positives and negatives hold placements in the training images, -1 behind the
    last, so that a run which is killed goes on with the same ones."""

    buffers = ("positives", "negatives", "box_weights")

    def make_cache(self):
        """Space for placements."""
        o, columns = self.options, PARTS + 2 * self.options.parts
        self.positives = np.full((o.objects, columns), -1, np.int64)
        self.negatives = np.full((o.capacity, columns), -1, np.int64)

    def fit_roots(self, loader, rng: np.random.Generator, start: int):
        """Phase 1: components by aspect; for each the SVM of its objects, warped to its size, and random negatives."""
        seed = int(rng.integers(2**32))
        if start < 1:
            yield self.first_roots(loader, np.random.default_rng(seed))

    def fit_mixture(self, loader, rng: np.random.Generator, start: int):
        """Phase 2: the latent SVM. Which component an object is of, which way it faces and where it is are latent."""
        seed, o = int(rng.integers(2**32)), self.options
        for number in range(start, o.rounds * o.passes):
            yield self.improve(loader, number % o.passes == 0, np.random.default_rng([seed, number]))

    def fit_box(self, loader, rng: np.random.Generator, start: int):
        """Least squares from where the parts of the objects are to the objects' boxes (sec. 7.1)."""
        if start < 1:
            yield self.solve_boxes(loader)

    def first_roots(self, loader, rng) -> dict:
        """Sizes, roots and biases of all components; parts are not used yet."""
        o, stars = self.options, self.stars
        components = self.first_components([target for _, target in photographs(loader)])
        stars.anchors[...], stars.parts.value[...] = -1, 0
        pairs, rows, shown = [[] for _ in stars.sizes], [], []
        for i, (picture, target) in enumerate(photographs(loader)):
            levels = self.grid.pyramid(picture)
            for box, k in zip(target["boxes"], components[i]):
                pairs[k].append(warped(picture, box, stars.sizes[k], o.cell))
            for k in range(len(stars.sizes)):
                rows.append(self.random_negatives(levels, target, k, rng))
                rows[-1][:, IMAGE] = i
                shown.append(stars.vectors(self.shown(levels, rows[-1])))
        rows, others, figures = np.concatenate(rows), np.concatenate(shown), {}
        self.negatives[...] = -1
        self.negatives[: len(rows)] = rows[: len(self.negatives)]
        for k in range(len(stars.sizes)):
            own = np.stack(pairs[k])
            own = self.root_vectors(k, own[np.arange(len(own)), facing(own.reshape(len(own), 2, -1), rng)])
            x = np.concatenate([own, others[rows[:, MODEL] == k]])
            signs = np.where(np.arange(len(x)) < len(own), 1, -1)
            figures |= self.solve(k, x, signs, np.arange(len(x)), rng)
        return figures

    def first_components(self, targets) -> list[np.ndarray]:
        """The model of each object of each image, by class and aspect; the sizes of the models are set."""
        o = self.options
        boxes, labels = (np.concatenate([target[key] for target in targets]) for key in ("boxes", "labels"))
        components = np.zeros(len(boxes), np.int64)
        for label, name in enumerate(self.classes, start=1):
            own = np.flatnonzero(labels == label)
            if len(own) < o.components:
                raise ValueError(f"dpm: {name} has {len(own)} objects, fewer than the {o.components} components")
            for j, group in enumerate(by_aspect(boxes[own], o.components)):
                k = (label - 1) * o.components + j
                components[own[group]] = k
                self.stars.sizes[k] = root_size(boxes[own[group]], o.cell / o.largest, o.side)
                self.box_weights[k] = root_only(self.stars.sizes[k], o.parts)
        return np.split(components, np.cumsum([len(target["boxes"]) for target in targets])[:-1])

    def random_negatives(self, levels, target, k: int, rng) -> np.ndarray:
        """(E, 6 + 2 P): `random` placements of root k in an image, those on an object of its class left out."""
        (h, w), free = self.stars.sizes[k], [np.zeros((0, self.positives.shape[1]), np.int64)]
        for number in rng.integers(0, len(levels), self.options.random if levels else 0):
            level = levels[number]
            rooms = np.array(level.roots.shape[2:]) - (h, w) + 1
            if rooms.min() < 1:
                continue
            row = np.full((1, self.positives.shape[1]), -1)
            row[0, :PARTS] = k, 0, 0, number, *(rooms * rng.random(2)).astype(np.int64)
            box = self.grid.windows(row[:, ROW], row[:, COLUMN], (h, w), False, 0, level.factor)
            if is_free(box, target, k // self.options.components + 1, self.options.negative_iou)[0]:
                free.append(row)
        return np.concatenate(free)

    def root_vectors(self, k: int, roots: np.ndarray) -> np.ndarray:
        """(E, D): vectors of roots (E, 31, h, w) of model k alone."""
        stars, e = self.stars, len(roots)
        shapes = stars.roots.value.shape[1:], stars.parts.value.shape[1:], stars.costs.value.shape[1:]
        root, parts, moved = (np.zeros((e, *shape), np.float32) for shape in shapes)
        root[:, :, : roots.shape[2], : roots.shape[3]] = roots
        return stars.vectors(Shown(np.full(e, k), root, parts, moved))

    def solve(self, k: int, x: np.ndarray, signs: np.ndarray, example: np.ndarray, rng) -> dict:
        """The weights of model k from its examples."""
        found = fit_latent_svm(x, signs, example, self.options.c, self.stars.least(), rng=rng)
        self.stars.set_vector(k, found.weight)
        name = f"{self.classes[k // self.options.components]} {k % self.options.components}"
        counts = {f"{name}: objects": int((signs > 0).sum()), f"{name}: negatives": int((signs < 0).sum())}
        return counts | {f"{name}: gap": found.gap, f"{name}: epochs": found.epochs}

    def add_parts(self):
        """Parts where the roots have most energy (sec. 5.2, phase 3). Negatives are looked for anew."""
        o, stars = self.options, self.stars
        for k, (h, w) in enumerate(stars.sizes):
            if h:
                root = stars.roots.value[k, :, :h, :w]
                stars.anchors[k], stars.parts.value[k] = parts_of_root(root, o.parts, o.part_side)
                stars.costs.value[k] = FIRST_COSTS
        self.negatives[...] = -1

    def improve(self, loader, rechoose: bool, rng) -> dict:
        """One pass over the images, which finds hard negatives and, to rechoose, the placements of the objects; then
        the weights of all components."""
        rows, signs, vectors = [], [], []
        for i, (picture, target) in enumerate(photographs(loader)):
            levels = self.grid.pyramid(picture)
            found = self.find(levels, -np.inf if rechoose else -1.0)
            found.rows[:, IMAGE] = i
            own = self.positives[self.positives[:, IMAGE] == i]
            placed = self.placed(found, target) if rechoose else own
            others = self.negatives[self.negatives[:, IMAGE] == i], self.hard_negatives(found, target)
            rows.append(np.concatenate([placed, *others]))
            signs.append(np.repeat([1, -1], [len(placed), len(rows[-1]) - len(placed)]))
            vectors.append(self.stars.vectors(self.shown(levels, rows[-1])))
        rows, signs, vectors = (np.concatenate(each) for each in (rows, signs, vectors))
        scores = self.scores_of(rows, vectors)
        others = np.flatnonzero(signs < 0)
        others = others[self.hardest(rows[others], scores[others])]
        kept = np.concatenate([np.flatnonzero(signs > 0)[: len(self.positives)], others])
        rows, signs, vectors = rows[kept], signs[kept], vectors[kept]
        for buffer, sign in ((self.positives, 1), (self.negatives, -1)):
            buffer[...] = -1
            buffer[: (signs == sign).sum()] = rows[signs == sign]
        return self.solve_all(rows, signs, vectors, rng)

    def hardest(self, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Indices, in order, of the negatives that stay in the cache (see keep_hard). All models have equal shares of
        it: each is solved on its own, and their scores compare only when all have been solved."""
        kept, share = [], len(self.negatives) // len(self.stars.sizes)
        for k in range(len(self.stars.sizes)):
            own = np.flatnonzero(rows[:, MODEL] == k)
            kept.append(own[keep_hard(rows[own], scores[own], share)])
        return np.sort(np.concatenate(kept))

    def scores_of(self, rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(E,): scores by the weights as they are."""
        scores = np.zeros(len(rows))
        for k in range(len(self.stars.sizes)):
            own = rows[:, MODEL] == k
            scores[own] = vectors[own] @ self.stars.vector(k)
        return scores

    def solve_all(self, rows: np.ndarray, signs: np.ndarray, vectors: np.ndarray, rng) -> dict:
        """The weights of all models. A model that no object has chosen is used no more."""
        figures = {}
        for k in range(len(self.stars.sizes)):
            own = rows[:, MODEL] == k
            if not (signs[own] > 0).any():
                self.stars.sizes[k] = 0
            elif (signs[own] < 0).any():
                # The negatives of one root at one position are one example; each object is one.
                example = np.unique(rows[own, :PARTS], axis=0, return_inverse=True)[1].reshape(-1)
                example = np.where(signs[own] > 0, -1 - np.arange(own.sum()), example)
                figures |= self.solve(k, vectors[own], signs[own], example, rng)
        return figures

    def solve_boxes(self, loader) -> dict:
        """The box weights of all models that have objects."""
        roots, boxes, rows = [], [], []
        for i, (picture, target) in enumerate(photographs(loader)):
            own = self.positives[self.positives[:, IMAGE] == i]
            if len(own):
                windows = self.root_boxes(own, picture.shape[:2])
                nearest = iou(windows, target["boxes"].astype(float)).argmax(axis=1)
                rows.append(own)
                roots.append(windows)
                boxes.append(target["boxes"][nearest])
        rows, roots, boxes = (np.concatenate(each) for each in (rows, roots, boxes))
        before = iou_of_pairs(self.boxes(Found(rows, roots, np.zeros(len(rows)))), boxes)
        for k in range(len(self.stars.sizes)):
            own = rows[:, MODEL] == k
            if own.any():
                targets = to_root(boxes[own], roots[own], rows[own, MIRRORED])
                self.box_weights[k] = fit_boxes(self.box_inputs(rows[own]), targets)
        after = iou_of_pairs(self.boxes(Found(rows, roots, np.zeros(len(rows)))), boxes)
        return {"mean IoU of the boxes before": before, "mean IoU of the boxes after": after}


def iou_of_pairs(a: np.ndarray, b: np.ndarray) -> float:
    """The mean IoU of boxes a (E, 4) with boxes b (E, 4), one with one."""
    return float(np.mean([iou(x[None], y[None].astype(float))[0, 0] for x, y in zip(a, b)]))
