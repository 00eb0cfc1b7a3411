"""PyTorch as a second opinion on U-Net, in float64."""

import numpy as np
import pytest

from vision.segmentation import PixelClassifier, UNet

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def their_unet(w, x, depth, padding):
    """Fig. 1 in functional calls, on the weights w by name."""

    def block(name, x):
        for i in (0, 2):
            x = functional.conv2d(x, w[f"{name}.{i}.weight"], w[f"{name}.{i}.bias"], padding=padding).relu()
        return x

    maps = [block("contract.0", x)]
    for i in range(1, depth + 1):
        maps.append(block(f"contract.{i}", functional.max_pool2d(maps[-1], 2)))
    x = maps.pop()
    for i in range(depth):
        x = functional.conv_transpose2d(x, w[f"up.{i}.weight"], w[f"up.{i}.bias"], stride=2)
        top, left = ((a - b) // 2 for a, b in zip(maps[-1].shape[2:], x.shape[2:]))
        bridge = maps.pop()[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        x = block(f"expand.{i}", torch.cat([x, bridge], dim=1))
    return functional.conv2d(x, w["score.weight"], w["score.bias"])


@pytest.mark.parametrize("padding, size", [("valid", (188, 204)), ("same", (32, 48))])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_every_gradient(padding, size, weighted):
    ours = PixelClassifier(UNet(2, 3, width=2, padding=padding, dropout=0.0, rng=np.random.default_rng(1)))
    ours.astype(np.float64)
    out, rng = ours.network.output_size(*size), np.random.default_rng(2)
    images, labels, weights = rng.standard_normal((2, 2, *size)), rng.integers(0, 3, (2, *out)), rng.random((2, *out))
    losses, cache = ours.loss((images, labels, weights) if weighted else (images, labels), np.random.default_rng(0))
    dimages = ours.network.backward(cache.dlogits, cache.network)

    w = {name: torch.tensor(p.value, requires_grad=True) for name, p in ours.parameters().items()}
    x = torch.tensor(images, requires_grad=True)
    each = functional.cross_entropy(their_unet(w, x, 4, int(padding == "same")), torch.tensor(labels), reduction="none")
    factor = torch.tensor(weights) if weighted else torch.ones_like(each)
    loss = (each * factor).sum() / factor.sum()
    loss.backward()
    assert losses["pixels"] == pytest.approx(loss.item(), rel=1e-12)
    pairs = {name: (w[name].grad, p.grad) for name, p in ours.parameters().items()}
    for name, (wanted, got) in ({"images": (x.grad, dimages)} | pairs).items():
        wanted = wanted.numpy()
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12 * max(abs(wanted).max(), 1e-9), err_msg=name)
