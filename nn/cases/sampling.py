"""Cases of the layers that sample maps at real-valued positions: grids, regions, deformable convolution.

Positions are not near integers, where a bilinear value has a kink, nor near halves, where "nearest" jumps.
"""

import numpy as np

from nn.cases.base import LayerCase
from nn.layer import Layer
from nn.layers.deform_conv import DeformConv2d
from nn.layers.deform_roi_pool import DeformRoIPool, bin_points
from nn.layers.grid_sample import AffineGrid, GridSample
from nn.layers.roi_align import RoIAlign
from nn.layers.roi_warp import RoIWarp
from nn.layers.warp_grids import ProjectiveGrid, ThinPlateGrid

RNG = np.random.default_rng(49)


def normal(*shape):
    """Standard normal values of this shape."""
    return RNG.standard_normal(shape)


def between(low, high, shape):
    """Values from low to high, the fraction of each between 0.1 and 0.4 or between 0.6 and 0.9."""
    return RNG.integers(low, high, shape) + RNG.choice([0.1, 0.6], shape) + RNG.uniform(0, 0.3, shape)


def grid(size, *args, n=3, **options):
    """AffineGrid of n random transforms."""
    return LayerCase(lambda: AffineGrid(size, *args, **options), (normal(n, 2, 3),), (normal(n + 2, 2, 3),))


def projective(size, *args, n=3, **options):
    """ProjectiveGrid of n random transforms whose horizons are outside of the output."""
    inputs = [np.concatenate([normal(k, 6), RNG.uniform(-0.4, 0.4, (k, 2))], axis=1) for k in (n, n + 2)]
    return LayerCase(lambda: ProjectiveGrid(size, *args, **options), *((theta,) for theta in inputs))


def thin_plate(size, per_side=4, n=3, **options):
    """ThinPlateGrid of n random warps."""
    inputs = ((normal(k, per_side**2, 2),) for k in (n, n + 2))
    return LayerCase(lambda: ThinPlateGrid(size, per_side, **options), *inputs)


def grid_sample(n, c, h, w, out, reach=3, **options):
    """GridSample at points up to `reach` pixels outside the image."""

    def inputs(n, h, w, out):
        row, column = between(-reach, h + reach - 1, (n, *out)), between(-reach, w + reach - 1, (n, *out))
        if options.get("align_corners"):
            points = 2 * column / max(w - 1, 1) - 1, 2 * row / max(h - 1, 1) - 1
        else:
            points = (2 * column + 1) / w - 1, (2 * row + 1) / h - 1
        return normal(n, c, h, w), np.stack(points, axis=-1)

    other = inputs(n + 1, h + 2, w + 1, (out[1] + 1, out[0]))
    return LayerCase(lambda: GridSample(**options), inputs(n, h, w, out), other)


def boxes(k, h, w, scale, bins, aligned):
    """k boxes, partly outside; no centre of a bin, where RoIWarp samples, is near an integer."""
    corners = []
    for size, count in ((w, bins[1]), (h, bins[0])):
        for _ in range(100):
            low, high = RNG.uniform(-2, size - 1, (k, 1)), RNG.uniform(1, size + 2, (k, 1))
            points = low + (np.arange(count) + 0.5) / count * (high - low) - 0.5 * aligned
            if abs(points - np.rint(points)).min(initial=1) > 1e-3:
                break
        corners.append((low, high))
    (x1, x2), (y1, y2) = corners
    return np.concatenate([x1, y1, x2, y2], axis=1) / scale


def regions(layer, n, c, h, w, k, bins, scale=1.0, constants=(), **options):
    """A layer over k regions of n images; the other input has one image, two rows and one region more."""

    def inputs(n, h, k):
        return normal(n, c, h, w), boxes(k, h, w, scale, bins, options.get("aligned", False)), RNG.integers(0, n, k)

    build = lambda: layer(bins, scale, **options)  # noqa: E731
    return LayerCase(build, inputs(n, h, k), inputs(n + 1, h + 2, k + 1), constants=constants)


def align(*args, **options):
    """RoIAlign on the regions of `regions`."""
    return regions(RoIAlign, *args, constants=(1,), **options)  # no gradient goes to the boxes


def odd_regions():
    """A region larger than the map, one wholly outside of it, and one of a negative size."""
    boxes = np.array([[-2.3, -1.2, 6.7, 4.1], [9.5, 8.2, 12.5, 13.4], [3.3, 2.1, 1.4, 0.6]])
    inputs, other = (normal(2, 1, 3, 4), boxes, np.array([1, 0, 1])), (normal(1, 1, 5, 4), boxes[:2], np.array([0, 0]))
    build = lambda: RoIAlign((2, 3), 1.0, aligned=True)  # noqa: E731
    return LayerCase(build, inputs, other, constants=(1,))


