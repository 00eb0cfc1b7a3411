"""Lines of lists in every form, and what leads out of the folder."""

import pytest

from datasets.lists import find_all, look_up, read_list, split_line

NAMES = ("street 1", "000012", "0--Parade/a", "a.b_1.2", "café", "x")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder, {name: folder / f"{name}.jpg" for name in NAMES}


@pytest.mark.parametrize(
    "line, files",
    [
        ("street 1", ("street 1",)),
        ("street 1.jpg", ("street 1.jpg",)),
        ("images/street 1.jpg label 2.png", ("images/street 1.jpg", "label 2.png")),
        ("a.JPG\tb.png", ("a.JPG", "b.png")),
        ("a.jpg 1", ("a.jpg", "1")),
        ("a.jpg.png", ("a.jpg.png",)),
    ],
)
def test_files_of_a_line(line, files):
    assert split_line(line) == files


@pytest.mark.parametrize(
    "line, name",
    [
        ("street 1", "street 1"),
        ("street 1.jpg", "street 1"),
        ("images/street 1.jpg", "street 1"),
        ("Images\\street 1.jpg", "street 1"),
        ("000012 -1", "000012"),
        ("000012  1", "000012"),
        ("000012.jpg 0", "000012"),
        ("000012.jpg", "000012"),
        ("0--Parade/a", "0--Parade/a"),
        ("0--Parade\\a.jpg", "0--Parade/a"),
        ("./images/0--Parade/a.jpg", "0--Parade/a"),
        ("/home/me/set/images/0--Parade/a.jpg", "0--Parade/a"),
        ("D:\\set\\x.png", "x"),
        ("a.b_1.2", "a.b_1.2"),
        ("a.b_1.2.jpg", "a.b_1.2"),
        ("café", "café"),
    ],
)
def test_lines_name_pictures(folder, line, name):
    assert find_all([("here", line)], folder) == [(name,)]


def test_flags_stand_in_every_line(folder):
    assert find_all([("here", "000012 -1"), ("here", "x 1")], folder) == [("000012",), ("x",)]
    with pytest.raises(ValueError, match="holds no picture 000012 1, named by here"):
        find_all([("here", "000012 1"), ("here", "x")], folder)


def test_an_absolute_path_inside(folder):
    assert find_all([("here", f"{folder[0]}/x.jpg")], folder) == [("x",)]


@pytest.mark.parametrize(
    "line", ["street", "b", "Parade/a", "1--Parade/a", "other/x", "street 2", "000012 2", "x y.jpg"]
)
def test_lines_that_name_nothing(folder, line):
    assert look_up(line, *folder) is None
    with pytest.raises(
        ValueError, match="images: holds no picture .*, named by here; add the picture, or remove the line"
    ):
        find_all([("here", line)], folder)


@pytest.mark.parametrize("line", ["../x", "images/../../x", "..\\x.jpg", "../../evil"])
def test_what_leads_out_is_refused(folder, line):
    with pytest.raises(ValueError, match=r"^here: '.*' leads out of .*images"):
        find_all([("here", line)], folder)


def test_an_absolute_path_to_a_file_outside_is_refused(folder, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"here: .* is an absolute path outside"):
        find_all([("here", f"{tmp_path}/x.jpg")], folder)


def test_pairs(folder, tmp_path):
    labels = tmp_path / "labels", {name: tmp_path / f"{name}.png" for name in ("street 1", "x_mask", "x")}
    lines = ["street 1", "images/x.jpg labels/x_mask.png", "x.jpg x.png"]
    got = find_all([("here", line) for line in lines], folder, labels)
    assert got == [("street 1", "street 1"), ("x", "x_mask"), ("x", "x")]
    with pytest.raises(ValueError, match="labels: holds no picture 000012 and 1 more, named by b;"):
        find_all([("a", "x"), ("b", "000012"), ("c", "café")], folder, labels)


def test_lists(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\n\r\n two 2 \nthree\u2028four\none\n".encode())
    path = tmp_path / "a.txt"
    assert read_list(path) == [
        (f"{path}, line 1", "one"),
        (f"{path}, line 3", "two 2"),
        (f"{path}, line 4", "three\u2028four"),
    ]
    (tmp_path / "b.txt").write_text(" \n\n")
    with pytest.raises(ValueError, match=r"b\.txt: the list is empty; write a name a line, without ending"):
        read_list(tmp_path / "b.txt")
    with pytest.raises(ValueError, match=r"c\.txt: there is no such list; text files in this folder: a\.txt, b\.txt$"):
        read_list(tmp_path / "c.txt")
    with pytest.raises(ValueError, match=r"A\.txt: there is no such list; did you mean .*a\.txt \(in another case\)\?"):
        read_list(tmp_path / "A.txt")
