"""PyTorch's side of the training steps and predictions: what our models compute, on their Mirrors.

LOSSES and PREDICTIONS: by the name of the case.
"""

import torch
from torch.nn import functional

from scripts.benchmarks import torch_detector


def of_classes(forward):
    """loss(module, batch, rng) of a network by its cross entropy: of images, of pixels, of characters."""

    def loss(m, batch, rng):
        x, labels, *_ = batch
        logits = forward(m, x)
        labels = labels.reshape(len(logits), *logits.shape[2:])
        return {"cls": functional.cross_entropy(logits, labels, ignore_index=-1)}

    return loss


def vgg16(m, x):
    return m.classifier(m.pool(m.features(x)).flatten(1))


def resnet20(m, x):
    x = functional.relu(m.bn1(m.conv1(x)), inplace=True)
    return m.linear(m.layer3(m.layer2(m.layer1(x))).mean(dim=(2, 3)))


def se_resnet20(m, x):
    return resnet20(m, x)


def alexnet(m, x):
    return m.classifier(m.avgpool(m.features(x)).flatten(1))


def densenet40(m, x):
    return m.classifier(m.features(x).mean(dim=(2, 3)))


def efficientnet_b0(m, x):
    x = functional.silu(m._bn0(m._conv_stem(m._pad(x))), inplace=True)
    for block in m._blocks:
        x = block(x)
    return m._fc(functional.silu(m._bn1(m._conv_head(x)), inplace=True).mean(dim=(2, 3)))


def unet(m, x):
    maps = []
    for block in m.contract:
        x = block(m.pool(x) if maps else x)
        maps.append(x)
    maps.pop()
    for up, block in zip(m.up, m.expand):
        x = block(torch.cat([up(x), maps.pop()], dim=1))
    return m.score(x)


def full_resolution(m, x):
    return m.score(m.features(x))


def segnet_basic(m, x):
    x, pooled = m.norm(x), []
    for encoder in m.encoders:
        x = encoder(x)
        size = x.shape[2:]
        x, indices = m.pool(x)
        pooled.append((indices, size))
    for filters in m.filters:
        indices, size = pooled.pop()
        x = filters(functional.max_unpool2d(x, indices, 2, output_size=size))
    return m.classifier(x)


def fcn8s(m, x):
    (h, w), around, start = x.shape[2:], m.layer.network.around, m.layer.network.final_start
    x, pooled = functional.pad(x, [around] * 4), []
    for layer in m.features:
        x = layer(x)
        pooled += [x] if isinstance(layer, torch.nn.MaxPool2d) else []
    x = m.classifier(x)
    for up, score, finer in ((m.upscore2, m.score_pool4, pooled[3]), (m.upscore_pool4, m.score_pool3, pooled[2])):
        x, finer = up(x), score(finer)
        rows, columns = map(min, x.shape[2:], finer.shape[2:])
        x = x[..., :rows, :columns] + finer[..., :rows, :columns]
    return m.upscore8(x)[..., start : start + h, start : start + w]


def language_model(m, x):
    return m.head(m.rnn(m.embedding(x))[0]).flatten(0, 1)


NETWORKS = (
    vgg16, resnet20, se_resnet20, alexnet, densenet40, efficientnet_b0, unet, full_resolution, segnet_basic,
    language_model,
)  # fmt: skip
LOSSES = {network.__name__: of_classes(network) for network in NETWORKS} | {"faster_rcnn": torch_detector.loss}
PREDICTIONS = {
    "resnet20": lambda m, x: functional.softmax(resnet20(m, x), dim=1),
    "fcn8s": lambda m, x: functional.softmax(fcn8s(m, x), dim=1),
    "faster_rcnn": torch_detector.predict,
}
