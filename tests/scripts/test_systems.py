"""The tables of systems are made from the registry, and are not stale."""

import pytest

import vision
from scripts import systems


@pytest.mark.parametrize("path", systems.files(), ids=lambda path: path.name)
def test_the_tables_are_up_to_date(path):
    """If this fails: python -m scripts.systems --write."""
    text = path.read_text(encoding="utf-8")
    assert systems.updated(text, path, systems.files()[path]) == text


def test_every_model_of_the_package_is_in_a_row():
    rows = [entries for groups in systems.tasks().values() for entries in groups]
    names = [entry.name for entries in rows for entry in entries]
    assert sorted(names) == sorted(n for n, e in vision.MODELS.items() if e.module.startswith("vision."))
    assert sum("| `vision/" in line for line in systems.table().splitlines()) == len(rows)
    assert all(entry.paper for entries in rows for entry in entries[:1] if entry.system != "Full-resolution stack")
    assert all(entries[0].system in systems.overview() for entries in rows)


def test_the_files_are_written_between_their_marks(tmp_path, capsys, error_of, monkeypatch):
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "README.md", tmp_path / "docs" / "systems.md"):
        path.write_text(f"before\n{systems.BEGIN}\nold\n{systems.END}\nafter\n")
    made = {tmp_path / "README.md": systems.overview, tmp_path / "docs" / "systems.md": systems.table}
    monkeypatch.setattr(systems, "files", lambda: made)
    assert systems.main(["--write"]) == 0
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| Faster R-CNN | Ren et al. 2015, [arXiv:1506.01497]" in text
    assert systems.main([]) == 0
    assert capsys.readouterr().out.strip() in text
    path.write_text("nothing")
    assert "has no marks for the table" in error_of(systems.main, "--write")
