"""Colour spaces of an RGB image: the complementary colour spaces of Selective Search.

Reference: Uijlings et al. 2013, Selective search for object recognition, IJCV 104, sec. 3.2, table 1.
"""

import numpy as np

RGB_TO_XYZ = np.array(  # sRGB primaries, white D65 (IEC 61966-2-1)
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
D65 = np.array([0.95047, 1.0, 1.08883])


def rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) in 0 .. 1 of (H, W, 3) uint8, as all functions here."""
    return image / 255.0


def intensity(image: np.ndarray) -> np.ndarray:
    """(H, W, 1): I, luma."""
    return rgb(image) @ np.array([[0.299], [0.587], [0.114]])


def normalised_rg_intensity(image: np.ndarray) -> np.ndarray:
    """(H, W, 3): r and g of the normalised r + g + b = 1, and I. r and g do not change with shadows and shading."""
    x = rgb(image)
    total = x.sum(axis=2, keepdims=True)
    shares = np.where(total > 0, x / np.where(total > 0, total, 1), 1 / 3)
    return np.concatenate([shares[..., :2], intensity(image)], axis=2)


def hsv(image: np.ndarray) -> np.ndarray:
    """(H, W, 3): hue, saturation and value in 0 .. 1. The hue of grey is 0.

    v = max, s = (max - min) / max, h = the angle in six sectors: (g - b) / (max - min) around red, 2 + (b - r) / ...
    around green, 4 + (r - g) / ... around blue, over 6.
    """
    x = rgb(image)
    r, g, b = np.moveaxis(x, 2, 0)
    v = x.max(axis=2)
    span = v - x.min(axis=2)
    safe = np.where(span > 0, span, 1)
    h = np.select([v == r, v == g], [(g - b) / safe, 2 + (b - r) / safe], 4 + (r - g) / safe) / 6 % 1
    return np.stack([np.where(span > 0, h, 0), span / np.where(v > 0, v, 1), v], axis=2)


def hue(image: np.ndarray) -> np.ndarray:
    """(H, W, 1): the hue alone."""
    return hsv(image)[..., :1]


def lab(image: np.ndarray) -> np.ndarray:
    """(H, W, 3): CIE L*, a*, b* for white D65, scaled to about 0 .. 1: L* / 100, (a* + 128) / 255, (b* + 128) / 255."""
    x = rgb(image)
    linear = np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)
    xyz = linear @ RGB_TO_XYZ.T / D65
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lightness = 116 * f[..., 1] - 16
    a, b = 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    return np.stack([lightness / 100, (a + 128) / 255, (b + 128) / 255], axis=2)


SPACES = {
    "rgb": rgb, "intensity": intensity, "lab": lab, "rgi": normalised_rg_intensity, "hsv": hsv, "hue": hue,
}  # fmt: skip
