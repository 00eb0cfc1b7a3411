"""MNIST digits somewhere on a larger black image, with patches of other digits around them if wanted.

Reference: Mnih et al. 2014, arXiv:1406.6247, sec. 4.1.
"""

from collections.abc import Iterator

import numpy as np

from .listing import Listed
from .mnist import MNIST, SIDE, rgb

CLUTTER = 8  # pixels: a patch is 8x8


class TranslatedMNIST:
    """Digits at random positions of a black image of `size` x `size`, with `clutter` patches of other digits added.

    Sample: image (size, size, 3) uint8, label int, id str; corner (x, y) int, the top left one of the digit's 28x28.

    digits: what is placed. Sample i has digit i % len(digits), all else comes from default_rng([seed, i]). With
        `copies` the data set has each digit so many times, each at another position: the paper makes new images
        without end.
    clutter: patches of 8x8 pixels, cut at random out of random other digits and added at random positions (4 on the
        paper's images of 60x60); what exceeds 255 is 255.

    Raises ValueError for a size under 28, a negative clutter, clutter without a second digit, and copies under 1.
    """

    def __init__(self, digits: MNIST, size: int = 60, clutter: int = 0, seed: int = 0, copies: int = 1):
        for name, value, least in (("size", size, SIDE), ("clutter", clutter, 0), ("copies", copies, 1)):
            if value < least:
                raise ValueError(f"TranslatedMNIST: {name} must be at least {least}, got {value}")
        if clutter and len(digits) < 2:
            raise ValueError(f"TranslatedMNIST: clutter comes from other digits, there is only {len(digits)}")
        self.digits, self.classes = digits, digits.classes
        self.size, self.clutter, self.seed, self.copies = size, clutter, seed, copies

    def __len__(self) -> int:
        return self.copies * len(self.digits)

    def __getitem__(self, index: int) -> dict:
        index = range(len(self))[index]
        which, rng = index % len(self.digits), np.random.default_rng([self.seed, index])
        x, y = rng.integers(0, self.size - SIDE, 2, endpoint=True).tolist()
        image = np.zeros((self.size, self.size), np.uint16)
        image[y : y + SIDE, x : x + SIDE] = self.digits.digits[which]
        for _ in range(self.clutter):
            self._add_patch(image, which, rng)
        image = np.minimum(image, 255).astype(np.uint8)
        id_, label = f"{self.digits.split}/{index}", int(self.digits.labels[which])
        return {"id": id_, "image": rgb(image), "label": label, "corner": (x, y)}

    def listing(self) -> Iterator[Listed]:
        """The id and size of each image."""
        return (Listed(f"{self.digits.split}/{index}", (self.size, self.size)) for index in range(len(self)))

    def _add_patch(self, image, which, rng):
        """Add 8x8 pixels of a random digit other than digits[which] to the image, in place."""
        other = (which + rng.integers(1, len(self.digits))) % len(self.digits)
        (from_x, from_y), (x, y) = (rng.integers(0, side - CLUTTER, 2, endpoint=True) for side in (SIDE, self.size))
        patch = self.digits.digits[other, from_y : from_y + CLUTTER, from_x : from_x + CLUTTER]
        image[y : y + CLUTTER, x : x + CLUTTER] += patch
