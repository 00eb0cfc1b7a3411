"""Segmentation: one label for every pixel."""

from vision.segmentation.pixel_classifier import PixelClassifier, weighted_cross_entropy
from vision.segmentation.unet import UNet, unet
from vision.segmentation.weight_map import weight_map

__all__ = ["PixelClassifier", "UNet", "unet", "weight_map", "weighted_cross_entropy"]
