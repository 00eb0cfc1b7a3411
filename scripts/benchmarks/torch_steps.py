"""PyTorch's side of the training steps: for each family a module with our names of weights."""

import torch
from torch import nn
from torch.nn import functional

from scripts.benchmarks.torch_detector import Detector
from vision.backbones.vgg import POOL, VGG16


def vgg16(o, model):
    return VGG(o)


def resnet20(o, model):
    return ResNet(o)


def unet(o, model):
    return UNet(o)


def full_resolution(o, model):
    return FullResolution(o)


def segnet_basic(o, model):
    return SegNetBasic(o)


def faster_rcnn(o, model):
    return Detector(model)


def language_model(o, model):
    return LanguageModel(o)


class Classifier(nn.Module):
    """A network whose loss is the cross entropy of its output, of images or of pixels."""

    def loss(self, batch, rng):
        images, labels = batch
        return {"cls": functional.cross_entropy(self(images), labels, ignore_index=-1)}


class VGG(Classifier):
    def __init__(self, o):
        super().__init__()
        layers, channels = [], 3
        for step in (*VGG16, POOL):
            if step == POOL:
                layers.append(nn.MaxPool2d(2))
                continue
            out = step // 64 * o.width
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
            channels = out
        self.features, self.pool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(49 * channels, o.hidden), nn.ReLU(inplace=True), nn.Dropout(o.dropout),
            nn.Linear(o.hidden, o.hidden), nn.ReLU(inplace=True), nn.Dropout(o.dropout),
            nn.Linear(o.hidden, o.classes),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(self.pool(self.features(x)).flatten(1))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, (outputs - inputs) // 2

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        same = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(y + same, inplace=True)


class ResNet(Classifier):
    def __init__(self, o):
        super().__init__()
        w = o.width
        self.conv1, self.bn1 = nn.Conv2d(3, w, 3, padding=1, bias=False), nn.BatchNorm2d(w)
        for i, (inputs, outputs) in enumerate(((w, w), (w, 2 * w), (2 * w, 4 * w)), start=1):
            more = [Block(outputs, outputs, 1) for _ in range(o.blocks - 1)]
            setattr(self, f"layer{i}", nn.Sequential(Block(inputs, outputs, 1 if i == 1 else 2), *more))
        self.linear = nn.Linear(4 * w, o.classes)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


class UNet(Classifier):
    """With padding, of the paper's depth."""

    def __init__(self, o):
        super().__init__()
        channels = [o.width * 2**i for i in range(5)]

        def block(inputs, outputs, *end):
            first, second = (nn.Conv2d(c, outputs, 3, padding=1) for c in (inputs, outputs))
            return nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), *end)

        ends = [()] * 3 + [(nn.Dropout(o.dropout),)] * 2
        self.contract = nn.ModuleList(block(a, b, *e) for a, b, e in zip([3, *channels], channels, ends))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, stride=2) for c in reversed(channels[:-1]))
        self.expand = nn.ModuleList(block(2 * c, c) for c in reversed(channels[:-1]))
        self.score = nn.Conv2d(o.width, o.classes, 1)

    def forward(self, x):
        maps = []
        for block in self.contract:
            x = block(functional.max_pool2d(x, 2) if maps else x)
            maps.append(x)
        maps.pop()
        for up, block in zip(self.up, self.expand):
            x = block(torch.cat([up(x), maps.pop()], dim=1))
        return self.score(x)


def conv_norm(inputs, o):
    conv = nn.Conv2d(inputs, o.channels, o.kernel, padding=o.kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(o.channels))


class FullResolution(Classifier):
    def __init__(self, o):
        super().__init__()
        layers = []
        for inputs in [3] + (o.layers - 1) * [o.channels]:
            layers += [*conv_norm(inputs, o), nn.ReLU(inplace=True)]
        self.features, self.score = nn.Sequential(*layers), nn.Conv2d(o.channels, o.classes, 1)

    def forward(self, x):
        return self.score(self.features(x))


class SegNetBasic(Classifier):
    def __init__(self, o):
        super().__init__()
        half = o.layers // 2
        self.encoders = nn.ModuleList(conv_norm(inputs, o) for inputs in [3] + (half - 1) * [o.channels])
        self.filters = nn.ModuleList(conv_norm(o.channels, o) for _ in range(half))
        self.norm, self.pool = nn.LocalResponseNorm(5, 1e-4, 0.75), nn.MaxPool2d(2, ceil_mode=True, return_indices=True)
        self.classifier = nn.Conv2d(o.channels, o.classes, 1)

    def forward(self, x):
        x, pooled = self.norm(x), []
        for encoder in self.encoders:
            x = functional.relu(encoder(x), inplace=True)
            size = x.shape[2:]
            x, indices = self.pool(x)
            pooled.append((indices, size))
        for filters in self.filters:
            indices, size = pooled.pop()
            x = filters(functional.max_unpool2d(x, indices, 2, output_size=size))
        return self.classifier(x)


class LanguageModel(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.embedding = nn.Embedding(o.characters, o.embedding)
        self.rnn = nn.LSTM(o.embedding, o.hidden, o.layers)
        self.head = nn.Linear(o.hidden, o.characters)

    def loss(self, batch, rng):
        x, targets, _ = batch
        logits = self.head(self.rnn(self.embedding(x))[0])
        return {"nats": functional.cross_entropy(logits.flatten(0, 1), targets.flatten())}
