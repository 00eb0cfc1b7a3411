"""The file that keeps the headers of many pictures: "many" are two here. So its rows, which row_index.py keeps."""

import os

import numpy as np
import pytest
from PIL import Image

from datasets import ClassFolders, header_index, row_index
from datasets.header_index import NAME, HeaderIndex
from datasets.headers import Header, read_header
from datasets.pictures import leaving_out
from nn.io.checkpoint import write_checkpoint


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Five pictures of 20x(10 + k), read with an index; `read`: those whose headers were read since."""
    monkeypatch.setattr(header_index, "LEAST", 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read = []
    monkeypatch.setattr(
        header_index, "read_header", lambda path: (read.append(os.path.basename(path)), read_header(path))[1]
    )
    folder = tmp_path / "caf\u00e9"
    folder.mkdir()
    paths = [folder / f"{k} {'o' * k}.png" for k in range(5)]
    for k, path in enumerate(paths):
        Image.new("RGB", (20, 10 + k)).save(path)
    return folder, paths, read


def sizes(headers):
    return [header and header.height for header in headers]


def test_unchanged_pictures_are_not_read_again(pictures):
    folder, paths, read = pictures
    first = HeaderIndex(folder).read(paths)
    assert first == [Header(10 + k, 20, False, False) for k in range(5)] and sorted(read) == [p.name for p in paths]
    read.clear()
    index = HeaderIndex(folder)
    assert index.read(paths) == first and index.read(paths[::-2]) == first[::-2] and read == [] and index.notes == []


def test_changed_and_new_pictures_are_read(pictures):
    folder, paths, read = pictures
    HeaderIndex(folder).read(paths[:4])
    before = paths[1].stat()
    Image.new("RGB", (20, 31)).save(paths[1])
    os.utime(paths[2], ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))  # the same bytes, written anew
    paths[3].unlink()
    read.clear()
    kept = [paths[i] for i in (0, 1, 2, 4)]
    assert sizes(HeaderIndex(folder).read(kept)) == [10, 31, 12, 14] and len(read) == 3
    read.clear()
    assert sizes(HeaderIndex(folder).read(kept)) == [10, 31, 12, 14] and read == []
    names = np.load(folder / NAME)["names"].tobytes().decode().split("\0")
    assert names == [path.name for path in kept]  # the picture that is gone is forgotten


def test_a_part_of_the_pictures_keeps_the_others(pictures):
    folder, paths, read = pictures
    HeaderIndex(folder).read(paths[:2])
    HeaderIndex(folder).read(paths[2:])
    read.clear()
    assert sizes(HeaderIndex(folder).read(paths)) == [10, 11, 12, 13, 14] and read == []


@pytest.mark.parametrize("damage", ["cut", "bits", "text", "other", "names"])
def test_a_damaged_index_is_named_and_written_anew(pictures, damage):
    folder, paths, read = pictures
    HeaderIndex(folder).read(paths)
    content = bytearray((folder / NAME).read_bytes())
    content[len(content) // 2] ^= 1
    broken = {"cut": content[:-40], "bits": content, "text": b"no index"}.get(damage)
    if damage == "names":  # not under the archive's checksums
        broken = content.replace(b"names.npy", b"nbmes.npy")
        broken[len(content) // 2] ^= 1
    if broken is None:
        write_checkpoint(folder / NAME, {"names": np.zeros(0, np.uint8)}, {"kind": "headers of pictures, version 0"})
    else:
        (folder / NAME).write_bytes(broken)
    read.clear()
    index = HeaderIndex(folder)
    assert sizes(index.read(paths)) == [10, 11, 12, 13, 14] and len(read) == 5
    assert len(index.notes) == 1 and str(folder / NAME) in index.notes[0] and "is written anew" in index.notes[0]
    again = HeaderIndex(folder)
    assert sizes(again.read(paths)) == [10, 11, 12, 13, 14] and again.notes == [] and len(read) == 5


def test_a_folder_that_cannot_be_written_to(pictures, tmp_path):
    folder, paths, read = pictures
    (folder / NAME).mkdir()  # root may write everywhere, but not replace a folder by a file
    HeaderIndex(folder).read(paths)
    assert len(list((tmp_path / "cache/handwritten-vision").iterdir())) == 1
    read.clear()
    assert sizes(HeaderIndex(folder).read(paths)) == [10, 11, 12, 13, 14] and read == []


def test_nowhere_to_keep_them_is_said(pictures, tmp_path):
    folder, paths, _ = pictures
    (folder / NAME).mkdir()
    (tmp_path / "cache").write_text("no folder")
    index = HeaderIndex(folder)
    assert sizes(index.read(paths)) == [10, 11, 12, 13, 14]
    assert "headers of pictures, version 1 cannot be kept for the next time" in index.notes[0]


def test_what_was_read_before_a_damaged_picture_is_kept(pictures, monkeypatch):
    folder, paths, read = pictures
    monkeypatch.setattr(row_index, "CHUNK", 1)
    paths[4].write_bytes(paths[4].read_bytes()[:40])
    with pytest.raises(ValueError, match="4 oooo.png"):
        HeaderIndex(folder).read(paths)
    read.clear()
    with leaving_out([]):
        for _ in range(2):  # a damaged one is looked at each time
            assert sizes(HeaderIndex(folder).read(paths)) == [10, 11, 12, 13, None]
    assert read == [paths[4].name] * 2


def test_few_pictures_leave_nothing_behind(pictures, monkeypatch):
    folder, paths, _ = pictures
    monkeypatch.setattr(header_index, "LEAST", 6)
    assert sizes(HeaderIndex(folder).read(paths)) == [10, 11, 12, 13, 14] and not (folder / NAME).exists()


def test_both_splits_of_class_folders_share_an_index(pictures):
    folder, paths, read = pictures
    for name in ("ant", "bee"):
        (folder / name).mkdir()
        for path in paths:
            (folder / name / path.name).write_bytes(path.read_bytes())
    for path in paths:
        path.unlink()
    first = [ClassFolders(folder, split) for split in ("train", "val")]
    assert len(read) == 10 and [len(data) for data in first] == [8, 2]
    again = [ClassFolders(folder, split) for split in ("train", "val")]
    assert len(read) == 10
    assert [list(data.listing()) for data in again] == [list(data.listing()) for data in first]
    assert [data.problems for data in again] == [data.problems for data in first]
