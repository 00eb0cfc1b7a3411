"""Class lists in every form, the values of label pictures looked up in them, and palette PNGs."""

import json
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets import LabelMap, read_label_map, read_label_picture, voc_palette, write_label_picture
from datasets.label_maps import numbered

SKY, CAR, VAN, VOID = (128, 128, 128), (64, 0, 128), (64, 128, 192), (0, 0, 0)


def packed(colour):
    return colour[0] * 65536 + colour[1] * 256 + colour[2]


COLOURS = LabelMap(("sky", "car"), {packed(SKY): 0, packed(CAR): 1, packed(VAN): 1, packed(VOID): -1}, colours=True)


@pytest.mark.parametrize(
    "name, text, wanted",
    [
        ("a.txt", "sky\ntraffic light\n\nunlabelled\n", LabelMap(("sky", "traffic light"), {0: 0, 1: 1, 2: -1})),
        ("a.txt", "sky 4\r\nroad 7\nIgnore 255\nroad 9", LabelMap(("sky", "road"), {4: 0, 7: 1, 9: 1, 255: -1})),
        ("a.txt", "sky 128 128 128\ncar 64 0 128\ncar 64 128 192\nvoid 0 0 0", COLOURS),
        ("a.json", json.dumps({"sky": SKY, "car": [CAR, VAN], "void": VOID}), COLOURS),
        ("a.json", '{"sky": 4, "road": [[7], [9]], "ignore": 5}', LabelMap(("sky", "road"), {4: 0, 7: 1, 9: 1, 5: -1})),
    ],
)  # fmt: skip
def test_class_lists(tmp_path, name, text, wanted):
    (tmp_path / name).write_text(text)
    assert read_label_map(tmp_path / name) == wanted


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.txt", "\n\n", "the class list is empty; write a class per line"),
        ("a.txt", "void\nignore", "names no class that counts, only ignore, void"),
        ("a.txt", "sky 1\nroad 2 3 4", "all classes need a value, or all a colour of three values, or none has any"),
        ("a.txt", "sky 1 2\nroad 2 3", "all classes need a value, or all a colour"),
        ("a.txt", "sky 1\nroad 1", "road: its value 1 is another class's already"),
        ("a.txt", "sky 1 2 3\nroad 1 2 300", r"road: \[1, 2, 300\] must be whole numbers, a colour's from 0 to 255"),
        ("a.json", '{"sky": 1.5}', r"sky: \[1.5\] must be whole numbers"),
        ("a.json", '{"sky": [true, 2, 3]}', r"sky: \[True, 2, 3\] must be whole numbers"),
        ("a.json", '["sky"]', r'must hold an object, {"name": value or \[red, green, blue\], ...}'),
        ("a.json", '{"sky": ', "Expecting value"),
        ("a.json", '{"sky": 1, "road": 2, "sky": 3}', "'sky' comes twice; give one name a list of values"),
        ("a.json", "[" * 100_000, "is nested too deeply for a class list"),
        ("a.txt", "class 1\nclass 2", "all lines are one class, 'class', as digits at the end are a value: write cla"),
        ("a.txt", "sky\n0 road", "'0 road' must be a name, then its value or colour if there is one, no commas"),
        ("a.txt", "7", "'7' must be a name"),
        ("a.txt", "sky, 4", "'sky, 4' must be a name"),
    ],
)
def test_a_bad_class_list_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name}: {message}"):
        read_label_map(tmp_path / name)


def test_a_class_list_that_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"sky\n\xff")
    with pytest.raises(ValueError, match=r"a\.txt, line 2: not a text file in UTF-8 \(byte 0xff at 4\)"):
        read_label_map(tmp_path / "a.txt")


def saved(path, values, mode=None):
    Image.fromarray(np.array(values), mode).save(path)
    return path


def test_numbers_are_looked_up(tmp_path):
    values = np.random.default_rng(0).choice([0, 1, 2, 255], (9, 11))
    found = numbered(["a", "b", "c"], ignore=[255]).read(saved(tmp_path / "a.png", values.astype(np.uint8)))
    np.testing.assert_array_equal(found, np.where(values == 255, -1, values))
    assert found.dtype == np.int64


