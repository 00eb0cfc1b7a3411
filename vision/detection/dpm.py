"""A mixture of deformable part models: a root filter, and parts at twice the resolution that may move at a cost.

Reference: Felzenszwalb, Girshick, McAllester and Ramanan 2010, Object detection with discriminatively trained
part-based models, TPAMI 32(9), doi:10.1109/TPAMI.2009.167.
"""

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from nn import hinge
from nn.gpu.device import device_of, to_device
from nn.layer import check_shape
from vision.boxes.boxes import clip
from vision.detection.detector import least_score
from vision.detection.dpm_boxes import keep_uncovered
from vision.detection.dpm_draw import draw_star
from vision.detection.dpm_placements import MODEL
from vision.detection.dpm_star import BIAS_SCALE, Shown
from vision.detection.dpm_training import DPMTraining
from vision.detection.draw import grid
from vision.detection.windows import as_picture
from vision.model import Stage
from vision.options import ImageOptions
from vision.registry import Tiny, register


@dataclass(frozen=True)
class Options(ImageOptions):
    """Roots are looked for on the image at half its size and smaller, parts at the image's own size and smaller."""

    short_side: int = 240  # pixels of the shorter side
    max_side: int = 400  # pixels of the longer side at most
    mean: float = 0.0  # subtracted from each channel; 0: histograms are made from the image in 0 .. 1
    std: float = 255.0  # then each channel is divided by this; 255
    components: int = 2  # of each class, by aspect; each comes with its mirror image
    parts: int = 6  # of each component; 0: roots alone
    side: int = 8  # cells of the longer side of a root at most
    part_side: int = 5  # cells of a part, at twice the root's resolution
    cell: int = 4  # side of a cell in pixels
    largest: float = 0.5  # factor of the largest level of the roots
    interval: int = 5  # levels to the octave
    levels: int = 15  # levels of the pyramid at most
    border: int = 2  # cells around a level where a root may stick out
    c: float = 0.1  # of the latent SVM: weight of an example's hinge loss
    overlap: float = 0.7  # a root's IoU with an object at least, to be a placement of it
    negative_iou: float = 0.3  # a root is a negative below this IoU with all objects of its class
    random: int = 10  # random negatives of an image and component, at first
    hard: int = 20  # hard negatives an image, component and pass at most
    rounds: int = 2  # choices of the positives' placements, for the roots and again for the parts
    passes: int = 2  # over all images in search of hard negatives, in each round
    capacity: int = 20000  # hard negatives at most, equal shares for all components; more than training finds
    objects: int = 1000  # objects in the training images at most
    score_threshold: float | None = None  # lower scores are no detections; none: any (the code's: -1.1 or lower)
    covered: float = 0.5  # share of a box that a better one covers, above which NMS drops it
    detections_per_image: int = 100  # detections kept at most


class Examples(NamedTuple):
    """What the latent SVM sees of a batch: constants. shown: E placements, signs (E,) of -1 and 1."""

    shown: Shown
    signs: np.ndarray


class Cache(NamedTuple):
    """From loss to backward."""

    stars: Any
    dscores: np.ndarray
    sampled: Examples


