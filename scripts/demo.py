"""Train Faster R-CNN on generated scenes and show its detections in unseen scenes: `make demo` runs this.

Writes to runs/demo: detections.png (found boxes, the truth in dashed white), curve.png, results.md (the table that is
printed at the end), and everything else that scripts.train writes.
"""

import sys
import time
from argparse import Namespace
from pathlib import Path

from PIL import Image

from nn.io.checkpoint import replacing
from scripts import train
from scripts.command_line import Parser, command
from scripts.data import open_data
from scripts.pictures import contact_sheet
from vision.task import task_of
from vision.training.saving import find_checkpoint, load_model

TRAINING = """--model faster_rcnn_small --data shapes --shapes-train 240 --shapes-val 40 --shapes-size 120 160
    --set short_side=120 max_side=160 anchor_scales=[16,32,64] --epochs 10 --evaluate-every 5 --pictures 0""".split()
TEST_SCENES = 200


@command
def main(arguments: list[str]) -> int | None:
    parser = Parser("scripts.demo", __doc__)
    parser.add_argument("--run-dir", default="runs/demo", metavar="DIR", help="folder of the run (default: runs/demo)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    folder, began = parser.parse_args(arguments).run_dir, time.monotonic()
    print("Training Faster R-CNN from random weights on generated scenes: about three minutes on two cores.\n")
    if status := train.main([*TRAINING, "--run-dir", folder]):
        return status
    minutes = (time.monotonic() - began) / 60

    model, meta = load_model(find_checkpoint(folder))
    task = task_of(model.name)
    settings = Namespace(**meta["config"]["arguments"] | {"shapes_val": TEST_SCENES})
    scenes = open_data("detection", settings, "test", model.classes)
    table = task.table(task.evaluate(model, scenes))
    Image.fromarray(contact_sheet(model, task, scenes, 8)).save(Path(folder) / "detections.png")
    text = f"Faster R-CNN after {minutes:.1f} minutes of training, on {TEST_SCENES} unseen scenes:\n\n{table}\n"
    with replacing(Path(folder) / "results.md") as file:
        file.write(text.encode())
    print(f"\n{text}\nPictures: {folder}/detections.png and {folder}/curve.png. The table: {folder}/results.md")


if __name__ == "__main__":
    sys.exit(main())
