"""The parts of Mask R-CNN with a pyramid against the same made of PyTorch's modules, with the same weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vision.backbones.fpn import FPN  # noqa: E402
from vision.boxes.pyramid import RPNHead  # noqa: E402
from vision.instances.mask_rcnn_fpn import Options, RoIHeads  # noqa: E402

OPTIONS = Options(hidden=10, pooled_size=3, mask_pooled=4, mask_convs=2, mask_channels=5)


def load(module, layer, prefix=""):
    """PyTorch's module with the weights of our layer, by the same names."""
    arrays = {name.removeprefix(prefix): array for name, array in layer.state_dict().items() if name.startswith(prefix)}
    module.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return module


def tensors(*arrays):
    return [torch.from_numpy(array).requires_grad_() for array in arrays]


def test_fpn():
    rng, nn = np.random.default_rng(0), torch.nn
    ours = FPN((2, 3, 4), 5, rng=rng)
    blocks = {"inner_blocks": nn.ModuleList(nn.Sequential(nn.Conv2d(c, 5, 1)) for c in (2, 3, 4))}
    blocks["layer_blocks"] = nn.ModuleList(nn.Sequential(nn.Conv2d(5, 5, 3, padding=1)) for _ in range(3))
    theirs = load(nn.ModuleDict(blocks), ours)
    maps = [rng.standard_normal((2, c, *s)).astype(np.float32) for c, s in zip((2, 3, 4), ((12, 10), (6, 5), (3, 3)))]
    y, cache = ours.forward(tuple(maps))
    given = tensors(*maps)
    merged = [theirs["inner_blocks"][2](given[2])]
    for i in (1, 0):
        up = nn.functional.interpolate(merged[0], size=given[i].shape[2:], mode="nearest")
        merged.insert(0, theirs["inner_blocks"][i](given[i]) + up)
    wanted = [block(x) for block, x in zip(theirs["layer_blocks"], merged)]
    wanted.append(nn.functional.max_pool2d(wanted[-1], 1, 2, 0))
    for a, b in zip(y, wanted):
        np.testing.assert_allclose(a, b.detach().numpy(), atol=1e-5)
    dy = [rng.standard_normal(a.shape).astype(np.float32) for a in y]
    sum((b * torch.from_numpy(d)).sum() for b, d in zip(wanted, dy)).backward()
    for d, x in zip(ours.backward(dy, cache), given):
        np.testing.assert_allclose(d, x.grad.numpy(), atol=2e-5)
    for name, parameter in ours.parameters().items():
        np.testing.assert_allclose(parameter.grad, theirs.get_parameter(name).grad.numpy(), atol=2e-4, err_msg=name)


def test_rpn_head():
    rng, nn = np.random.default_rng(1), torch.nn
    ours = RPNHead(4, 3, rng=rng)
    conv = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()))
    theirs = load(
        nn.ModuleDict({"conv": conv, "cls_logits": nn.Conv2d(4, 3, 1), "bbox_pred": nn.Conv2d(4, 12, 1)}), ours
    )
    x = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    hidden = theirs["conv"](torch.from_numpy(x))
    scores, deltas = theirs["cls_logits"](hidden), theirs["bbox_pred"](hidden)
    scores = scores.permute(0, 2, 3, 1).flatten(1)  # torchvision.models.detection.rpn.permute_and_flatten
    deltas = deltas.view(2, -1, 4, 5, 6).permute(0, 3, 4, 1, 2).reshape(2, -1, 4)
    for a, b in zip(ours(x), (scores, deltas)):
        np.testing.assert_allclose(a, b.detach().numpy(), atol=1e-5)


def test_heads_of_regions():
    rng, nn = np.random.default_rng(2), torch.nn
    ours = RoIHeads(4, 2, OPTIONS, rng=rng)
    box_head = nn.ModuleDict({"fc6": nn.Linear(36, 10), "fc7": nn.Linear(10, 10)})
    predictor = nn.ModuleDict({"cls_score": nn.Linear(10, 3), "bbox_pred": nn.Linear(10, 12)})
    convs = [nn.Sequential(nn.Conv2d(a, 5, 3, padding=1), nn.ReLU()) for a in (4, 5)]
    masks = nn.ModuleDict({"conv5_mask": nn.ConvTranspose2d(5, 5, 2, 2), "mask_fcn_logits": nn.Conv2d(5, 3, 1)})
    parts = {"box_head": box_head, "box_predictor": predictor, "mask_head": nn.Sequential(*convs)}
    theirs = load(nn.ModuleDict(parts | {"mask_predictor": masks}), ours)
    x, shapes = (rng.standard_normal((6, 4, size, size)).astype(np.float32) for size in (3, 4))
    (given, given_shapes), relu = tensors(x, shapes), torch.relu
    hidden = relu(box_head["fc7"](relu(box_head["fc6"](given.flatten(1)))))
    wanted = predictor["cls_score"](hidden), predictor["bbox_pred"](hidden).view(6, 3, 4)[:, 1:]
    wanted_masks = masks["mask_fcn_logits"](relu(masks["conv5_mask"](theirs["mask_head"](given_shapes))))[:, 1:]
    y, cache = ours.forward(x)
    z, mask_cache = ours.masks(shapes)
    for a, b in zip((*y, z), (*wanted, wanted_masks)):
        np.testing.assert_allclose(a, b.detach().numpy(), atol=1e-5)
    dy = [rng.standard_normal(a.shape).astype(np.float32) for a in (*y, z)]
    sum((b * torch.from_numpy(d)).sum() for b, d in zip((*wanted, wanted_masks), dy)).backward()
    np.testing.assert_allclose(ours.backward(tuple(dy[:2]), cache), given.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours.masks_backward(dy[2], mask_cache), given_shapes.grad.numpy(), atol=1e-5)
    for name, parameter in ours.parameters().items():
        np.testing.assert_allclose(parameter.grad, theirs.get_parameter(name).grad.numpy(), atol=1e-4, err_msg=name)
