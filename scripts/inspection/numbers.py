"""What is counted of each array: histograms, dead units, norms, and what looks wrong."""

import numpy as np

BINS, SOME = 41, 200_000  # bins of a histogram; elements that it is made of at most
DEAD = 0.5  # share of dead units that is marked


def rounded(value: float) -> float | None:
    """Four digits; None for NaN and infinity, which JSON does not have."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def statistics(x: np.ndarray) -> dict:
    """shape, mean, std, min, max, norm, share of zeros, of NaN and infinity, and a histogram of the values."""
    flat = x.reshape(-1)
    finite = np.isfinite(flat)
    known = flat if finite.all() else flat[finite]
    if not known.size:
        return {"shape": x.shape, "zeros": 0, "broken": float(flat.size > 0), "histogram": None, "norm": None}
    some = known[:: max(1, known.size // SOME)]
    counts, edges = np.histogram(some, BINS)
    mean, norm = known.mean(dtype=np.float64), np.linalg.norm(known)
    std = np.sqrt(max(0.0, float(norm) ** 2 / known.size - mean**2))
    moments = {"mean": mean, "std": std, "min": known.min(), "max": known.max(), "norm": norm}
    return {
        "shape": x.shape,
        **{name: rounded(value) for name, value in moments.items()},
        "zeros": rounded((known == 0).mean()),
        "broken": rounded(1 - finite.mean()),
        "histogram": {"low": rounded(edges[0]), "high": rounded(edges[-1]), "counts": counts.tolist()},
    }


def dead(y: np.ndarray) -> float | None:
    """The share of units that are 0 for the whole batch: of maps channels, of vectors elements; None where y has
    negative values, as then 0 is no end."""
    if y.ndim < 2 or not y.size or not (y >= 0).all():
        return None
    axes = (0, *range(2, y.ndim)) if y.ndim != 3 else (0, 1)
    return rounded((y == 0).all(axis=axes).mean())


def warnings(y: dict | None, dy: dict | None, share: float | None, trainable: dict, kind: str) -> list[str]:
    """What is marked red: NaN, infinity, a gradient that is 0 everywhere; amber: many dead units."""
    found = []
    for name, each in (("activation", y), ("gradient", dy)):
        if each and each["broken"]:
            found.append(f"red: {each['broken']:.0%} of the {name} is NaN or infinite")
    if dy and dy["norm"] == 0:
        found.append("red: the gradient is 0 everywhere")
    if trainable and trainable["gradient"] == 0 and dy is not None:
        found.append("red: no parameter of this layer has a gradient")
    if share is not None and share > DEAD and "ReLU" in kind:
        found.append(f"amber: {share:.0%} of the units are 0 for this whole picture")
    return found


def parameter_norms(parameters: dict) -> dict:
    """number, norm of the weights and of their gradient; {} without parameters."""
    each = list({id(p): p for p in parameters.values()}.values())  # tied ones once
    if not each:
        return {}
    weight, gradient = (
        np.sqrt(sum(float(np.linalg.norm(a)) ** 2 for a in arrays))
        for arrays in ([p.value for p in each], [p.grad for p in each])
    )
    return {"count": sum(p.value.size for p in each), "weight": rounded(weight), "gradient": rounded(gradient)}
