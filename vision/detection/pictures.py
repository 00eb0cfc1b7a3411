"""Pictures of a detector on data: precision-recall curves, its errors by kind."""

import numpy as np

from vision.detection.errors import KINDS, detection_errors, errors_table
from vision.detection.metrics import precision_recall_curves, voc_ap
from vision.figures import pixels

MOST = 20  # classes drawn, those with the most objects
COLOURS = ("#2a9d4e", "#a5d6a7", "#f4a321", "#c2418b", "#8d99ae", "#33415c")  # of KINDS


def draw_detector(model, dataset, failed: list[str] | None, found: list[tuple[dict, dict]]):
    """{precision_recall, errors: picture; kinds_of_errors: text}, and the pictures of the model itself.

    found: (prediction, truth) of each image, as the evaluation has them. failed: nothing is read that could fail.
    """
    predictions, truth = zip(*found)
    counts, curves = (f(predictions, truth, dataset.classes) for f in (detection_errors, precision_recall_curves))
    most = sorted(counts, key=lambda name: -counts[name]["objects"])[:MOST]
    return model.pictures(dataset) | {
        "precision_recall": draw_curves({name: curves[name] for name in most}),
        "errors": draw_errors(counts),
        "kinds_of_errors": errors_table(counts),
    }


def draw_curves(curves: dict[str, tuple[np.ndarray, np.ndarray] | None]) -> np.ndarray:
    """Precision over recall at IoU 0.5 of each class, with its AP."""
    figure = _figure(7, 6)
    axes, known = figure.subplots(), {name: curve for name, curve in curves.items() if curve is not None}
    for name, (recall, precision) in known.items():
        axes.plot(np.append(0, recall), np.append(1, precision), label=f"{name} {voc_ap(recall, precision):.3f}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="IoU 0.5; with AP")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower left")
    return pixels(figure)


def draw_errors(counts: dict[str, dict[str, int]]) -> np.ndarray:
    """Of each class a bar: the kinds of its N best detections, as shares of its N objects; right of 1 those missed.

    A gap before 1: it has fewer detections than objects.
    """
    rows = sorted((row["objects"], name) for name, row in counts.items() if row["objects"])[-MOST:]
    names = [name for _, name in rows]
    figure = _figure(9, 1.6 + 0.45 * len(names))
    axes, left = figure.subplots(), np.zeros(len(names))
    for kind, colour in zip(KINDS, COLOURS):
        share = np.array([counts[name][kind] / counts[name]["objects"] for name in names])
        axes.barh(names, share, left=1 if kind == "missed" else left, color=colour, label=kind)
        left += share
    axes.set_yticks(range(len(names)), [f"{name} ({n})" for n, name in rows])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set(xlabel="share of the objects: the best detections of each class, as many as it has objects; and missed")
    axes.legend(ncols=len(KINDS), loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize="small", frameon=False)
    return pixels(figure)


def _figure(width, height):
    from matplotlib.figure import Figure  # imported here: it takes as long as everything else

    return Figure(figsize=(width, height), layout="constrained")
