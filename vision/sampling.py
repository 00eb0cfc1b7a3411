"""How the batches of a model are drawn where their samples belong together; scripts make the sampler of it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sampling:
    """One way of drawing batches.

    kind: "labels": pairs of one class or of two; "neighbours": pairs of neighbours in pixel space, or not, without
    labels; "classes": several images of each of several classes; "triplets": two of a class and one of another, drawn
    at random. similar: share of similar pairs. images: of a class in a batch. nearest: neighbours of an image in pixel
    space.
    """

    kind: Literal["labels", "neighbours", "classes", "triplets"]
    similar: float = 0.5
    images: int = 4
    nearest: int = 5
