"""Tiny localizers, their data and batches, for the tests of this folder."""

from argparse import Namespace

import numpy as np

import vision
from scripts.readers import readers_of
from vision.registry import find
from vision.task import task_of


def scenes(task, n=4, size=(32, 32), name="shapes"):
    """Generated data of a task."""
    arguments = Namespace(root=None, shapes_train=n, shapes_val=n, shapes_size=size)
    return readers_of(task)[name].open(arguments, "train")


def tiny(name, data=None, **options):
    """(the tiny version of a model, data for it)."""
    entry = find(name)
    data = data or scenes(entry.task, entry.tiny.scenes, entry.tiny.size)
    return vision.build(name, data.classes, np.random.default_rng(3), **entry.tiny.options | options), data


def batch_of(model, data, size=None):
    """All samples, scaled, as a batch."""
    from datasets import resize_to

    samples = [resize_to(data[i], size=model.preprocess.size) for i in range(len(data))]
    return task_of(model.name).collate(model, samples)
