"""Data sets, transforms and the loader.

A data set has len() and [index], which gives a sample: a dict with, as the task has them,

    image         (H, W, 3) uint8 RGB
    id            str
    boxes         (K, 4) float32, (x1, y1, x2, y2) in pixels, 0-based, half-open: x2 - x1 is the width
    labels        (K,) int64, 1 for the first class; 0 is the background
    kinds         (K,) str: the names of the labels; colours (K,) str
    difficult     (K,) bool: not counted in evaluation
    crowd         (K,) bool: a region of many objects, ignored in COCO's evaluation
    area          (K,) float64, pixels of the object, by which COCO's evaluation tells small from large
    masks         (K, H, W) bool
    keypoints     (K, J, 3) float32, x, y, v in pixels; v is 0 for absent, 1 for hidden, 2 for visible
    segmentation  (H, W) int64; -1 is not counted
    instances     (H, W) int64, the same value in all pixels of an object; 0 is the background, -1 unknown
    caption       list of str
    label         int, of the whole image: an index into the data set's classes (of Shapes 1 for the first, like labels)

A transform is a function (sample, rng) -> sample; `Loader` makes batches. A damaged file is a ValueError with its path.
What looks wrong in a data set, but can be read, is counted in its `problems`, lines to be printed before training; its
`counts` say how often each class occurs.

Text files are read in text.py, folders and near matches of missing files in files.py, pictures in pictures.py, lines of
lists in lists.py: all readers share their rules.
"""

from .affine import affine_distortion
from .augmentation import colour_components, colour_pca, exposure_jitter, random_resized_crop, random_shift
from .camvid import CAMVID_CLASSES, CamVid
from .captions import CaptionedImages, COCOCaptions, Flickr8kCaptions, ListedCaptions
from .cifar import CIFAR10Lossless
from .class_folders import ClassFolders
from .coco import COCODetection, open_coco
from .coco_file import read_coco
from .elastic import elastic_deformation
from .few import FewOfEach
from .headers import image_size
from .label_maps import LabelMap, read_label_map
from .labelled_images import LabelledImages, LabelledObjects
from .loader import Loader, detection_batch
from .mnist import MNIST
from .mnist_cluttered import TranslatedMNIST
from .mnist_distorted import DistortedMNIST
from .mnist_forms import ShiftedDigits, TurnedDigit
from .neighbours import across_changes, mutual, pixel_neighbours
from .omniglot import Omniglot, OmniglotRuns, OneShotTrials
from .pairs import Dates, Reversal
from .palette import read_label_picture, voc_palette, write_label_picture
from .pet_breeds import PetBreeds
from .pet_heads import PetHeads
from .pictures import read_image
from .pose_crops import PoseCrops
from .rle import decode as decode_rle
from .rle import encode as encode_rle
from .rle import polygon_mask
from .samplers import ClassBatches, Drawn, LabelPairs, LabelTriplets, NeighbourPairs, Sampler
from .segmentation_folders import LabelledFolders, Nuclei, Pets, VOCSegmentation
from .shapes import Shapes, mask_boxes
from .shapes_questions import ShapesQuestions
from .shards import BoxedShards, CaptionedShards, ClassShards, LabelledShards
from .text import read_text
from .texts import read_pairs, read_texts
from .transforms import (
    colour_jitter,
    compose,
    drop_difficult,
    horizontal_flip,
    random_crop,
    random_scale,
    resize,
    resize_to,
    vertical_flip,
)
from .voc import VOC_CLASSES, VOCDetection, find_classes, read_annotation
from .yolo import YOLODetection

__all__ = [
    "CAMVID_CLASSES",
    "MNIST",
    "VOC_CLASSES",
    "BoxedShards",
    "CIFAR10Lossless",
    "COCOCaptions",
    "COCODetection",
    "CamVid",
    "CaptionedImages",
    "CaptionedShards",
    "ClassBatches",
    "ClassFolders",
    "ClassShards",
    "Dates",
    "DistortedMNIST",
    "Drawn",
    "FewOfEach",
    "Flickr8kCaptions",
    "LabelMap",
    "LabelPairs",
    "LabelTriplets",
    "LabelledFolders",
    "LabelledImages",
    "LabelledObjects",
    "LabelledShards",
    "ListedCaptions",
    "Loader",
    "NeighbourPairs",
    "Nuclei",
    "Omniglot",
    "OmniglotRuns",
    "OneShotTrials",
    "PetBreeds",
    "PetHeads",
    "Pets",
    "PoseCrops",
    "Reversal",
    "Sampler",
    "Shapes",
    "ShapesQuestions",
    "ShiftedDigits",
    "TranslatedMNIST",
    "TurnedDigit",
    "VOCDetection",
    "VOCSegmentation",
    "YOLODetection",
    "across_changes",
    "affine_distortion",
    "colour_components",
    "colour_jitter",
    "colour_pca",
    "compose",
    "decode_rle",
    "detection_batch",
    "drop_difficult",
    "elastic_deformation",
    "encode_rle",
    "exposure_jitter",
    "find_classes",
    "horizontal_flip",
    "image_size",
    "mask_boxes",
    "mutual",
    "open_coco",
    "pixel_neighbours",
    "polygon_mask",
    "random_crop",
    "random_resized_crop",
    "random_scale",
    "random_shift",
    "read_annotation",
    "read_coco",
    "read_image",
    "read_label_map",
    "read_label_picture",
    "read_pairs",
    "read_text",
    "read_texts",
    "resize",
    "resize_to",
    "vertical_flip",
    "voc_palette",
    "write_label_picture",
]
