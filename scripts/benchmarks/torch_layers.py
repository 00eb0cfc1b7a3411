"""What PyTorch's own package has no module for, with its tensor operations as a user writes them.

FORWARDS: by the name of our layer, functions of its Mirror and the inputs; FUNCTIONS: by the name of our function.
"""

import torch
from torch.nn import functional

from nn.layers.same_pad import same_padding
from scripts.benchmarks.layers import NMS_IOU


def roi_pool(m, x, boxes, index):
    """RoI max pooling: adaptive pooling of each region's part of the map, whose bins are RoI pooling's.

    A box that ends at the image's border is rounded to one cell beyond: the map gets a row and a column of minus
    infinity, and a bin that holds nothing else is 0. (Gathering all parts at once took longer on a CPU.)
    """
    corners = torch.floor(boxes * m.layer.spatial_scale + 0.5).long()
    corners[:, 2:] = torch.maximum(corners[:, 2:], corners[:, :2])
    padded = functional.pad(x, (0, 1, 0, 1), value=-torch.inf)
    parts = [
        functional.adaptive_max_pool2d(padded[n, :, y1 : y2 + 1, x1 : x2 + 1], m.layer.output_size)
        for n, (x1, y1, x2, y2) in zip(index.tolist(), corners.tolist())
    ]
    y = torch.stack(parts)
    return torch.where(y == -torch.inf, 0.0, y)


def roi_align(m, x, boxes, index):
    """All samples of all regions by one grid_sample, and the mean of each bin's.

    grid_sample shares a batch among threads: so the halves of the one image's channels are made a batch of two.
    """
    (_, c, h, w), samples, (pooled, _) = x.shape, m.layer.sampling_ratio, m.layer.output_size
    per_side = pooled * samples
    x1, y1, x2, y2 = (boxes * m.layer.spatial_scale).T
    position = (torch.arange(per_side, device=x.device) + 0.5) / per_side
    column = x1[:, None] + (x2 - x1).clamp(min=1)[:, None] * position
    row = y1[:, None] + (y2 - y1).clamp(min=1)[:, None] * position
    grid = torch.broadcast_tensors(2 * column[:, None, :] / (w - 1) - 1, 2 * row[:, :, None] / (h - 1) - 1)
    grid = torch.stack(grid, dim=-1).reshape(1, -1, per_side, 2).expand(2, -1, -1, -1)  # coordinates -1 .. 1
    halves = x.reshape(2, c // 2, h, w)
    sampled = functional.grid_sample(halves, grid, padding_mode="border", align_corners=True)
    y = functional.avg_pool2d(sampled.reshape(c, -1, per_side), samples)
    return y.reshape(c, len(boxes), pooled, pooled).transpose(0, 1)


def deform_conv(m, x, offset):
    """Every tap sampled by grid_sample where its offset sends it, then one matrix product."""
    (n, c, h, w), (out, _, kernel, _) = x.shape, m.weight.shape
    taps, like = kernel**2, {"dtype": x.dtype, "device": x.device}
    moves = offset.reshape(n, taps, 2, h, w)
    around = torch.arange(kernel, **like) - kernel // 2
    down, right = (d.reshape(taps, 1, 1) for d in torch.meshgrid(around, around, indexing="ij"))
    row = moves[:, :, 0] + torch.arange(h, **like)[:, None] + down
    column = moves[:, :, 1] + torch.arange(w, **like) + right
    grid = torch.stack([2 * column / (w - 1) - 1, 2 * row / (h - 1) - 1], dim=-1)
    sampled = functional.grid_sample(x, grid.reshape(n, taps * h, w, 2), align_corners=True)
    y = m.weight.reshape(out, -1) @ sampled.reshape(n, c * taps, h * w) + m.bias[:, None]
    return y.reshape(n, out, h, w)


def additive_attention(m, query, keys):
    asked = functional.linear(query, m.weight_query, m.bias)
    weights = torch.softmax(torch.tanh(keys @ m.weight_key.T + asked[:, None]) @ m.weight_score, dim=1)
    return torch.bmm(weights[:, None], keys)[:, 0], weights


def basic_block(m, x):
    y = functional.relu(m.bn1(m.conv1(x)), inplace=True)
    y, stride = m.bn2(m.conv2(y)), m.conv1.stride[0]
    y = m.se(y) if hasattr(m, "se") else y
    more = (y.shape[1] - x.shape[1]) // 2
    same = functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, more, more))
    return functional.relu(y + same, inplace=True)


def squeeze_excitation(m, x):
    return x * torch.sigmoid(m.fc2(functional.relu(m.fc1(x.mean(dim=(2, 3), keepdim=True)), inplace=True)))


def mbconv(m, x):
    y, conv = x, m._depthwise_conv
    if hasattr(m, "_expand_conv"):
        y = functional.silu(m._bn0(m._expand_conv(y)), inplace=True)
    if conv.stride[0] > 1:
        y = same_pad(y, conv.kernel_size, conv.stride)
    y = functional.silu(m._bn1(conv(y)), inplace=True)
    squeezed = functional.silu(m._se_reduce(y.mean(dim=(2, 3), keepdim=True)), inplace=True)
    y = m._bn2(m._project_conv(y * torch.sigmoid(m._se_expand(squeezed))))
    return x + y if x.shape == y.shape else y


def same_pad(x, kernel, stride):
    rows, columns = map(same_padding, x.shape[2:], kernel, stride)
    return functional.pad(x, (*columns, *rows))


def dense_block(m, x):
    for layer in m.children():
        new = layer.conv1(functional.relu(layer.norm1(x), inplace=True))
        x = torch.cat([x, new], dim=1)
    return x


def transition(m, x):
    return m.pool(m.conv(functional.relu(m.norm(x), inplace=True)))


def bilinear_interpolation(m, x):
    k, c = m.layer.kernel_size, x.shape[1]
    along = 1 - (torch.arange(k, device=x.device) - (k - 1) / 2).abs() / -(-k // 2)
    weight = (along[:, None] * along).expand(c, 1, k, k)
    return functional.conv_transpose2d(x, weight, stride=m.layer.stride, padding=m.layer.padding, groups=c)


def nms(boxes, scores, threshold: float = NMS_IOU, limit: int | None = None):
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


def softmax_cross_entropy(logits, labels):
    return functional.cross_entropy(logits, labels, ignore_index=-1)


FORWARDS = {
    "RoIPool": roi_pool, "RoIAlign": roi_align, "DeformConv2d": deform_conv, "AdditiveAttention": additive_attention,
    "BasicBlock": basic_block, "SqueezeExcitation": squeeze_excitation, "MBConv": mbconv,
    "BilinearInterpolation": bilinear_interpolation, "DenseBlock": dense_block, "Transition": transition,
    "SamePad2d": lambda m, x: same_pad(x, m.layer.kernel_size, m.layer.stride),
}  # fmt: skip
FUNCTIONS = {"best_boxes": nms, "softmax_cross_entropy": softmax_cross_entropy}
