"""The cost of many processes, foretold."""

import pytest

from scripts.scaling import all_reduce_seconds, gradient_bytes, main


def test_a_ring_by_hand():
    """4 workers, 8 bytes at 2 bytes a second: 6 messages of 2 bytes, a second each, and 6 times the latency."""
    assert all_reduce_seconds(8, 4, 2, 0.5) == 6 * 1 + 6 * 0.5
    assert all_reduce_seconds(8, 1, 2, 0.5) == 0


def test_the_gradient_of_resnet18_is_47_megabytes():
    assert gradient_bytes("resnet18") == 4 * 11_689_512


def test_the_table(capsys):
    assert main(["resnet20_cifar", "--workers", "2", "--latency", "0", "--step", "1"]) == 0
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert head.count("|") == rule.count("|") == rows[0].count("|") == 7
    assert len(rows) == 3  # links


def test_bad_input(error_of, capsys):
    message = error_of(main, "--measure")
    assert "--measure needs several processes: mpiexec -n 2 python -m scripts.scaling --measure" in message
    assert "no model 'resnet_50'" in error_of(main, "resnet_50")


@pytest.mark.parametrize("text", ["0", "-3", "many"])
def test_bad_counts(error_of, text):
    assert "--workers" in error_of(main, "--workers", text)
