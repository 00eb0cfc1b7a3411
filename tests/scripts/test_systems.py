"""The README's table of systems is made from the registry, and is not stale."""

from pathlib import Path

import vision
from scripts import systems

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_is_up_to_date():
    """If this fails: python -m scripts.systems --write README.md."""
    text = README.read_text(encoding="utf-8")
    assert systems.updated(text, README) == text


def test_every_model_of_the_package_is_in_a_row():
    rows = systems.systems()
    names = [entry.name for entries in rows for entry in entries]
    assert sorted(names) == sorted(n for n, e in vision.MODELS.items() if e.module.startswith("vision."))
    assert len(systems.table().splitlines()) == 2 + len(rows)
    assert all(entry.paper for entries in rows for entry in entries[:1] if entry.system != "Full-resolution stack")


def test_a_file_is_written_between_its_marks(tmp_path, capsys, error_of):
    path = tmp_path / "a.md"
    path.write_text(f"before\n{systems.BEGIN}\nold\n{systems.END}\nafter\n")
    assert systems.main(["--write", path]) == 0
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| Faster R-CNN | Ren et al. 2015, [arXiv:1506.01497]" in text
    assert systems.main([]) == 0
    assert capsys.readouterr().out.strip() in text
    path.write_text("nothing")
    assert "has no marks for the table" in error_of(systems.main, "--write", path)
