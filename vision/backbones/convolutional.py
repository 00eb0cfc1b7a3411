"""A classifier's fully connected layers as convolutions, and fewer of their weights.

Reference: Long et al. 2015, arXiv:1411.4038, sec. 3.1 and fig. 2; Chen et al. 2015, arXiv:1412.7062, sec. 3.1.
"""

from collections.abc import Mapping, Sequence

import numpy as np


def convolutional(arrays: Mapping[str, np.ndarray], kernel: int = 7) -> dict[str, np.ndarray]:
    """The weights of a classifier, fully connected ones turned into convolutions; all others as they are.

    (O, C kernel^2) of classifier.0 becomes (O, C, kernel, kernel), (O, I) of the other layers (O, I, 1, 1). The
    elements keep their order, since a fully connected layer sees its cells channel by channel (fig. 2). A weight whose
    inputs kernel^2 does not divide belongs to another network and stays as it is.
    """

    def turned(name, array):
        k = kernel if name == "classifier.0.weight" else 1
        if not name.startswith("classifier.") or array.ndim != 2 or array.shape[1] % k**2:
            return array
        return array.reshape(len(array), array.shape[1] // k**2, k, k)

    return {name: turned(name, array) for name, array in arrays.items()}


def decimated(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The elements of a larger array at even distances along each axis: those of index 0, step, 2 step, ...

    step is the largest that gives so many. 4096 outputs of 512 x 7 x 7 become 1024 of 512 x 3 x 3: every fourth output,
    rows and columns 0, 3, 6; DeepLab's fc6 sees as many pixels with a dilation. An array that has fewer elements along
    an axis belongs to another network and comes back as it is.

    Reference: Chen et al. 2015, sec. 3.1 (subsampling of fc6); Liu et al. 2016, SSD, arXiv:1512.02325, sec. 3
    ("subsample parameters from fc6 and fc7").
    """
    if array.ndim != len(shape) or any(n < wanted for n, wanted in zip(array.shape, shape)):
        return array
    for axis, wanted in enumerate(shape):
        n = array.shape[axis]
        step = (n - 1) // (wanted - 1) if wanted > 1 else n
        array = array.take(np.arange(wanted) * step, axis=axis)
    return array
