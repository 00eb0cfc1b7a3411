"""Gallery search against sorting, over several blocks."""

import numpy as np
import pytest

from nn.losses.mining import squared_distances
from vision.embedding import gallery as module
from vision.embedding.gallery import search

RNG = np.random.default_rng(82)


def nearer(x, y):
    return -squared_distances(x, y)


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("block", [1, 7, 100])
def test_equals_sorting(k, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    queries, gallery = RNG.normal(size=(6, 4)), RNG.normal(size=(30, 4))
    found = search(nearer, queries, gallery, k)
    similarity = nearer(queries, gallery)
    wanted = np.argsort(-similarity, axis=1)[:, :k]
    np.testing.assert_array_equal(found.indices, wanted)
    np.testing.assert_allclose(found.similarity, np.take_along_axis(similarity, wanted, 1), rtol=1e-12)


def test_bad_input():
    x = np.zeros((3, 4))
    with pytest.raises(ValueError, match="search: needs k >= 1 and a gallery that is not empty, got k=0 and 3 vectors"):
        search(nearer, x, x, 0)
    with pytest.raises(ValueError, match="got k=1 and 0 vectors"):
        search(nearer, x, x[:0], 1)
    with pytest.raises(ValueError, match=r"search: queries must have shape \(Q, 4\), got \(3, 2\)"):
        search(nearer, x[:, :2], x, 1)
