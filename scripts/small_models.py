"""A small version of every registered model, for checks of its gradients and for runs on other devices."""

from typing import Any, NamedTuple


class Small(NamedTuple):
    """What makes the check of a model small: its options, how many scenes of what size."""

    options: dict[str, Any] = {}  # noqa: RUF012  (never written to)
    scenes: int = 2
    size: tuple[int, int] = (32, 48)


# Few units and pixels do more than save time: fewer ReLUs and maxima switch within a finite difference.
PHOTOS = {  # their CNN is frozen, and too large for this
    "encoder": "small_cnn", "width": 1, "fine_tune": True, "short_side": 32, "max_side": 32, "embedding_size": 3,
    "hidden_size": 4,
}  # fmt: skip
SMALL = {
    "faster_rcnn_small": Small({
        "width": 2, "stride": 8, "hidden": 12, "anchor_scales": (16, 32), "anchor_samples": 32, "roi_samples": 16,
        "min_size": 2,
    }),
    "faster_rcnn_vgg16": Small({
        "frozen_layers": 28, "hidden": 8, "rpn_channels": 8, "anchor_scales": (32,), "anchor_samples": 16,
        "roi_samples": 8, "min_size": 4,
    }, scenes=1, size=(32, 32)),
    "resnet20_cifar": Small({"n": 1, "width": 2}),
    "squeezenet1_0": Small({"width": 1}),
    "vgg16": Small({"width": 4, "hidden": 6}),
    "ram_mnist": Small({"hidden": 6, "glimpses": 3, "core": "lstm"}),
    "ram_translated": Small({"hidden": 6, "glimpses": 3, "glimpse_size": 4}),
    "mnist_fc": Small({"hidden": 6, "short_side": 32, "max_side": 32}, size=(32, 32)),
    "mnist_conv": Small({"hidden": 6, "short_side": 32, "max_side": 32}, size=(32, 32)),
    "char_rnn": Small({"hidden": 3, "layers": 3, "embedding": 2, "dropout": 0.3}),
    "char_lstm": Small({"hidden": 3, "dropout": 0.3}),
    "show_and_tell": Small({"width": 1, "embedding_size": 3, "hidden_size": 4, "levels": (2, 1), "vector_size": 5}),
    "neuraltalk": Small({"width": 1, "embedding_size": 3, "hidden_size": 4, "levels": (2, 1), "vector_size": 5}),
    "show_attend_tell_soft": Small({"width": 1, "embedding_size": 3, "hidden_size": 4, "attention_size": 5}),
    "show_attend_tell_hard": Small({"width": 1, "embedding_size": 3, "hidden_size": 4, "attention_size": 5}),
    "show_and_tell_photos": Small(PHOTOS | {"vector_size": 5}),
    "show_attend_tell_photos": Small(PHOTOS | {"attention_size": 5}),
    "stacked_attention_vqa": Small({"width": 1, "embedding_size": 3, "hidden_size": 5, "attention_size": 4}),
    "patch_classifier_small": Small({"width": 2, "kernels": [2, 2], "last": 1, "hidden": 3, "patches": 5}),
    "full_resolution_small": Small({"width": 2, "depth": 2, "kernel_size": 3}, scenes=1, size=(32, 32)),
    "fcn32s": Small({"width": 1, "hidden": 3, "padding": "same", "score_std": 0.3}, scenes=1, size=(32, 32)),
    "fcn16s": Small({"width": 1, "hidden": 3, "padding": "same", "score_std": 0.3}, scenes=1, size=(32, 32)),
    "fcn8s": Small({"width": 1, "hidden": 3, "batch_norm": True, "score_std": 0.3}, scenes=1, size=(32, 32)),
    "fcn32s_small": Small({"width": 2, "hidden": 3, "score_std": 0.3}, scenes=1, size=(32, 32)),
    "fcn16s_small": Small({"width": 2, "hidden": 3, "score_std": 0.3}, scenes=1, size=(32, 32)),
    "fcn8s_small": Small({"width": 2, "hidden": 3, "score_std": 0.3}, scenes=1, size=(32, 32)),
    "fcn_resnet50": Small({"width": 1, "blocks": [1, 1, 1, 1]}, size=(32, 32)),
    "fcn_squeezenet": Small({"width": 2}, scenes=1, size=(32, 32)),
    "segnet": Small({"width": 2, "depth": 2, "class_weights": [0.5, 1, 2, 3]}, scenes=1, size=(32, 32)),
    "segnet_small": Small({"width": 2, "depth": 2, "unpool": "bed_of_nails"}, scenes=1, size=(32, 32)),
    "segnet_basic": Small({"width": 2, "kernel_size": 3, "class_weights": None}, scenes=1, size=(32, 32)),
    "segnet_basic_small": Small({"width": 2, "decoder": "fcn"}, scenes=1, size=(32, 32)),
    "deconvnet": Small({"width": 2, "hidden": 3, "bottleneck": 3, "depth": 2}, scenes=1, size=(32, 32)),
    "deconvnet_small": Small({"width": 2, "hidden": 3, "bottleneck": 2, "depth": 2}, scenes=1, size=(32, 32)),
    "deeplab_v1": Small({"width": 2, "hidden": 3}, size=(32, 32)),
    "deeplab_v2": Small({"width": 2, "hidden": 3, "rates": [1, 2], "subsampled": False}, size=(32, 32)),
    "deeplab_v1_small": Small({"width": 2, "hidden": 3}, size=(32, 32)),
    "deeplab_v2_small": Small({"width": 2, "hidden": 3, "rates": [1, 2], "subsampled": True}, size=(32, 32)),
    "deeplabv3_resnet50": Small({"width": 1, "blocks": [1, 1, 1, 1], "rates": [1]}, size=(32, 32)),
    "deeplabv3_resnet101": Small({
        "width": 1, "blocks": [1, 1, 1, 1], "rates": [1], "output_stride": 16
    }, size=(32, 32)),
    "deeplabv3_small": Small({"width": 1, "rates": [1, 2]}, scenes=3),
    "hypercolumns": Small({"width": 1, "hidden": 3}, scenes=1),
    "hypercolumns_small": Small({"width": 1, "hidden": 3, "taps": ["conv1", "pool2", "conv4"]}, scenes=1),
    "multiscale": Small({"width": 1, "hidden": 3, "kernel_size": 3}, scenes=1),
    "multiscale_small": Small({"width": 1, "hidden": 3, "scales": 2}, scenes=1),
    "recurrent_refinement": Small({"width": 2}, scenes=1, size=(32, 32)),
    "recurrent_refinement_small": Small({"width": 1, "kernel_size": 3}, scenes=1),
    "unet_small": Small({"width": 2, "depth": 1, "short_side": 32, "max_side": 48, "class_weights": [0.5, 1, 2, 3]}),
    "unet": Small({"width": 2, "depth": 1, "short_side": 32, "max_side": 48}, scenes=1, size=(32, 32)),
    "char_gru": Small({"hidden": 3, "embedding": 2}),
    "seq2seq": Small({"hidden": 3, "embedding": 2}),
    "seq2seq_attention": Small({"hidden": 3, "embedding": 2}),
}  # fmt: skip
