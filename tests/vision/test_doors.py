"""The doors of a model for photographs, as `vision.load("runs/mine")` gives it."""

import numpy as np
import pytest
from PIL import Image

import vision
from nn.io.checkpoint import write_checkpoint
from vision.training.saving import BEST

SMALL = {"width": 2, "short_side": 32, "max_side": 48}
REGIONS = SMALL | {"hidden": 8, "anchor_scales": [16]}
WORDS = ["<pad>", "<start>", "<end>", "<unk>", "bear"]
DOORS = {
    "classify": ("resnet20_cifar", ["cat", "dog"], {"width": 2, "n": 1}),
    "segment": ("unet_small", ["ground", "cat"], SMALL),
    "detect": ("faster_rcnn_small", ["cat", "dog"], REGIONS),
    "segment_objects": ("mask_rcnn_small", ["cat", "dog"], REGIONS),
    "caption": ("show_attend_tell_soft", WORDS, {}),
}
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


@pytest.fixture(scope="module", params=DOORS)
def door(request, tmp_path_factory):
    """The method of a model that was loaded from the folder of a run."""
    name, classes, options = DOORS[request.param]
    model, folder = vision.build(name, classes, np.random.default_rng(0), **options), tmp_path_factory.mktemp("run")
    arrays = {f"model/{key}": array for key, array in model.state_dict().items()}
    write_checkpoint(folder / BEST, arrays, {"model": model.config})
    return getattr(vision.load(folder), request.param)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_a_path_a_picture_and_an_array_are_one(door, tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    wanted = door(PIXELS)
    for photograph in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(PIXELS), np.asfortranarray(PIXELS)):
        assert same(door(photograph), wanted)
    assert same(door(PIXELS[..., 0]), door(Image.fromarray(PIXELS[..., 0])))  # grey


def test_what_is_no_photograph_is_refused(door):
    for wrong in (PIXELS / 255, PIXELS.transpose(2, 0, 1), PIXELS[None], PIXELS[:0], None, [1], "none.png"):
        with pytest.raises(ValueError, match=r"a photograph must|none\.png: cannot be read as a picture"):
            door(wrong)


def test_results_are_in_the_pixels_of_the_photograph(door):
    found = door(PIXELS)
    if "masks" in found:
        assert found["masks"].shape[1:] == PIXELS.shape[:2]
    if "boxes" in found and len(found["boxes"]):
        assert (found["boxes"][:, 2:] <= [50, 40]).all() and len(found["names"]) == len(found["labels"])
    if door.__name__ == "segment":
        assert found["labels"].shape == PIXELS.shape[:2]
