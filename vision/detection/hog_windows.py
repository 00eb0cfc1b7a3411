"""Windows of oriented gradients in an image's pyramid: what they show, where they are, and their scores.

Reference: Dalal and Triggs 2005, Histograms of oriented gradients for human detection, CVPR 2005,
doi:10.1109/CVPR.2005.177.
"""

import numpy as np

from nn import Conv2d
from nn.gpu.device import device_of, to_device
from vision.detection.detector import Detector
from vision.detection.hog import HOG
from vision.detection.windows import crop, factors, inner_boxes, scaled, scaled_size, window_of
from vision.options import check_least


class HOGWindows(Detector):
    """A linear classifier of the blocks of a window, for each class, at all positions of all levels: a convolution.

    A window is a level, and a row and a column in cells of its map. size: its blocks (by, bx).
    """

    def make_classifier(self, rng: np.random.Generator):
        """HOG and the classifier of the options, which are checked here."""
        o = self.options
        check_least("hog_svm", o, 0, "largest", "c", "fill", above=True)
        check_least("hog_svm", o, 1, "interval", "levels")
        if (o.mean, o.std, o.per_image) != (0, 255, False):
            got = f"mean={o.mean}, std={o.std}, per_image={o.per_image}"
            raise ValueError(f"hog_svm: histograms need mean=0, std=255 and per_image=false, got {got}")
        self.hog = HOG(cell=o.cell, bins=o.bins, signed=o.signed, sigma=o.sigma)
        self.size = self.hog.blocks(*o.window)
        if 0 in self.size:
            raise ValueError(f"hog_svm: window {list(o.window)} holds no block of {2 * o.cell} pixels; enlarge it")
        self.classifier = Conv2d(self.hog.channels, len(self.classes), self.size, rng=rng)
        self.classifier.weight.value[...] = 0  # the minimum of |w|^2

    def maps(self, picture: np.ndarray, wanted: set[int] | None = None) -> dict[int, np.ndarray]:
        """{level: map (by, bx, C)} of the pyramid of (H, W, 3) uint8; wanted: of these levels alone."""
        levels = enumerate(self.factors(picture.shape[:2]))
        return {k: self.hog_map(scaled(picture, f)) for k, f in levels if wanted is None or k in wanted}

    def factors(self, image_size) -> list[float]:
        """The factors of the pyramid of an image of size (h, w)."""
        o = self.options
        return factors(image_size, o.window, o.largest, o.interval, o.levels)

    def hog_map(self, image: np.ndarray) -> np.ndarray:
        """(by, bx, C): the blocks of an image (H, W, 3) in 0 .. 1."""
        blocks = self.hog(image)
        return blocks.reshape(*blocks.shape[:2], self.hog.channels)

    def window(self, maps, level: int, row: int, column: int) -> np.ndarray:
        """(C, by, bx): one window of one level."""
        h, w = self.size
        return maps[level][row : row + h, column : column + w].transpose(2, 0, 1)

    def positive(self, picture: np.ndarray, box: np.ndarray, mirrored: bool = False) -> np.ndarray:
        """(C, by, bx): the window around an object. A cell more on all sides is cut out, so that the gradients at the
        window's border are those of the picture."""
        o = self.options
        x1, y1, x2, y2 = window_of(box, o.window, o.fill)
        more = o.cell * (x2 - x1) / o.window[1]
        wider = np.array([x1 - more, y1 - more, x2 + more, y2 + more])
        cut = crop(picture, wider, tuple(side + 2 * o.cell for side in o.window))
        return self.hog_map(cut[:, ::-1] if mirrored else cut)[1:-1, 1:-1][: self.size[0], : self.size[1]].transpose(
            2, 0, 1
        )

    def boxes(self, image_size, rows: np.ndarray) -> np.ndarray:
        """(K, 4) float32: the objects' boxes of windows (K, 3), level, row and column."""
        o, factor = self.options, np.array(self.factors(image_size))[rows[:, 0]][:, None]
        return inner_boxes(rows[:, 1], rows[:, 2], factor, o.cell, o.window, o.fill).astype(np.float32)

    def windows_above(self, picture: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Windows (K, 4), class, level, row and column, whose score is at least the threshold; boxes; scores."""
        rows, scores, where = (
            [np.zeros((0, 4), np.int64)],
            [np.zeros(0, np.float32)],
            device_of(self.classifier.weight.value),
        )
        for level, features in self.maps(picture).items():
            x = to_device(np.ascontiguousarray(features.transpose(2, 0, 1))[None], where)
            y = to_device(self.classifier(x)[0], "cpu")  # (classes, rows, columns)
            at = np.argwhere(y >= threshold)
            rows.append(np.insert(at, 1, level, axis=1))
            scores.append(y[tuple(at.T)])
        rows, scores = np.concatenate(rows), np.concatenate(scores).astype(np.float32)
        return rows, self.boxes(picture.shape[:2], rows[:, 1:]), scores

    def map_size(self, image_size, factor: float) -> tuple[int, int]:
        """Blocks of a level."""
        return self.hog.blocks(*scaled_size(image_size, factor))
