"""--import FILE: models outside the package, registered by the file that defines them."""

import os
import sys
import zlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from scripts.command_line import Parser


def add_import(parser: Parser):
    """The argument --import."""
    text = "Python files that register models of your own (docs/new_model.md)"
    parser.add_argument("--import", metavar="FILE", nargs="+", default=[], dest="imports", help=text)


def import_files(paths: list[str | os.PathLike]) -> list[str]:
    """Run each file, once per process; returns their absolute paths.

    Raises ValueError for a file that is missing or is no Python file; errors inside it keep their traceback.
    """
    return [str(_import_file(Path(path).resolve())) for path in paths]


def _import_file(path):
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"--import {path}: no such Python file")
    name = f"imported_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        sys.modules[name] = module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return path
