import pytest

from datasets import read_text, read_texts


def test_lines_end_in_newlines_alone_and_the_mark_goes(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo\rthr\u00e9e\n".encode())
    assert read_text(tmp_path / "a.txt") == "one\ntwo\rthr\u00e9e\n"


def test_all_texts_of_a_folder_in_order(tmp_path):
    for name, text in {"b.txt": "second", "a.txt": "first\n", "c.md": "no"}.items():
        (tmp_path / name).write_text(text)
    assert read_texts(tmp_path) == "first\n\nsecond"
    assert read_texts(tmp_path / "c.md") == "no"  # named, so meant


def test_bad_input(tmp_path):
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "folder").mkdir()
    cases = [
        (read_text, "none.txt", "none.txt: there is no such file; give a text file"),
        (read_text, "folder", "folder: is a folder; give a text file"),
        (read_text, "latin.txt", r"latin.txt, line 1: not a text file in UTF-8 \(byte 0xe9 at 3\); save it as UTF-8"),
        (read_texts, "none", "none: there is no such file or folder; give a text file, or a folder of .txt files"),
        (read_texts, "folder", "folder: this folder holds no .txt files; give another, or a text file"),
        (read_texts, "empty.txt", "empty.txt: holds no text; give a file that is not empty"),
    ]
    for function, name, message in cases:
        with pytest.raises(ValueError, match=message):
            function(tmp_path / name)
