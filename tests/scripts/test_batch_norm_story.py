"""The script that shows what batch normalisation changes: on digits of two kinds, in MNIST's format."""

import numpy as np
import pytest

from scripts.batch_norm_story import BATCH, Run, best_rate, main, measure, network


@pytest.fixture
def mnist(tmp_path):
    """200 images a split: the label is where a bright row is."""
    rng = np.random.default_rng(0)
    for name in ("train", "t10k"):
        labels = rng.integers(0, 10, 200).astype(np.uint8)
        images = rng.integers(0, 60, (200, 28, 28)).astype(np.uint8)
        images[np.arange(200), 2 * labels + 4] = 250
        for kind, sizes, values in (("images-idx3", (200, 28, 28), images), ("labels-idx1", (200,), labels)):
            header = bytes([0, 0, 8, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)
            (tmp_path / f"{name}-{kind}-ubyte").write_bytes(header + values.tobytes())
    return tmp_path


def test_both_networks_have_the_same_weights_and_differ_by_the_normalisation():
    plain, normed = network(784, False, 3), network(784, True, 3)
    assert len(normed) == len(plain) + 3
    weights = [[layer.weight.value for layer in net if type(layer).__name__ == "Linear"] for net in (plain, normed)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_table_and_a_picture(mnist, tmp_path, capsys):
    out = tmp_path / "story.png"
    assert main(["--root", mnist, "--out", out, "--steps", 60, "--rates", 0.5, 2]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["0.5", "2"]
    without, with_it = (np.array(lines[3].split()[1:], float)[[0, 2]]).tolist()
    assert with_it < 0.5 * without  # three layers of sigmoids without it have hardly begun after 60 steps
    assert out.read_bytes().startswith(b"\x89PNG")


def test_a_run_that_is_not_finite_ends_and_has_an_infinite_loss():
    x = np.full((BATCH, 784), 1e30, np.float32)
    with np.errstate(all="ignore"):
        run = measure(False, 1e38, 5, (x, np.arange(BATCH) % 10), (x, np.arange(BATCH) % 10), 0)
    assert len(run.losses) < 5 and run.final(5) == np.inf
    runs = {(True, 1.0): Run(np.ones(5), {}), (True, 2.0): Run(np.ones(5) / 2, {}), (True, 3.0): run}
    assert best_rate(runs, True, 5) == 2


def test_bad_arguments(error_of, tmp_path):
    assert "required: --root" in error_of(main)
    assert "must be a number above 0" in error_of(main, "--root", tmp_path, "--rates", 0)
    assert str(tmp_path) in error_of(main, "--root", tmp_path)
