"""Waiting: the share of a loop's time that is spent waiting for batches, and that nothing else changes."""

import time

import pytest

from vision.training.progress import Waiting


def slowly(n, seconds):
    for i in range(n):
        time.sleep(seconds)
        yield i


def test_the_batches_are_the_same():
    assert list(Waiting().over(range(5))) == [0, 1, 2, 3, 4]
    assert list(Waiting().over([])) == []
    assert list(Waiting().over([None, ()])) == [None, ()]


def test_share_of_a_loop_that_waits_half_of_its_time():
    waiting, lasts = Waiting(), []
    for _ in waiting.over(slowly(4, 0.02)):
        lasts.append(waiting.last)
        time.sleep(0.02)
    assert all(last >= 0.02 for last in lasts)
    assert waiting.total >= 0.08 and waiting.elapsed >= 0.16
    assert waiting.share == waiting.total / waiting.elapsed
    assert 0.2 < waiting.share < 0.8
    after = waiting.share
    time.sleep(0.02)
    assert waiting.share == after  # time after the loop does not count


def test_nothing_waited_for():
    assert Waiting().share == 0
    waiting = Waiting()
    for _ in waiting.over(range(3)):
        time.sleep(0.01)
    assert waiting.share < 0.3


def test_errors_are_passed_on_and_leaving_early_closes_the_source():
    def failing():
        yield 1
        raise ValueError("a broken file")

    with pytest.raises(ValueError, match="a broken file"):
        list(Waiting().over(failing()))
    closed = []

    def source():
        try:
            yield from range(10)
        finally:
            closed.append(True)

    for batch in Waiting().over(source()):
        if batch == 2:
            break
    assert closed
