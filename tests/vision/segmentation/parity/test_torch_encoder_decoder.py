"""PyTorch as a second opinion on FCN, SegNet, SegNet-Basic's variants and DeconvNet, in float64: loss and gradients."""

import numpy as np
import pytest

from tests.vision.segmentation.systems import normal, small
from vision.segmentation import DECODERS

torch = pytest.importorskip("torch")
F = torch.nn.functional


def compare(model, theirs, size, n=2):
    """theirs(w, x): logits by the weights w by name."""
    model.astype(np.float64)
    images, labels = normal(n, 3, *size), np.random.default_rng(2).integers(-1, 3, (n, *size))
    losses, cache = model.loss((images, labels), np.random.default_rng(0))
    dimages = model.network.backward(cache.dlogits, cache.network)
    w = {name: torch.tensor(p.value, requires_grad=p.trainable) for name, p in model.parameters().items()}
    x = torch.tensor(images, requires_grad=True)
    loss = F.cross_entropy(theirs(w, x), torch.tensor(labels), ignore_index=-1)
    loss.backward()
    assert losses["pixels"] == pytest.approx(loss.item(), rel=1e-10)
    pairs = {name: (w[name].grad, p.grad) for name, p in model.parameters().items() if p.trainable}
    largest = max(abs(p.grad).max() for p in model.parameters().values())
    for name, (wanted, got) in ({"images": (x.grad, dimages)} | pairs).items():
        np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-7, atol=1e-9 * largest, err_msg=name)


def norm(w, name, x):
    return F.batch_norm(x, None, None, w[f"{name}.weight"], w[f"{name}.bias"], training=True, eps=1e-5)


def conv_norm(w, name, i, x, transposed=False):
    operation = F.conv_transpose2d if transposed else F.conv2d
    return norm(w, f"{name}.{i + 1}", operation(x, w[f"{name}.{i}.weight"], w[f"{name}.{i}.bias"], padding=1)).relu()


def pool(x):
    return F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)


@pytest.mark.parametrize("stride, padding", [(32, "same"), (16, "same"), (8, "same"), (8, "published")])
def test_fcn(stride, padding):
    """The authors' net.py in functional calls."""
    options = {"width": 1, "hidden": 3, "dropout": 0.0, "score_std": 0.5, "padding": padding, "batch_norm": False}
    model = small(f"fcn{stride}s_small", **options, learn_last=True)
    published = padding == "published"

    def up(w, name, x, s):
        return F.conv_transpose2d(x, w[f"{name}.weight"], stride=s, padding=0 if published else s // 2)

    def added(x, skip, start):
        h, ww = (min(a, b - start) for a, b in zip(x.shape[2:], skip.shape[2:]))
        return x[:, :, :h, :ww] + skip[:, :, start : start + h, start : start + ww]

    def theirs(w, images):
        def conv(name, x, p=0):
            return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=p)

        x, i, pools = images, 0, {}
        for level, convolutions in enumerate((2, 2, 3, 3, 3), 1):
            for _ in range(convolutions):
                x = conv(f"features.{i}", x, (100 if published else 17) if i == 0 else 1).relu()
                i += 2
            x, i = pool(x)[0], i + 1
            pools[level] = x
        x = conv("classifier.3", conv("classifier.0", x, 0 if published else 3).relu()).relu()
        x = conv("classifier.6", x)
        if stride < 32:
            x = added(up(w, "upscore2", x, 2), conv("score_pool4", pools[4]), 5 if published else 0)
        if stride < 16:
            x = added(up(w, "upscore_pool4", x, 2), conv("score_pool3", pools[3]), 9 if published else 0)
        x = up(w, f"upscore{stride}", x, stride)
        start, (h, ww) = 31 if published else 16, images.shape[2:]
        return x[:, :, start : start + h, start : start + ww]

    compare(model, theirs, (40, 51))


@pytest.mark.parametrize("name", ["segnet_small", "deconvnet_small"])
def test_mirrored_vgg(name):
    deconvnet = name == "deconvnet_small"
    model = small(name, width=2, depth=3, **({"hidden": 5, "bottleneck": 2} if deconvnet else {}))

    def theirs(w, x):
        i, pools = 0, []
        for convolutions in (2, 2, 3):
            for _ in range(convolutions):
                x, i = conv_norm(w, "features", i, x), i + 3
            size = x.shape[2:]
            (x, indices), i = pool(x), i + 1
            pools.append((indices, size))
        if deconvnet:
            for j, operation in ((0, F.conv2d), (3, F.conv2d), (6, F.conv_transpose2d)):
                x = operation(x, w[f"classifier.{j}.weight"], w[f"classifier.{j}.bias"])
                x = norm(w, f"classifier.{j + 1}", x).relu()
        i = 0
        for convolutions in (3, 2, 2 if deconvnet else 1):
            indices, size = pools.pop()
            x = F.max_unpool2d(x, indices, 2, output_size=size)
            for _ in range(convolutions):
                x, i = conv_norm(w, "decoder", i, x, transposed=deconvnet), i + 3
        return F.conv2d(x, w["score.weight"], w["score.bias"], padding=0 if deconvnet else 1)

    compare(model, theirs, (21, 26))


@pytest.mark.parametrize("decoder", DECODERS)
def test_segnet_basic(decoder):
    model = small("segnet_basic_small", decoder=decoder, width=3, kernel_size=3, depth=3)
    upsampling, filters, addition, reduction = DECODERS[decoder]

    def theirs(w, x):
        def reduced(i, x):
            return norm(w, f"reduce.{i}.1", F.conv2d(x, w[f"reduce.{i}.0.weight"])) if reduction else x

        x, pools = F.local_response_norm(x, 5, 1e-4, 0.75, 1.0), []
        for i in range(3):
            x = norm(w, f"encoders.{i}.1", F.conv2d(x, w[f"encoders.{i}.0.weight"], padding=1)).relu()
            size = x.shape[2:]
            x, indices = pool(x)
            pools.append((x, indices, size))
        x = reduced(2, x)
        for j, i in enumerate((2, 1, 0)):
            _, indices, (h, ww) = pools[i]
            if upsampling == "unpool":
                x = F.max_unpool2d(x, indices, 2, output_size=(h, ww))
            elif upsampling == "bilinear":
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, :, :h, :ww]
            else:
                x = F.conv_transpose2d(x, w[f"ups.{j}.weight"], stride=2, padding=3)[:, :, :h, :ww]
            if filters:
                groups = 3 if filters == "single-channel" else 1
                x = norm(w, f"filters.{j}.1", F.conv2d(x, w[f"filters.{j}.0.weight"], padding=1, groups=groups))
            if upsampling == "deconv":
                x = norm(w, f"filters.{j}.0", x)
            if addition and i:
                x = x + reduced(i - 1, pools[i - 1][0])
        return x if reduction else F.conv2d(x, w["classifier.weight"], w["classifier.bias"])

    compare(model, theirs, (21, 26))