def test_colours_are_looked_up_in_rgb_and_palette_pictures(tmp_path):
    which = np.random.default_rng(0).integers(0, 4, (9, 11))
    picture = Image.fromarray(np.array([SKY, CAR, VAN, VOID], np.uint8)[which])
    picture.save(tmp_path / "rgb.png")
    picture.quantize(4).save(tmp_path / "palette.png")
    for name in ("rgb.png", "palette.png"):
        np.testing.assert_array_equal(COLOURS.read(tmp_path / name), np.array([0, 1, 1, -1])[which])


def test_strange_values_are_counted_and_named(tmp_path):
    values = np.zeros((8, 8), np.uint8)
    values[0, :3], values[1, 0] = 9, 12
    wanted = (
        "a.png: 2 values outside the class list: 9 (3 pixels), 12 (1 pixels); the list has "
        "sky 0, road 1, ignore 255; add what is missing, or name it ignore to leave it out"
    )
    with pytest.raises(ValueError, match=re.escape(wanted) + "$"):
        numbered(["sky", "road"], ignore=[255]).read(saved(tmp_path / "a.png", values))
    picture = np.full((8, 8, 3), SKY, np.uint8)
    picture[2, 2] = (1, 2, 3)
    with pytest.raises(ValueError, match=r"1 colour outside the class list: 1 2 3 \(1 pixels\); the list has sky 128"):
        COLOURS.read(saved(tmp_path / "b.png", picture))


def test_other_order_of_classes():
    label_map = numbered(["a", "b"], ignore=[9])
    assert label_map.renumbered(["b", "c", "a"]) == LabelMap(("b", "c", "a"), {0: 2, 1: 0, 9: -1})
    assert label_map.renumbered(None) is label_map
    with pytest.raises(ValueError, match="the class list has 'b', which is not among the classes a, c"):
        label_map.renumbered(["a", "c"])
    for twice in (lambda: label_map.renumbered(["a", "b", "a"]), lambda: numbered("aba")):
        with pytest.raises(ValueError, match="the classes a, b, a have 'a' twice; give each name once"):
            twice()


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "I;16", "RGBA"])
def test_the_values_of_every_kind_of_picture(tmp_path, mode):
    values = np.random.default_rng(0).integers(0, 2, (8, 9)).astype(np.uint8)
    picture = Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values * (255 if mode == "1" else 1))
    picture = picture if mode in ("L", "I;16") else picture.convert(mode)
    picture.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode == mode or (written.mode, mode) == ("I", "I;16")  # in older Pillows
    np.testing.assert_array_equal(read_label_picture(tmp_path / "a.png"), values)


def test_sixteen_bits(tmp_path):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    np.testing.assert_array_equal(read_label_picture(saved(tmp_path / "a.png", values)), values)


