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


def test_all_boxes_may_be_dropped(tmp_path):
    data = VOCDetection(write_voc(tmp_path, {"a": xml(xml_object(box=(5, 5, 5, 5)))}), classes=("cat",))
    assert data[0]["boxes"].shape == (0, 4)
    assert len(data.problems) == 1


def test_missing_folders(tmp_path):
    refuses("nowhere: there is no such folder", tmp_path / "nowhere")
    write_voc(tmp_path / "VOCdevkit" / "VOC2007", {"a": xml()})
    refuses(r"has no folder JPEGImages; did you mean .*VOC2007\?", tmp_path / "VOCdevkit")
    refuses(r"has no folder JPEGImages; did you mean .*VOC2007\?", tmp_path)
    (tmp_path / "other" / "JPEGImages").mkdir(parents=True)
    refuses("has no folder Annotations; is it a VOC folder", tmp_path / "other")


def test_missing_list_says_which_there_are(tmp_path):
    write_voc(tmp_path, {"a": xml()}, split="val")
    write_voc(tmp_path, {"a": xml()}, split="train")
    refuses(r"test\.txt: there is no such image list; lists in this folder: train, val$", tmp_path, "test")


def test_empty_and_binary_lists(tmp_path):
    write_voc(tmp_path, {})
    refuses(r"trainval\.txt: the image list is empty", tmp_path)
    (tmp_path / "ImageSets/Main/trainval.txt").write_bytes(b"\xff\xfe\x00a")
    refuses(r"trainval\.txt: not a text file", tmp_path)


def test_list_naming_a_missing_file(tmp_path):
    write_voc(tmp_path, {"a": xml(), "b": xml()})
    (tmp_path / "Annotations" / "b.xml").unlink()
    refuses(r"trainval\.txt: names 'b', but .*Annotations/b\.xml is missing", tmp_path)
    with pytest.raises(ValueError, match=r"trainval\.txt: names 'b', but .*Annotations/b\.xml is missing"):
        find_classes(tmp_path)
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    refuses(r"trainval\.txt: names 'a', but .*JPEGImages/a\.jpg .*is missing", tmp_path)


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
        (xml("<object><name>cat</name></object>"), "<bndbox/xmin> must be a number, got None"),
        (xml(xml_object(box=("left", 1, 5, 5))), "<bndbox/xmin> must be a number, got 'left'"),
        (xml(xml_object(box=(1, 1, 5, "nan"))), "<bndbox/ymax> must be a number, got 'nan'"),
        (xml(xml_object(box=(1, 1, "inf", 5))), "<bndbox/xmax> must be a number, got 'inf'"),
        (xml(xml_object(difficult="maybe")), "<difficult> must be a number, got 'maybe'"),
        (xml(xml_object("cow")), r"class 'cow' is not among the 2 given \(cat, dog\)"),
        (xml(size=(80, 100)), r"<size> says 80x100, but a\.jpg is 100x80"),
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
    with pytest.raises(ValueError, match=r"b\.xml: not readable"):
        read_annotation(tmp_path / "b.xml")
