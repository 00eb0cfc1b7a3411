"""`import nn` is quick, and loads no more than the textbook."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 0.1  # seconds of processor time that nn may add to numpy; it is about 0.02 where the bytecode is cached
SECONDS = """
import time
import numpy
start = time.process_time()
import nn
print(time.process_time() - start)
"""
MODULES = """
import sys
import numpy
before = set(sys.modules)
import nn
print(*sorted(set(sys.modules) - before))
"""


def printed(program, **variables):
    """What a fresh process prints that runs a program from the root of the project."""
    command, env = [sys.executable, "-c", program], os.environ | variables
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_nn_adds_at_most_100_ms_to_numpy(tmp_path):
    """With bytecode cached, as it is from the second start on; a few more tries where the machine is busy."""
    cached = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    printed(SECONDS, **cached)
    seconds = []
    while len(seconds) < 3 or (len(seconds) < 20 and statistics.median(seconds) > LIMIT):
        seconds.append(float(printed(SECONDS, **cached)))
    assert statistics.median(seconds) <= LIMIT


@pytest.fixture(scope="module")
def loaded():
    """The modules that `import nn` loads besides numpy's."""
    return printed(MODULES).split()


def test_nn_loads_no_random_numbers_and_no_cuda(loaded):
    """np.random takes as long to load as a tenth of nn. A layer without `rng` has it loaded."""
    assert "nn.layers.conv" in loaded
    assert [name for name in loaded if name.startswith(("numpy.random", "cupy", "torch", "scipy"))] == []


def test_nn_loads_fast_versions_at_their_first_use(loaded):
    fast = {name for name in loaded if name.startswith(("nn.cpu.", "nn.gpu."))}
    assert fast <= {"nn.gpu.device"}  # where an array is, and how it moves


def test_nn_loads_no_archives_before_a_file_is_read(loaded):
    """They take as long to load as a fifth of nn."""
    assert "nn.io.checkpoint" in loaded
    assert [name for name in loaded if name in ("zipfile", "shutil", "bz2", "lzma")] == []
