"""The CUDA files of the project, and the sources that are compiled of them."""

from pathlib import Path

from nn.gpu.conv import CONSTANTS, FLAT, SMALL
from nn.gpu.kernels import TYPES, source

ROOT = Path(__file__).parents[2]
PATHS = [path for folder in ("nn", "vision") for path in sorted((ROOT / folder).rglob("*.cu"))]
IN_TILES = {"matrix_tiles", "conv_windows", "conv", "conv_input_gradient", "conv_weights"}
TILES = {"float": CONSTANTS, "double": (SMALL, FLAT)}  # those that nn.gpu.conv chooses


def sources() -> dict[str, tuple[Path, str]]:
    """{name: (file, source)} for each type and, of kernels that work in tiles, each tile."""
    found = {}
    for path in PATHS:
        for number_type in TYPES.values():
            for tile in TILES[number_type] if path.stem in IN_TILES else (None,):
                name = f"{path.relative_to(ROOT)} {number_type}" + (f" {tile[0]}x{tile[1]}" if tile else "")
                found[name] = path, source(path, number_type, CONSTANTS.get(tile, ()))
    return found
