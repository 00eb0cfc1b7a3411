"""Cases of pooling other than MaxPool2d, of unpooling and of upsampling."""

import numpy as np

from nn.cases.base import LayerCase
from nn.layer import Layer
from nn.layers.adaptive_pool import AdaptiveAvgPool2d, AdaptiveMaxPool2d, SpatialPyramidPool
from nn.layers.avg_pool import AvgPool2d, GlobalAvgPool2d
from nn.layers.max_unpool import MaxUnpool2d
from nn.layers.upsample import Upsample2d

RNG = np.random.default_rng(47)


def distinct(*shape):
    """Values far from each other: no ties within a finite difference."""
    size = int(np.prod(shape))
    return (RNG.permutation(size).reshape(shape) - size // 2 + 0.4) * (4 / size)


def case(layer, shape, *args, more=(1, 2, 1), training=True, **options):
    """layer(*args, **options) on images of this shape; the other input has `more` images, rows and columns more."""
    n, c, h, w = shape
    inputs = (distinct(*shape),), (distinct(n + more[0], c, h + more[1], w + more[2]),)
    return LayerCase(lambda: layer(*args, **options), *inputs, training)


def unpool(shape, *args, plane, repeated=False):
    """MaxUnpool2d of random values to random positions among the first `plane` of each output plane."""

    def inputs(n, c, h, w):
        if repeated:
            indices = RNG.integers(0, plane // 4, (n, c, h * w))
        else:
            indices = np.argsort(RNG.random((n, c, plane)), axis=2)[:, :, : h * w]
        return distinct(n, c, h, w), indices.reshape(n, c, h, w)

    n, c, h, w = shape
    return LayerCase(lambda: MaxUnpool2d(*args), inputs(*shape), inputs(n + 1, c, h + 1, w))


BILINEAR, CORNERS, NAILS = {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}, {"mode": "bed_of_nails"}

LAYERS: dict[type[Layer], dict[str, LayerCase]] = {
    AvgPool2d: {
        "2x2": case(AvgPool2d, (2, 3, 4, 6), 2),
        "rows left over": case(AvgPool2d, (2, 3, 5, 7), 2),
        "overlapping": case(AvgPool2d, (2, 3, 7, 5), 3, stride=2),
        "not square": case(AvgPool2d, (2, 3, 5, 7), (3, 2), stride=(1, 3)),
        "stride beyond the kernel": case(AvgPool2d, (2, 3, 8, 7), (2, 1), stride=(3, 2)),
        "padding": case(AvgPool2d, (1, 3, 4, 5), (3, 2), stride=2, padding=1),
        "padding in one direction": case(AvgPool2d, (1, 2, 4, 5), (2, 4), stride=(2, 3), padding=(0, 2)),
        "padding not counted": case(AvgPool2d, (2, 3, 4, 5), (3, 4), stride=2, padding=(1, 2), count_include_pad=False),
        "ceil_mode": case(AvgPool2d, (2, 3, 6, 5), 3, stride=2, ceil_mode=True),
        "ceil_mode, padding": case(AvgPool2d, (1, 2, 5, 6), 3, stride=(3, 2), padding=(1, 0), ceil_mode=True),
        "ceil_mode, padding not counted": case(
            AvgPool2d, (2, 3, 6, 4), (2, 3), stride=(3, 2), padding=1, ceil_mode=True, count_include_pad=False
        ),
        "ceil_mode, a window beyond": case(AvgPool2d, (2, 1, 3, 4), 2, stride=3, padding=1, ceil_mode=True),
        "divisor": case(AvgPool2d, (2, 3, 5, 4), (2, 3), stride=(2, 1), padding=1, divisor_override=5),
        "kernel as large as the image": case(AvgPool2d, (3, 2, 4, 5), (4, 5)),
        "batch of 1, inference": case(AvgPool2d, (1, 2, 5, 6), 2, training=False),
    },
    GlobalAvgPool2d: {
        "images": case(GlobalAvgPool2d, (2, 3, 4, 5)),
        "one pixel": case(GlobalAvgPool2d, (2, 3, 1, 1)),
        "batch of 1": case(GlobalAvgPool2d, (1, 3, 2, 5)),
    },
    AdaptiveAvgPool2d: {
        "bins share rows": case(AdaptiveAvgPool2d, (2, 3, 5, 7), 2),
        "not square": case(AdaptiveAvgPool2d, (2, 1, 6, 7), (4, 3)),
        "more bins than rows": case(AdaptiveAvgPool2d, (2, 3, 4, 5), (7, 3)),
        "rows kept": case(AdaptiveAvgPool2d, (2, 3, 4, 6), (None, 4)),
        "columns kept": case(AdaptiveAvgPool2d, (2, 3, 5, 4), (2, None)),
        "size kept": case(AdaptiveAvgPool2d, (2, 3, 5, 4), None),
        "one bin": case(AdaptiveAvgPool2d, (2, 3, 4, 5), 1),
        "batch of 1": case(AdaptiveAvgPool2d, (1, 2, 4, 6), (2, 3)),
    },
    AdaptiveMaxPool2d: {
        "bins share rows": case(AdaptiveMaxPool2d, (2, 3, 5, 7), 2),
        "not square": case(AdaptiveMaxPool2d, (2, 1, 6, 7), (4, 3)),
        "more bins than rows": case(AdaptiveMaxPool2d, (2, 3, 4, 5), (7, 3)),
        "rows kept": case(AdaptiveMaxPool2d, (2, 3, 4, 6), (None, 4)),
        "indices": case(AdaptiveMaxPool2d, (2, 3, 5, 4), (2, 3), return_indices=True),
        "one bin": case(AdaptiveMaxPool2d, (2, 3, 4, 5), 1),
        "batch of 1": case(AdaptiveMaxPool2d, (1, 2, 4, 6), (2, 3)),
    },
    SpatialPyramidPool: {
        "21 bins": case(SpatialPyramidPool, (2, 3, 7, 6)),
        "an image smaller than the bins": case(SpatialPyramidPool, (2, 1, 4, 3)),
        "levels": case(SpatialPyramidPool, (2, 3, 4, 5), (1, 3)),
        "one level": case(SpatialPyramidPool, (2, 3, 5, 4), 2),
        "batch of 1": case(SpatialPyramidPool, (1, 3, 5, 8)),
    },
    MaxUnpool2d: {
        "2x2": unpool((2, 4, 3, 5), 2, plane=60),
        "not square": unpool((2, 3, 4, 1), (3, 2), (2, 3), plane=18),
        "padding": unpool((2, 3, 4, 5), 3, 2, 1, plane=63),
        "repeated positions": unpool((2, 3, 4, 5), (3, 2), 1, plane=36, repeated=True),
        "batch of 1": unpool((1, 2, 3, 4), 2, plane=48),
    },
    Upsample2d: {
        "nearest": case(Upsample2d, (2, 3, 4, 5), scale_factor=2),
        "nearest, not square": case(Upsample2d, (2, 4, 3, 5), scale_factor=(3, 2)),
        "nearest, whole size": case(Upsample2d, (2, 3, 4, 5), size=(8, 15)),
        "nearest, scale 1.7": case(Upsample2d, (2, 3, 4, 5), scale_factor=1.7),
        "nearest, scale 2.4": case(Upsample2d, (2, 1, 4, 5), scale_factor=(2.4, 2)),
        "nearest, smaller": case(Upsample2d, (2, 3, 5, 7), size=(3, 4)),
        "nearest, size": case(Upsample2d, (2, 1, 5, 3), size=(7, 8)),
        "bilinear": case(Upsample2d, (2, 3, 4, 5), scale_factor=2, **BILINEAR),
        "bilinear, not square": case(Upsample2d, (2, 4, 3, 5), scale_factor=(3, 1.6), **BILINEAR),
        "bilinear, smaller": case(Upsample2d, (2, 3, 5, 7), size=(3, 4), **BILINEAR),
        "bilinear, size": case(Upsample2d, (2, 1, 5, 3), size=(7, 8), **BILINEAR),
        "bilinear, corners": case(Upsample2d, (2, 3, 4, 5), scale_factor=(2, 3), **CORNERS),
        "bilinear, corners, size": case(Upsample2d, (2, 3, 5, 4), size=(3, 7), **CORNERS),
        "bilinear, corners, one row": case(Upsample2d, (2, 3, 4, 5), size=(1, 7), **CORNERS),
        "bilinear, corners, two rows": case(Upsample2d, (2, 3, 4, 5), size=(2, 3), **CORNERS),
        "bilinear, of one row": case(Upsample2d, (2, 3, 1, 4), scale_factor=2, **BILINEAR),
        "bed of nails": case(Upsample2d, (2, 3, 4, 5), scale_factor=2, **NAILS),
        "bed of nails, not square": case(Upsample2d, (2, 4, 3, 5), scale_factor=(3, 2), **NAILS),
        "bed of nails, size": case(Upsample2d, (2, 3, 1, 4), size=(8, 8), more=(1, 1, 4), **NAILS),
        "batch of 1": case(Upsample2d, (1, 3, 2, 4), scale_factor=2),
    },
}
