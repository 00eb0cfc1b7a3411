"""All steps of the tour, in order: `make tour` runs this.    python -m docs.tour [FOLDER for the pictures]"""

import sys
import time
from importlib import import_module
from pathlib import Path

STEPS = sorted(path.stem for path in Path(__file__).parent.glob("step_*.py"))


def main(out="tour_out"):
    began = time.monotonic()
    for name in STEPS:
        step = import_module(f"docs.tour.{name}")
        title, question, *_ = step.__doc__.split("\n\n")
        print(f"\n{'=' * 120}\n{title}\n{question}\n", flush=True)
        step.main(out)
    print(f"\n{len(STEPS)} steps in {time.monotonic() - began:.0f} seconds")


if __name__ == "__main__":
    main(*sys.argv[1:])
