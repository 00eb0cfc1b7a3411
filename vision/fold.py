"""Batch normalisation folded into the convolutions before it, for inference.

A convolution is linear, and so is a normalisation by running statistics:

  y = gamma (conv(x) - mean) / sqrt(var + eps) + beta
    = conv'(x),   weight' = s weight,   bias' = s (bias - mean) + beta,   s = gamma / sqrt(var + eps)     per channel

Reference: Jacob et al. 2018, Quantization and training of neural networks, arXiv:1712.05877, sec. 3.2 and eq. 14.
"""

from collections import Counter

import numpy as np

import nn
from nn import BatchNorm2d, Conv2d, Parameter
from nn.gpu.device import device_of, to_device
from vision.model import Model

TOLERANCE = 1e-5  # of the largest output


class _Folded(BatchNorm2d):
    """What is left of a normalisation whose work the convolution does."""

    def forward(self, x, training=True):
        if training:
            raise ValueError("the batch normalisations of this model are folded: load it without fold=True to train it")
        return x, None


def fold_batch_norm(model: Model) -> int:
    """Fold every BatchNorm2d that follows a Conv2d of the same part; returns how many. The model is for inference then.

    Which follows which is seen in one pass over an image of noise, before and after which the outputs are compared:
    ValueError, and the model as it was, where they differ by more than 1e-5 of the largest. ValueError for a model that
    computes more from images than a network of convolutions does.
    """
    if model.preprocess is None or not any(isinstance(layer, BatchNorm2d) for _, layer in model.layers()):
        return 0
    side = model.preprocess.short_side
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    images = to_device(model.preprocess.batch([noise]), device_of(model))
    with nn.record(model) as passes:
        expected = _outputs(model, images)
    pairs, before = _pairs(passes), {}
    for convolution, norm in pairs:
        before[convolution] = convolution.weight.value, convolution.bias
        _fold(convolution, norm)
    if error := _difference(model.dense(images), expected):
        for convolution, norm in pairs:
            (convolution.weight.value, convolution.bias), norm.__class__ = before[convolution], BatchNorm2d
        raise ValueError(f"{model.name}: {error} after folding; load it without fold=True")
    return len(pairs)


def _outputs(model, images):
    """{name: array} of the model's dense part."""
    try:
        outputs = model.dense(images)
    except (TypeError, NotImplementedError):  # it takes more than images, or makes something else of them
        outputs = {"": None}
    if not all(hasattr(value, "dtype") for value in outputs.values()):
        raise ValueError(
            f"{model.name}: only classifiers, segmenters and detectors are folded; load it without fold=True"
        )
    return outputs


def _pairs(passes) -> list[tuple[Conv2d, BatchNorm2d]]:
    """(convolution, normalisation) where the one's output is the other's input, in one part of the model, and each has
    been called as often as the other."""
    made, calls = {id(p.y): p for p in passes if type(p.layer) is Conv2d}, Counter(id(p.layer) for p in passes)
    readers, pairs = Counter(id(x) for p in passes if not _is_container(p) for x in p.inputs.values()), {}
    for p in passes:
        before = made.get(id(next(iter(p.inputs.values()), None))) if type(p.layer) is BatchNorm2d else None
        if before and before.parent is p.parent and readers[id(before.y)] == 1:
            if calls[id(p.layer)] == calls[id(before.layer)]:
                pairs[id(p.layer)] = before.layer, p.layer
    return list(pairs.values())


def _is_container(p) -> bool:
    """Whether the pass hands its input on to layers inside of it."""
    return next(p.layer.children(), None) is not None


def _fold(convolution, norm):
    gamma, beta = (1, 0) if norm.weight is None else (norm.weight.value, norm.bias.value)
    s = gamma * (norm.running_var + norm.eps) ** -0.5
    bias = 0 if convolution.bias is None else convolution.bias.value
    convolution.bias = Parameter((s * (bias - norm.running_mean) + beta).astype(convolution.weight.value.dtype))
    convolution.weight.value = (s[:, None, None, None] * convolution.weight.value).astype(norm.running_mean.dtype)
    norm.__class__ = _Folded  # the object stays where the model has it


def _difference(got, expected) -> str:
    """Which output differs by how much, "" where none does."""
    for name, value in expected.items():
        error = float(abs(got[name] - value).max() / max(float(abs(value).max()), 1e-30))
        if not error <= TOLERANCE:
            return f"{name} differs by {error:.1e} of its largest value"
    return ""
