"""The tour: every step runs, keeps to its form, and uses nothing that is not explained yet; the solutions run, too."""

import ast
import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from docs.tour import __main__ as tour

FOLDER = Path(tour.__file__).parent
FREE = {"numpy", "docs.tour", "datasets", *sys.stdlib_module_names}  # docs.tour: drawing


def explained():
    """{number of the step: the library's names that it explains}, from the table in the README."""
    rows = [line.split("|") for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("| [")]
    return {int(row[1].split("[")[1].split()[0]): set(re.findall(r"`([\w.]+)`", row[3])) for row in rows}


def imported(path):
    """(module, name) of each import of a file, and each attribute of nn that it uses as nn.Name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name != "nn")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nn":
            yield "nn", node.attr


def test_the_table_has_all_steps_in_order():
    rows = re.findall(r"^\| \[(\d+) .*?\]\((step_(\d\d)_\w+)\.py\)", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert [name for _, name, _ in rows] == tour.STEPS
    assert [(int(number), int(two)) for number, _, two in rows] == [(i, i) for i in range(1, len(rows) + 1)]


@pytest.mark.parametrize("name", tour.STEPS)
def test_a_step_runs_and_ends_in_something_printed_or_drawn(name, tmp_path, capsys):
    import_module(f"docs.tour.{name}").main(tmp_path)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) >= 2
    assert [path.name for path in tmp_path.iterdir()] == re.findall(r"the picture is \S+/(\S+)", printed)


@pytest.mark.parametrize(
    "name, function",
    [
        ("step_01_neuron", "backward"),
        ("step_04_softmax_cross_entropy", "ours"),
        ("step_05_convolution", "conv_loops_backward"),
        ("step_05_convolution", "conv_matrix_backward"),
        ("step_06_transposed_convolution", "stamp"),
        ("step_07_pooling", "put_back"),
        ("step_08_batch_normalisation", "backward"),
        ("step_09_residual", "along"),
        ("step_10_training_loop", "descend"),
        ("step_12_rnn", "backward"),
        ("step_13_lstm", "step_backward"),
        ("step_14_attention", "backward"),
        ("step_15_boxes", "overlap"),
        ("step_16_anchors", "deltas_to"),
        ("step_17_roi_pooling", "roi_align"),
        ("step_17_roi_pooling", "roi_pool_backward"),
        ("step_19_masks", "binary_cross_entropy"),
        ("step_20_reinforce", "estimates"),
    ],
)
def test_a_wrong_sign_stops_a_step(name, function, monkeypatch, tmp_path):
    step, changed, outputs = import_module(f"docs.tour.{name}"), 0, 1
    right = getattr(step, function)

    def wrong(*args, **options):  # the sign of output number `changed`
        nonlocal outputs
        result = right(*args, **options)
        if not isinstance(result, tuple):
            return -result
        outputs = sum(isinstance(one, (np.ndarray, float)) for one in result)  # these come first, caches after them
        return *result[:changed], -result[changed], *result[changed + 1 :]

    monkeypatch.setattr(step, function, wrong)
    while changed < outputs:
        with pytest.raises(AssertionError):
            step.main(tmp_path)
        changed += 1


@pytest.mark.parametrize("name", tour.STEPS)
def test_a_step_keeps_to_its_form(name):
    text, number = (FOLDER / f"{name}.py").read_text(), int(name[5:7])
    assert 40 <= len(text.splitlines()) <= 120
    assert text.startswith(f'"""Step {number}. ')
    assert text.split("\n\n")[1].startswith("Question: ")
    end = text[text.index(f"# Exercises (answers: solutions/{name}.py)") :]
    assert re.findall(r"^# (\d)\. ", end, re.MULTILINE) == ["1", "2"]


@pytest.mark.parametrize("name", tour.STEPS)
def test_a_step_imports_only_what_is_explained(name):
    number, known = int(name[5:7]), explained()
    names = set().union(*(known[n] for n in range(1, number + 1)))
    for module, imported_name in imported(FOLDER / f"{name}.py"):
        earlier = re.fullmatch(r"docs\.tour\.step_(\d\d)_\w+", module)
        fine = module in FREE or imported_name in names or (earlier and int(earlier[1]) < number)
        assert fine, f"step {number} uses {imported_name} of {module}, which no step up to it explains"


@pytest.mark.parametrize("name", tour.STEPS)
def test_solutions_are_right(name, capsys):
    solutions = import_module(f"docs.tour.solutions.{name}")
    solutions.exercise_1()
    solutions.exercise_2()
    assert solutions.exercise_1.__doc__
    assert solutions.exercise_2.__doc__
    assert capsys.readouterr().out


def test_the_solutions_have_no_other_files():
    assert sorted(path.stem for path in (FOLDER / "solutions").glob("*.py")) == tour.STEPS


def test_the_tour_in_one_go_names_each_step(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tour, "STEPS", tour.STEPS[:2])
    tour.main(tmp_path)
    printed = capsys.readouterr().out
    assert "Step 1. A neuron" in printed and "Question: how do we write down" in printed and "2 steps in" in printed
