"""Proposal methods measured on a data set, by the protocol of Hosang et al., and drawn as curves.

Reference: Hosang, Benenson, Dollar and Schiele 2016, arXiv:1502.05082, sec. 4 and 5.
"""

import time
from collections.abc import Sequence

import numpy as np

from vision.proposals.metrics import average_recall, best_overlaps, mean_average_best_overlap, recall
from vision.task import known, predicted, shown

COUNTS = (1, 3, 10, 30, 100, 300, 1000, 2000, 10000)  # of proposals an image
THRESHOLDS = tuple(np.arange(50, 101, 5) / 100)  # of IoU
TABLE = (100, 1000, 2000)  # counts in the table


def evaluate_proposals(
    proposer, dataset, min_area: float = 0.0, failed: list[str] | None = None, counts: Sequence[int] = COUNTS
) -> dict:
    """A JSON-able dict: for each number of proposals an image MABO, recall at IoU 0.5 and 0.7, average recall, and the
    recall at every threshold; how many boxes and seconds an image takes.

    min_area: objects of this area in pixels or less are left out, as are those marked difficult. failed: see predicted.
    Of a cached proposer the seconds are those of reading, for images that it has.
    """
    overlaps, labels, boxes, spent = [], [], [], []

    def propose(samples):
        started = time.process_time()
        found = proposer(samples[0]["image"])[0]
        spent.append(time.process_time() - started)
        return [found]

    for sample, found in predicted(dataset, propose, failed=failed):
        sides = sample["boxes"][:, 2:] - sample["boxes"][:, :2]
        counted = (sides.prod(axis=1) > min_area) & ~sample.get("difficult", np.zeros(len(sides), bool))
        overlaps.append(best_overlaps(found, sample["boxes"][counted], counts))
        labels.append(sample["labels"][counted])
        boxes.append(len(found))
    overlaps, labels = np.concatenate(overlaps, axis=1), np.concatenate(labels)
    return {
        "images": len(boxes),
        "objects": len(labels),
        "boxes_per_image": round(float(np.mean(boxes)), 1),
        "seconds_per_image": round(float(np.mean(spent)), 3),
        "counts": list(counts),
        "thresholds": list(THRESHOLDS),
        "MABO": [known(mean_average_best_overlap(row, labels)) for row in overlaps],
        "recall": [[known(r) for r in recall(overlaps, t)] for t in THRESHOLDS],  # (thresholds, counts)
        "AR": [known(r) for r in average_recall(overlaps)],
    }


def proposal_table(results: dict[str, dict]) -> str:
    """A line a method: MABO, recall at IoU 0.5 and 0.7 and average recall of the counts in TABLE."""
    width = max(len("method"), *map(len, results))
    heads = [f"{what}@{n}" for what in ("MABO", "R50", "R70", "AR") for n in TABLE]
    rows = [f"{'method':{width}}  boxes  seconds  " + "  ".join(f"{head:>9}" for head in heads)]
    for name, found in results.items():
        columns = [found["counts"].index(n) for n in TABLE]
        at = [THRESHOLDS.index(t) for t in (0.5, 0.7)]
        series = [found["MABO"], *(found["recall"][t] for t in at), found["AR"]]
        values = [shown(values[c]) for values in series for c in columns]
        rows.append(
            f"{name:{width}}  {found['boxes_per_image']:5.0f}  {found['seconds_per_image']:7.2f}  "
            + "  ".join(f"{value:>9}" for value in values)
        )
    return "\n".join(rows)


def draw_curves(results: dict[str, dict], path, title: str = "") -> None:
    """Write a picture: recall at IoU 0.5 and average recall against the number of proposals; recall against IoU."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    at, iou = THRESHOLDS.index(0.5), COUNTS.index(1000)
    axes = figure.subplots(1, 3)
    for name, found in results.items():
        axes[0].semilogx(found["counts"], found["recall"][at], "o-", markersize=3, label=name)
        axes[1].semilogx(found["counts"], found["AR"], "o-", markersize=3)
        axes[2].plot(found["thresholds"], [row[iou] for row in found["recall"]], "o-", markersize=3)
    for axis, x, y in zip(
        axes,
        ("proposals an image", "proposals an image", "IoU"),
        ("recall at IoU 0.5", "average recall", "recall with 1,000 proposals"),
    ):
        axis.set(xlabel=x, ylabel=y, ylim=(0, 1))
        axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(results), fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, format="png", dpi=110)
