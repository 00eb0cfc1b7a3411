"""handwritten-vision: works from any folder, suggests the nearest command, is interrupted without a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import handwritten_vision
from scripts.command_line import started_as

ROOT = Path(handwritten_vision.__file__).parent
# What pip writes for an entry point; an installed package is found after the folder of the script, as by PYTHONPATH.
WRAPPER = "import sys\nfrom handwritten_vision import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
# As a Ctrl-C that comes while a module is imported.
INTERRUPTING = """import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "vision":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""


@pytest.fixture(autouse=True)
def started_anew(monkeypatch):
    """Other tests are not told that the console command runs."""
    monkeypatch.setitem(started_as, "console", False)


@pytest.fixture
def hostile(tmp_path):
    """A folder with folders and files of the same names as the packages."""
    for name in ("scripts", "datasets", "nn", "vision"):
        (tmp_path / name).mkdir()
    (tmp_path / "scripts/train.py").write_text("print('the wrong one')")
    (tmp_path / "datasets/__init__.py").write_text("raise RuntimeError('the wrong one')")
    return tmp_path


def run(folder, *command, path=ROOT):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [path, ROOT]))}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, text=True, capture_output=True, timeout=300
    )


def test_folders_of_the_packages_names_where_the_user_stands(hostile, tmp_path_factory):
    script = tmp_path_factory.mktemp("bin") / "handwritten-vision"
    script.write_text(WRAPPER)
    arguments = "--model mnist_fc --shapes-train 2 --shapes-val 1 --shapes-size 32 32 --epochs 1 --batch-size 2"
    done = run(hostile, script, "train", *arguments.split(), "--run-dir", "a run")
    assert done.returncode == 0, done.stderr
    assert "handwritten-vision evaluate 'a run'" in done.stdout and "python -m" not in done.stdout
    assert (hostile / "a run/last.npz").is_file()
    done = run(hostile, "-m", "handwritten_vision", "systems")
    assert done.returncode == 0 and "| system | paper |" in done.stdout, done.stderr


def test_a_mistake_is_one_line_that_names_the_nearest(capsys):
    assert handwritten_vision.main(["trian"]) == 2
    assert capsys.readouterr().err == (
        "handwritten-vision: error: there is no command 'trian': did you mean train? (--help lists all)\n"
    )
    assert handwritten_vision.main(["x"]) == 2
    assert "choose from batch-norm-story, benchmark, compare," in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        handwritten_vision.main(["train", "--model", "unet_smal"])
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "unet_small" in err


def test_help_lists_every_script(capsys):
    assert handwritten_vision.main(["--help"]) == 0
    out = capsys.readouterr().out
    for path in (ROOT / "scripts").glob("*.py"):
        if "def main(" in path.read_text():
            assert f"\n  {path.stem.replace('_', '-')} " in out
    assert handwritten_vision.main([]) == 2
    with pytest.raises(SystemExit, match="0"):
        handwritten_vision.main(["gradient_flow", "--help"])
    assert "usage: handwritten-vision gradient_flow" in capsys.readouterr().out


@pytest.mark.parametrize("module", [("handwritten_vision", "train"), ("scripts.train",)])
def test_ctrl_c_during_imports_shows_no_traceback(tmp_path, module):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING)
    done = run(ROOT, "-m", *module, "--help", path=tmp_path)
    assert done.stderr == "interrupted\n" and done.stdout == ""
    assert done.returncode in (130, -signal.SIGINT)