def deform(n, c, h, w, o, kernel, offset_groups=1, mask=True, reach=2, **options):
    """DeformConv2d with taps up to `reach` cells from those of Conv2d, so that some are outside."""

    def build():
        return DeformConv2d(c, o, kernel, offset_groups=offset_groups, **options)

    def inputs(n, h, w):
        (kh, kw), (oh, ow) = build().geometry.kernel, build().geometry.output_size(build(), h, w)
        taps = offset_groups * kh * kw
        offset = between(-reach, reach, (n, 2 * taps, oh, ow))
        return normal(n, c, h, w), offset, normal(n, taps, oh, ow) if mask else None

    return LayerCase(build, inputs(n, h, w), inputs(n + 1, h + 1, w + 2))


def deform_roi(n, c, h, w, k, bins, scale=1.0, samples=2, gamma=0.1):
    """DeformRoIPool over k regions, partly outside; no point of a bin is near an integer."""

    def inputs(n, h, k):
        for _ in range(1000):
            low, size = RNG.uniform(-2, (w - 1, h - 1), (k, 2)), RNG.uniform(1, (w, h), (k, 2))
            boxes, offset = np.concatenate([low, low + size], axis=1) / scale, normal(k, 2, *bins)
            points = np.array(bin_points(boxes, offset, samples, scale, gamma))
            if abs(points - np.rint(points)).min(initial=1) > 1e-3:
                break
        return normal(n, c, h, w), boxes, RNG.integers(0, n, k), offset

    build = lambda: DeformRoIPool(bins, scale, samples, gamma)  # noqa: E731
    return LayerCase(build, inputs(n, h, k), inputs(n + 1, h + 2, k + 1), constants=(1,))


