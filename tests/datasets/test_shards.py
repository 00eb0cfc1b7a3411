"""Samples in tar files."""

import io
import pickle
import tarfile
from itertools import chain

import numpy as np
import pytest
from PIL import Image

from datasets import (
    BoxedShards,
    CaptionedShards,
    ClassFolders,
    ClassShards,
    LabelledShards,
    Loader,
    header_index,
    tar_members,
)
from datasets.pictures import leaving_out
from datasets.shards import through_buffer
from scripts.shards import main as write_shards


def png(value=0, size=(12, 10), mode="RGB"):
    content = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 40, 90)).save(content, "PNG")
    return content.getvalue()


def write_tar(path, *files):
    """files: (name, bytes), or a TarInfo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for each in files:
            if isinstance(each, tarfile.TarInfo):
                tar.addfile(each)
                continue
            info = tarfile.TarInfo(each[0])
            info.size = len(each[1])
            tar.addfile(info, io.BytesIO(each[1]))
    return path


def two_classes(root):
    """8 samples in 4 shards; the last shard is val."""
    (root / "pictures").mkdir(parents=True)
    (root / "classes.txt").write_text("cat\ndog\n")
    root = root / "pictures"
    for shard in range(4):
        files = [(f"{k}.png", png(60 * shard + k)) for k in range(2)]
        labels = [(f"{k}.cls", str((shard + k) % 2).encode()) for k in range(2)]
        write_tar(root / f"{shard:06}.tar", files[0], labels[0], files[1], labels[1])
    (root / "classes.txt").write_text("cat\ndog\n")
    return root


def test_samples_of_shards(tmp_path):
    root = two_classes(tmp_path)
    train, val, both = (ClassShards(root, split) for split in ("train", "val", "trainval"))
    assert [len(data) for data in (train, val, both)] == [6, 2, 8] and train.classes == ("cat", "dog")
    sample = both[5]
    assert sample["id"] == "000002/1" and sample["label"] == 1 and (sample["image"] == [121, 40, 90]).all()
    assert both.counts == {"cat": 4, "dog": 4} and both.labels == [0, 1, 1, 0, 0, 1, 1, 0] and both.problems == []
    picked = ClassShards(str(root), "trainval", ["dog"])
    assert len(picked) == 4 and picked.labels == [0] * 4
    assert str(next(iter(val.listing()))) == f"{root}/000003.tar: 0.png (000003/0)"
    assert pickle.loads(pickle.dumps(both))[5]["image"].tobytes() == sample["image"].tobytes()


def test_shards_are_gone_through_once(tmp_path, monkeypatch):
    root, scanned, scan = two_classes(tmp_path), [], tar_members._scanned
    monkeypatch.setattr(tar_members, "_scanned", lambda path: scanned.append(path.name) or scan(path))
    first = [ClassShards(root, split).items for split in ("train", "val")]
    assert len(scanned) == 4
    assert [ClassShards(root, split).items for split in ("train", "val")] == first and len(scanned) == 4
    write_tar(root / "000001.tar", ("0.png", png(7)), ("0.cls", b"dog"))
    assert ClassShards(root).counts == {"cat": 2, "dog": 3} and scanned[4:] == ["000001.tar"]
    (root / tar_members.NAME).write_bytes(b"nothing")
    data = ClassShards(root)
    assert len(scanned) == 8 and f"{root / tar_members.NAME}" in data.problems[0] and "anew" in data.problems[0]


def test_headers_of_members_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(header_index, "LEAST", 2)
    root, read, read_header = two_classes(tmp_path), [], header_index.read_header
    monkeypatch.setattr(header_index, "read_header", lambda path: read.append(path.name) or read_header(path))
    first = [ClassShards(root, split).headers for split in ("train", "val")]
    assert len(read) == 8
    assert [ClassShards(root, split).headers for split in ("train", "val")] == first and len(read) == 8
    (root / "000000.tar").touch()  # another time: its two pictures are read again
    assert ClassShards(root).headers == first[0] and len(read) == 10


def test_the_order_of_an_epoch_is_mixed_and_resumes(tmp_path):
    data = ClassShards(two_classes(tmp_path), "trainval")

    def epoch(number, start=0, **options):
        loader = Loader(data, 3, lambda samples: [s["id"] for s in samples], seed=1, **options)
        return list(loader.epoch(number, start))

    assert sorted(chain.from_iterable(epoch(0))) == [f"{s:06}/{k}" for s in range(4) for k in range(2)]
    assert epoch(0) == epoch(0, workers=2) != epoch(1) and epoch(0, start=1) == epoch(0)[1:]
    shared = [epoch(0, share=(rank, 2)) for rank in (0, 1)]
    for whole, one, other in zip(epoch(0), *shared):
        assert sorted(whole) == sorted(one[0] + (other[0] if other else []))


@pytest.mark.parametrize(("count", "size"), [(50, 8), (5, 8), (1, 1), (0, 4)])
def test_a_buffer_gives_all_and_none_far_too_early(count, size):
    order = through_buffer(np.arange(count), size, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(count))
    assert all(value < position + size for position, value in enumerate(order.tolist()))


def link():
    info = tarfile.TarInfo("0.png")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("0.png", png())], r"a.tar: the sample a/0 has no .cls, only .png"),
        ([("0.cls", b"1")], r"a.tar: the sample a/0 has no picture; it must have one"),
        ([("0.png", png()), ("0.jpg", png()), ("0.cls", b"1")], r"has 2 pictures \(0.png, 0.jpg\); it must have one"),
        ([("0.png", png()), ("0.cls", b"1"), ("0.png", png())], r"a.tar: 0.png comes twice; remove one"),
        ([("0.png", png()), ("0.cls", b"2")], r"a.tar: 0.cls: the label '2' is no class: cat, dog"),
        ([("0.png", png()[:50]), ("0.cls", b"1")], r"a.tar: 0.png: the image cannot be decoded"),
        ([("0.png", b""), ("0.cls", b"1")], r"a.tar: 0.png: the image file is empty"),
        ([("../0.png", png()), ("../0.cls", b"1")], r"a.tar: ../0.png leads out of the tar file"),
        ([("/0.png", png()), ("/0.cls", b"1")], r"a.tar: /0.png leads out of the tar file"),
        ([link(), ("0.cls", b"1")], r"a.tar: 0.png is a link or no plain file"),
        ([], r"shards: holds no sample of these classes"),
    ],
)
def test_bad_members(tmp_path, files, message):
    write_tar(tmp_path / "shards/train/a.tar", *files)
    (tmp_path / "shards/classes.txt").write_text("cat\ndog\n")
    with pytest.raises(ValueError, match=message):
        ClassShards(tmp_path / "shards")


@pytest.mark.parametrize("damage", ["header", "member", "end", "gz", "text", "empty"])
def test_damaged_shards(tmp_path, damage):
    path = write_tar(
        tmp_path / "train-0.tar", *[(f"{k}.{e}", c) for k in range(3) for e, c in (("png", png()), ("cls", b"1"))]
    )
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[2 * 1024 + 30] ^= 1  # of the third member: tarfile would end there in silence
    changed = {
        "header": content, "member": content[:1100], "end": content[: 6 * 1024], "gz": b"\x1f\x8b" + content,
        "text": b"<html>" * 200, "empty": b"",
    }[damage]  # fmt: skip
    path.write_bytes(changed)
    with pytest.raises(ValueError, match=r"train-0.tar: is (damaged|cut off)"):
        ClassShards(tmp_path)


def test_a_damaged_picture_is_left_out(tmp_path):
    good, bad = [("0.png", png()), ("0.cls", b"0")], [("1.png", png()[:50]), ("1.cls", b"1")]
    write_tar(tmp_path / "train-0.tar", *good, *bad)
    failed = []
    with leaving_out(failed):
        data = ClassShards(tmp_path)
    assert len(data) == 1 and len(failed) == 1 and "train-0.tar: 1.png: the image cannot be decoded" in failed[0]


def test_a_shard_that_is_cut_during_a_run(tmp_path):
    path = write_tar(tmp_path / "train-0.tar", ("0.cls", b"0"), ("1.cls", b"1"), ("0.png", png()), ("1.png", png()))
    data = ClassShards(tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"train-0.tar: 1.png: the tar file was longer when it was opened"):
        data[1]


def test_missing_folders_and_splits(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        ClassShards(tmp_path / "none")
    write_tar(tmp_path / "train-0.tar", ("0.png", png()), ("0.cls", b"0"))
    with pytest.raises(ValueError, match=r"holds no tar files of the split 'val'; call them val-000000.tar"):
        ClassShards(tmp_path, "val")


def test_labels_without_a_list_of_classes(tmp_path):
    numbers = [(f"{k}.{e}", c) for k in range(3) for e, c in (("png", png()), ("cls", str(2 * k).encode()))]
    write_tar(tmp_path / "a/train-0.tar", *numbers)
    assert ClassShards(tmp_path / "a").classes == ("0", "1", "2", "3", "4")
    write_tar(tmp_path / "b/train-0.tar", ("0.png", png()), ("0.cls", b"owl"), ("1.png", png()), ("1.cls", b"ant\n"))
    assert ClassShards(tmp_path / "b").classes == ("ant", "owl") and ClassShards(tmp_path / "b").labels == [1, 0]


def test_label_pictures_and_captions(tmp_path):
    files = [("a/0.png", png(3)), ("a/0.seg.png", png(1, mode="L")), ("a/0.txt", b"A cat.\nA black cat.\n")]
    write_tar(tmp_path / "train-0.tar", *files)
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    data = LabelledShards(tmp_path)
    assert (data[0]["segmentation"] == 1).all() and data[0]["segmentation"].shape == data[0]["image"].shape[:2]
    write_tar(tmp_path / "b/train-0.tar", files[0], files[2])
    captioned = CaptionedShards(tmp_path / "b")
    assert captioned[0]["caption"] == ["A cat.", "A black cat."] and captioned.shuffled(np.random.default_rng(0)) == [0]


def test_boxes(tmp_path):
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in ("owl", "ant"))
    files = [("0.png", png()), ("0.xml", f"<annotation>{objects}</annotation>".encode())]
    write_tar(tmp_path / "train-0.tar", *files)
    data = BoxedShards(tmp_path)
    assert data.classes == ("ant", "owl") and data[0]["labels"].tolist() == [2, 1]
    np.testing.assert_array_equal(data[0]["boxes"], [[1, 2, 9, 8]] * 2)
    assert BoxedShards(tmp_path, "train", ["owl", "ant"])[0]["labels"].tolist() == [1, 2]
    write_tar(tmp_path / "train-0.tar", *files, ("1.png", png()), ("1.xml", b"<annotation>"))
    with pytest.raises(ValueError, match=r"train-0.tar: 1.xml: not readable as XML"):
        BoxedShards(tmp_path)
    write_tar(tmp_path / "train-0.tar", ("0.png", png()), ("0.xml", b"<annotation></annotation>"))
    with pytest.raises(ValueError, match="hold no object at all"):
        BoxedShards(tmp_path)


def test_folders_of_classes_are_written_as_shards(tmp_path, capsys):
    for split, n in (("train", 5), ("val", 2)):
        for name in ("ant", "bee"):
            (tmp_path / "in" / split / name).mkdir(parents=True)
            for k in range(n):
                (tmp_path / "in" / split / name / f"{k}.png").write_bytes(png(10 * k + len(split), mode="RGB"))
    arguments = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--size", "4"]
    assert not write_shards(arguments)
    assert "train: 10 pictures of 2 classes in 3 tar files" in capsys.readouterr().out
    for split in ("train", "val"):
        folders, shards = ClassFolders(tmp_path / "in", split), ClassShards(tmp_path / "out", split)
        pictures = [sorted((s["label"], s["image"].tobytes()) for s in data) for data in (folders, shards)]
        assert pictures[0] == pictures[1] and shards.classes == folders.classes
    assert write_shards(arguments) == 2 and "is not empty; give a new folder" in capsys.readouterr().err
