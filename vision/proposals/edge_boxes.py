"""Edge Boxes: a box that holds whole contours, and is not crossed by others, is likely to hold an object.

Reference: Zitnick and Dollar 2014, Edge boxes: locating object proposals from edges, ECCV 2014,
doi:10.1007/978-3-319-10602-1_26.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from vision.boxes.nms import nms
from vision.options import check_least
from vision.proposals.edges import EdgeGroups, affinities, best_paths, edge_map, group_edges
from vision.proposals.method import ProposalOptions, method, ranked

TOGETHER = 500  # boxes that are scored at once


@dataclass(frozen=True)
class EdgeBoxesOptions(ProposalOptions):
    """The paper's defaults, sec. 3.2 to 3.5."""

    alpha: float = 0.65  # IoU of neighbouring boxes of the search
    beta: float = 0.75  # IoU above which non-maximum suppression drops a box
    kappa: float = 1.5  # bias to large boxes: scores are divided by (width + height)^kappa
    gamma: float = 2.0  # sharpness of the affinities
    min_area: int = 1000  # of a box, in pixels
    max_aspect: float = 3.0  # width to height, and height to width, at most
    refine: int = 500  # best boxes that are moved to a better position nearby


@method("edge_boxes", EdgeBoxesOptions, paper="Zitnick and Dollar 2014, doi:10.1007/978-3-319-10602-1_26")
def edge_boxes(options: EdgeBoxesOptions):
    """Edge Boxes: a search over windows, the best of them refined, suppression.

    The paper refines every box above a small score, before suppression; here the best `refine` are, between two
    suppressions, since each takes some 40 evaluations.
    """
    check_least("edge_boxes", options, 1, "max_aspect", "min_area")
    if not (0 < options.alpha < 1 and 0 < options.beta <= 1):
        raise ValueError(f"edge_boxes: need 0 < alpha < 1, 0 < beta <= 1, got {options.alpha} and {options.beta}")

    def propose(image):
        scorer = BoxScorer(group_edges(*edge_map(image)), options)
        boxes = search_windows(image.shape[:2], options)
        boxes, scores = scorer.best(boxes, 5 * options.count)
        keep = nms(boxes.astype(float), scores, options.beta, max_keep=2 * options.count)
        boxes, scores = boxes[keep], scores[keep]
        first = slice(options.refine)
        boxes[first], scores[first] = scorer.refined(boxes[first], scores[first], image.shape[:2])
        boxes, scores = ranked(boxes, scores)
        keep = nms(boxes.astype(float), scores, options.beta)
        return boxes[keep], scores[keep]

    return propose


def search_windows(image_size: tuple[int, int], options: EdgeBoxesOptions) -> np.ndarray:
    """(K, 4) int: windows so dense in position, size and aspect that neighbours overlap with IoU alpha (sec. 3.4).

    The last ones of a row or column may reach out of the image, and are cut at its border, as by the authors' code.
    """
    (h, w), a = image_size, options.alpha
    step, size_step, aspect_step = (1 - a) / (1 + a), np.sqrt(1 / a), (1 + a) / (2 * a)
    smallest = np.sqrt(options.min_area)
    sizes = smallest * size_step ** np.arange(max(0, int(np.log(max(h, w) / smallest) / np.log(size_step)) + 1))
    count = int(np.log(options.max_aspect) / np.log(aspect_step**2))
    windows = []
    for size in sizes:
        for aspect in aspect_step ** np.arange(-count, count + 1):  # square root of width to height
            across, down = int(size * aspect + 0.5), int(size / aspect + 0.5)
            dx, dy = max(2, int(across * step)), max(2, int(down * step))
            x, y = np.arange(0, w - across + dx, dx), np.arange(0, h - down + dy, dy)
            left, top = (grid.ravel() for grid in np.meshgrid(x, y))
            right, bottom = np.minimum(left + across, w), np.minimum(top + down, h)
            windows.append(np.stack([left, top, right, bottom], axis=1))
    return np.concatenate(windows) if windows else np.array([[0, 0, w, h]])