LAYERS: dict[type[Layer], dict[str, LayerCase]] = {
    AffineGrid: {
        "size": grid((4, 5)),
        "align_corners": grid((5, 4), align_corners=True),
        "four sizes": grid((7, 6, 4, 5), n=7)._replace(other=(normal(7, 2, 3) + 1,)),
        "one row": grid((1, 4)),
        "one column, align_corners": grid((4, 1), True),
        "batch of 1": grid((4, 6), n=1),
    },
    ProjectiveGrid: {
        "size": projective((4, 5)),
        "align_corners": projective((5, 4), align_corners=True),
        "one row": projective((1, 4)),
        "batch of 1": projective((4, 6), n=1),
    },
    ThinPlateGrid: {
        "16 points": thin_plate((4, 5)),
        "4 points, align_corners": thin_plate((5, 4), 2, align_corners=True),
        "25 points": thin_plate((3, 4), 5),
        "one column": thin_plate((4, 1), 3),
        "batch of 1": thin_plate((4, 6), 3, n=1),
    },
    DeformRoIPool: {
        "square bins": deform_roi(2, 3, 5, 6, 3, (2, 2)),
        "not square, scale": deform_roi(2, 3, 6, 5, 2, (3, 2), 0.25),
        "one sample, far": deform_roi(1, 2, 5, 7, 2, (2, 3), 0.5, 1, 0.5),
        "no regions": deform_roi(2, 3, 5, 7, 0, (2, 3)),
        "batch of 1, one region": deform_roi(1, 2, 4, 5, 1, (2, 2), 1.0, 3),
    },
    GridSample: {
        "bilinear, zeros": grid_sample(2, 3, 4, 5, (6, 7)),
        "bilinear, zeros, align_corners": grid_sample(2, 3, 5, 4, (7, 6), align_corners=True),
        "bilinear, border": grid_sample(2, 3, 5, 4, (3, 7), padding_mode="border"),
        "bilinear, border, align_corners": grid_sample(2, 3, 4, 5, (7, 4), padding_mode="border", align_corners=True),
        "bilinear, reflection": grid_sample(2, 3, 4, 5, (6, 7), 12, padding_mode="reflection"),
        "bilinear, reflection, align_corners": grid_sample(
            2, 3, 5, 4, (6, 7), 12, padding_mode="reflection", align_corners=True
        ),
        "nearest, zeros": grid_sample(2, 3, 5, 4, (6, 7), mode="nearest"),
        "nearest, border": grid_sample(2, 3, 4, 5, (6, 7), mode="nearest", padding_mode="border"),
        "nearest, reflection": grid_sample(2, 3, 4, 5, (6, 7), 9, mode="nearest", padding_mode="reflection"),
        "nearest, reflection, align_corners": grid_sample(
            2, 3, 5, 4, (6, 7), 9, mode="nearest", padding_mode="reflection", align_corners=True
        ),
        "many channels": grid_sample(2, 6, 4, 5, (3, 7)),  # scattered by sorting
        "one pixel": grid_sample(2, 3, 1, 1, (4, 5)),
        "one pixel, border, align_corners": grid_sample(2, 3, 1, 1, (4, 5), padding_mode="border", align_corners=True),
        "one row, reflection, align_corners": grid_sample(
            2, 3, 1, 5, (4, 6), padding_mode="reflection", align_corners=True
        ),
        "all at one position": grid_sample(1, 5, 2, 3, (6, 7), 1),
        "batch of 1": grid_sample(1, 3, 4, 5, (2, 6)),
    },
    RoIAlign: {
        "adaptive": align(2, 3, 4, 5, 4, (2, 3)),
        "adaptive, aligned": align(2, 3, 5, 4, 5, (3, 2), 0.25, aligned=True),
        "sampling_ratio 0": align(2, 1, 4, 3, 4, (1, 2), sampling_ratio=0),
        "sampling_ratio 1": align(2, 3, 5, 4, 6, (3, 2), 0.5, sampling_ratio=1),
        "sampling_ratio 2, aligned": align(2, 3, 4, 5, 3, (2, 3), 1 / 16, sampling_ratio=2, aligned=True),
        "many channels": align(1, 6, 3, 4, 3, (2, 3), sampling_ratio=1),
        "max": align(2, 3, 4, 5, 4, (2, 3), reduction="max"),
        "max, sampling_ratio 3": align(1, 5, 3, 4, 3, (2, 1), 0.5, sampling_ratio=3, reduction="max"),
        "max, aligned": align(2, 3, 5, 4, 3, (3, 2), 0.25, aligned=True, reduction="max"),
        "regions too large, outside, negative": odd_regions(),
        "no regions": align(2, 3, 5, 7, 0, (2, 3)),
        "no regions, max": align(2, 3, 5, 7, 0, (2, 3), reduction="max"),
        "batch of 1, one region": align(1, 2, 4, 5, 1, (3, 3)),
    },
    RoIWarp: {
        "not square": regions(RoIWarp, 2, 3, 5, 7, 4, (2, 3)),
        "scale": regions(RoIWarp, 2, 3, 7, 5, 4, (3, 2), 1 / 16),
        "aligned": regions(RoIWarp, 2, 3, 5, 7, 4, (4, 2), 0.25, aligned=True),
        "many channels": regions(RoIWarp, 2, 6, 5, 7, 4, (2, 3), 0.5),
        "no regions": regions(RoIWarp, 2, 3, 5, 7, 0, (2, 3)),
        "batch of 1, one region": regions(RoIWarp, 1, 2, 4, 5, 1, (3, 3)),
    },
    DeformConv2d: {
        "mask": deform(2, 3, 4, 5, 6, 2),
        "no mask": deform(2, 3, 4, 5, 6, (2, 3), mask=False),
        "no bias": deform(1, 3, 4, 5, 6, (3, 2), bias=False),
        "stride": deform(2, 1, 6, 5, 3, 3, stride=2, padding=1),
        "not square": deform(1, 2, 4, 5, 3, (3, 2), stride=(1, 3), padding=(1, 2), dilation=(1, 3)),
        "dilation": deform(1, 2, 4, 5, 3, (2, 3), dilation=2, padding=1),
        "groups": deform(1, 4, 2, 5, 6, (3, 2), groups=2, padding=1),
        "depthwise": deform(1, 3, 4, 5, 6, (1, 2), groups=3),
        "offset groups": deform(2, 4, 1, 3, 5, (3, 2), 2, padding=1),
        "offset groups, no mask": deform(1, 6, 3, 2, 4, (2, 3), 3, mask=False, padding=1),
        "groups and other offset groups": deform(1, 6, 2, 3, 9, (2, 1), 2, groups=3, padding=1),
        "more channels an offset group": deform(1, 10, 3, 4, 2, 2, 2),  # scattered by sorting
        "1x1": deform(2, 3, 4, 5, 6, 1),
        "kernel as large as the image": deform(1, 3, 2, 4, 5, (2, 4)),
        "batch of 1": deform(1, 3, 4, 2, 5, 3, padding=1),
    },
}
