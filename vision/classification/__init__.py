"""Image classification: one label for a whole image."""

from vision.classification.classifier import Classifier
from vision.classification.resnet_cifar import BasicBlock, PaddedShortcut, ResNetCifar
from vision.classification.squeezenet import Fire, SqueezeNet

__all__ = ["BasicBlock", "Classifier", "Fire", "PaddedShortcut", "ResNetCifar", "SqueezeNet"]
