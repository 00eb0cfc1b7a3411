"""The CUDA files of the project."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PATHS = [path for folder in ("nn", "vision") for path in sorted((ROOT / folder).rglob("*.cu"))]
