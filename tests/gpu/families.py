"""A small version of every registered model, with a batch, as scripts.gradcheck makes them."""

import os
from argparse import Namespace

import numpy as np
import pytest

import vision
from nn.gpu.device import map_arrays
from scripts.gradcheck import off_the_kinks
from scripts.small_models import SMALL, Small
from scripts.tasks import TASKS

ON_A_GPU = os.environ.get("NN_TEST_DEVICE") == "gpu"
MOST = 1_000_000  # parameters for which the stand-in, running thread after thread, takes no minutes
MODELS = sorted(vision.MODELS)
FAMILIES = MODELS if ON_A_GPU else [  # for runs: one of each kind
    "char_lstm", "faster_rcnn_small", "fcn32s_small", "mnist_conv", "neuraltalk", "patch_classifier_small", "ram_mnist",
    "resnet20_cifar", "segnet_small", "seq2seq_attention", "show_attend_tell_hard", "show_attend_tell_soft",
    "stacked_attention_vqa", "unet_small",
]  # fmt: skip
_too_large: set[str] = set()  # found to be so by building them, which takes seconds


def small_model(name: str, dtype=np.float32):
    """(model, batch for model.loss, task, samples) on the CPU, all floats in dtype; large ones only on a GPU."""
    if name in _too_large:
        pytest.skip("too many parameters for the stand-in: on a GPU alone")
    small, task = SMALL.get(name, Small()), TASKS[vision.MODELS[name].task]
    data = task.data["shapes"](Namespace(root=None, shapes_train=small.scenes, shapes_size=small.size), "train")
    model = off_the_kinks(vision.build(name, data.classes, np.random.default_rng(3), **small.options)).astype(dtype)
    size = sum(parameter.value.size for parameter in model.parameters().values())
    if size > MOST and not ON_A_GPU:
        _too_large.add(name)
        pytest.skip(f"{size:,} parameters are too many for the stand-in: on a GPU alone")
    if "short_side" in model.preprocess:  # images stay as small as they are
        model.preprocess |= {"short_side": min(small.size), "max_side": max(small.size)}
    samples = [data[i] for i in range(small.scenes)]
    batch = map_arrays(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, task.collate(samples, model.preprocess))
    return model, batch, task, samples
