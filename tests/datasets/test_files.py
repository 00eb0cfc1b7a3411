"""Hidden files, listings, names that stay in their folder, and near matches of what is missing."""

import os
import unicodedata

import pytest

from datasets.files import Folder, files_below, files_in, is_empty, is_hidden, missing, near_matches, relative_parts

NFD = unicodedata.normalize("NFD", "été")
NFC = unicodedata.normalize("NFC", "été")


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_hidden():
    for name in (".DS_Store", "._a.jpg", ".git", "Thumbs.db", "thumbs.db", "desktop.ini", "__MACOSX"):
        assert is_hidden(name)
    for name in ("a.jpg", "a.b.jpg", "_a.jpg", "Thumbs.jpg"):
        assert not is_hidden(name)


def test_listings(tmp_path):
    touch(
        tmp_path, "b 1.JPG", "a.x.jpg", "in/c.jpg", f"{NFD}.jpg", "._a.jpg", ".hidden/d.jpg", "__MACOSX/e.jpg", "n.txt"
    )
    assert [name for name, _ in files_below(tmp_path, (".jpg",))] == ["a.x.jpg", "b 1.JPG", "in/c.jpg", f"{NFC}.jpg"]
    assert [path.name for path in files_in(tmp_path, (".jpg",))] == ["a.x.jpg", "b 1.JPG", f"{NFD}.jpg"]
    assert len(list(files_below(tmp_path))) == 5


def test_links_to_folders_around_end(tmp_path):
    touch(tmp_path, "in/a.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "other").symlink_to(tmp_path / "in", target_is_directory=True)
    assert [name for name, _ in files_below(tmp_path)] == ["in/a.jpg", "other/a.jpg"]


@pytest.mark.parametrize(
    "name, parts",
    [
        ("a.jpg", ("a.jpg",)),
        ("in/a b.jpg", ("in", "a b.jpg")),
        ("in\\a.jpg", ("in", "a.jpg")),
        ("./in//a.jpg", ("in", "a.jpg")),
        ("in/../a.jpg", ("a.jpg",)),
    ],
)
def test_names_inside(tmp_path, name, parts):
    assert relative_parts(name, tmp_path) == parts
    assert relative_parts(f"{tmp_path}/{name}", tmp_path) == parts


@pytest.mark.parametrize("name", ["../a", "in/../../a", "..\\a", "..", "/etc/passwd", "C:\\a", "c:/a"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"leads out of|is an absolute path outside"):
        relative_parts(name, tmp_path)
    with pytest.raises(ValueError, match=r"leads out of|is an absolute path outside"):
        Folder(tmp_path).find(name)


def test_a_prefix_is_not_the_folder(tmp_path):
    touch(tmp_path, "data_2/a", "data/b")
    with pytest.raises(ValueError, match="absolute path outside"):
        relative_parts(f"{tmp_path}/data_2/a", tmp_path / "data")


def test_find(tmp_path):
    touch(tmp_path, f"in/{NFD}.jpg", "b.jpg")
    folder = Folder(tmp_path)
    assert folder.find("b.jpg") == tmp_path / "b.jpg"
    assert folder.find(f"in\\{NFC}.jpg") == tmp_path / "in" / f"{NFD}.jpg"
    with pytest.raises(ValueError, match=r"c\.jpg: there is no such image file; check the name"):
        folder.find("c.jpg")
    with pytest.raises(ValueError, match="there is no such image file"):
        folder.find("x" * 5000)
    with pytest.raises(ValueError, match="none: there is no such folder; give the one that holds the images"):
        Folder(tmp_path / "none")


@pytest.mark.parametrize(
    "wanted, there, words",
    [
        ("a.jpg", "a.png", "with another ending"),
        ("a.jpg", "A.JPG", "in another case"),
        ("images/a.jpg", "Images/a.jpg", "in another folder"),
        ("a.jpg", "in/deep/a.jpg", "in another folder"),
        ("in/a.jpg", "a.jpg", "in another folder"),
        (f"{NFC}.jpg", f"{NFD}.jpg", "in another Unicode form"),
        ("my dog.jpg", "my_dog.jpg", "in another spelling"),
        ("train.txt", "train.txt.txt", "with another ending"),
        ("x-idx3-ubyte.gz", "x-idx3-ubyte", "with another ending"),
        ("x-idx3-ubyte", "x.idx3-ubyte", "in another spelling"),
        ("a", "A.txt", "in another case"),
        ("Flickr8k_Dataset", "Flicker8k_Dataset/a.jpg", "in another spelling"),
        ("clases.txt", "classes.txt", "in another spelling"),
        ("labels", "Labels/x", "in another case"),
    ],
)
def test_near_matches(tmp_path, wanted, there, words):
    touch(tmp_path, there, "other.jpg", "other.txt")
    assert f"did you mean {tmp_path}/" in str(missing(tmp_path / wanted))
    assert f"({words})?" in str(missing(tmp_path / wanted))


def test_a_file_for_a_folder(tmp_path):
    touch(tmp_path, "a.zip")
    assert str(missing(tmp_path / "a.zip", "folder", "unpack it")).endswith("a.zip: is a file, no folder; unpack it")


def test_no_near_matches(tmp_path):
    touch(tmp_path, "a.txt", "b.jpg", ".a.jpg")
    assert near_matches(tmp_path / "a.jpg") == []  # a text is no picture
    assert near_matches(tmp_path / "b.xml") == []
    touch(tmp_path, "image_0001.jpg", "image_0001.txt")
    assert near_matches(tmp_path / "image_0002.jpg") == []
    assert near_matches("/nowhere/at/all.jpg") == []  # the whole disk is not searched
    assert str(missing(tmp_path / "a.jpg", "image file", "add it")).endswith(
        "a.jpg: there is no such image file; add it"
    )


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("camvit", "there is no such folder; did you mean {0}/camvid (in another spelling)?"),
        ("bcdc", "there is no such folder; did you mean {0}/bccd (in another spelling)?"),
        ("photos", "there is no such folder; give another; folders in {0}: bccd, camvid"),
        ("no/where/photos", "there is no such folder; give another; there is no folder {0}/no either"),
    ],
)
def test_a_folder_that_is_not_there_is_named_with_its_neighbours(tmp_path, wanted, message):
    for name in ("camvid", "bccd", ".hidden"):
        (tmp_path / name).mkdir()
    error = str(missing(tmp_path / wanted, "folder", "give another"))
    assert error == f"{tmp_path / wanted}: {message.format(tmp_path)}"


def test_empty_folders(tmp_path):
    assert not is_empty(tmp_path / "none", (".txt",))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.b.txt").touch()
    assert is_empty(tmp_path, (".txt",))
    (tmp_path / "a/c.TXT").touch()
    assert not is_empty(tmp_path, (".txt",))


def test_links_that_lead_nowhere_and_pipes_are_said_to_be_that(tmp_path):
    (tmp_path / "a.jpg").symlink_to("a.jpg")
    (tmp_path / "b.jpg").symlink_to("../away.jpg")
    os.mkfifo(tmp_path / "c.jpg")
    assert str(missing(tmp_path / "a.jpg", "picture")).endswith("a.jpg: is a link to a.jpg, which is not there; "
                                                                "copy the picture itself")  # fmt: skip
    assert "b.jpg: is a link to ../away.jpg, which is not there" in str(missing(tmp_path / "b.jpg"))
    assert "c.jpg: is a pipe or device, no picture; check the path" in str(missing(tmp_path / "c.jpg", "picture"))
    assert tmp_path / "a.jpg" not in near_matches(tmp_path / "a.jpg")
