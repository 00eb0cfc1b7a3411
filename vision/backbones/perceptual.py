"""LPIPS: the distance of two images as a network trained for classification sees it.

Reference: Zhang et al. 2018, The unreasonable effectiveness of deep features as a perceptual metric, arXiv:1801.03924.
"""

from collections.abc import Mapping

import numpy as np

from nn.dispatch import array_module
from vision.backbones.backbone import Backbone

EPS = 1e-10  # added to lengths, as in the authors' code


def perceptual_distance(backbone: Backbone, heads: Mapping[str, np.ndarray], one, two) -> np.ndarray:
    """d (N,) of images (N, 3, H, W), normalised for the backbone; 0 for equal ones, in practice below about 1.

    d = sum over stages l of mean over pixels of sum over channels c of w_l[c] (u_l[c] - v_l[c])^2

    u and v are the two images' feature vectors of a pixel, each divided by its length. heads: {stage l: w_l (C,)}.
    Raises ValueError where a head has another number of weights than its stage has channels.

    Reference: Zhang et al. 2018, eq. 1.
    """
    for name, weights in heads.items():
        if weights.shape != (backbone.channels.get(name),):
            wanted = f"({backbone.channels.get(name)},)"
            raise ValueError(f"perceptual_distance: weights of {name} must have shape {wanted}, got {weights.shape}")
    (ones, _), (twos, _) = (backbone.forward_stages(images, False, tuple(heads)) for images in (one, two))
    return sum(
        (weights[:, None, None] * (_unit(u) - _unit(v)) ** 2).sum(axis=1).mean(axis=(1, 2))
        for weights, u, v in zip(heads.values(), ones, twos)
    )


def _unit(x):
    """x (N, C, h, w) with feature vectors of length 1."""
    return x / (array_module(x).sqrt((x * x).sum(axis=1, keepdims=True)) + EPS)
