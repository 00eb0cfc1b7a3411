"""HOG: a naive loop over pixels, scikit-image's where definitions agree, published weights, faces."""

import os
from pathlib import Path

import numpy as np
import pytest

from vision.detection.hog import HOG, gradient
from vision.detection.linear_svm import fit_svm

PLAIN = {"interpolate": False, "sigma": None}
WEIGHTS = Path(os.environ.get("CV_DATA", Path(__file__).parents[4] / "shared" / "data")) / "weights" / "hog_pedestrian"


def picture(h, w, seed=0):
    return np.random.default_rng(seed).random((h, w, 3))


@pytest.mark.parametrize("bins, block, root", [(9, 2, True), (6, 3, False), (9, 1, True)])
def test_as_scikit_image(bins, block, root):
    feature = pytest.importorskip("skimage.feature")
    x = picture(50, 43)
    ours = HOG(bins=bins, block=block, root=root, **PLAIN)(x)
    theirs = feature.hog(
        x, bins, (8, 8), (block, block), block_norm="L2-Hys", transform_sqrt=root, feature_vector=False, channel_axis=-1
    )
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_3780_elements_for_64_x_128():
    assert HOG()(picture(128, 64)).size == 3780 and HOG().blocks(128, 64) == (15, 7)
    assert HOG(signed=True, bins=18)(picture(128, 64)).shape == (15, 7, 2, 2, 18)
    assert HOG()(picture(15, 64)).shape == (0, 7, 2, 2, 9)  # no block fits


def naive(x, hog):
    """Pixel by pixel: gradient, two bins, the cells of every block that holds the pixel."""
    h, w, _ = x.shape
    rows, columns = hog.blocks(h, w)
    blocks, x = np.zeros((rows, columns, hog.block, hog.block, hog.bins)), np.sqrt(x)
    side, around = hog.block * hog.cell, 2 * np.pi if hog.signed else np.pi
    for r in range(h):
        for c in range(w):
            d = [
                (x[r, c + 1, k] - x[r, c - 1, k] if 0 < c < w - 1 else 0.0,
                 x[r + 1, c, k] - x[r - 1, c, k] if 0 < r < h - 1 else 0.0)
                for k in range(3)
            ]  # fmt: skip
            dx, dy = max(d, key=lambda v: v[0] ** 2 + v[1] ** 2)
            position = (np.arctan2(dy, dx) % around) / around * hog.bins - 0.5
            for i in range(rows):
                for j in range(columns):
                    y, z = r - i * hog.cell + 0.5, c - j * hog.cell + 0.5
                    if not (0 < y < side and 0 < z < side):
                        continue
                    gauss = np.exp(-((y - side / 2) ** 2 + (z - side / 2) ** 2) / (2 * hog.sigma**2))
                    for a in range(hog.block):
                        for b in range(hog.block):
                            share = max(0, 1 - abs(y / hog.cell - a - 0.5)) * max(0, 1 - abs(z / hog.cell - b - 0.5))
                            for k in (int(np.floor(position)), int(np.floor(position)) + 1):
                                vote = (1 - abs(position - k)) * np.hypot(dx, dy) * gauss * share
                                blocks[i, j, a, b, k % hog.bins] += vote / hog.cell**2
    for i in range(rows):
        for j in range(columns):
            v = blocks[i, j]
            v = np.minimum(v / np.sqrt((v**2).sum() + hog.epsilon**2), hog.clip)
            blocks[i, j] = v / np.sqrt((v**2).sum() + hog.epsilon**2)
    return blocks


@pytest.mark.parametrize("signed, bins", [(False, 9), (True, 5)])
def test_trilinear_votes_and_gaussian_weights_equal_the_loop(signed, bins):
    hog = HOG(cell=4, block=2, bins=bins, signed=signed, sigma=2.5)
    x = picture(13, 18, seed=1)
    np.testing.assert_allclose(hog(x), naive(x, hog), rtol=0, atol=1e-12)


def test_bins_of_known_directions():
    ramp = np.tile(np.linspace(0, 1, 32)[None, :, None] ** 2, (32, 1, 1))  # root: slope along x, angle 0
    for signed, bins, hit in ((False, 9, {0, 8}), (True, 8, {0, 7})):
        for x, more in ((ramp, 0), (ramp[:, ::-1], bins // 2 if signed else 0)):
            v = HOG(signed=signed, bins=bins)(x)[1, 1].sum(axis=(0, 1))
            assert set(np.flatnonzero(v > 1e-6)) == {(k + more) % bins for k in hit}
    magnitude, angle = gradient(np.tile(np.arange(5.0)[:, None], (1, 5)))
    assert magnitude[2].tolist() == [2] * 5 and angle[2] == pytest.approx(np.pi / 2)


def test_single_precision():
    x = picture(40, 40)
    single = HOG()(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, HOG()(x), rtol=0, atol=2e-5)


@pytest.mark.parametrize("options", [{"cell": 0}, {"bins": 0}, {"clip": 0.0}, {"sigma": -1.0}, {"epsilon": 0.0}])
def test_bad_options(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"HOG: {name} must be (at least 1|above 0), got {value}"):
        HOG(**options)


def test_faces_by_five_fold_cross_validation():
    """scikit-image's lfw_subset: 100 faces and 100 other windows of 25 x 25; own HOG, own SVM."""
    data = pytest.importorskip("skimage.data")
    x = data.lfw_subset().astype(np.float64)
    x = (x - x.min()) / (x.max() - x.min())
    y = np.where(np.arange(200) < 100, 1, -1)
    hog = HOG(cell=5, sigma=None)
    features = np.stack([hog(each).ravel() for each in x])
    fold, right = np.random.default_rng(0).permutation(200) % 5, 0
    for k in range(5):
        svm = fit_svm(features[fold != k], y[fold != k], 1.0, rng=np.random.default_rng(k))
        right += ((features[fold == k] @ svm.weight + svm.bias > 0) == (y[fold == k] > 0)).sum()
    assert right / 200 >= 0.97
