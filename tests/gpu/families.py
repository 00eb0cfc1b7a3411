"""A small version of every registered model, with a batch, as scripts.gradcheck makes them."""

import dataclasses
import os

import numpy as np
import pytest

import vision
from nn.gpu.device import map_arrays
from scripts.gradcheck import off_the_kinks, tiny_data
from vision.registry import find
from vision.task import task_of

ON_A_GPU = os.environ.get("NN_TEST_DEVICE") == "gpu"
MOST = 1_000_000  # parameters up to which the stand-in, which runs threads one by one, is fast enough
MODELS = sorted(vision.MODELS)
FAMILIES = MODELS if ON_A_GPU else [  # for training: one of each kind
    "char_lstm", "faster_rcnn_small", "fcn32s_small", "mnist_conv", "neuraltalk", "patch_classifier_small", "ram_mnist",
    "resnet20_cifar", "segnet_small", "seq2seq_attention", "show_attend_tell_hard", "show_attend_tell_soft",
    "stacked_attention_vqa", "unet_small",
]  # fmt: skip
_too_large: set[str] = set()  # known after building them once, which takes seconds


def small_model(name: str, dtype=np.float32):
    """(model, batch for model.loss, task, samples) on the CPU, all floats in dtype; large ones only on a GPU."""
    if name in _too_large:
        pytest.skip("too many parameters for the stand-in: on a GPU alone")
    tiny, task = find(name).tiny, task_of(name)
    data = tiny_data(name, tiny)
    model = off_the_kinks(vision.build(name, data.classes, np.random.default_rng(3), **tiny.options)).astype(dtype)
    size = sum(parameter.value.size for parameter in model.parameters().values())
    if size > MOST and not ON_A_GPU:
        _too_large.add(name)
        pytest.skip(f"{size:,} parameters are too many for the stand-in: on a GPU alone")
    if model.preprocess is not None:  # images are not scaled
        sides = {"short_side": min(tiny.size), "max_side": max(tiny.size)}
        model.preprocess = dataclasses.replace(model.preprocess, **sides)
    samples = [data[i] for i in range(tiny.scenes)]
    batch = map_arrays(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, task.collate(model, samples))
    return model, batch, task, samples
