"""Segmentation: one label for every pixel."""

from vision.segmentation import task
from vision.segmentation.class_weights import median_frequency
from vision.segmentation.deconvnet import DeconvNet
from vision.segmentation.deeplab import DeepLab
from vision.segmentation.deeplab_v3 import DeepLabV3
from vision.segmentation.dense_crf import dense_crf
from vision.segmentation.fcn import FCN
from vision.segmentation.fcn_resnet import FCNResNet
from vision.segmentation.fcn_squeezenet import FCNSqueezeNet
from vision.segmentation.full_resolution import FullResolution
from vision.segmentation.hypercolumns import Hypercolumns
from vision.segmentation.multiscale import MultiScaleNet
from vision.segmentation.overlap_tile import OverlapTile
from vision.segmentation.patch_classifier import PatchClassifier, PatchNetwork
from vision.segmentation.pixel_classifier import PixelClassifier, PixelNetwork, PixelOptions
from vision.segmentation.recurrent_refinement import RecurrentRefinement
from vision.segmentation.refinement import RefinedClassifier, RefinedOptions
from vision.segmentation.segnet import SegNet
from vision.segmentation.segnet_variants import DECODERS, SegNetBasic
from vision.segmentation.unet import UNet
from vision.segmentation.unpooling import BilinearDeconv2d, Unpool2d
from vision.segmentation.weight_map import weight_map
from vision.segmentation.weighted_cross_entropy import weighted_cross_entropy

__all__ = [
    "DECODERS",
    "FCN",
    "BilinearDeconv2d",
    "DeconvNet",
    "DeepLab",
    "DeepLabV3",
    "FCNResNet",
    "FCNSqueezeNet",
    "FullResolution",
    "Hypercolumns",
    "MultiScaleNet",
    "OverlapTile",
    "PatchClassifier",
    "PatchNetwork",
    "PixelClassifier",
    "PixelNetwork",
    "PixelOptions",
    "RecurrentRefinement",
    "RefinedClassifier",
    "RefinedOptions",
    "SegNet",
    "SegNetBasic",
    "UNet",
    "Unpool2d",
    "dense_crf",
    "median_frequency",
    "task",
    "weight_map",
    "weighted_cross_entropy",
]
