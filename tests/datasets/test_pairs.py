import re
from datetime import date

import pytest

from datasets import Dates, Reversal, read_pairs


def test_dates_in_their_second_form_are_those_of_the_first():
    months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    dates, forms = Dates(400, seed=3), set()
    for i in range(len(dates)):
        text, target = dates[i]["text"], date.fromisoformat(dates[i]["target"])
        numbers = [int(n) for n in re.findall(r"\d+", text)]
        names = re.findall(r"[a-z]+", re.sub(r"(?<=\d)(st|nd|rd|th)|\bof\b", "", text))
        assert target.day in numbers
        assert numbers[-1] in (target.year, target.year - 2000)
        for name in names:
            wanted = (months[target.month - 1], days[target.weekday()])
            assert name[:3] in wanted
        if not any(name[:3] in months for name in names):
            assert numbers[1] == target.month
        forms.add(re.sub(r"[a-z]+", "a", re.sub(r"\d+", "0", text)))
    assert len(forms) > 20
    assert {dates[i]["target"][:4] for i in range(400)} > {"2001", "1999"}


def test_reversal():
    pairs = Reversal(50)
    for i in range(50):
        words = pairs[i]["text"].split()
        assert pairs[i]["target"].split() == words[::-1]
        assert 8 <= len(words) <= 20


@pytest.mark.parametrize("kind", [Dates, Reversal])
def test_samples_depend_on_seed_and_index_alone(kind):
    assert kind(3, seed=5)[2] == kind(30, seed=5)[2]
    assert kind(3, seed=5)[2] == kind(3, seed=5)[-1]
    assert kind(3, seed=5)[2] != kind(3, seed=6)[2]
    with pytest.raises(IndexError):
        kind(3)[3]
    with pytest.raises(ValueError, match=rf"{kind.__name__}: need n >= 1 and seed >= 0, got 0 and 0"):
        kind(0)


def test_pairs_from_a_file(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("one\tun\n\n two words \tdeux mots\r\n")
    assert read_pairs(path) == [{"text": "one", "target": "un"}, {"text": "two words", "target": "deux mots"}]
    path.write_text("one\u2028two\x85\tun\x0c deux", encoding="utf-16")
    assert read_pairs(path) == [{"text": "one\u2028two", "target": "un\x0c deux"}]
    for content, message in (
        ("one\tun\ntwo", r"pairs.tsv, line 2: wanted a source, a tab and a target, got 'two'"),
        ("one\tun\tuno", r"pairs.tsv, line 1: wanted"),
        ("one\t \n", r"pairs.tsv, line 1: wanted"),
        ("one\tun\n...\ttrois", r"pairs.tsv, line 2: wanted words on both sides of the tab"),
        ("\n", r"pairs.tsv: holds no pairs; give lines"),
        ("Source\ttarget\none\tun", r"pairs.tsv, line 1: 'Source\\ttarget' names the columns; remove this line"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_pairs(path)
