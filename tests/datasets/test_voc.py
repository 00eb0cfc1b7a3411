import numpy as np
import pytest
from PIL import Image

from datasets import VOC_CLASSES, VOCDetection, find_classes, read_annotation


def xml_object(name="cat", box=(11, 21, 50, 60), difficult=0):
    corners = "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


def xml(*objects, size=(100, 80)):
    width, height = size
    stated = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{stated}{''.join(objects)}</annotation>"


def write_voc(root, annotations, split="trainval", image="{}.jpg", size=(100, 80)):
    """A VOC folder with one (width, height) picture per entry of {name: xml text}."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in annotations.items():
        picture = np.random.default_rng(len(name)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / "JPEGImages" / image.format(name))
        (root / "Annotations" / f"{name}.xml").write_text(text)
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in annotations))
    return root


def refuses(message, root, split="trainval", classes=("cat", "dog")):
    with pytest.raises(ValueError, match=message) as error:
        VOCDetection(root, split, classes)
    assert "\n" not in str(error.value)


def test_a_sample(tmp_path):
    objects = xml_object("dog", (1, 1, 100, 80)), xml_object("cat", (11, 21, 50, 60), difficult=1)
    data = VOCDetection(write_voc(tmp_path, {"b": xml(*objects), "a": xml()}), classes=("cat", "dog"))
    assert len(data) == 2
    assert data.classes == ("cat", "dog")
    assert data.problems == []
    sample = data[0]
    assert sample["id"] == "b"  # the list's order, not the alphabet's
    assert sample["image"].shape == (80, 100, 3)
    assert sample["image"].dtype == np.uint8
    np.testing.assert_array_equal(
        sample["boxes"], [[0, 0, 100, 80], [10, 20, 50, 60]]
    )  # 1-based inclusive -> half-open
    np.testing.assert_array_equal(sample["labels"], [2, 1])
    np.testing.assert_array_equal(sample["difficult"], [False, True])
    assert (sample["boxes"].dtype, sample["labels"].dtype, sample["difficult"].dtype) == (np.float32, np.int64, bool)


def test_an_image_with_no_object(tmp_path):
    sample = VOCDetection(write_voc(tmp_path, {"a": xml()}))[0]
    assert sample["boxes"].shape == (0, 4)
    assert sample["boxes"].dtype == np.float32
    assert sample["labels"].shape == sample["difficult"].shape == (0,)
    assert sample["labels"].dtype == np.int64
    assert sample["difficult"].dtype == bool


def test_a_sample_is_the_callers_own(tmp_path):
    data = VOCDetection(write_voc(tmp_path, {"a": xml(xml_object())}), classes=("cat",))
    sample = data[0]
    sample["boxes"] += 5
    sample["labels"][:] = 9
    np.testing.assert_array_equal(data[0]["boxes"], [[10, 20, 50, 60]])
    np.testing.assert_array_equal(data[0]["labels"], [1])


def test_loops_end_and_negative_indices_work(tmp_path):
    data = VOCDetection(write_voc(tmp_path, {"a": xml(), "b": xml()}))
    assert [sample["id"] for sample in data] == ["a", "b"]
    assert data[-1]["id"] == "b"


def test_voc_classes_are_the_default(tmp_path):
    assert len(VOC_CLASSES) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)
    data = VOCDetection(write_voc(tmp_path, {"a": xml(xml_object("aeroplane"), xml_object("tvmonitor"))}))
    np.testing.assert_array_equal(data[0]["labels"], [1, 20])


def test_optional_tags_and_fractions(tmp_path):
    box = "<bndbox><xmin> 1.5 </xmin><ymin>2</ymin><xmax>30.25</xmax><ymax>40</ymax></bndbox>"
    text = f"<annotation><object><name> cat\n</name>{box}</object></annotation>"  # no size, no difficult
    data = VOCDetection(write_voc(tmp_path, {"a": text}), classes=("cat",))
    np.testing.assert_array_equal(data[0]["boxes"], [[0.5, 1, 30.25, 40]])
    assert not data[0]["difficult"].any()


def test_parts_of_an_object_are_not_objects(tmp_path):
    part = xml_object("head", (2, 2, 5, 5)).replace("object>", "part>")
    person = xml_object("person").replace("<name>", part + "<name>", 1)
    data = VOCDetection(write_voc(tmp_path, {"a": xml(person)}))
    np.testing.assert_array_equal(data[0]["boxes"], [[10, 20, 50, 60]])


@pytest.mark.parametrize("image", ["{}.jpeg", "{}.png", "{}.JPG"])
def test_image_extensions(tmp_path, image):
    data = VOCDetection(write_voc(tmp_path, {"x.1": xml(xml_object())}, image=image), classes=("cat",))
    assert data[0]["id"] == "x.1"
    assert data[0]["image"].shape == (80, 100, 3)


def test_lists_may_have_a_mark_blank_lines_and_repetitions(tmp_path):
    write_voc(tmp_path, {"a": xml(), "two words": xml()})
    (tmp_path / "ImageSets/Main/mine.txt").write_bytes("\ufefftwo words\r\n\r\n  a \ntwo words".encode())
    assert VOCDetection(tmp_path, "mine").names == ["two words", "a"]


@pytest.mark.parametrize(
    ("box", "kept", "problem"),
    [
        ((30, 40, 30, 40), None, "has no area: dropped"),  # zero size
        ((30, 40, 30, 50), None, "has no area: dropped"),
        ((50, 40, 30, 60), None, "has no area: dropped"),  # corners exchanged
        ((101, 10, 120, 20), None, "is outside the 100x80 image: dropped"),
        ((-20, 10, 0, 20), None, "is outside the 100x80 image: dropped"),
        ((10, 81, 20, 99), None, "is outside the 100x80 image: dropped"),
        ((90, 70, 130, 99), (89, 69, 100, 80), "sticks out of the 100x80 image: clipped"),
        ((-9, -8, 30, 40), (0, 0, 30, 40), "sticks out of the 100x80 image: clipped"),
        ((0, 0, 100, 80), (0, 0, 100, 80), None),  # counted from 0: no reason to complain
        ((1, 1, 101, 81), (0, 0, 100, 80), None),
        ((100, 80, 101, 81), (99, 79, 100, 80), None),
    ],
)
def test_impossible_boxes(tmp_path, box, kept, problem):
    data = VOCDetection(
        write_voc(tmp_path, {"a": xml(xml_object("dog"), xml_object("cat", box))}), classes=("cat", "dog")
    )
    expected = [(10, 20, 50, 60)] + ([kept] if kept else [])
    np.testing.assert_array_equal(data[0]["boxes"], expected)
    np.testing.assert_array_equal(data[0]["labels"], [2, 1][: len(expected)])
    if problem is None:
        assert data.problems == []
    else:
        (line,) = data.problems
        corners = ", ".join(map(str, box))
        assert line == f"{tmp_path / 'Annotations' / 'a.xml'}: cat ({corners}) {problem}"


def test_all_boxes_dropped(tmp_path):
    write_voc(tmp_path, {"a": xml(xml_object(box=(5, 5, 5, 5))), "b": xml(xml_object(box=(9, 9, 2, 2)))})
    refuses(r"trainval\.txt: all 2 boxes are dropped, the first because: .*a\.xml: cat \(5, 5, 5, 5\) has no", tmp_path)


def test_missing_folders(tmp_path):
    refuses("nowhere: there is no such folder", tmp_path / "nowhere")
    write_voc(tmp_path / "VOCdevkit" / "VOC2007", {"a": xml()})
    refuses(r"has no folder JPEGImages; did you mean .*VOC2007\?", tmp_path / "VOCdevkit")
    refuses(r"has no folder JPEGImages; did you mean .*VOC2007\?", tmp_path)
    (tmp_path / "other" / "JPEGImages").mkdir(parents=True)
    refuses("has no folder Annotations; a folder of VOC has JPEGImages", tmp_path / "other")


def test_missing_list_says_which_there_are(tmp_path):
    write_voc(tmp_path, {"a": xml()}, split="val")
    write_voc(tmp_path, {"a": xml()}, split="train")
    refuses(r"test\.txt: there is no such list; text files in this folder: train\.txt, val\.txt$", tmp_path, "test")


def test_empty_and_binary_lists(tmp_path):
    write_voc(tmp_path, {})
    refuses(r"trainval\.txt: the list is empty; write a name a line", tmp_path)
    (tmp_path / "ImageSets/Main/trainval.txt").write_bytes(b"\xc3a")
    refuses(r"trainval\.txt, line 1: not a text file", tmp_path)


def test_list_naming_a_missing_file(tmp_path):
    write_voc(tmp_path, {"a": xml(), "b": xml()})
    (tmp_path / "Annotations" / "b.xml").unlink()
    refuses(r"trainval\.txt: names 'b', but .*Annotations/b\.xml: there is no such annotation; add", tmp_path)
    with pytest.raises(
        ValueError, match=r"trainval\.txt: names 'b', but .*Annotations/b\.xml: there is no such annotation; add"
    ):
        find_classes(tmp_path)
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    refuses(r"JPEGImages: holds no picture a, named by .*trainval\.txt, line 1; add the picture", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable as XML"),
        ("this is not XML", "not readable as XML"),
        ("<annotation><object>", "not readable as XML"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "not readable as XML"),
        ("<html><object/></html>", "root is <html>, should be <annotation>"),
        (xml("<object></object>"), "object 1 has no <name>"),
        (xml(xml_object(), xml_object("  ")), "object 2 has no <name>"),
        (xml("<object><name>cat</name></object>"), "object 1, cat, has no <bndbox>; draw a box"),
        (xml(xml_object(box=("left", 1, 5, 5))), "<bndbox/xmin> must be a number, got 'left'"),
        (xml(xml_object(box=(1, 1, 5, "nan"))), "<bndbox/ymax> must be a number, got 'nan'"),
        (xml(xml_object(box=(1, 1, "inf", 5))), "<bndbox/xmax> must be a number, got 'inf'"),
        (xml(xml_object(difficult="maybe")), "<difficult> must be a number, got 'maybe'"),
        (xml(xml_object("cow")), r"class 'cow' is not among the 2 given \(cat, dog\)"),
        (xml(size=(80, 100)), r"says that a\.jpg is 80x100, but it is 100x80"),
        (xml(size=("wide", 100)), "<size/width> must be a number, got 'wide'"),
    ],
)
def test_lying_annotations(tmp_path, text, message):
    refuses(rf"Annotations/a\.xml: .*{message}", write_voc(tmp_path, {"a": text}))


def test_size_zero_means_unknown(tmp_path):
    data = VOCDetection(write_voc(tmp_path, {"a": xml(xml_object(), size=(0, 0))}), classes=("cat",))
    assert len(data[0]["boxes"]) == 1


def test_damaged_images_are_found_at_once(tmp_path):
    write_voc(tmp_path, {"a": xml(xml_object())})
    path = tmp_path / "JPEGImages" / "a.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    refuses(r"JPEGImages/a\.jpg: the image cannot be decoded \(.*truncated", tmp_path)
    path.write_bytes(b"")
    refuses(r"JPEGImages/a\.jpg: the image file is empty", tmp_path)


@pytest.mark.parametrize("classes", [(), "cat", ("cat", "dog", "cat")])
def test_classes_argument(tmp_path, classes):
    refuses("VOCDetection: classes must be a list of names", write_voc(tmp_path, {"a": xml()}), classes=classes)


@pytest.mark.parametrize("ending", [".bmp", ".tif", ".webp", ".GIF"])
def test_any_usual_kind_of_picture(tmp_path, ending):
    data = VOCDetection(write_voc(tmp_path, {"a": xml(xml_object())}, image=f"{{}}{ending}"), classes=("cat",))
    assert data[0]["image"].shape == (80, 100, 3)


def test_several_boxes_in_an_object(tmp_path):
    box = "<bndbox><xmin>{}</xmin><ymin>11</ymin><xmax>{}</xmax><ymax>60</ymax></bndbox>"
    objects = f"<object><name>cat</name>{box.format(1, 10)}{box.format(21, 30)}{box.format(41, 50)}</object>"
    data = VOCDetection(write_voc(tmp_path, {"a": xml(objects, xml_object("dog"))}), classes=("cat", "dog"))
    np.testing.assert_array_equal(data[0]["boxes"][:, 0], [0, 20, 40, 10])
    np.testing.assert_array_equal(data[0]["labels"], [1, 1, 1, 2])
    (note,) = data.problems
    assert "1 objects have several <bndbox>, each of which is read as an object" in note and "a.xml" in note


@pytest.mark.parametrize("word, value", [("", 0), ("Unspecified", 0), ("False", 0), ("no", 0), (" 1 ", 1), ("TRUE", 1)])
def test_words_for_difficult(tmp_path, word, value):
    data = VOCDetection(write_voc(tmp_path, {"a": xml(xml_object(difficult=word))}), classes=("cat",))
    assert data[0]["difficult"].tolist() == [bool(value)]
    assert data.counts == {"cat": 1 - value}
    assert data.problems == [f"{data.source}: all 1 objects are marked difficult or crowd, so none counts"] * value


def test_fractions_of_the_image(tmp_path):
    fractions = xml_object(box=(0.16, 0.21, 0.55, 0.73))
    data = VOCDetection(write_voc(tmp_path, {"a": xml(fractions, xml_object("dog"))}), classes=("cat", "dog"))
    assert data[0]["labels"].tolist() == [2]
    (note,) = data.problems
    assert note.endswith(
        "a.xml: cat (0.16, 0.21, 0.55, 0.73) looks like fractions of the image, where pixels are wanted: dropped"
    )
    refuses("all 1 boxes are dropped, .* fractions of the image", write_voc(tmp_path, {"a": xml(fractions)}))


def turned(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)


def test_pictures_that_exif_turns(tmp_path):
    write_voc(tmp_path, {name: xml(xml_object()) for name in ("a", "bb", "ccc")})
    turned(tmp_path / "JPEGImages" / "a.jpg", 3)
    turned(tmp_path / "JPEGImages" / "bb.jpg", 2)
    (note,) = VOCDetection(tmp_path, classes=("cat",)).problems
    assert "EXIF turns 2 (a.jpg, ...) of 3 pictures, which are read upright" in note
    turned(tmp_path / "JPEGImages" / "a.jpg", 6)
    refuses(r"a\.xml: says that a\.jpg is 100x80, but it is 80x100, .* \(EXIF turns this picture", tmp_path)


def test_classes_written_alike(tmp_path):
    write_voc(tmp_path, {"a": xml(xml_object("Cat"), xml_object("cat"), xml_object("cat"))})
    (note,) = VOCDetection(tmp_path, classes=find_classes(tmp_path)).problems
    assert note.endswith("the classes 'Cat' (1 times) and 'cat' (2 times) are written almost alike; are they one?")
    refuses(r"class 'Cat' is not among the 2 given \(cat, dog\); did you mean 'cat'\? ", tmp_path)


def test_many_problems_are_counted_first(tmp_path):
    objects = [xml_object(box=(k, 5, k, 9)) for k in range(1, 8)] + [xml_object(), xml_object(box=(90, 70, 130, 99))]
    problems = VOCDetection(write_voc(tmp_path, {"a": xml(*objects)}), classes=("cat",)).problems
    assert problems[0].endswith("trainval.txt: of 9 boxes 7 are dropped and 1 clipped")
    assert len(problems) == 9


def test_pictures_without_objects(tmp_path):
    data = VOCDetection(write_voc(tmp_path, {"a": xml(), "b": xml()}), classes=("cat",))
    assert data.counts == {"cat": 0}
    assert data.problems == [f"{data.source}: none of 2 pictures has an object"]


def test_two_pictures_of_one_name(tmp_path):
    write_voc(tmp_path, {"a": xml()})
    write_voc(tmp_path, {"a": xml()}, image="{}.png")
    refuses(r"JPEGImages/a\.png: a\.jpg has the same name; keep one of them", tmp_path)


@pytest.mark.parametrize(
    "line", ["a b", "a b.jpg", "JPEGImages/a b.jpg", "a b -1", "in/c", "in\\c", "D:\\voc\\in\\c.jpg"]
)
def test_lines_of_lists(tmp_path, line):
    for folder in ("JPEGImages/in", "Annotations/in"):
        (tmp_path / folder).mkdir(parents=True)
    write_voc(tmp_path, {"a b": xml(), "in/c": xml()})
    (tmp_path / "ImageSets/Main/mine.txt").write_text(line)
    assert VOCDetection(tmp_path, "mine").names == ["in/c" if line.replace(".jpg", "").endswith("c") else "a b"]
    (tmp_path / "ImageSets/Main/mine.txt").write_text("../../evil")
    for read in (find_classes, VOCDetection):
        with pytest.raises(ValueError, match=r"mine\.txt, line 1: '\.\./\.\./evil' leads out of .*JPEGImages"):
            read(tmp_path, "mine")


def test_near_matches_are_named(tmp_path):
    write_voc(tmp_path, {"a": xml(xml_object())})
    (tmp_path / "Annotations/a.xml").rename(tmp_path / "Annotations/A.XML")
    refuses(r"Annotations/a\.xml: there is no such annotation; did you mean .*A\.XML \(in another case\)\?", tmp_path)
    (tmp_path / "JPEGImages/a.jpg").rename(tmp_path / "a.jpg")
    refuses(r"holds no picture a, named by .*; did you mean .*a\.jpg \(in another folder\)\?", tmp_path)
    refuses(
        r"Trainval\.txt: there is no such list; did you mean .*trainval\.txt \(in another case\)", tmp_path, "Trainval"
    )
    (tmp_path / "Annotations").rename(tmp_path / "annotations")
    refuses(r"has no folder Annotations; did you mean .*annotations \(in another case\)\?", tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb2312", "gbk", "big5", "shift-jis", "latin-1"])
def test_encodings_of_xml(tmp_path, encoding):
    name = "caf\xe9" if encoding == "latin-1" else "\u676f" if encoding != "utf-8" else "cafe\u0301"
    text = f'<?xml version="1.0" encoding="{encoding.replace("-sig", "")}"?>{xml(xml_object(name))}'
    write_voc(tmp_path, {"a": xml()})
    (tmp_path / "Annotations/a.xml").write_bytes(text.encode(encoding))
    assert find_classes(tmp_path) == ("caf\xe9" if encoding in ("latin-1", "utf-8") else name,)


def test_a_namespace(tmp_path):
    text = xml(xml_object()).replace("<annotation>", '<annotation xmlns="http://x">')
    assert len(VOCDetection(write_voc(tmp_path, {"a": text}), classes=("cat",))[0]["boxes"]) == 1


def test_empty_sizes_are_unknown(tmp_path):
    data = VOCDetection(write_voc(tmp_path, {"a": xml(xml_object(), size=("", ""))}), classes=("cat",))
    assert len(data[0]["boxes"]) == 1


def test_find_classes(tmp_path):
    annotations = {"a": xml(xml_object("owl"), xml_object("cat")), "b": xml(xml_object("cat")), "c": xml()}
    write_voc(tmp_path, annotations)
    assert find_classes(tmp_path) == ("cat", "owl")
    write_voc(tmp_path, {"c": xml()}, split="val")
    with pytest.raises(ValueError, match="'val' hold no object at all"):
        find_classes(tmp_path, "val")
    with pytest.raises(ValueError, match="nowhere: there is no such folder"):
        find_classes(tmp_path / "nowhere")


def test_read_annotation_leaves_impossible_boxes_to_the_caller(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(xml(xml_object("cat", (7, 7, 7, 7), difficult=1), size=(640, 480)))
    size, objects = read_annotation(path)
    assert size == (480, 640)
    assert objects == [("cat", True, (6, 6, 7, 7))]
    with pytest.raises(ValueError, match=r"b\.xml: there is no such annotation"):
        read_annotation(tmp_path / "b.xml")
