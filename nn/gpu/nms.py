"""Non-maximum suppression on a GPU, by the kernels of nn/gpu/nms.cu: only the number of boxes kept leaves it."""

import numpy as np

from nn.dispatch import array_module
from nn.gpu.kernels import launch, use_kernels

WORDS_TOGETHER = 1 << 24  # words of 64 bits, one for each box and 64 others, that exist at once: 128 megabytes
THREADS = 256  # of the one block that goes through the boxes


def takes(boxes) -> bool:
    """Boxes of float32 or float64 on a GPU."""
    return use_kernels(boxes)


def keep_best(boxes, scores, iou_threshold, classes=None, valid=None, pre_nms=None, max_keep=None):
    """vision.boxes.nms.keep_best, for boxes (N, 4) on a GPU.

    A matrix of bits says which box would suppress which; the greedy rule then runs over it in one block of threads.
    """
    xp = array_module(boxes)
    order = xp.argsort(-scores, kind="stable")
    if valid is not None:  # those that count first
        order = order[xp.argsort(~valid[order], kind="stable")]
    order = order[:pre_nms]
    n, words = len(order), -(-len(order) // 64)
    candidates = xp.full(1, n, np.int64) if valid is None else xp.minimum(valid.sum(dtype=np.int64), n).reshape(1)
    limit = n if max_keep is None else min(n, max_keep)
    if limit == 0:
        return order[:0]
    boxes, classes = boxes[order], None if classes is None else classes[order].astype(np.int64, copy=False)
    kept, found, removed = xp.empty(limit, np.int64), xp.zeros(1, np.int32), xp.zeros(words, np.uint64)
    together = max(64, WORDS_TOGETHER // words // 64 * 64)
    for first in range(0, n, together):
        rows = min(together, n - first)
        suppresses, count = xp.empty((rows, words), np.uint64), rows * words
        arrays, threshold = (suppresses, boxes, classes, candidates), float(iou_threshold)
        launch("nms", "nms_suppresses", count, boxes.dtype, *arrays, count, first, words, threshold)
        arrays, sizes = (kept, found, removed, suppresses, candidates), (first, rows, words, limit)
        launch("nms", "nms_keep", THREADS, boxes.dtype, *arrays, *sizes, block=THREADS)
    return order[kept[: number_kept(found)]]


def number_kept(found) -> int:
    """The one value that leaves the GPU: how many boxes are kept."""
    return int(found[0])