class BoxScorer:
    """The score of boxes of one image.

    score(b) = (sum over groups inside of w_b m_i - sum over pixels of the middle of m_p) / (2 (width + height)^kappa)

    w_b(i) = 1 - the best path to i from a group that crosses the border of b (eq. 2-4): a contour that leaves the box
    does not count. A group is inside where one pixel of it is, its `member`: if it crosses no border, all of it is. The
    middle has half the box's width and height. Boxes have whole corners, half-open.
    """

    def __init__(self, groups: EdgeGroups, options: EdgeBoxesOptions):
        self.groups, self.options = groups, options
        h, w = groups.labels.shape
        self.paths = best_paths(affinities(groups, gamma=options.gamma))
        self.lines = Crossings(groups.labels), Crossings(groups.labels.T)  # rows, columns
        self.pixels, masses = _integral(groups.pixels), np.zeros((h, w))
        masses[groups.members[:, 1], groups.members[:, 0]] = groups.magnitudes
        self.masses = _integral(masses)  # m_i at the members of the groups

    def bounds(self, boxes: np.ndarray) -> np.ndarray:
        """(K,): the scores that boxes (K, 4) would have if no group crossed them; no score is higher."""
        x1, y1, x2, y2 = boxes.T
        across, down = (x2 - x1) // 4, (y2 - y1) // 4
        middle = _sums(self.pixels, x1 + across, y1 + down, x2 - across, y2 - down)
        size = (x2 - x1 + y2 - y1).astype(float)
        return (_sums(self.masses, x1, y1, x2, y2) - middle) / (2 * size**self.options.kappa)

    def scores(self, boxes: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """(K,): the scores of boxes (K, 4): their bounds without what is lost by groups that cross their borders."""
        parts = [slice(k, k + TOGETHER) for k in range(0, len(boxes), TOGETHER)]
        lost = np.concatenate([np.zeros(0), *(self.lost(boxes[part]) for part in parts)])
        size = (boxes[:, 2:] - boxes[:, :2]).sum(axis=1).astype(float)
        return bounds - lost / (2 * size**self.options.kappa)

    def lost(self, boxes: np.ndarray) -> np.ndarray:
        """(K,): the sum over the groups i in each box of m_i and the best path to i from a group that crosses it."""
        count = len(self.groups.magnitudes)
        if not count:
            return np.zeros(len(boxes))
        box, crossing = np.divmod(np.unique(self.crossing(boxes, count)), count)
        at, pair = ranges(self.paths.starts[crossing], self.paths.starts[crossing + 1])
        box, i, value = box[pair], self.paths.groups[at], self.paths.values[at]
        (x1, y1, x2, y2), (x, y) = boxes[box].T, self.groups.members[i].T
        inside = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
        best = np.zeros((len(boxes), count))
        np.maximum.at(best, (box[inside], i[inside]), value[inside])
        return best @ self.groups.magnitudes

    def crossing(self, boxes: np.ndarray, count: int) -> np.ndarray:
        """box * count + group of each edge pixel on the border of a box."""
        (rows, columns), (x1, y1, x2, y2) = self.lines, boxes.T
        sides = [(rows, y, x1, x2) for y in (y1, y2 - 1)] + [(columns, x, y1, y2) for x in (x1, x2 - 1)]
        found = [lines.between(*where) for lines, *where in sides]
        return np.concatenate([box * count + group for box, group in found])

    def best(self, boxes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The `count` best of boxes (K, 4) with a score above 0, and their scores, best first.

        In order of the bounds; it ends where the next bound is not above the worst score kept.
        """
        bounds = self.bounds(boxes)
        order = np.argsort(-bounds, kind="stable")
        scores, worst = np.full(len(boxes), -np.inf), 0.0
        for k in range(0, len(boxes), TOGETHER):
            some = order[k : k + TOGETHER]
            if bounds[some[0]] <= worst:
                break
            scores[some] = self.scores(boxes[some], bounds[some])
            if k + TOGETHER >= count:
                worst = max(0.0, float(np.partition(scores, -min(count, len(scores)))[-min(count, len(scores))]))
        best = np.argsort(-scores, kind="stable")[:count]
        best = best[scores[best] > 0]
        return boxes[best], scores[best]

    def refined(self, boxes: np.ndarray, scores: np.ndarray, image_size: tuple[int, int]):
        """(boxes (K, 4), scores (K,)), each moved to a better position nearby (sec. 3.4): each side is moved to and fro
        while that is better, by half the last step, down to 2 pixels; the first step is that of the search."""
        (h, w), alpha, boxes, scores = image_size, self.options.alpha, boxes.copy(), scores.copy()
        step = ((boxes[:, 2:] - boxes[:, :2]) * (1 - alpha) / (1 + alpha)).astype(np.int64)  # of x and of y
        while (moving := np.flatnonzero(step.max(axis=1, initial=0) >= 2)).size:
            step = np.maximum(step // 2, 1)
            for side, sign in product(range(4), (1, -1)):
                trial = boxes[moving]
                trial[:, side] = np.clip(trial[:, side] + sign * step[moving, side % 2], 0, (w, h)[side % 2])
                size = trial[:, 2:] - trial[:, :2]
                allowed = (size.min(axis=1) >= 2) & (size.prod(axis=1) >= self.options.min_area)
                which, trial = moving[allowed], trial[allowed]
                values = self.scores(trial, self.bounds(trial))
                better = values > scores[which]
                boxes[which[better]], scores[which[better]] = trial[better], values[better]
        return boxes, scores


class Crossings:
    """The edge pixels along the rows of labels (H, W), where labels are 0 at least, row after row."""

    def __init__(self, labels: np.ndarray):
        self.width, flat = labels.shape[1], labels.ravel()
        self.at = np.flatnonzero(flat >= 0)
        self.groups = flat[self.at]

    def between(self, row, low, high) -> tuple[np.ndarray, np.ndarray]:
        """(k (P,), groups (P,)): the edge pixels of each row[k] from low[k] to high[k] - 1, all (K,)."""
        first, last = (np.searchsorted(self.at, row * self.width + side) for side in (low, high))
        at, k = ranges(first, last)
        return k, self.groups[at]


def ranges(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the indices first[k] .. last[k] - 1 of all k, one range after another, and the k of each)."""
    lengths = last - first
    k = np.repeat(np.arange(len(first)), lengths)
    return np.arange(len(k)) + (last - np.cumsum(lengths))[k], k


def _integral(x):
    """(H + 1, W + 1): sums above and left of each corner."""
    return np.pad(x, ((1, 0), (1, 0))).cumsum(0).cumsum(1)


def _sums(integral, x1, y1, x2, y2):
    """The sums over the boxes."""
    return integral[y2, x2] - integral[y1, x2] - integral[y2, x1] + integral[y1, x1]
