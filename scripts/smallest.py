"""The smallest pictures of a data set, tried before training: what is too thin for the network is named at once.

A picture of 2000x16 becomes 160x1 for a network that sees 160 pixels at most, and the first pooling has nothing left.
"""

import copy
from argparse import Namespace
from collections.abc import Iterable

import numpy as np

from datasets.listing import Listed, listing
from scripts.augmentation import training_transform
from vision import Model, Task

ENOUGH = 200  # pixels: every network takes pictures whose sides are both as long


def try_smallest(model: Model, task: Task, train_data, val_data, arguments: Namespace):
    """Try a loss on the smallest training pictures and a prediction on the smallest validation pictures.

    A copy of the model does it, so nothing of the model changes. Raises ValueError naming the picture that fails.
    """
    if task.input != "image":
        return
    tried = None
    for data, attempt in ((train_data, _loss), (val_data, _prediction)):
        for index, picture in smallest(model, listing(data) or ()):
            tried = tried or copy.deepcopy(model)
            try:
                attempt(tried, task, data[index], arguments)
            except ValueError as error:
                raise ValueError(_explained(error, model, picture)) from error


def smallest(model: Model, pictures: Iterable[Listed]) -> list[tuple[int, Listed]]:
    """(index, picture) of the lowest, the narrowest and the smallest as the network sees them, where they are small."""
    by_size = {}
    for index, each in enumerate(pictures):
        by_size.setdefault(each.size, (index, each))
    seen = {model.preprocess.size(*size): found for size, found in by_size.items()}
    small = [size for size in seen if min(size) < ENOUGH]
    orders = (lambda size: size, lambda size: size[::-1], lambda size: size[0] * size[1])
    return [seen[size] for size in dict.fromkeys(min(small, key=order) for order in orders)] if small else []


def _loss(model, task, sample, arguments):
    """The first loss that is trained, of a batch of this sample alone, augmented."""
    stage = next((stage for stage in model.stages() if not stage.fit), None)
    if stage is not None:
        sample = training_transform(model.preprocess, arguments)(sample, np.random.default_rng(0))
        batch = task.collate(model, [sample] * model.smallest_batch)
        getattr(model, stage.loss)(batch, np.random.default_rng(0))


def _prediction(model, task, sample, arguments):
    task.predict(model, sample)


def _explained(error, model, listed):
    (h, w), (seen_h, seen_w) = listed.size, model.preprocess.size(*listed.size)
    return (
        f"{listed}: this picture of {w}x{h} is {seen_w}x{seen_h} to the network, which fails: {error}; leave it out, "
        "or choose other sizes with --set"
    )
