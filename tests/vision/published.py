"""The published weights and the data that tests compare with: a test that needs what is not there is skipped."""

import os
from pathlib import Path

import numpy as np
import pytest

DATA = Path(os.environ.get("CV_DATA", Path(__file__).parents[3] / "shared" / "data"))


def shared(*parts: str) -> Path:
    """The path of a shared file or folder; skips the test where it is absent."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {path}")
    return path


def heads(path, names) -> dict[str, np.ndarray]:
    """The LPIPS heads of a file of weights, {stage: (C,)} for the stages in order."""
    with np.load(path) as arrays:
        return {name: arrays[f"lpips.lin{i}.weight"].astype(np.float32).ravel() for i, name in enumerate(names)}
