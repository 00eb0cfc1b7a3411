"""PyTorch as a second opinion on grids, regions and deformable convolution: forward and all gradients, in float64.

torchvision is not needed: its region layers and deformable convolution are written here as calls of PyTorch's own
grid_sample, and autograd gives the gradients.
"""

import numpy as np
import pytest

from nn.layers.deform_conv import DeformConv2d
from nn.layers.grid_sample import MODES, PADDING_MODES, AffineGrid, GridSample
from nn.layers.roi_align import RoIAlign
from nn.layers.roi_warp import RoIWarp

torch = pytest.importorskip("torch")
F = torch.nn.functional
SEEDS = range(100)
UNIT_SIZE = pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior has changed")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """For arrays this small PyTorch's threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def numbers(rng, low, high, count=2):
    """A few random whole numbers, low <= n <= high."""
    return tuple(int(v) for v in rng.integers(low, high + 1, count))


def agree(ours, theirs, rng, *inputs, constants=(), rtol=1e-10):
    """Output, the gradients of inputs and of parameters, ours and PyTorch's, for a random dy."""
    tensors = [None if a is None else torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    wanted = theirs(*tensors)
    y, cache = ours.forward(*inputs)
    assert y.shape == tuple(wanted.shape)
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol, atol=rtol)
    dy = rng.normal(size=y.shape)
    if wanted.requires_grad and y.size:
        wanted.backward(torch.tensor(dy))
    ours.zero_grad()
    gradients = ours.backward(dy, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert len(gradients) == len(inputs)
    for i, (gradient, tensor) in enumerate(zip(gradients, tensors)):
        if tensor is None or not tensor.requires_grad or i in constants:
            assert gradient is None
        else:
            expected = np.zeros(gradient.shape) if tensor.grad is None else tensor.grad.numpy()
            np.testing.assert_allclose(gradient, expected, rtol, atol=rtol, err_msg=f"input {i}")


@UNIT_SIZE
@pytest.mark.parametrize("seed", SEEDS)
def test_affine_grid(seed):
    rng = np.random.default_rng([200, seed])
    n, size, corners = numbers(rng, 1, 4, 1)[0], numbers(rng, 1, 9), seed % 2 > 0
    layer = AffineGrid((n, 3, *size) if seed % 3 else size, corners)
    agree(layer, lambda t: F.affine_grid(t, (n, 3, *size), align_corners=corners), rng, rng.normal(size=(n, 2, 3)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("seed", range(40))
def test_grid_sample(seed, padding_mode, mode):
    rng = np.random.default_rng([201, seed])
    n, c = numbers(rng, 1, 3)[0], numbers(rng, 1, 7)[0]
    x = rng.normal(size=(n, c, *numbers(rng, 1, 7)))
    grid = rng.normal(size=(n, *numbers(rng, 1, 6), 2)) * rng.choice([0.5, 1, 4])
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": seed % 2 > 0}
    agree(GridSample(**options), lambda x, grid: F.grid_sample(x, grid, **options), rng, x, grid)


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("align_corners", [False, True])
def test_nearest_at_points_half_way(padding_mode, align_corners):
    """Rounding to even, also where reflection folds."""
    x = np.random.default_rng(202).normal(size=(1, 2, 5, 9))  # 2 / (size - 1) is a power of two: halves are exact
    x = x if align_corners else x[..., :4, :8]
    pixels = np.arange(-20, 40) / 2
    steps = [(n - 1) / 2 if align_corners else n / 2 for n in x.shape[2:]]
    row, column = (pixels / s - 1 if align_corners else (pixels + 0.5) / s - 1 for s in steps)
    grid = np.stack(np.broadcast_arrays(column[None, :], row[:, None]), axis=-1)[None]
    options = {"mode": "nearest", "padding_mode": padding_mode, "align_corners": align_corners}
    agree(GridSample(**options), lambda x, g: F.grid_sample(x, g, **options), np.random.default_rng(203), x, grid)


@UNIT_SIZE
@pytest.mark.parametrize("seed", range(40))
def test_spatial_transformer(seed):
    """Both layers in a row: the gradient goes through the grid to theta."""
    rng = np.random.default_rng([204, seed])
    x, theta, size = rng.normal(size=(2, 3, *numbers(rng, 2, 6))), rng.normal(size=(2, 2, 3)), numbers(rng, 1, 6)
    padding_mode, corners = PADDING_MODES[seed % 3], seed % 2 > 0
    affine, sampler = AffineGrid(size, corners), GridSample("bilinear", padding_mode, corners)
    grid, c_affine = affine.forward(theta)
    y, c_sampler = sampler.forward(x, grid)
    dy = rng.normal(size=y.shape)
    dx, dgrid = sampler.backward(dy, c_sampler)

    x_tensor, theta_tensor = (torch.tensor(a, requires_grad=True) for a in (x, theta))
    grid = F.affine_grid(theta_tensor, (2, 3, *size), align_corners=corners)
    wanted = F.grid_sample(x_tensor, grid, padding_mode=padding_mode, align_corners=corners)
    wanted.backward(torch.tensor(dy))
    np.testing.assert_allclose(y, wanted.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dx, x_tensor.grad.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(affine.backward(dgrid, c_affine), theta_tensor.grad.numpy(), rtol=1e-9, atol=1e-9)


def at(maps, row, column):
    """Values (N, C, P, Q) of maps (N, C, H, W) at row, column (N, P, Q) in cells, zeros outside."""
    (h, w) = maps.shape[2:]
    grid = torch.stack([(2 * column + 1) / w - 1, (2 * row + 1) / h - 1], dim=-1)
    return F.grid_sample(maps, grid, align_corners=False)


def roi_align(x, boxes, image_index, bins, scale, sampling_ratio, aligned, reduction):
    """torchvision's roi_align for one region at a time: a grid of samples, clipped, masked, averaged in windows."""
    outputs = []
    for box, n in zip(boxes.detach(), image_index):
        low, high = (box.view(2, 2).flip(1) * scale - 0.5 * aligned).unbind()  # (y, x) each
        size = high - low if aligned else (high - low).clamp(min=1)
        points, masks, counts = [], [], []
        for a in (0, 1):
            count = sampling_ratio if sampling_ratio > 0 else max(int(torch.ceil(size[a] / bins[a])), 0)
            place = low[a] + (torch.arange(bins[a] * count, dtype=x.dtype) + 0.5) * size[a] / (bins[a] * max(count, 1))
            masks.append((place >= -1) & (place <= x.shape[2 + a]))
            points.append(place.clamp(0, x.shape[2 + a] - 1))
            counts.append(count)
        if 0 in counts:
            outputs.append(x[n].sum() * torch.zeros((x.shape[1], *bins), dtype=x.dtype))
            continue
        row, column = torch.meshgrid(*points, indexing="ij")
        value = at(x[n : n + 1], row[None], column[None]) * (masks[0][:, None] & masks[1])
        outputs.append((F.avg_pool2d if reduction == "average" else F.max_pool2d)(value, counts)[0])
    return torch.stack(outputs)


def random_regions(rng, k, h, w, scale):
    corners = rng.uniform(-0.5, 1.3, (k, 4)) * (w, h, w, h)
    turned = rng.random(k) < 0.8  # the others may be of negative size
    corners[turned] = np.concatenate([np.minimum(*np.split(corners, 2, 1)), np.maximum(*np.split(corners, 2, 1))], 1)[
        turned
    ]
    return corners / scale


@pytest.mark.parametrize("reduction", ["average", "max"])
@pytest.mark.parametrize("seed", SEEDS)
def test_roi_align(seed, reduction):
    rng = np.random.default_rng([205, seed])
    x = rng.normal(size=(numbers(rng, 1, 3)[0], numbers(rng, 1, 6)[0], *numbers(rng, 1, 9)))
    bins, scale, ratio, aligned = numbers(rng, 1, 4), float(rng.choice([1, 0.25, 2])), seed % 5 - 1, seed % 3 > 0
    k = numbers(rng, 1, 4)[0]
    boxes, image_index = random_regions(rng, k, *x.shape[2:], scale), rng.integers(0, len(x), k)
    layer = RoIAlign(bins, scale, ratio, aligned, reduction)
    options = (bins, scale, ratio, aligned, reduction)
    agree(layer, lambda *a: roi_align(*a, *options), rng, x, boxes, image_index, constants=(1,))


@pytest.mark.parametrize("seed", SEEDS)
def test_roi_warp(seed):
    rng = np.random.default_rng([206, seed])
    x = rng.normal(size=(numbers(rng, 1, 3)[0], numbers(rng, 1, 6)[0], *numbers(rng, 1, 9)))
    bins, scale, aligned, k = numbers(rng, 1, 5), float(rng.choice([1, 0.25, 2])), seed % 2 > 0, numbers(rng, 1, 5)[0]
    boxes, image_index = random_regions(rng, k, *x.shape[2:], scale), rng.integers(0, len(x), k)

    def theirs(x, boxes, image_index):
        x1, y1, x2, y2 = (boxes * scale - 0.5 * aligned).unbind(1)
        down, across = ((torch.arange(n, dtype=x.dtype) + 0.5) / n for n in bins)
        row = (y1[:, None] + (y2 - y1)[:, None] * down)[:, :, None].expand(k, *bins)
        column = (x1[:, None] + (x2 - x1)[:, None] * across)[:, None, :].expand(k, *bins)
        return at(x[image_index], row, column)

    agree(RoIWarp(bins, scale, aligned), theirs, rng, x, boxes, image_index)


def deform_conv(x, offset, mask, weight, bias, geometry, offset_groups):
    """Each offset group and tap sampled by grid_sample, then a 1 x 1 convolution of all that was sampled."""
    (kh, kw), stride, padding, dilation, groups = geometry
    n, (oh, ow) = len(x), offset.shape[2:]
    offset = offset.view(n, offset_groups, kh * kw, 2, oh, ow)
    r, s = torch.meshgrid(torch.arange(oh), torch.arange(ow), indexing="ij")
    taps = []
    for t in range(kh * kw):
        row = r * stride[0] - padding[0] + t // kw * dilation[0] + offset[:, :, t, 0]
        column = s * stride[1] - padding[1] + t % kw * dilation[1] + offset[:, :, t, 1]
        maps = x.reshape(n * offset_groups, -1, *x.shape[2:])
        value = at(maps, row.flatten(0, 1), column.flatten(0, 1))
        if mask is not None:
            value = value * mask.view(n * offset_groups, kh * kw, 1, oh, ow)[:, t]
        taps.append(value.view(n, -1, oh, ow))
    columns = torch.stack(taps, dim=2).flatten(1, 2)  # channels, then taps: as the weight has them
    return F.conv2d(columns, weight.flatten(1)[:, :, None, None], bias, groups=groups)


@pytest.mark.parametrize("seed", range(200))
def test_deform_conv(seed):
    rng = np.random.default_rng([207, seed])
    kernel, stride, padding, dilation = numbers(rng, 1, 3), numbers(rng, 1, 3), numbers(rng, 0, 2), numbers(rng, 1, 2)
    groups, offset_groups = numbers(rng, 1, 3)
    c, o = groups * offset_groups * numbers(rng, 1, 2)[0], groups * numbers(rng, 1, 2)[0]
    h, w = (max(d * (k - 1) + 1 - 2 * p, 1) + numbers(rng, 0, 4, 1)[0] for k, p, d in zip(kernel, padding, dilation))
    options = {"groups": groups, "bias": seed % 3 > 0, "offset_groups": offset_groups if seed % 2 else None}
    layer = DeformConv2d(c, o, kernel, stride, padding, dilation, **options).astype(np.float64)
    parameters = {}
    for name, parameter in layer.parameters().items():
        parameter.value = rng.normal(size=parameter.value.shape)
        parameters[name] = torch.tensor(parameter.value, requires_grad=True)
    n, out, taps = numbers(rng, 1, 3)[0], layer.geometry.output_size(layer, h, w), offset_groups * kernel[0] * kernel[1]
    x, offset = rng.normal(size=(n, c, h, w)), rng.normal(size=(n, 2 * taps, *out)) * rng.choice([0.3, 2])
    mask = rng.normal(size=(n, taps, *out)) if seed % 4 else None
    bias = parameters.get("bias")
    agree(
        layer,
        lambda *a: deform_conv(*a, parameters["weight"], bias, layer.geometry, offset_groups),
        rng,
        x,
        offset,
        mask,
    )
    for name, parameter in layer.parameters().items():
        np.testing.assert_allclose(parameter.grad, parameters[name].grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=name)
