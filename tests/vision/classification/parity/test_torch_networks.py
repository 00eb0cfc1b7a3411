"""PyTorch as a second opinion on whole networks, in float64: their published definitions, written out."""

import numpy as np
import pytest

import vision

torch = pytest.importorskip("torch")
modules, functional = torch.nn, torch.nn.functional


class Weights:
    """Our parameters and buffers as torch tensors by name, and the layers that use them."""

    def __init__(self, model):
        learned = model.parameters()
        self.of = {k: torch.tensor(v, requires_grad=k in learned) for k, v in model.state_dict().items()}

    def conv(self, name, x, **options):
        return functional.conv2d(x, self.of[f"{name}.weight"], self.of.get(f"{name}.bias"), **options)

    def norm(self, name, x):
        return functional.batch_norm(x, None, None, self.of[f"{name}.weight"], self.of[f"{name}.bias"], training=True)

    def linear(self, name, x):
        return functional.linear(x, self.of[f"{name}.weight"], self.of[f"{name}.bias"])


def alexnet_2012(w, x):
    """Caffe's bvlc_alexnet in the order of the paper: ReLU, response normalisation, pooling."""
    for k, options in enumerate(({"stride": 4, "padding": 2}, {"padding": 2, "groups": 2}, {"padding": 1},
                                 {"padding": 1, "groups": 2}, {"padding": 1, "groups": 2}), start=1):  # fmt: skip
        x = w.conv(f"conv{k}", x, **options).relu()
        if k in (1, 2):
            x = functional.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
        if k in (1, 2, 5):
            x = functional.max_pool2d(x, 3, 2)
    x = functional.adaptive_avg_pool2d(x, 6).flatten(1)
    return [w.linear("fc8", w.linear("fc7", w.linear("fc6", x).relu()).relu())]


def inception(w, name, x):
    one = w.conv(f"{name}.branch1.0", x).relu()
    three = w.conv(f"{name}.branch2.1.0", w.conv(f"{name}.branch2.0.0", x).relu(), padding=1).relu()
    five = w.conv(f"{name}.branch3.1.0", w.conv(f"{name}.branch3.0.0", x).relu(), padding=2).relu()
    pooled = w.conv(f"{name}.branch4.1.0", functional.max_pool2d(x, 3, 1, 1)).relu()
    return torch.cat([one, three, five, pooled], dim=1)


def googlenet(w, x):
    """Caffe's bvlc_googlenet; the auxiliary heads pool to 4x4 as torchvision's."""

    def pool(x):
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    def respond(x):
        return functional.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    def head(name, x):
        x = w.conv(f"{name}.1", functional.adaptive_avg_pool2d(x, 4)).relu().flatten(1)
        return w.linear(f"{name}.7", w.linear(f"{name}.4", x).relu())

    x = respond(pool(w.conv("conv1.0", x, stride=2, padding=3).relu()))
    x = respond(w.conv("conv2.0", w.conv("conv2_reduce.0", x).relu(), padding=1).relu())
    x, auxiliary = pool(x), []
    for name in ("3a", "3b", "pool", "4a", "4b", "4c", "4d", "4e", "pool", "5a", "5b"):
        x = pool(x) if name == "pool" else inception(w, f"inception{name}", x)
        if name in ("4a", "4d"):
            auxiliary.append(head(f"aux{len(auxiliary) + 1}", x))
    return [w.linear("fc", x.mean(dim=(2, 3))), *auxiliary]


def resnet(w, x, bottleneck, pre_activation=False, excited=False):
    """torchvision's resnet with one block a stage; fig. 4e of arXiv:1603.05027 where pre_activation."""
    x = w.conv("conv1", x, stride=2, padding=3)
    x = functional.max_pool2d(x if pre_activation else w.norm("bn1", x).relu(), 3, 2, 1)
    for i in range(1, 5):
        at, stride, last = f"layer{i}.0", 1 if i == 1 else 2, 3 if bottleneck else 2
        strided = {"stride": stride, "padding": 1}
        options = [{}, strided, {}] if bottleneck else [strided, {"padding": 1}]
        y = x = w.norm(f"{at}.bn1", x).relu() if pre_activation else x
        for k in range(1, last + 1):
            if pre_activation:
                y = w.conv(f"{at}.conv{k}", y if k == 1 else w.norm(f"{at}.bn{k}", y).relu(), **options[k - 1])
            else:
                y = w.norm(f"{at}.bn{k}", w.conv(f"{at}.conv{k}", y, **options[k - 1]))
                y = y if k == last else y.relu()
        if excited:
            gate = w.conv(f"{at}.se.fc1", y.mean(dim=(2, 3), keepdim=True)).relu()
            y = y * torch.sigmoid(w.conv(f"{at}.se.fc2", gate))
        if f"{at}.downsample.0.weight" in w.of:
            x = w.conv(f"{at}.downsample.0", x, stride=stride)
            x = x if pre_activation else w.norm(f"{at}.downsample.1", x)
        x = x + y if pre_activation else (x + y).relu()
    x = w.norm("bn_last", x).relu() if pre_activation else x
    return [w.linear("fc", x.mean(dim=(2, 3)))]


BLOCKS = {"width": 4, "blocks": [1, 1, 1, 1]}
CASES = {
    "alexnet_2012": ("alexnet_2012", {"width": 6, "hidden": 5, "dropout": 0.0}, alexnet_2012, (70, 83)),
    "googlenet": ("googlenet", {"width": 8, "dropout": 0.0}, googlenet, (64, 90)),
    "resnet18": ("resnet18", BLOCKS, lambda w, x: resnet(w, x, False), (64, 75)),
    "resnet50": ("resnet50", BLOCKS, lambda w, x: resnet(w, x, True), (64, 75)),
    "pre_activation": (
        "resnet50", BLOCKS | {"form": "pre_activation"}, lambda w, x: resnet(w, x, True, pre_activation=True), (64, 75)
    ),
    "se_resnet50": (
        "se_resnet50", BLOCKS | {"reduction": 2}, lambda w, x: resnet(w, x, True, excited=True), (64, 75)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name, options, theirs, size", CASES.values(), ids=CASES)
def test_loss_and_every_gradient(name, options, theirs, size):
    ours = vision.build(name, ["a", "b", "c"], np.random.default_rng(1), **options)
    for head in getattr(ours, "auxiliary", {}).values():
        head[6].p = 0.0  # its dropout
    weights = Weights(ours.astype(np.float64))
    images, labels = np.random.default_rng(2).standard_normal((3, 3, *size)), np.array([2, 0, 1])

    losses, cache = ours.loss((images, labels), np.random.default_rng(0))
    ours.backward(cache)
    logits = theirs(weights, torch.tensor(images))
    values = [functional.cross_entropy(each, torch.tensor(labels)) for each in logits]
    loss = values[0] + 0.3 * sum(values[1:])
    loss.backward()

    assert sum(losses.values()) == pytest.approx(loss.item(), rel=1e-10)
    for key, parameter in ours.parameters().items():
        wanted = weights.of[key].grad.numpy()
        np.testing.assert_allclose(parameter.grad, wanted, rtol=1e-7, atol=1e-11, err_msg=key)
