"""Inputs and weights for the checks of classification networks."""

import numpy as np


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def off_the_kinks(layer, scale=0.3):
    """Biases that are not 0, so that no ReLU is at its kink."""
    rng = np.random.default_rng(4)
    for name, parameter in layer.parameters().items():
        if name.endswith("bias"):
            parameter.value[...] = scale * rng.standard_normal(parameter.value.shape)
    return layer


def off_the_start(layer):
    """Scales and biases that are not 1 and 0, so that a gradient without them is wrong."""
    rng = np.random.default_rng(4)
    for name, parameter in layer.parameters().items():
        if parameter.value.ndim == 1:
            parameter.value[...] = (name.endswith("weight")) + 0.2 * rng.standard_normal(parameter.value.shape)
    return layer
