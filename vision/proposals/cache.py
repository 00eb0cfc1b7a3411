"""Proposals kept in files, beside the data or in the folder of a run.

    FOLDER/METHOD-FINGERPRINT/method.json      name and options
    FOLDER/METHOD-FINGERPRINT/IMAGE.npz        boxes and scores of one image

FINGERPRINT is a hash of the method's name, options and source, that of the modules of this folder included which it
imports; IMAGE is one of the pixels: proposals of another method, other options, another version of this code or an
image that has changed are never mistaken for these. A file is written
whole or not at all, so whatever was killed goes on with the images that are missing. Several processes may share it.
"""

import hashlib
import inspect
import json
import os
import re
import sys
from pathlib import Path

import numpy as np

from nn.io.checkpoint import read_checkpoint, replacing, write_checkpoint
from vision.options import as_json
from vision.proposals.method import Proposer, check_picture

IMPORT = re.compile(r"^from (vision\.proposals\.\w+) import", re.MULTILINE)


class CachedProposer:
    """A proposer that computes each image once; see Proposer. `computed` counts the images that were not there."""

    def __init__(self, proposer: Proposer, folder: str | os.PathLike):
        self.proposer, self.method, self.options = proposer, proposer.method, proposer.options
        self.folder, self.computed = Path(folder) / f"{self.method.name}-{fingerprint(proposer)}", 0
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / "method.json") as file:
            described = {"method": self.method.name, "options": as_json(self.options)}
            file.write(json.dumps(described, indent=2).encode() + b"\n")

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_picture(self.method.name, image)
        path = self.folder / f"{picture_digest(image)}.npz"
        if (kept := read_proposals(path)) is not None:
            return kept
        boxes, scores = self.proposer(image)
        write_checkpoint(path, {"boxes": boxes, "scores": scores}, {"size": list(image.shape[:2])})
        self.computed += 1
        return boxes, scores


def fingerprint(proposer: Proposer) -> str:
    """8 hexadecimal digits of a method: its name, its options, what they point to, and the source of its modules."""
    text = [proposer.method.name, json.dumps(as_json(proposer.options), sort_keys=True)]
    text += [inspect.getsource(sys.modules[name]) for name in sorted(modules_of(proposer.method.make.__module__))]
    text.append(getattr(proposer.function, "digest", ""))  # of the file of a network
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:8]


def modules_of(name: str) -> set[str]:
    """A module, those of vision.proposals that it imports from, those that they import from, and so on."""
    found, new = set(), {name}
    while new:
        found |= new
        new = {each for name in new for each in IMPORT.findall(inspect.getsource(sys.modules[name]))} - found
    return found


def picture_digest(image: np.ndarray) -> str:
    """A hash of the size and the pixels of an image."""
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()[:24]


def read_proposals(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray] | None:
    """(boxes, scores) of a file; None where it is missing or damaged, since it can be computed again."""
    try:
        arrays, _ = read_checkpoint(path)
        return arrays["boxes"], arrays["scores"]
    except (ValueError, KeyError):
        return None
