"""The sampler of a model that draws its batches in its own way, from its `sampling` and a data set."""

from argparse import Namespace

import numpy as np

from datasets.neighbours import pixel_neighbours
from datasets.samplers import ClassBatches, LabelPairs, LabelTriplets, NeighbourPairs, Sampler
from vision import Model
from vision.sampling import Sampling


def sampler_of(model: Model, dataset, arguments: Namespace) -> Sampler | None:
    """What draws the batches of --batch-size images; None for a model without `sampling`.

    An epoch has as many batches as the data set would fill. Raises ValueError for a batch too small for it.
    """
    sampling, size = model.sampling, arguments.batch_size
    if sampling is None:
        return None
    least = {"labels": 2, "neighbours": 2, "triplets": 3, "classes": 2 * sampling.images}[sampling.kind]
    if size < least:
        raise ValueError(f"--batch-size must be at least {least} images for {model.name}, got {size}")
    if sampling.kind == "neighbours":
        return NeighbourPairs(neighbours_of(dataset, sampling), size // 2, similar=sampling.similar)
    labels, names = labels_of(dataset), {"names": dataset.classes}
    if sampling.kind == "classes":
        classes = max(2, min(size // sampling.images, len(np.unique(labels))))
        return ClassBatches(labels, classes, sampling.images, max(1, len(labels) // size), **names)
    if sampling.kind == "triplets":
        return LabelTriplets(labels, size // 3, **names)
    return LabelPairs(labels, size // 2, similar=sampling.similar, **names)


def labels_of(dataset) -> np.ndarray:
    """The label of each sample, without reading any where the data set knows."""
    if hasattr(dataset, "labels"):
        return dataset.labels
    return np.array([dataset[i]["label"] for i in range(len(dataset))])


def neighbours_of(dataset, sampling: Sampling) -> list[np.ndarray]:
    """The neighbours of each sample: those that the data set knows, or those in pixel space."""
    if hasattr(dataset, "neighbours"):
        return dataset.neighbours(sampling.nearest)
    images = [dataset[i]["image"] for i in range(len(dataset))]
    if len({image.shape for image in images}) > 1:
        raise ValueError("neighbours in pixel space need images of one size; take --set pairs=labels")
    return pixel_neighbours(np.stack(images)[..., 1], sampling.nearest)  # green: grey images have equal channels
