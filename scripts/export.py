"""Write a trained model for other programs: as an ONNX graph, or its weights alone.

example, a graph for pictures of 240x320, which netron draws and onnxruntime runs:
  python -m scripts.export runs/mine --onnx mine.onnx --size 240 320

The graph takes "images" (1, 3, H, W) float32 as the model's preprocessing makes them. The file's metadata has the
classes and, as `preprocess`, all fields of vision.Preprocess in JSON: p = Preprocess(**fields) makes the graph's input
of an RGB photograph by p.batch([p.scaled(photograph)]). Another program takes these steps in order: the values at the
two `percentiles` become 0 and 255; inverted if dark_background and the median is above 127.5; scaled as `resize` says;
(x - mean) / std, those of the image itself if per_image; zeros at the right and the bottom up to H and W.

It holds what convolutions compute: logits of classifiers and of segmentation (with rims one class more, the last), and
of a detector its maps, without proposals and suppression. Where onnxruntime is installed, the file is run on random
images and compared.

example, the weights by the names that PyTorch has for published networks:
  python -m scripts.export runs/mine --weights mine.safetensors
"""

import json
import sys
from pathlib import Path

import numpy as np

from nn.io.onnx_export import export_onnx
from nn.io.state import save_state
from scripts.command_line import Parser, command, count
from scripts.imports import add_import, import_files
from vision import Model
from vision.options import as_json
from vision.training.saving import find_checkpoint, load_model

PHOTOGRAPH = 480, 640  # the size is what photographs of this one are scaled to, by default
TOLERANCE = 1e-4  # of the largest result


@command
def main(arguments: list[str]) -> int | None:
    args = build_parser().parse_args(arguments)
    import_files(args.imports)
    if not (args.onnx or args.weights):
        raise ValueError("nothing to write: give --onnx FILE, or --weights FILE, or both")
    path = find_checkpoint(args.checkpoint)
    model = load_model(path)[0]
    about = {
        "model": model.name,
        "classes": json.dumps(list(model.classes)),
        "options": json.dumps(as_json(model.options)),
    }
    for file in filter(None, (args.onnx, args.weights)):
        file.parent.mkdir(parents=True, exist_ok=True)
    if args.weights:
        save_state(model, args.weights, about)
        print(f"{args.weights}: {len(model.state_dict())} arrays")
    if args.onnx:
        print(write(model, args.onnx, args.size, args.batch_size, about))


def build_parser() -> Parser:
    parser = Parser("scripts.export", __doc__)
    text = "a checkpoint (.npz), or the folder of a run: its best.npz"
    parser.add_argument("checkpoint", metavar="RUN_OR_CHECKPOINT", type=Path, help=text)
    parser.add_argument("--onnx", metavar="FILE", type=Path, help="write the network as an ONNX graph")
    text = "write the weights and running statistics: .safetensors or .npz"
    parser.add_argument("--weights", metavar="FILE", type=Path, help=text)
    text = "of the images of --onnx (default: what a photograph of 640x480 is scaled to)"
    parser.add_argument("--size", metavar=("HEIGHT", "WIDTH"), type=count, nargs=2, help=text)
    parser.add_argument("--batch-size", metavar="N", type=count, default=1, help="images of --onnx (default: 1)")
    add_import(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def write(model: Model, path: Path, size: tuple[int, int] | None, n: int, about: dict[str, str]) -> str:
    """Write the ONNX file and compare it; returns lines about both. ValueError where it cannot be, or differs."""
    if model.preprocess is None:
        raise ValueError(f"--onnx: {model.name} takes no images; only networks of convolutions have an ONNX form")
    p, about = model.preprocess, about | {"preprocess": json.dumps(as_json(model.preprocess))}
    size = size or [-(-side // p.multiple) * p.multiple for side in p.size(*PHOTOGRAPH)]
    images = np.random.default_rng(0).standard_normal((n, 3, *size)).astype(np.float32)
    results = export_onnx(model, images, path, model.dense, about)
    shapes = ", ".join(f"{name} {array.shape}" for name, array in results.items())
    return f"{path}: images {images.shape} to {shapes}\n{compared(path, images, results)}"


def compared(path: Path, images: np.ndarray, results: dict[str, np.ndarray]) -> str:
    """A line on how far onnxruntime's results are from ours. ValueError where that is more than rounding."""
    try:
        import onnxruntime
    except ImportError:
        return "not compared: onnxruntime is not installed (pip install onnxruntime)"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    theirs = dict(zip(results, session.run(list(results), {"images": images})))
    worst = max(abs(theirs[name] - ours).max() / max(abs(ours).max(), 1e-6) for name, ours in results.items())
    if not worst <= TOLERANCE:
        raise ValueError(f"{path}: onnxruntime computes something else (relative difference {worst:.1e})")
    return f"onnxruntime {onnxruntime.__version__} computes the same: largest relative difference {worst:.1e}"


if __name__ == "__main__":
    sys.exit(main())
