"""Readers of photographs with label pictures: what they give, and what they refuse before any training."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import CamVid, LabelledFolders, LabelMap, Nuclei, Pets, VOCSegmentation, labelled_images

PROJECT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CV_DATA", PROJECT.parent / "shared" / "data"))
SIZE = (10, 14)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def pictures(images, labels, names, values=(0, 1, 255), ending=".png", seed=0):
    """Photographs and label pictures of some values; returns the latter."""
    rng, made = np.random.default_rng(seed), {}
    for name in names:
        save(images / f"{name}{ending}", rng.integers(0, 255, (*SIZE, 3)))
        made[name] = rng.choice(values, SIZE)
        save(labels / f"{name}.png", made[name])
    return made


def folders(root, names="abcde", **options):
    (root / "classes.txt").parent.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("ground 0\ncat 1\nignore 255\n")
    return pictures(root / "images", root / "labels", names, **options)


def write(root, **lists):
    for name, text in lists.items():
        (root / f"{name}.txt").write_text(text)


def check(dataset, made, names, wanted=lambda values: np.where(values == 255, -1, values)):
    assert [dataset[i]["id"] for i in range(len(dataset))] == list(names)
    for i, (name, labels) in enumerate(zip(names, dataset.label_maps())):
        sample = dataset[i]
        assert sample["image"].shape == (*SIZE, 3) and sample["image"].dtype == np.uint8
        np.testing.assert_array_equal(sample["segmentation"], wanted(made[name]))
        np.testing.assert_array_equal(labels, sample["segmentation"])
        assert labels.dtype == np.int64


def test_folders_with_lists(tmp_path):
    made = folders(tmp_path)
    write(tmp_path, train="a\n\nc\na\n", val="b")
    write(tmp_path, notes="not a list", holdout="d\n")
    (tmp_path / "images" / "._a.png").write_bytes(b"of another system")
    train, val = LabelledFolders(tmp_path, "train"), LabelledFolders(tmp_path, "val", ("cat", "dog", "ground"))
    assert train.classes == ("ground", "cat") and train.problems == []
    check(train, made, "ac")
    check(val, made, "b", lambda values: np.select([values == 0, values == 1], [2, 0], -1))
    assert val.problems == [f"{tmp_path / 'labels'}: dog does not occur in this split"]


def test_folders_without_lists(tmp_path):
    made = folders(tmp_path, names="abcdefg", ending=".jpg")
    write(tmp_path, README="of other things")
    check(LabelledFolders(tmp_path, "train"), made, "abcdfg")
    val = LabelledFolders(tmp_path, "val")
    check(val, made, "e")
    assert val.problems == [f"{tmp_path}: has no train.txt and val.txt; 1 photographs, chosen by name, are val"]
    with pytest.raises(ValueError, match="has no split 'test'; without lists .* it has train and val"):
        LabelledFolders(tmp_path, "test")


def test_colours(tmp_path):
    made = folders(tmp_path, names="a", values=(0, 1))
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "classes.json").write_text('{"ground": [10, 20, 30], "cat": [200, 0, 0]}')
    save(tmp_path / "labels" / "a.png", np.array([(10, 20, 30), (200, 0, 0)])[made["a"]])
    write(tmp_path, train="a")
    check(LabelledFolders(tmp_path), made, "a")


def camvid(root):
    made = pictures(root / "train", root / "trainannot", ["x1", "x2"], values=range(12))
    write(root, train="/SegNet/CamVid/train/x2.png /SegNet/CamVid/trainannot/x2.png\nx1\n")
    return made


def test_camvid(tmp_path):
    made = camvid(tmp_path)
    data = CamVid(tmp_path, "train")
    names = "sky building pole road pavement tree signsymbol fence car pedestrian bicyclist"
    assert " ".join(data.classes) == names  # the order of the values in the SegNet authors' label pictures
    check(data, made, ["x2", "x1"], lambda values: np.where(values == 11, -1, values))
    write(tmp_path, classes="\n".join(f"c{i}" for i in range(11)) + "\nUnlabelled\n")
    data = CamVid(tmp_path, "train")
    assert data.classes[3] == "c3"
    check(data, made, ["x2", "x1"], lambda values: np.where(values == 11, -1, values))


def test_parts_of_a_split_of_camvid(tmp_path):
    names = [f"{sequence}_{i:02d}" for sequence in ("b", "a") for i in range(10)]
    made = pictures(tmp_path / "train", tmp_path / "trainannot", names, values=(0, 1, 11))
    write(tmp_path, train="\n".join(names))
    parts = {part: CamVid(tmp_path, f"train:{part}") for part in ("kept", "held_out", "a")}
    held = ["b_04", "b_05", "a_04", "a_05"]  # the third of five blocks of each sequence, in the order of the list
    check(parts["held_out"], made, held, lambda values: np.where(values == 11, -1, values))
    assert [parts["kept"][i]["id"] for i in range(16)] == [name for name in names if name not in held]
    assert [parts["a"][i]["id"] for i in range(10)] == names[10:]
    with pytest.raises(ValueError, match="the split has no part 'c': choose kept, held_out or a, b"):
        CamVid(tmp_path, "train:c")


def test_voc(tmp_path):
    made = pictures(
        tmp_path / "JPEGImages", tmp_path / "SegmentationClass", ["2007_1"], values=(0, 1, 20, 255), ending=".jpg"
    )
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("2007_1\n")
    data = VOCSegmentation(tmp_path, "train")
    assert len(data.classes) == 21 and data.classes[:2] == ("background", "aeroplane")
    check(data, made, ["2007_1"])
    turned = VOCSegmentation(tmp_path, "train", data.classes[::-1])  # the same names in another order
    assert turned.classes == data.classes[::-1]
    check(turned, made, ["2007_1"], lambda values: np.where(values == 255, -1, 20 - values))
    with pytest.raises(ValueError, match=r"2007_1\.png: 1 value outside the class list: 20 "):
        VOCSegmentation(tmp_path, "train", ("background", "mine"))


def test_pets_and_nuclei(tmp_path):
    made = pictures(tmp_path / "images", tmp_path / "trimaps", ["p", "q"], values=(1, 2, 3))
    numbers = pictures(tmp_path / "images", tmp_path / "masks", ["p", "q"], values=(0, 4, 7))
    (tmp_path / "index.csv").write_text("name,breed,split\nq,x,train\np,x,test\n")
    pets = Pets(tmp_path, "train")
    assert pets.classes == ("background", "pet")
    check(pets, made, ["q"], lambda values: np.array([9, 1, 0, -1])[values])
    nuclei = Nuclei(tmp_path, "test")
    assert nuclei.classes == ("background", "nucleus")
    check(nuclei, numbers, ["p"], lambda values: (values > 0).astype(int))
    np.testing.assert_array_equal(nuclei[0]["instances"], numbers["p"])
    with pytest.raises(ValueError, match=r"Nuclei: the classes are background nucleus, got a; leave them out"):
        Nuclei(tmp_path, "test", ("a",))
    with pytest.raises(ValueError, match=r"index\.csv: has no photographs of the split 'val', only of test, train"):
        Pets(tmp_path, "val")  # one photograph has no fifth
    (tmp_path / "index.csv").unlink()
    with pytest.raises(ValueError, match=r"index\.csv: there is no such file; --root is the folder that holds it"):
        Pets(tmp_path, "val")


def index(root, **splits):
    lines = [f"{name},{split}" for name, split in splits.items()]
    (root / "index.csv").write_text("\n".join(["name,split", *lines]))


def ids(reader, root, split):
    return "".join(pair.name for pair in reader(root, split).pairs)


def test_validation_without_the_test_set(tmp_path):
    """An index without a val: every fifth by name of all that is not test."""
    pictures(tmp_path / "images", tmp_path / "trimaps", "abcdefgh", values=(1, 2, 3))
    pictures(tmp_path / "images", tmp_path / "masks", "abcdefgh", values=(0, 4, 7))
    index(tmp_path, **dict.fromkeys("hgfedca", "trainval"), b="test")
    for reader in (Pets, Nuclei):
        got = {split: ids(reader, tmp_path, split) for split in ("trainval", "train", "val", "test")}
        assert got == {"trainval": "hgfedca", "train": "acdegh", "val": "f", "test": "b"}
    index(tmp_path, a="val", b="test", c="train", d="train")  # its own val stays
    got = {split: ids(Pets, tmp_path, split) for split in ("trainval", "train", "val", "test")}
    assert got == {"trainval": "acd", "train": "cd", "val": "a", "test": "b"}


@pytest.mark.parametrize(
    "content, message",
    [
        (b"file,split\na,b\n", "must have the columns name and split"),
        (b"", "must have the columns name and split"),
        (b"name,split\n", "must have the columns name and split, and a line for each photograph"),
        (b"name,split\na,train\nb\n", "line 3: must have 2 columns, as the first line has"),
        (b"name,split\na,train,x\n", "line 2: must have 2 columns"),
        (b"name,split\na,train\nb,train\na,test\n", "line 4: a has a line already; remove one"),
        (b"name,split\n\xff,train\n", r"line 2: not a text file in UTF-8 \("),
        (b'name,split\n"a,train\n', r"not a CSV file \("),
    ],
)
def test_a_bad_index_is_named(tmp_path, content, message):
    pictures(tmp_path / "images", tmp_path / "trimaps", "ab", values=(1, 2))
    (tmp_path / "index.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"index\.csv(:|,) {message}"):
        Pets(tmp_path)


@pytest.mark.parametrize(
    "line",
    ["a.png", "images/a.png labels/a.png", "images\\a.png", "a.png a.png", "./a.png", "C:\\x\\a.png labels/a.png"],
)
def test_lines_of_lists(tmp_path, line):
    made = folders(tmp_path, names=["a", "b c"])
    write(tmp_path, train=f"{line}\nb c\n")
    check(LabelledFolders(tmp_path), made, ["a", "b c"])


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "x.png",
            r"images: holds no picture x\.png, named by .*train\.txt, line 1; add the picture, or remove the line$",
        ),
        ("A", r"images: holds no picture A, named by .*; did you mean .*a\.png \(in another case\)\?"),
        ("images/a.png labels/x.png", r"labels: holds no picture labels/x\.png, named by .*train\.txt, line 1; add"),
        ("other/a.png", r"holds no picture other/a\.png, .*; did you mean .*images/a\.png \(in another folder\)\?"),
        ("../a", r"train\.txt, line 1: '\.\./a' leads out of .*images; move the file"),
        ("images/../../../a.png", "leads out of"),
    ],
)
def test_bad_lines_of_lists(tmp_path, line, message):
    folders(tmp_path, names="ab")
    write(tmp_path, train=line)
    with pytest.raises(ValueError, match=message):
        LabelledFolders(tmp_path)


def value_outside(root):
    save(root / "labels" / "b.png", np.full(SIZE, 7))
    return r"b\.png: 1 value outside the class list: 7 \(140 pixels\); the list has ground 0, cat 1, ignore 255"


def other_size(root):
    save(root / "labels" / "b.png", np.zeros((9, 14)))
    return r"b\.png: is 14x9, but .*images.b\.png is 14x10; a photograph and its label picture must have one size"


def colour_outside(root):
    (root / "classes.txt").write_text("ground 0 0 0\ncat 1 1 1\nignore 255 255 255\n")
    save(root / "labels" / "b.png", np.full((*SIZE, 3), (1, 2, 3)))
    return r"b\.png: 1 colour outside the class list: 1 2 3 \(140 pixels\)"


def no_label(root):
    (root / "labels" / "b.png").unlink()
    return r"labels: holds no picture b, named by .*train\.txt, line 2; add the picture, or remove the line"


def no_photographs(root):
    (root / "images" / "b.png").unlink()
    (root / "images" / "c.png").unlink()
    return r"images: holds no picture b and 1 more, named by .*train\.txt, line 2; add"


def a_photograph_cut_off(root):
    data = (root / "images" / "b.png").read_bytes()
    (root / "images" / "b.png").write_bytes(data[: len(data) // 2])
    return r"images.b\.png: the image cannot be decoded"


def a_label_cut_off(root):
    data = (root / "labels" / "b.png").read_bytes()
    (root / "labels" / "b.png").write_bytes(data[: len(data) // 2])
    return r"labels.b\.png: the image cannot be decoded"


def no_picture(root):
    (root / "labels" / "b.png").write_text("hello")
    return r"labels.b\.png: not an image, or of a kind unknown to Pillow"


def an_empty_list(root):
    write(root, train="\n \n")
    return r"train\.txt: the list is empty; write a name a line, without ending"


def no_list(root):
    (root / "train.txt").unlink()
    write(root, val="a")
    return r"train\.txt: there is no such list; text files in this folder: classes\.txt, val\.txt"


def a_list_that_is_no_text(root):
    (root / "train.txt").write_bytes(b"a\n\xe9")
    return r"train\.txt, line 2: not a text file in UTF-8"


def nothing_counts(root):
    for name in "abcde":
        save(root / "labels" / f"{name}.png", np.full(SIZE, 255))
    return "labels: of 3 label pictures none has a pixel that counts; check the classes"


def the_same_name_twice(root):
    save(root / "images" / "b.jpg", np.zeros((*SIZE, 3)))
    return r"images.b\.png: b\.jpg has the same name; keep one of them"


def no_class_list(root):
    (root / "classes.txt").unlink()
    return "has no classes.txt or classes.json; write the class names there, one a line"


def no_folder(root):
    (root / "labels").rename(root / "annotations")
    return "has no folder labels; --root is the folder that holds it"


@pytest.mark.parametrize(
    "spoil",
    [
        value_outside, other_size, colour_outside, no_label, no_photographs, a_photograph_cut_off, a_label_cut_off,
        no_picture, an_empty_list, no_list, a_list_that_is_no_text, nothing_counts, the_same_name_twice, no_class_list,
        no_folder,
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_before_training(tmp_path, spoil):
    folders(tmp_path)
    write(tmp_path, train="a\nb\nc\n")
    LabelledFolders(tmp_path)
    message = spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        LabelledFolders(tmp_path)


def test_pairs_without_lists_and_missing_folders(tmp_path):
    folders(tmp_path)
    (tmp_path / "images" / "c.png").unlink()
    with pytest.raises(
        ValueError, match=r"images: holds no picture c, named by .*labels/c\.png; add the picture, or remove that one"
    ):
        LabelledFolders(tmp_path)
    with pytest.raises(ValueError, match="nowhere: there is no such folder; give the one that holds images"):
        LabelledFolders(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"nowhere: there is no such folder; give the one that holds train\.txt"):
        CamVid(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"train\.txt: there is no such list; text files in this folder: classes\.txt"):
        CamVid(tmp_path)
    with pytest.raises(ValueError, match="has no folder JPEGImages"):
        VOCSegmentation(tmp_path)


def test_what_does_not_occur_is_a_note(tmp_path):
    folders(tmp_path, values=(0,))
    write(tmp_path, train="a\nb\nc\n")
    save(tmp_path / "labels" / "b.png", np.full(SIZE, 255))
    data = LabelledFolders(tmp_path)
    assert data.problems == [
        f"{tmp_path / 'labels' / 'b.png'}: no pixel counts",
        f"{tmp_path / 'labels'}: cat does not occur in this split",
    ]


@pytest.mark.parametrize("line", ["images/street 1.png", "images/street 1.png  labels/other.png", "street 1.PNG"])
def test_names_with_spaces_and_pairs_of_two_names(tmp_path, line):
    made = folders(tmp_path, names=["street 1"])
    if "other" in line:
        (tmp_path / "labels" / "street 1.png").rename(tmp_path / "labels" / "other.png")
    write(tmp_path, train=line)
    check(LabelledFolders(tmp_path), made, ["street 1"])


def test_names_with_folders(tmp_path):
    made = folders(tmp_path, names=["rome/a", "oslo/a"])
    write(tmp_path, train="rome/a\nimages\\oslo\\a.png\n")
    check(LabelledFolders(tmp_path), made, ["rome/a", "oslo/a"])


def test_photographs_that_exif_turns_are_a_note(tmp_path):
    folders(tmp_path, names="ab")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(tmp_path / "images" / "a.png").save(tmp_path / "images" / "a.png", exif=exif)
    write(tmp_path, train="a\nb\n")
    (note,) = LabelledFolders(tmp_path).problems
    assert "images: EXIF turns 1 (a.png) of 2 pictures, which are read upright" in note
    exif[0x0112] = 6
    Image.open(tmp_path / "images" / "b.png").save(tmp_path / "images" / "b.png", exif=exif)
    with pytest.raises(
        ValueError, match=r"b\.png: is 14x10, but .*b\.png is 10x14; .* one size \(EXIF turns this pict"
    ):
        LabelledFolders(tmp_path)


def test_classes_that_are_written_alike_are_a_note(tmp_path):
    folders(tmp_path, names="ab")
    (tmp_path / "classes.txt").write_text("Cat 0\ncat 1\nignore 255\n")
    write(tmp_path, train="a\nb\n")
    (note,) = LabelledFolders(tmp_path).problems
    assert note.endswith("the classes 'Cat' and 'cat' are written almost alike; are they one?")


def test_near_matches_are_named(tmp_path):
    folders(tmp_path, names="ab")
    write(tmp_path, train="a\nb\n")
    (tmp_path / "classes.txt").rename(tmp_path / "Classes.txt")
    with pytest.raises(
        ValueError, match=r"has no classes\.txt or .*; did you mean .*Classes\.txt \(in another case\)\?"
    ):
        LabelledFolders(tmp_path)
    (tmp_path / "Classes.txt").rename(tmp_path / "classes.txt")
    (tmp_path / "labels").rename(tmp_path / "Labels")
    with pytest.raises(ValueError, match=r"has no folder labels; did you mean .*Labels \(in another case\)\?"):
        LabelledFolders(tmp_path)


@pytest.mark.skipif(not (DATA / "camvid").is_dir(), reason="CamVid is not there")
def test_camvid_itself():
    data = CamVid(DATA / "camvid", "val")
    assert len(data) == 101 and data[0]["segmentation"].shape == (180, 240)
    assert len(data.classes) == 11
    assert (data[0]["segmentation"] == -1).any()


@pytest.mark.skipif(not (DATA / "nuclei_dsb2018").is_dir(), reason="the nuclei are not there")
def test_nuclei_themselves():
    data = Nuclei(DATA / "nuclei_dsb2018", "test")
    assert len(data) == 39
    sample = data[0]
    np.testing.assert_array_equal(sample["segmentation"], sample["instances"] > 0)


@pytest.mark.skipif(not (DATA / "pets3").is_dir(), reason="the pets are not there")
def test_pets_themselves():
    data = Pets(DATA / "pets3", "test")
    assert len(data) == 298 and set(np.unique(data[7]["segmentation"])) == {-1, 0, 1}


def test_pixels_are_counted_part_by_part(tmp_path, monkeypatch):
    made = folders(tmp_path, "ab")
    write(tmp_path, train="a\nb\n")
    monkeypatch.setattr("datasets.labelled_images.BAND", 20)
    values = np.concatenate([made["a"], made["b"]])
    assert LabelledFolders(tmp_path, "train").counts == {"ground": (values == 0).sum(), "cat": (values == 1).sum()}


def test_many_label_pictures_are_not_read_again(tmp_path, monkeypatch):
    """Two are many here. A changed one is, and all are for another class list; counts and problems stay the same."""
    monkeypatch.setattr(labelled_images, "LEAST", 2)
    read, look_up = [], LabelMap.look_up
    monkeypatch.setattr(LabelMap, "look_up", lambda self, path: (read.append(path.stem), look_up(self, path))[1])
    folders(tmp_path, values=(0, 255))

    def opened(split="train", wanted="", classes=None):
        read.clear()
        data = LabelledFolders(tmp_path, split, classes)
        assert sorted(read) == sorted(wanted)
        return data

    first, again = opened(wanted="abcd"), opened()
    assert [*again.listing()] == [*first.listing()] and again.problems == first.problems
    assert again.counts == first.counts == {"ground": sum((m == 0).sum() for m in first.label_maps()), "cat": 0}
    save(tmp_path / "labels" / "b.png", np.ones(SIZE))
    assert opened(wanted="b").counts["cat"] == SIZE[0] * SIZE[1]
    assert opened(wanted="abcd", classes=("cat", "ground")).counts == opened().counts
    save(tmp_path / "labels" / "c.png", np.ones((9, 14)))
    with pytest.raises(ValueError, match="c.png: is 14x9, but .*c.png is 14x10"):
        opened()
    assert len([*(tmp_path / "labels").glob(".label-pictures-*.npz")]) == 2
