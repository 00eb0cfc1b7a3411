"""Text files in every encoding that is read, their lines, and what is refused with line and byte."""

import json
import unicodedata

import pytest

from datasets.text import read_json, read_lines, read_text

TEXT = "one élève\ntwo \u2028 three\n"
NO_LINE_ENDS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "a.txt") == TEXT


@pytest.mark.parametrize("mark, encoding", [(b"\xfe\xff", "utf-16-be"), (b"\x00\x00\xfe\xff", "utf-32-be")])
def test_the_other_byte_order(tmp_path, mark, encoding):
    (tmp_path / "a.txt").write_bytes(mark + TEXT.encode(encoding))
    assert read_text(tmp_path / "a.txt") == TEXT


def test_decomposed_letters_are_composed(tmp_path):
    (tmp_path / "a.txt").write_text(unicodedata.normalize("NFD", TEXT), encoding="utf-8")
    assert read_text(tmp_path / "a.txt") == TEXT


def test_lines_end_at_newlines_alone(tmp_path):
    for character in NO_LINE_ENDS:
        (tmp_path / "a.txt").write_bytes(f"a{character}b\r\nc\n\nd".encode())
        assert read_lines(tmp_path / "a.txt") == [f"a{character}b", "c", "", "d"]
    (tmp_path / "a.txt").write_bytes(b"")
    assert read_lines(tmp_path / "a.txt") == []
    (tmp_path / "a.txt").write_bytes(b"a\n")
    assert read_lines(tmp_path / "a.txt") == ["a"]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a\nb\xe9c", r"a\.txt, line 2: not a text file in UTF-8 \(byte 0xe9 at 3\); save it as UTF-8"),
        (b"\xff\xfea", r"a\.txt, line 1: not a text file in UTF-16 \(byte 0x61 at 2\)"),
        (b"a\nb\0c", r"a\.txt, line 2: not a text file \(it holds zero bytes\)"),
        ("ab".encode("utf-16-le"), "line 1: not a text file"),
        (b"a\rb\r", "its lines end in carriage returns alone; save it with line ends"),
        (None, r"a\.txt: there is no such file; give a text file$"),
    ],
)
def test_what_is_no_text(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_lines(tmp_path / "a.txt")
    assert "\n" not in str(error.value)


def test_folders_are_no_text(tmp_path):
    with pytest.raises(ValueError, match="is a folder; give a text file"):
        read_text(tmp_path)


def test_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"é": ["\u2028"]}, ensure_ascii=False), encoding="utf-16")
    assert read_json(path) == {"é": ["\u2028"]}
    for content in ("", "{", "[1,]", "[" * 100_000):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"a\.json: not readable as JSON \("):
            read_json(path)


def test_half_of_a_character_in_json_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('["\\ud83d\\ude00", "\\u0041", "\\\\ud800"]')
    assert read_json(path) == ["😀", "A", "\\ud800"]
    path.write_text('{"name": "ca\\ud800t"}')
    with pytest.raises(ValueError, match=r"a\.json: holds '\\ud800', half of a character; correct or export it again"):
        read_json(path)
