"""Beam search against the enumeration of all sequences, and its special cases."""

import itertools
import math

import numpy as np
import pytest

from vision.sequence.beam_search import beam_search

V, START, END, STEPS = 4, 0, 1, 5


def language(seed=0, v=V):
    """step and state of a network that remembers the last two ids, and a function for the log p of a sequence."""
    table = np.random.default_rng(seed).standard_normal((v, v, v)) * 1.5
    log_p = table - np.log(np.exp(table).sum(axis=2, keepdims=True))

    def step(state, last):
        (before,) = state
        return log_p[before, last], (last,)

    def score(ids):
        said = [START, START, *ids]
        return sum(log_p[a, b, c] for a, b, c in zip(said, said[1:], said[2:]))

    return step, (np.array([START]),), score


def enumerated(score, penalty, v=V):
    """(score, ids, ended) of all sequences of at most STEPS ids, best first."""
    found = []
    others = [i for i in range(v) if i != END]
    for length in range(STEPS):
        for ids in itertools.product(others, repeat=length):
            found.append((score([*ids, END]) / (length + 1) ** penalty, list(ids), True))
    for ids in itertools.product(others, repeat=STEPS):
        found.append((score(ids) / STEPS**penalty, list(ids), False))
    return sorted(found, key=lambda each: -each[0])


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_what_enumeration_finds(seed, penalty):
    step, state, score = language(seed)
    wanted = enumerated(score, penalty)
    options = {"max_steps": STEPS, "length_penalty": penalty}
    found = beam_search(step, state, START, END, beam=V**STEPS, **options)
    np.testing.assert_allclose([each.score for each in found], [value for value, _, _ in wanted], rtol=1e-10)
    assert {(*each.ids, each.ended) for each in found} == {(*ids, ended) for _, ids, ended in wanted}
    for each in found[:20]:
        said = [*each.ids, END] if each.ended else each.ids
        assert each.log_probability == pytest.approx(score(said), rel=1e-10)
        assert each.score == pytest.approx(score(said) / len(said) ** penalty, rel=1e-10)
    best = beam_search(step, state, START, END, beam=60, **options)[0]
    assert best.score == pytest.approx(wanted[0][0], rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_1_is_greedy(seed):
    step, state, _ = language(seed)
    ids, last, own = [], START, state
    while len(ids) < 20 and last != END:
        log_p, own = step(own, np.array([last]))
        last = int(log_p[0].argmax())
        ids += [last] if last != END else []
    (found,) = beam_search(step, state, START, END, beam=1, max_steps=20)
    assert found.ids == ids


def test_a_wider_beam_is_never_worse_here_and_sometimes_better():
    better = 0
    for seed in range(20):
        step, state, _ = language(seed, v=8)
        one, five = (beam_search(step, state, START, END, beam=beam, max_steps=8)[0] for beam in (1, 8))
        assert five.score >= one.score - 1e-12
        better += five.score > one.score + 1e-12
    assert better > 3


def test_a_beam_wider_than_the_vocabulary():
    step, state, score = language(v=3)
    found = beam_search(step, state, START, END, beam=10, max_steps=STEPS)
    assert len(found) == 10
    assert found == sorted(found, key=lambda each: -each.score)
    assert len({(*each.ids, each.ended) for each in found}) == 10
    best = enumerated(score, 0.0, v=3)[0]
    assert (found[0].ids, found[0].score) == (best[1], pytest.approx(best[0], rel=1e-12))


def test_fewer_sequences_than_the_beam():
    def step(state, last):
        return np.where(np.arange(3) == END, 0.0, -math.inf)[None].repeat(len(last), axis=0), state

    (found,) = beam_search(step, (np.zeros(1),), START, END, beam=7)
    assert found == ([], 0.0, 0.0, True)


def test_length_penalty_favours_longer_sequences():
    def step(state, last):  # p(end) is 0.3 at any time
        return np.log(np.array([[0.0, 0.3, 0.7]]) + 1e-300).repeat(len(last), axis=0), state

    by_sum, by_mean = (
        beam_search(step, (np.zeros(1),), START, END, beam=3, max_steps=6, length_penalty=p)[0] for p in (0.0, 1.0)
    )
    assert by_sum.ids == []
    assert by_mean.ids == [2] * 6
    assert by_mean.score == pytest.approx(math.log(0.7))
    assert not by_mean.ended


def test_another_kind_of_state():
    step, (state,), _ = language()
    wrapped = beam_search(
        lambda state, last: (step((state["last"],), last)[0], {"last": last}),
        {"last": state},
        START,
        END,
        take=lambda state, rows: {"last": state["last"][rows]},
    )
    assert wrapped == beam_search(step, (state,), START, END)


@pytest.mark.parametrize("options", [{"beam": 0}, {"max_steps": 0}, {"length_penalty": -1}, {"beam": "wide"}])
def test_bad_input(options):
    step, state, _ = language()
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=f"beam_search: {name} must be a number >= [01], got {value!r}"):
        beam_search(step, state, START, END, **options)
