"""Samples that bring proposals, computed or read from files."""

import copy

import numpy as np
import pytest

from datasets import Shapes
from datasets.listing import fingerprint
from vision.proposals import WithProposals, build_proposer
from vision.proposals.method import named

SCENES = Shapes(3, (40, 60))


def test_a_sample_has_those_of_its_image():
    proposer = build_proposer("uniform", count=20)
    data = WithProposals(SCENES, proposer)
    sample = data[1]
    np.testing.assert_array_equal(sample["proposals"], proposer(SCENES[1]["image"])[0])
    np.testing.assert_array_equal(sample["boxes"], SCENES[1]["boxes"])
    assert data.compute() == 20


def test_in_all_else_it_is_the_data_set():
    data = copy.deepcopy(WithProposals(SCENES, build_proposer("uniform")))
    assert len(data) == 3 and data.classes == SCENES.classes and fingerprint(data) == fingerprint(SCENES)
    assert not hasattr(data, "no_such_field")


def test_proposals_missing_for_an_image_are_named(tmp_path):
    cached = build_proposer("uniform", cache=tmp_path, count=5)
    for i in (0, 2):
        cached(SCENES[i]["image"])
    data = WithProposals(SCENES, build_proposer("files", folder=str(cached.folder)))
    assert len(data[0]["proposals"]) == len(data[2]["proposals"]) == 5
    with pytest.raises(ValueError, match=rf"{SCENES[1]['id']}: there are no proposals for this image"):
        data.compute()


@pytest.mark.parametrize("folder", [None, "no_such_folder"])
def test_files_need_a_folder(folder):
    with pytest.raises(ValueError, match="files: folder must be one that"):
        build_proposer("files", folder=folder)


def test_a_method_in_words():
    assert named("edge_boxes") == ("edge_boxes", {})
    assert named("rpn run=runs/mine count=300") == ("rpn", {"run": "runs/mine", "count": 300})
    with pytest.raises(ValueError, match="METHOD NAME=VALUE"):
        named("rpn runs/mine")
