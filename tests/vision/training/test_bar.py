"""The bar keeps its width: what stands behind it gives way."""

import io

import pytest

from vision.training.bar import Bar

LOSSES = {f"loss_{i}_of_a_long_name": 1.25 for i in range(9)}


def line(columns, losses, total=123456):
    bar = Bar(total=total, initial=total // 3, unit=" images", file=io.StringIO(), disable=False, dynamic_ncols=False,
              ncols=columns)  # fmt: skip
    bar.set_description("epoch 12/100")
    bar.show(losses)
    text = str(bar)
    bar.close()
    return text


@pytest.mark.parametrize("columns", [80, 100, 200])
@pytest.mark.parametrize("losses", [{}, {"cls": 0.5}, {"cls": 0.5, "box": 0.25}, LOSSES])
def test_at_any_width_and_number_of_losses_there_is_a_whole_bar(columns, losses):
    text = line(columns, losses)
    assert len(text) <= columns
    before, bar, after = text.split("|")
    assert before == "epoch 12/100:  33%" and len(bar) == 10
    assert after.startswith(" 41152/123456 [") and after.endswith("]")


def test_losses_by_name_or_their_sum_or_none():
    assert line(200, {"cls": 0.5, "box": 0.25}).endswith(", cls 0.500, box 0.250]")
    assert line(80, {"a": 1.25}, 96).endswith(", a 1.250]")
    assert line(80, LOSSES, 96).endswith(", loss 11.250]")
    assert "loss" not in line(66, LOSSES)


def test_a_terminal_too_narrow_for_all_of_it():
    assert len(line(30, LOSSES)) <= 30


def test_no_bar_without_a_terminal():
    text = io.StringIO()
    with Bar(total=3, file=text) as bar:
        bar.show({"a": 1})
        bar.update(3)
    assert text.getvalue() == ""
