import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets import image_size, read_image, read_label_picture
from datasets.headers import notes_on, read_header, turned_hint
from datasets.pictures import pictures
from vision.preprocess import open_photograph


def noise(h=12, w=17, seed=0):
    """Smooth enough for JPEG to keep it nearly."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((w, h), Image.Resampling.BICUBIC))


def one_line(error):
    return "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.gif", "a.jpg"])
def test_file_formats_come_out_as_rgb(tmp_path, name):
    pixels = noise()
    if name == "a.gif":  # 256 colours at most
        pixels = pixels // 128 * 255
    options = {"quality": 95, "subsampling": 0} if name == "a.jpg" else {}
    Image.fromarray(pixels).save(tmp_path / name, **options)
    read = read_image(tmp_path / name)
    assert read.shape == (12, 17, 3)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    assert read.flags.c_contiguous
    assert np.abs(read.astype(int) - pixels).max() <= (20 if name == "a.jpg" else 0)
    assert image_size(tmp_path / name) == (12, 17)


def test_a_string_is_a_path_too(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png")), noise())


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_colour_modes(tmp_path, mode):
    image = Image.fromarray(noise()).convert(mode)
    path = tmp_path / ("a.png" if mode in ("L", "1", "P") else "a.tif")
    image.save(path)
    np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))


def test_grey_is_repeated_in_three_channels(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.stack([grey] * 3, axis=2))


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)  # magenta and yellow ink
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() < 8


def test_16_bit_grey_is_scaled_to_8(tmp_path):
    values = np.resize(np.array([0, 128, 129, 257, 32768, 65278, 65535], dtype=np.uint16), (10, 14))
    expected = np.resize([0, 0, 1, 1, 128, 254, 255], (10, 14))  # value / 257, rounded half up
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        for channel in range(3):
            np.testing.assert_array_equal(read_image(tmp_path / name)[..., channel], expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_laid_over_white(tmp_path, mode):
    pixels = np.zeros((8, 9, 4), dtype=np.uint8)  # black ...
    pixels[:4, :, 3] = 255  # ... opaque above, transparent below
    image = Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert (read[:4] == 0).all()
    assert (read[4:] == 255).all()


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (8, 8), (100, 0, 255, 51)).save(tmp_path / "a.png")  # 51 / 255 = 0.2
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - (224, 204, 255)).max() <= 1


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_exif_orientation_is_applied(tmp_path, name):
    pixels = np.zeros((16, 24, 3), dtype=np.uint8)
    pixels[:8] = 255  # the camera's upper side
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    Image.fromarray(pixels).save(tmp_path / name, exif=exif)
    read = read_image(tmp_path / name)
    assert read.shape == (24, 16, 3)
    assert read[:, 9:].min() > 230
    assert read[:, :7].max() < 25
    assert image_size(tmp_path / name) == (24, 16)


@pytest.mark.parametrize("read", [read_image, image_size])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jpg", None, "no such image file"),
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"this is not a picture at all\n" * 20, "not an image"),
        ("header.png", b"\x89PNG\r\n\x1a\n", "not an image|cannot be decoded"),
    ],
)
def test_bad_files(tmp_path, read, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*({message})") as error:
        read(tmp_path / name)
    assert one_line(error)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    Image.new("RGB", (9, 8)).save(tmp_path / "a.png")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("datasets.pictures.open_binary", refuse)  # root may read all files
    with pytest.raises(ValueError, match=r"a\.png: you may not read it \(Permission denied\); change its permissions"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, image_size])
def test_a_folder_is_no_image(tmp_path, read):
    with pytest.raises(ValueError, match="is a folder, no image file"):
        read(tmp_path)


@pytest.mark.parametrize("read", [read_image, image_size])
@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_too_small(tmp_path, read, size):
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png: the image is {size[0]}x{size[1]}, need at least 8x8"):
        read(tmp_path / "a.png")


def test_the_smallest_size(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("read", [read_image, image_size])
def test_cut_off_at_any_place(tmp_path, name, read):
    whole, cut = tmp_path / name, tmp_path / f"cut_{name}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(whole)
    content = whole.read_bytes()
    for length in np.linspace(1, len(content) * 0.97, 40).astype(int):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"cut_{name}") as error:
            read(cut)
        assert one_line(error)


def test_padding_behind_the_end_is_harmless(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(40, 50)).save(path)
    for padding in (b"\0" * 20, b"\0" * 2000):  # the second is found complete by decoding
        path.write_bytes(path.read_bytes() + padding)
        assert image_size(path) == (40, 50)
        assert read_image(path).shape == (40, 50, 3)


def test_damaged_bytes_give_an_image_or_a_value_error(tmp_path):
    """No other exception type escapes, whatever Pillow's decoders raise."""
    rng = np.random.default_rng(1)
    for name in ("a.jpg", "a.png"):
        path = tmp_path / name
        Image.fromarray(noise(40, 50)).save(path)
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        refused = 0
        for _ in range(60):
            damaged = content.copy()
            damaged[rng.integers(0, min(400, len(content)), 4)] = rng.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            for read in (read_image, image_size):
                try:
                    read(path)
                except ValueError as error:
                    refused += name in str(error)
        assert refused > 5


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.random.default_rng(0).random((9, 9), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif.*floating-point.*8-bit"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.webp", "a.TIFF", "a.jpeg", "a.BMP"])
def test_all_usual_kinds_are_listed(tmp_path, name):
    Image.fromarray(noise()).save(tmp_path / name)
    assert pictures(tmp_path) == {"a": tmp_path / name}
    assert read_image(tmp_path / name).shape == (12, 17, 3)


