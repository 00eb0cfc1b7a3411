"""The regions of each image, for the kernels of RoIPool and RoIAlign."""

import numpy as np

from nn.dispatch import array_module


def regions_by_image(image_index, images):
    """order (K,), the regions image by image, and starts (images + 1,): those of image n are order[starts[n] ..].

    So a kernel for each pixel reads the regions of its own image alone. They stay in their order: the same sums. Those
    of an image_index outside 0 .. images - 1 are in no image's part.
    """
    xp = array_module(image_index)
    order = xp.argsort(image_index, kind="stable")
    starts = xp.searchsorted(image_index[order], xp.arange(images + 1, dtype=np.int64))
    return order.astype(np.int64), starts.astype(np.int32)
