"""A chart of lines as SVG text, in the colours of the page it stands in."""

import html
import math

COLOURS = ("--a", "--b", "--c", "--d", "--e", "--f")
LEFT, TOP, WIDTH, HEIGHT = 44, 12, 420, 200  # pixels of the plot in the drawing
Lines = dict[str, dict[int, float]]


def chart(title: str, lines: Lines, dashed: Lines | None = None) -> str:
    """A figure of lines {name: {x: y}} from 0 up; dashed ones have the colour of the line that they are named after,
    "NAME, ...". Values that are not finite are left out."""
    dashed = dashed or {}
    every = [(x, y) for line in (*lines.values(), *dashed.values()) for x, y in line.items() if math.isfinite(y)]
    if not every:
        return ""
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    top = rounded_up(max(y for _, y in every))

    def place(x, y):
        across = (x - first) / (last - first) if last > first else 0.5
        return f"{LEFT + WIDTH * across:.1f},{TOP + HEIGHT * (1 - max(0.0, y) / top):.1f}"

    colours = {name: f"var({COLOURS[k % len(COLOURS)]})" for k, name in enumerate(lines)}
    drawn = [grid_line(top * k / 4, k / 4) for k in range(5)]
    for kind, group in (("", lines), ("dashed", dashed)):
        for name, line in group.items():
            points = " ".join(place(x, y) for x, y in line.items() if math.isfinite(y))
            colour = colours[name if name in colours else name.rpartition(", ")[0]]
            drawn.append(f"<polyline class='{kind}' points='{points}' style='stroke: {colour}'/>")
            end = points.rpartition(" ")[2].split(",")
            drawn.append(f"<circle cx='{end[0]}' cy='{end[1]}' r='3' style='fill: {colour}'/>" if points else "")
    ends = f"<text x='{LEFT}' y='{TOP + HEIGHT + 16}'>epoch {first}</text>"
    ends += f"<text x='{LEFT + WIDTH}' y='{TOP + HEIGHT + 16}' text-anchor='end'>{last}</text>"
    label = html.escape(f"{title} over epochs", quote=True)
    size = f"0 0 {LEFT + WIDTH + 8} {TOP + HEIGHT + 20}"
    drawing = f"<svg viewBox='{size}' role='img' aria-label='{label}'>{''.join(drawn)}{ends}</svg>"
    keys = (f"<li><i style='background: {colour}'></i>{html.escape(name)}</li>" for name, colour in colours.items())
    note = "<li class='soft'>dashed: on validation data</li>" if dashed else ""
    legend = f"<ul class='legend'>{''.join(keys)}{note}</ul>"
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{drawing}{legend}</figure>"


def grid_line(value: float, share: float) -> str:
    """A line across at this share of the height, with its value."""
    y = TOP + HEIGHT * (1 - share)
    line = f"<line class='grid' x1='{LEFT}' x2='{LEFT + WIDTH}' y1='{y}' y2='{y}'/>"
    return f"{line}<text x='{LEFT - 6}' y='{y + 4}' text-anchor='end'>{value:.3g}</text>"


def rounded_up(value: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= value * (1 - 1e-9))
