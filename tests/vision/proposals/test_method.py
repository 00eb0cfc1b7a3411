"""The registry of proposal methods, and their cache in files."""

import inspect
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from nn.io.checkpoint import read_checkpoint
from vision.proposals import METHODS, build_proposer
from vision.proposals.cache import fingerprint, modules_of
from vision.proposals.method import Method, ProposalOptions, Proposer, method, ranked

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture
def corners(monkeypatch):
    """A method that proposes boxes at the corner, and counts its calls."""
    calls = []

    def make(options):
        def propose(image):
            calls.append(image.shape)
            sides = np.arange(1.0, 21.0)
            return np.stack([0 * sides, 0 * sides, sides, sides], axis=1), sides % 7

        return propose

    make.__module__ = __name__
    monkeypatch.setitem(METHODS, "corners", Method("corners", make, ProposalOptions, (), ""))
    return calls


def test_best_first_and_at_most_count(corners):
    boxes, scores = build_proposer("corners", count=4)(PICTURE)
    assert scores.tolist() == [6, 6, 6, 5] and boxes[:, 2].tolist() == [6, 13, 20, 5]


def test_each_image_is_computed_once(corners, tmp_path):
    first = build_proposer("corners", cache=tmp_path)
    boxes, scores = first(PICTURE)
    again = build_proposer("corners", cache=tmp_path)
    kept = again(PICTURE.copy())
    np.testing.assert_array_equal(kept[0], boxes)
    np.testing.assert_array_equal(kept[1], scores)
    assert (len(corners), first.computed, again.computed) == (1, 1, 0)
    again(np.ascontiguousarray(PICTURE[::-1]))
    assert len(corners) == 2


def test_another_option_is_another_folder(corners, tmp_path):
    build_proposer("corners", cache=tmp_path)(PICTURE)
    build_proposer("corners", cache=tmp_path, seed=3)(PICTURE)
    assert len(corners) == 2 and len(list(tmp_path.iterdir())) == 2


def test_another_version_of_a_module_that_is_imported_is_another_folder(monkeypatch):
    """Edge Boxes group edges in a file of their own, and take derivatives and colours from two more."""
    names = {name.rpartition(".")[2] for name in modules_of("vision.proposals.edge_boxes")}
    assert names == {"edge_boxes", "edges", "selective_search", "grouping", "colour", "method"}
    proposer, source = build_proposer("edge_boxes"), inspect.getsource
    before = fingerprint(proposer)
    monkeypatch.setattr(inspect, "getsource", lambda module: source(module) + "#" * module.__name__.endswith("edges"))
    assert fingerprint(proposer) != before


def test_a_damaged_file_is_computed_again(corners, tmp_path):
    proposer = build_proposer("corners", cache=tmp_path)
    proposer(PICTURE)
    (path,) = proposer.folder.glob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    assert len(proposer(PICTURE)[0]) == 20 and len(corners) == 2
    assert len(read_checkpoint(path)[0]["boxes"]) == 20


def test_a_killed_process_is_continued(tmp_path):
    """Killed while it writes the third image: two are there, and nothing that looks like a third."""
    code = textwrap.dedent(
        """
        import os, sys, numpy as np
        from vision.proposals import build_proposer
        proposer = build_proposer("uniform", cache=sys.argv[1], count=20)
        for i in range(5):
            if i == int(sys.argv[2]):
                os.fsync = lambda file: os.kill(os.getpid(), 9)
            proposer(np.full((40, 50, 3), i, np.uint8))
        print(proposer.computed)
        """
    )
    command = [sys.executable, "-c", code, tmp_path]
    assert subprocess.run([*command, "2"]).returncode == -9
    assert len(list(tmp_path.glob("*/*.npz"))) == 2
    done = subprocess.run([*command, "9"], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n" and len(list(tmp_path.glob("*/*.npz"))) == 5


def test_ranked_keeps_the_first_of_equal_boxes_and_drops_small_ones():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 30, 30], [0, 0, 30, 30], [5, 5, 40, 25]], float)
    kept, scores = ranked(boxes, np.array([9.0, 1.0, 3.0, 2.0]), min_side=10)
    assert kept.tolist() == [[0, 0, 30, 30], [5, 5, 40, 25]] and scores.tolist() == [3, 2]


def test_bad_names_options_and_images(corners):
    with pytest.raises(ValueError, match="no proposal method 'selective_serch_fast': did you mean selective_search"):
        build_proposer("selective_serch_fast")
    with pytest.raises(ValueError, match="corners: there is no option 'counts'; did you mean 'count'"):
        build_proposer("corners", counts=3)
    with pytest.raises(ValueError, match="count must be at least 1"):
        build_proposer("corners", count=0)
    with pytest.raises(ValueError, match="there is a proposal method named 'corners' already"):
        method("corners")(lambda options: None)
    proposer = build_proposer("corners")
    assert isinstance(proposer, Proposer)
    for image in (PICTURE.astype(float), PICTURE[..., 0], PICTURE[..., :2], [1]):
        with pytest.raises(ValueError, match="corners: image must be"):
            proposer(image)
    with pytest.raises(ValueError, match="corners: image has no pixels"):
        proposer(PICTURE[:0])


def test_an_image_is_scaled_to_a_width_before(monkeypatch):
    seen = []

    def make(options):
        return lambda image: (seen.append(image.shape) or np.array([[5.0, 4, 25, 20]]), np.ones(1))

    monkeypatch.setitem(METHODS, "seen", Method("seen", make, ProposalOptions, (), ""))
    boxes, _ = build_proposer("seen", width=25)(PICTURE)
    assert seen == [(20, 25, 3)] and boxes.tolist() == [[10, 8, 50, 40]]