class DPM(DPMTraining):
    """Star models of each class at all positions of all levels, in the image and in its mirror image.

    loss and backward are the latent SVM's objective for a batch, with the best placement of each object and the hardest
    negatives of each image, and its gradient. The solver that minimises it over all images is fit_latent_svm.
    """

    def __init__(self, classes, options: Options, rng: np.random.Generator):
        super().__init__(classes, options, options.preprocess())
        self.make_stars(rng)
        self.make_cache()

    def stages(self) -> tuple[Stage, ...]:
        """Roots from warped objects, the mixture of roots, the parts, the boxes (sec. 5.2)."""
        parts = (Stage("parts", begin="add_parts", fit="fit_mixture"),) if self.options.parts else ()
        roots = Stage("roots", fit="fit_roots"), Stage("mixture", fit="fit_mixture")
        return *roots, *parts, Stage("boxes", fit="fit_box")

    def loss(self, batch, rng: np.random.Generator, sampled: Examples | None = None):
        """({norm, hinge}, cache): |w|^2 / 2 and c times the sum of the hinge losses of a batch's examples (eq. 7)."""
        images, targets = batch
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        sampled, stars = sampled or self.examples(images, targets), self.stars
        scores, c_stars = stars.forward(sampled.shown)
        value, dscores = hinge(scores, sampled.signs, weights=self.options.c, reduction="sum")
        norm = sum((p.value**2).sum() for p in (stars.roots, stars.parts, stars.costs)) / 2
        norm = norm + ((stars.biases.value / BIAS_SCALE) ** 2).sum() / 2
        return {"norm": norm.item(), "hinge": value}, Cache(c_stars, dscores, sampled)

    def backward(self, cache: Cache):
        """Add the gradient of the objective to the star models'."""
        self.stars.backward(cache.dscores, cache.stars)
        for parameter in (self.stars.roots, self.stars.parts, self.stars.costs):
            parameter.grad += parameter.value  # norm = |w|^2 / 2 + |b / scale|^2 / 2
        self.stars.biases.grad += self.stars.biases.value / BIAS_SCALE**2

    def examples(self, images, targets) -> Examples:
        """The placements of a batch's objects, and its hard negatives. Pictures are looked through on the CPU."""
        if device_of(images) == "gpu":
            return to_device(self.on_cpu().examples(*to_device((images, targets), "cpu")), "gpu")
        shown, signs = [], []
        for image, target in zip(images, targets):
            levels = self.grid.pyramid(as_picture(image, target["image_size"]))
            found = self.find(levels)
            placed, hard = self.placed(found, target), self.hard_negatives(found, target)
            shown.append(self.shown(levels, np.concatenate([placed, hard])))
            signs.append(np.repeat([1, -1], [len(placed), len(hard)]))
        component, *arrays = (np.concatenate(each) for each in zip(*shown))
        seen = Shown(component, *(each.astype(images.dtype) for each in arrays))
        return Examples(seen, np.concatenate(signs).astype(images.dtype))

    def on_cpu(self) -> "DPM":
        """A copy on the CPU."""
        return copy.deepcopy(self).to("cpu")

    def pictures(self, dataset) -> dict[str, np.ndarray]:
        """star_models: all models in use, see vision.detection.dpm_draw."""
        used = [k for k, size in enumerate(self.stars.sizes) if size[0]]
        names = [f"{self.classes[k // self.options.components]} {k % self.options.components}" for k in used]
        return {"star_models": grid([draw_star(self.stars, k) for k in used], columns=1, titles=names)}

    def predict(self, images, image_sizes=None) -> list[dict]:
        """Detections in each image (N, 3, H, W); image_sizes [(h, w), ...] where images are padded."""
        check_shape(self, images=(images, ("N", 3, "H", "W")))
        if device_of(images) == "gpu":
            return to_device(self.on_cpu().predict(to_device(images, "cpu"), image_sizes), "gpu")
        o, results = self.options, []
        least = least_score(o)
        sizes = image_sizes or [images.shape[2:]] * len(images)
        for image, size in zip(images, sizes):
            found = self.find(self.grid.pyramid(as_picture(image, size)), least)
            boxes = clip(self.boxes(found), size).astype(np.float32)
            labels, scores = found.rows[:, MODEL] // o.components + 1, found.scores.astype(np.float32)
            keep = keep_uncovered(boxes, scores, labels, o.covered, o.detections_per_image)
            results.append({"boxes": boxes[keep], "labels": labels[keep], "scores": scores[keep]})
        return results


@register(
    "dpm", "detection",
    {"batch_size": 1, "flip_horizontal": 0.0, "jitter": 0.0},
    options=Options,
    tiny=Tiny({"components": 1, "parts": 2, "side": 3, "part_side": 3, "levels": 2, "hard": 2, "capacity": 20,
               "overlap": 0.2}),
    system="DPM", paper="Felzenszwalb et al. 2010, doi:10.1109/TPAMI.2009.167",
    figures="AP50 on heads of cats and dogs, from 59 photographs: roots 0.558, parts 0.673, boxes of them 0.686",
)  # fmt: skip
def dpm(classes, options: Options, rng: np.random.Generator) -> DPM:
    """The detector."""
    return DPM(classes, options, rng)