def png(path, values, bits, kind):
    """A PNG as its specification has it. values (H, W, channels); kind 0: grey, 2: RGB, 3: palette, 4: LA, 6: RGBA."""
    rows = ["".join(f"{value:0{bits}b}" for value in row.ravel()) for row in values]
    rows = [row + "0" * (-len(row) % 8) for row in rows]
    data = b"".join(b"\0" + int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], len(values), bits, kind, 0, 0, 0))]
    chunks += [(b"PLTE", bytes(range(3 * 2**bits)))] if kind == 3 else []
    chunks += [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    content = [struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    return path


@pytest.mark.parametrize("bits, kind", [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (1, 3), (2, 3), (4, 3)])
def test_values_of_any_number_of_bits_are_those_in_the_file(tmp_path, bits, kind):
    values = np.random.default_rng(0).integers(0, 2**bits, (8, 9, 1))
    np.testing.assert_array_equal(read_label_picture(png(tmp_path / "a.png", values, bits, kind)), values[..., 0])


@pytest.mark.parametrize("kind, channels", [(2, 3), (4, 2), (6, 4)])
@pytest.mark.parametrize("colours", [False, True])
def test_sixteen_bits_a_channel_are_not_read_as_eight(tmp_path, kind, channels, colours):
    path = png(tmp_path / "a.png", np.full((8, 9, channels), 259), 16, kind)
    with pytest.raises(ValueError, match=r"a\.png: holds 16 bits a channel, .* save as 8-bit PNG"):
        read_label_picture(path, colours)
    eight = png(tmp_path / "b.png", np.full((8, 9, channels), 3), 8, kind)
    assert (read_label_picture(eight) == 3).all()


def test_files_that_do_not_keep_values_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.jpg: a JPEG does not keep the values of pixels; save .* as PNG"):
        read_label_picture(saved(tmp_path / "a.jpg", np.zeros((8, 9), np.uint8)))
    for colours in (False, True):
        with pytest.raises(ValueError, match=r"a\.tif: holds floating-point pixels"):
            read_label_picture(saved(tmp_path / "a.tif", np.zeros((8, 9), np.float32)), colours)


def test_colours_where_numbers_are_wanted(tmp_path):
    path = saved(tmp_path / "a.png", np.full((8, 8, 3), CAR, np.uint8))
    with pytest.raises(ValueError, match=r"a\.png: holds colours, but the classes have values: write their colours"):
        read_label_picture(path)


def test_the_palette_of_voc():
    """The first colours as its development kit prints them."""
    wanted = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    wanted += [(128, 128, 128), (64, 0, 0)]
    assert voc_palette(9).tolist() == [list(colour) for colour in wanted]
    assert voc_palette()[255].tolist() == [224, 224, 192]
    assert len(np.unique(voc_palette(), axis=0)) == 256


def test_palette_pictures_come_back(tmp_path):
    labels = np.random.default_rng(0).integers(-1, 21, (8, 9))
    write_label_picture(tmp_path / "a.png", labels)
    found = numbered(map(str, range(21)), ignore=[255]).read(tmp_path / "a.png")
    np.testing.assert_array_equal(found, labels)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(
            np.array(picture.convert("RGB"))[labels == 20], [[0, 64, 128]] * (labels == 20).sum()
        )
    with pytest.raises(ValueError, match=r"labels must be \(H, W\) in -1 .. 254 .* got \(8, 9\), -1 .. 255"):
        write_label_picture(tmp_path / "a.png", np.where(labels == 20, 255, labels))


def test_tables_and_bands_look_up_what_a_dict_does(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.label_maps.BAND", 50)
    monkeypatch.setattr("datasets.pictures.BAND", 50)
    rng = np.random.default_rng(0)
    for dtype, values in ((np.uint8, [0, 7, 9, 255]), (np.uint16, [0, 7, 300, 65535])):
        label_map = LabelMap(("a", "b", "c"), dict(zip(values, (1, 0, 2, -1))))
        picture = rng.choice(values, (20, 30)).astype(dtype)
        wanted = np.vectorize(label_map.labels.get)(picture)
        found = label_map.read(saved(tmp_path / "a.png", picture))
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == np.int64
        picture[-1, -1] = 8
        with pytest.raises(ValueError, match=r"a\.png: 1 value outside the class list: 8 \(1 pixels\)"):
            label_map.read(saved(tmp_path / "a.png", picture))
    colours = np.array([SKY, CAR, VAN, VOID])[rng.integers(0, 4, (20, 30))]
    wanted = np.vectorize(COLOURS.labels.get)(colours @ [65536, 256, 1])
    np.testing.assert_array_equal(COLOURS.read(saved(tmp_path / "b.png", colours.astype(np.uint8))), wanted)


def test_values_of_a_class_list_beyond_eight_bits_do_no_harm(tmp_path):
    label_map = LabelMap(("a", "b"), {1: 0, 300: 1})
    assert (label_map.read(saved(tmp_path / "a.png", np.ones((8, 9), np.uint8))) == 0).all()


@pytest.mark.parametrize("colours", [False, True])
def test_looking_up_takes_little_more_memory_than_the_labels(tmp_path, monkeypatch, colours):
    monkeypatch.setattr("datasets.label_maps.BAND", 1 << 12)
    monkeypatch.setattr("datasets.pictures.BAND", 1 << 12)
    path = saved(tmp_path / "a.png", np.zeros((800, 600, 3) if colours else (800, 600), np.uint8))
    label_map = COLOURS if colours else LabelMap(("a",), {0: 0})
    tracemalloc.start()
    labels = label_map.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * labels.nbytes


def test_label_pictures_have_a_limit_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.palette.MAX_PIXELS", 100)
    with pytest.raises(ValueError, match=r"a\.png: the image is 11x10, .* are read at most; scale it down"):
        read_label_picture(saved(tmp_path / "a.png", np.zeros((10, 11), np.uint8)))
