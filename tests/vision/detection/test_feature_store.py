"""The store of features: what is written is read, resumed, foretold, and refused."""

import errno
import shutil
from collections import namedtuple

import numpy as np
import pytest

from vision.detection.feature_store import FeatureStore

COUNTS, LAYERS, RNG = (3, 0, 5), {"fc7": 4, "pool5": 6}, np.random.default_rng(0)


def store(folder, of="a", counts=COUNTS, layers=LAYERS):
    return FeatureStore(folder, {"weights": of}, counts, layers, 2)


def image(k):
    return RNG.standard_normal((k, 13)).astype(np.float32), {n: RNG.standard_normal((k, w)) for n, w in LAYERS.items()}


def test_what_is_written_is_read_by_a_later_process(tmp_path):
    first = store(tmp_path)
    regions, features = image(5)
    first.write(2, regions, features)
    assert str(first) == f"8 regions of 3 images, fc7 4 + pool5 6: 0.00 GB in {tmp_path}"
    del first  # a kill: nothing was flushed
    again = store(tmp_path)
    assert not again.new and [again.is_done(i) for i in range(3)] == [False, False, True]
    assert again.of_image(2) == slice(3, 8) and again.rows == 8
    np.testing.assert_array_equal(again.regions[3:8], regions)
    np.testing.assert_allclose(again.read("pool5", [7, 4]), features["pool5"][[4, 1]], rtol=1e-3)
    assert again.read("fc7", slice(3, 8)).dtype == np.float32


def test_size_is_foretold(tmp_path):
    kept = store(tmp_path)
    held = sum((tmp_path / f"{name}.npy").stat().st_size for name in ("regions", "fc7", "pool5"))
    assert kept.bytes == 8 * (13 * 4 + 10 * 2) == held - 3 * 128  # the headers of the files


def test_a_full_disk_is_foretold(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(100))
    with pytest.raises(OSError, match=r"features need 0.00 GB, the disk has 0.00 GB left: free some space") as raised:
        store(tmp_path / "new")
    assert raised.value.errno == errno.ENOSPC and not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"of": "b"}, "model"), ({"counts": (3, 1, 4)}, "set of regions"), ({"layers": {"fc7": 4}}, "choice of layers")],
)
def test_another_store_is_refused(tmp_path, changed, message):
    store(tmp_path)
    with pytest.raises(ValueError, match=f"{tmp_path}: of another {message}; remove the folder"):
        store(tmp_path, **changed)


@pytest.mark.parametrize("damage", ["store.json", "fc7.npy"])
def test_damage_is_named(tmp_path, damage):
    store(tmp_path)
    (tmp_path / damage).write_bytes(b"{")
    with pytest.raises(ValueError, match=f"{tmp_path}: damaged"):
        store(tmp_path)


def test_beyond_float16(tmp_path):
    kept, (regions, features) = store(tmp_path), image(3)
    features["fc7"][1, 2] = 1e5
    with pytest.raises(ValueError, match=r"fc7 reaches 1e\+05, which float16 cannot hold"):
        kept.write(0, regions, features)
    assert not kept.is_done(0)
