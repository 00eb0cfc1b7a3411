"""Convolutional networks without their classifiers, that other models stand on."""

from vision.backbones.resnet import ResNet
from vision.backbones.vgg import VGG, small_vgg, vgg16

__all__ = ["VGG", "ResNet", "small_vgg", "vgg16"]