def test_names_keep_spaces_dots_and_folders(tmp_path):
    for name in ("a 1.v2.jpg", "0--Parade/x.png", "._a.jpg", ".DS_Store", "Thumbs.db", "notes.txt", "e\u0301.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert list(pictures(tmp_path)) == ["0--Parade/x", "a 1.v2", "\xe9"]
    with pytest.raises(ValueError, match="none: there is no such folder"):
        pictures(tmp_path / "none")


@pytest.mark.parametrize("first, second", [("a.jpg", "a.png"), ("in/a.jpg", "in/a.JPG"), ("\xe9.jpg", "e\u0301.jpg")])
def test_two_pictures_of_one_name_are_refused(tmp_path, first, second):
    for name in (first, second):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match="has the same name; keep one of them"):
        pictures(tmp_path)


@pytest.mark.parametrize("read", [read_image, image_size])
@pytest.mark.parametrize("side, words", [(13000, "(13000x13000, )?169 million"), (20000, "400 million")])
def test_a_small_file_of_too_many_pixels_is_refused_undecoded(tmp_path, read, side, words):
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", b"nothing to decode"), (b"IEND", b""))
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(
        ValueError, match=rf"a\.png: the image is {words} pixels, 64 million are read at most; scale it"
    ):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_turned_tiffs(tmp_path, orientation, compression):
    """Pillow turns TIFFs by itself, and says their size before or after it."""
    pixels, exif = np.arange(12 * 17, dtype=np.uint8).reshape(12, 17), Image.Exif()
    exif[0x0112] = orientation
    for name, colours in (("a.tif", pixels), ("b.tif", np.repeat(pixels[..., None], 3, axis=2))):
        Image.fromarray(colours).save(tmp_path / name, exif=exif, compression=compression)
        turned = np.rot90(pixels, -1) if orientation >= 5 else pixels
        mirrored = {2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 1), 7: (1, 0), 8: (1, 1)}.get(orientation, (0, 0))
        wanted = np.flip(turned, [axis for axis in (0, 1) if mirrored[axis]])
        np.testing.assert_array_equal(read_image(tmp_path / name), np.repeat(wanted[..., None], 3, axis=2))
        np.testing.assert_array_equal(open_photograph(tmp_path / name)[..., 0], wanted)
        assert image_size(tmp_path / name) == wanted.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_headers_say_what_exif_turns(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise()).save(tmp_path / "a.jpg", exif=exif)
    header = read_header(tmp_path / "a.jpg")
    assert header[:2] == read_image(tmp_path / "a.jpg").shape[:2] == ((17, 12) if orientation >= 5 else (12, 17))
    assert header.turned == (orientation > 1)
    assert bool(turned_hint(header, (12, 17))) == (orientation >= 5)
    assert not turned_hint(header, (9, 9))


def test_twelve_bits_in_sixteen(tmp_path):
    for name, top in (("a", 4095), ("b", 4096), ("c", 255)):
        Image.fromarray(np.linspace(0, top, 80).astype(np.uint16).reshape(8, 10)).save(tmp_path / f"{name}.png")
    headers = {path: read_header(path) for path in sorted(tmp_path.iterdir())}
    assert [header.dim for header in headers.values()] == [True, False, False]
    assert len(np.unique(read_image(tmp_path / "a.png"))) == 17
    (note,) = notes_on(headers)
    assert note.startswith("1 (a.png) of 3 pictures have 16 bits, but only values below 4096 (12 bits?)")


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_frames_and_pages_behind_the_first(tmp_path, name):
    """Of an animation or a TIFF of several pages the first is read, and the header says that there are more."""
    frames = [Image.fromarray(np.full((12, 17, 3), value, np.uint8)) for value in (0, 128, 255)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    assert read_header(tmp_path / name) == (12, 17, False, False, True) and read_image(tmp_path / name).max() == 0
    frames[0].save(tmp_path / name)
    assert not read_header(tmp_path / name).more
    if name == "a.tif":
        frames = [frame.convert("L") for frame in frames]
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(ValueError, match="a.tif: holds several frames or pages, and which has the labels"):
            read_label_picture(tmp_path / name)


def test_a_missing_picture_names_what_is_near(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.PNG")
    with pytest.raises(
        ValueError, match=r"a\.jpg: there is no such image file; did you mean .*a\.PNG \(with another end"
    ):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "I;16", "CMYK"])
def test_reading_takes_little_more_memory_than_the_pixels(tmp_path, monkeypatch, mode):
    """Conversions go band by band, also where EXIF turns the picture."""
    monkeypatch.setattr("datasets.pictures.BAND", 1 << 12)
    path, image = tmp_path / "a.tif", Image.fromarray(noise(600, 800))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = image if mode == "I;16" else image.convert(mode)
    image.save(path, exif=exif)
    tracemalloc.start()
    pixels = read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (800, 600, 3) and pixels.flags.c_contiguous
    assert peak < 1.5 * pixels.nbytes


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "1"])
def test_bands_make_no_difference(tmp_path, monkeypatch, mode):
    Image.fromarray(noise(50, 40)).convert(mode).save(tmp_path / "a.png")
    whole = read_image(tmp_path / "a.png")
    monkeypatch.setattr("datasets.pictures.BAND", 100)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), whole)
