"""Proposals that were computed before, by whatever method: files that scripts.proposals --cache has written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vision.proposals.cache import picture_digest, read_proposals
from vision.proposals.method import ProposalOptions, method


@dataclass(frozen=True)
class FilesOptions(ProposalOptions):
    """Where they are."""

    folder: str | None = None  # METHOD-FINGERPRINT, with a file for each image: see vision.proposals.cache


@method("files", FilesOptions)
def files(options: FilesOptions):
    """Reading alone. Raises ValueError where there is no such folder."""
    if options.folder is None or not Path(options.folder).is_dir():
        raise ValueError(f"files: folder must be one that scripts.proposals --cache has written, got {options.folder}")
    return FileProposer(Path(options.folder))


class FileProposer:
    """image -> boxes (K, 4), scores (K,). Raises ValueError for an image without a file."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        path = self.folder / f"{picture_digest(image)}.npz"
        if (kept := read_proposals(path)) is None:
            raise ValueError(f"there are no proposals for this image, no {path}: compute them with scripts.proposals")
        return kept
