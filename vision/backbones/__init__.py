"""Convolutional networks without their classifiers, that other models stand on."""

from vision.backbones.vgg import VGG, small_vgg, vgg16

__all__ = ["VGG", "small_vgg", "vgg16"]
