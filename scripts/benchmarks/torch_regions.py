"""What PyTorch's own package has no operator for, with its tensor operations as a user writes them."""

import torch
from torch.nn import functional

from scripts.benchmarks.layers import NMS_IOU


def roi_pool(o, w):
    return lambda x, boxes, index: pool_regions(x, boxes, index, 1 / o.stride, o.pooled)


def pool_regions(x, boxes, index, scale: float, pooled: int):
    """RoI max pooling: adaptive pooling of each region's part of the map, whose bins are RoI pooling's.

    A box that ends at the image's border is rounded to one cell beyond: the map gets a row and a column of minus
    infinity, and a bin that holds nothing else is 0. (Gathering all parts at once took longer on a CPU.)
    """
    corners = torch.floor(boxes * scale + 0.5).long()
    corners[:, 2:] = torch.maximum(corners[:, 2:], corners[:, :2])
    padded = functional.pad(x, (0, 1, 0, 1), value=-torch.inf)
    parts = [
        functional.adaptive_max_pool2d(padded[n, :, y1 : y2 + 1, x1 : x2 + 1], pooled)
        for n, (x1, y1, x2, y2) in zip(index.tolist(), corners.tolist())
    ]
    y = torch.stack(parts)
    return torch.where(y == -torch.inf, 0.0, y)


def roi_align(o, w):
    """All samples of all regions by one grid_sample, and the mean of each bin's.

    grid_sample shares a batch among threads: so the halves of the one image's channels are made a batch of two.
    """
    per_side = o.pooled * o.samples

    def call(x, boxes, index):
        _, c, h, w = x.shape
        x1, y1, x2, y2 = (boxes / o.stride).T
        place = (torch.arange(per_side, device=x.device) + 0.5) / per_side
        column = x1[:, None] + (x2 - x1).clamp(min=1)[:, None] * place
        row = y1[:, None] + (y2 - y1).clamp(min=1)[:, None] * place
        places = torch.broadcast_tensors(2 * column[:, None, :] / (w - 1) - 1, 2 * row[:, :, None] / (h - 1) - 1)
        grid = torch.stack(places, dim=-1).reshape(1, -1, per_side, 2).expand(2, -1, -1, -1)  # coordinates -1 .. 1
        halves = x.reshape(2, c // 2, h, w)
        sampled = functional.grid_sample(halves, grid, padding_mode="border", align_corners=True)
        pooled = functional.avg_pool2d(sampled.reshape(c, -1, per_side), o.samples)
        return pooled.reshape(c, len(boxes), o.pooled, o.pooled).transpose(0, 1)

    return call


def deform_conv(o, w):
    """Every tap sampled by grid_sample where its offset sends it, then one matrix product."""
    taps, reach = o.kernel**2, o.kernel // 2

    def call(x, offset):
        n, c, h, width = x.shape
        moves = offset.reshape(n, taps, 2, h, width)
        around = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
        down, right = (d.reshape(taps, 1, 1) for d in torch.meshgrid(around, around, indexing="ij"))
        row = moves[:, :, 0] + torch.arange(h, dtype=x.dtype, device=x.device)[:, None] + down
        column = moves[:, :, 1] + torch.arange(width, dtype=x.dtype, device=x.device) + right
        grid = torch.stack([2 * column / (width - 1) - 1, 2 * row / (h - 1) - 1], dim=-1)
        sampled = functional.grid_sample(x, grid.reshape(n, taps * h, width, 2), align_corners=True)
        columns = sampled.reshape(n, c * taps, h * width)
        y = w["weight"].reshape(o.out, -1) @ columns + w["bias"][:, None]
        return y.reshape(n, o.out, h, width)

    return call


def nms(o, w):
    return lambda boxes, scores: suppress(boxes, scores, NMS_IOU)


def suppress(boxes, scores, threshold: float, limit: int | None = None):
    """Greedy suppression: a box is kept unless a better kept one overlaps it too much.

    512 boxes at a time: their overlaps with all that are left at once, then a row of them for each box that is kept.
    (One box at a time took several times as long.)
    """
    order, keep = scores.argsort(descending=True, stable=True), []
    x1, y1, x2, y2 = boxes[order].T.contiguous()
    area = (x2 - x1) * (y2 - y1)
    while len(order):
        width = torch.minimum(x2[:512, None], x2) - torch.maximum(x1[:512, None], x1)
        height = torch.minimum(y2[:512, None], y2) - torch.maximum(y1[:512, None], y1)
        shared = width.clamp_(min=0).mul_(height.clamp_(min=0))
        apart = shared <= threshold * (area[:512, None] + area - shared)
        left = torch.ones_like(order, dtype=torch.bool)
        for i, row in enumerate(apart):
            if left[i]:
                keep.append(order[i])
                left &= row
            if len(keep) == limit:
                return torch.stack(keep)
        order, x1, y1, x2, y2, area = (a[512:][left[512:]] for a in (order, x1, y1, x2, y2, area))
    return torch.stack(keep) if keep else order
