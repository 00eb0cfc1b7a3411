"""Deformable pooling of regions: it begins as RoIAlign, its gradients, no regions."""

import numpy as np

from nn import RoIAlign
from nn.gradcheck import check_contract, check_layer
from vision.boxes.deformable_pooling import DeformableRegionPool

BOXES, IMAGE = np.array([[1.3, 0.6, 9.1, 7.9], [3.2, 2.7, 14.4, 11.3], [-2.1, 4.4, 5.2, 13.7]]), np.array([1, 0, 1])


def pooling(moved=True):
    made = DeformableRegionPool(2, 2, 0.5, rng=np.random.default_rng(0)).astype(np.float64)
    if moved:
        for i, parameter in enumerate(made.parameters().values()):
            parameter.value[...] = 0.7 * np.random.default_rng(i).standard_normal(parameter.value.shape)
    return made


def maps(n=2, h=6, w=7):
    return np.random.default_rng(1).standard_normal((n, 2, h, w))


def test_it_begins_as_roi_align():
    inside = maps(), BOXES[:2], IMAGE[:2]
    y = pooling(moved=False)(*inside)
    np.testing.assert_allclose(y, RoIAlign(2, 0.5, 2, aligned=True)(*inside), rtol=1e-12)
    assert abs(y - pooling()(*inside)).max() > 0.01


def test_gradients_and_contract():
    errors = check_layer(pooling(), maps(), BOXES, IMAGE, complex_step=True, tolerance=1e-10, constants=(1,))
    assert {"offset.weight", "offset.bias"} < set(errors)
    check_contract(pooling(), (maps(), BOXES, IMAGE), (maps(2, 5, 8), BOXES[:2], IMAGE[:2]))


def test_no_regions():
    layer = pooling()
    y, cache = layer.forward(maps(), BOXES[:0], IMAGE[:0])
    dx, _, _ = layer.backward(y, cache)
    assert y.shape == (0, 2, 2, 2) and not dx.any()
