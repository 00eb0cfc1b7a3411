"""Images of one range of grey: microscopes differ in their light, and some stain what others let shine."""

import numpy as np

MIDDLE = 127.5  # of 0 .. 255


def stretch(image: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Image uint8 of any shape: its values at the two percentiles become 0 and 255, those between them in proportion.

    The percentiles are those of all values of the image, its channels together, so that its colours stay. An image
    whose two values are equal stays as it is.
    """
    low, high = np.percentile(image, percentiles)
    if low == high:
        return image
    return np.clip((image - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def darkened(image: np.ndarray) -> np.ndarray:
    """Image uint8, inverted where the median of its values is above the middle: a bright background becomes dark."""
    return 255 - image if np.median(image) > MIDDLE else image
