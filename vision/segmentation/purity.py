"""Purity: which classes a segment holds, predicted from the features inside it; and the cover of the purest segments.

    O_k = maxima of the features over a 3x3 grid of segment k, cut out by its mask            sec. 4.3.2
    d^_k = softmax(W2 tanh(W1 O_k + b1) + b2),  S_k = -sum over classes a of d^_ka log d^_ka
    loss = mean over segments of D_KL(d_k || d^_k),  d_k the shares of the classes in segment k

Segments are all nodes of the tree of segment_tree.py. What the network itself says of a segment is no such cost: a
superpixel in which it doubts would look less pure than all of an image that is mostly background.

Reference: Farabet et al. 2013, Learning hierarchical features for scene labeling, IEEE Transactions on Pattern Analysis
and Machine Intelligence 35 (8), doi:10.1109/TPAMI.2012.231, sec. 4.3.
"""

from typing import NamedTuple

import numpy as np

from nn import LogSoftmax
from nn.dispatch import array_module
from vision.segmentation.segment_tree import boundary_strengths, cover, merge_tree, superpixels

GRID = 3  # cells along each axis of a segment's box


class Tree(NamedTuple):
    """The segments of an image: labels (H, W) of the leaves 0 .. K - 1, and parents (2 K - 1,) of all nodes."""

    labels: np.ndarray
    parents: np.ndarray


def segments(image: np.ndarray, size: int) -> Tree:
    """The tree over superpixels of at least `size` pixels of an image (H, W, 3) uint8."""
    labels = superpixels(image, size)
    return Tree(labels, merge_tree(labels.max() + 1, *boundary_strengths(image, labels)))


def class_counts(tree: Tree, truth: np.ndarray, classes: int) -> np.ndarray:
    """(nodes, C): the pixels of each class in each node.    truth (H, W) int, -1 does not count."""
    leaves, counted = (len(tree.parents) + 1) // 2, truth >= 0
    counts = np.zeros((len(tree.parents), classes))
    keys = tree.labels[counted] * classes + truth[counted]
    counts[:leaves] = np.bincount(keys, minlength=leaves * classes).reshape(leaves, classes)
    for node, parent in enumerate(tree.parents[:-1]):  # children come before their parents
        counts[parent] += counts[node]
    return counts


def grid_maxima(tree: Tree, features: np.ndarray, grid: int = GRID) -> np.ndarray:
    """O (nodes, F grid^2) of features (F, h, w) whose cells lie evenly over the image (H, W): elastic max pooling.

    A node has the cells in which a pixel of it lies. The box around them is divided into grid x grid parts; each has
    the maximum of each feature over the node's cells in it, 0 where there are none.
    """
    f, h, w = features.shape
    flat, pooled = features.reshape(f, h * w), np.zeros((len(tree.parents), grid * grid, f), features.dtype)
    for node, cells in enumerate(cells_of_nodes(tree, h, w)):
        row, column = (((v - v.min()) * grid) // (v.max() - v.min() + 1) for v in np.divmod(cells, w))
        order = np.argsort(row * grid + column, kind="stable")
        parts, first = np.unique((row * grid + column)[order], return_index=True)
        pooled[node, parts] = np.maximum.reduceat(flat[:, cells[order]], first, axis=1).T
    return pooled.transpose(0, 2, 1).reshape(len(pooled), f * grid * grid)


def cells_of_nodes(tree: Tree, h: int, w: int) -> list[np.ndarray]:
    """For each node the flat indices of the cells, of h x w over the image, in which it has a pixel."""
    leaves, (height, width) = (len(tree.parents) + 1) // 2, tree.labels.shape
    cell = (np.arange(height) * h // height)[:, None] * w + np.arange(width) * w // width
    keys = np.unique(tree.labels * (h * w) + cell)
    found = np.split(keys % (h * w), np.searchsorted(keys, np.arange(1, leaves) * (h * w)))
    found += [np.zeros(0, keys.dtype)] * (leaves - 1)
    for node, parent in enumerate(tree.parents[:-1]):  # children come before their parents
        found[parent] = np.union1d(found[parent], found[node])
    return found


def divergence(logits: np.ndarray, shares: np.ndarray) -> tuple[float, np.ndarray]:
    """D_KL(d || softmax(logits)) = sum over a of d_a (log d_a - log d^_a), the mean over segments, and its gradient.

    logits (K, C), shares d (K, C), each row adding up to 1. Of no segments 0.
    """
    xp, n = array_module(logits), max(len(logits), 1)
    log_p, cache = LogSoftmax(axis=1).forward(logits)
    value = (shares * (xp.log(xp.maximum(shares, 1e-12)) - log_p)).sum() / n
    return value.item(), LogSoftmax(axis=1).backward((-shares / n).astype(log_p.dtype), cache)


def optimal_cover(tree: Tree, shares: np.ndarray) -> np.ndarray:
    """(C, H, W): at each pixel the shares of the classes, predicted (nodes, C), of its segment of the optimal cover."""
    return shares[cover(tree.parents, shares)].T[:, tree.labels]
