"""The map from lectures to files names files that exist and commands that there are, the same in both languages."""

import re
from pathlib import Path

import pytest

import nn
import vision
from scripts.gradcheck import layer_names, loss_names

ROOT = Path(__file__).parents[1]
MAPS = ("docs/lectures.md", "docs/lectures.ko.md")


def cells(path):
    """The file, command and tour columns of all rows."""
    rows = [line.split("|") for line in (ROOT / path).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in row[2:5]) for row in rows if len(row) == 6]


@pytest.mark.parametrize("path", MAPS)
def test_files_exist(path):
    for files, _, _ in cells(path):
        folder = None
        for name in re.findall(r"`([\w/]+\.py)`", files):
            folder = Path(name).parent if "/" in name else folder  # later names of a row are in the folder before
            assert (ROOT / folder / Path(name).name).is_file(), name


@pytest.mark.parametrize("path", MAPS)
def test_commands_exist(path):
    known = {*layer_names(), *loss_names(), *vision.MODELS}
    assert nn  # registers the cases
    for _, commands, _ in cells(path):
        for script, arguments in re.findall(r"`python -m scripts\.(\w+) ?([^`]*)`", commands):
            assert (ROOT / "scripts" / f"{script}.py").is_file()
            names = arguments.split() if script == "gradcheck" else re.findall(r"--model (\w+)", arguments)
            assert set(names) <= known, names


def test_both_languages_have_the_same_rows():
    english, korean = (cells(path)[:] for path in MAPS)
    assert [row for row in english if "`" in row[0]] == [row for row in korean if "`" in row[0]]


def test_the_map_names_every_step_of_the_tour():
    linked = {name for _, _, steps in cells(MAPS[0]) for name in re.findall(r"tour/(step_\w+\.py)", steps)}
    assert linked == {path.name for path in (ROOT / "docs" / "tour").glob("step_*.py")}


PAGES = sorted(str(page.relative_to(ROOT)) for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere_and_no_merge_is_unfinished(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / path).parent / target).exists(), target
    assert not re.search("^(<{7} |={7}$|>{7} )", text, re.MULTILINE)  # an unfinished merge
