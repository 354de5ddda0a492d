"""Inline SVG: lines with confidence bands, bars, and maps of meshes, MZI by MZI."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from onnx2mzi.backends.report.colour import oklch
from onnx2mzi.backends.report.markup import Markup, el, joined, short
from onnx2mzi.physics.arrays import Real

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300.0, 150.0, 34.0, 22.0, 8.0
STEPS = 16
CELL, GAP = 9.0, 1.0


def heat_colour(step: int) -> str:
    """`#rrggbb` from pale to deep red, 0 <= step < STEPS: lightness falls evenly."""
    share = step / (STEPS - 1)
    return oklch(0.95 - 0.55 * share, 0.02 + 0.15 * share, np.radians(85.0 - 55.0 * share))


def line_figure(
    sizes: Sequence[float],
    labels: Sequence[str],
    means: Sequence[float],
    halves: Sequence[float | None],
    ideal: float,
) -> Markup:
    """Means over sizes at equal steps, a band for their intervals, a dashed line for the ideal."""
    top, bottom = max(1.0, *means), 0.0

    def x(k: int) -> float:
        return LEFT + (WIDTH - LEFT - 10) * (k + 0.5) / len(sizes)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (top - min(max(value, bottom), top)) / (top - bottom)

    grid = [
        joined(
            [
                el("line", x1=LEFT, x2=WIDTH, y1=y(value), y2=y(value), class_="axis"),
                el("text", f"{100 * value:.0f}", x=LEFT - 5, y=y(value) + 3, text_anchor="end"),
            ]
        )
        for value in (0.0, 0.5 * top, top)
    ]
    upper = [f"{short(x(k))},{short(y(m + (h or 0)))}" for k, (m, h) in _pairs(means, halves)]
    lower = [f"{short(x(k))},{short(y(m - (h or 0)))}" for k, (m, h) in _pairs(means, halves)]
    line = " ".join(f"{short(x(k))},{short(y(mean))}" for k, mean in enumerate(means))
    dots = [
        el("circle", el("title", f"{label}: {mean:.4g}"), cx=x(k), cy=y(mean), r=3)
        for k, (label, mean) in enumerate(zip(labels, means, strict=True))
    ]
    ticks = [
        el("text", label, x=x(k), y=HEIGHT - 6, text_anchor="middle")
        for k, label in enumerate(labels)
    ]
    return el(
        "svg",
        *grid,
        el("line", x1=LEFT, x2=WIDTH, y1=y(ideal), y2=y(ideal), class_="ideal"),
        el("polygon", points=" ".join([*upper, *reversed(lower)]), class_="band"),
        el("polyline", points=line),
        *dots,
        *ticks,
        class_="scan",
        viewBox=f"0 0 {short(WIDTH)} {short(HEIGHT)}",
        role="img",
    )


def _pairs(
    means: Sequence[float], halves: Sequence[float | None]
) -> list[tuple[int, tuple[float, float | None]]]:
    return list(enumerate(zip(means, halves, strict=True)))


def heat_map(
    column: np.ndarray, port: np.ndarray, error: Real, largest: float, title: str
) -> Markup:
    """A mesh: columns to the right, ports downwards, each MZI across its two guides."""
    columns = int(column.max(initial=0)) + 1
    ports = int(port.max(initial=0)) + 2
    step = np.zeros(len(error), int)
    if largest > 0:
        step = np.minimum((error / largest * STEPS).astype(int), STEPS - 1)
    paths: dict[int, list[str]] = defaultdict(list)
    for c, p, s in zip(column.tolist(), port.tolist(), step.tolist(), strict=True):
        x, y = short(c * CELL + GAP / 2), short(p * CELL / 2 + GAP / 2)
        paths[s].append(f"M{x} {y}h{short(CELL - GAP)}v{short(CELL - GAP)}h-{short(CELL - GAP)}z")
    shapes = [el("path", class_=f"h{s}", d="".join(paths[s])) for s in sorted(paths)]
    width, height = columns * CELL, (ports + 0.2) * CELL / 2
    return el(
        "svg",
        el("title", title),
        *shapes,
        class_="heat",
        viewBox=f"0 0 {short(width)} {short(height)}",
        style=f"width:{short(min(1.6 * width, 520))}px",
        role="img",
    )


def profile_figure(values: Real, title: str) -> Markup:
    """Bars, one a column or a port, as parts of their sum."""
    total = float(values.sum())
    shares = values / total if total > 0 else values
    largest = float(shares.max(initial=0.0)) or 1.0
    width = 260.0 / max(len(values), 1)
    bars = "".join(
        f"M{short(k * width)} 60h{short(max(width - 0.6, 0.4))}v-{short(58 * share / largest)}"
        f"h-{short(max(width - 0.6, 0.4))}z"
        for k, share in enumerate(shares.tolist())
    )
    return el(
        "svg", el("title", title), el("path", d=bars), class_="profile", viewBox="0 0 260 61",
        role="img",
    )  # fmt: skip


def scale(largest: str) -> Markup:
    """The legend of heat maps."""
    ramp = [el("i", style=f"background:{heat_colour(step)}") for step in range(STEPS)]
    return el(
        "div",
        el("span", el("span", "0"), el("span", *ramp, class_="ramp"), el("span", largest),
           class_="scale"),
        class_="legend",
    )  # fmt: skip


def style() -> str:
    """Rules beside those of the report."""
    heat = "".join(f".heat .h{k}{{fill:{heat_colour(k)}}}\n" for k in range(STEPS))
    return (
        ".scan{width:100%;height:auto}.scan text{font-size:10px;fill:var(--soft)}\n"
        ".scan polyline{fill:none;stroke:var(--accent);stroke-width:2}\n"
        ".scan .band{fill:var(--accent);opacity:.18}.scan circle{fill:var(--accent)}\n"
        ".scan .ideal{stroke:var(--good);stroke-dasharray:4 3}\n"
        ".profile{width:100%;height:60px}.profile path{fill:var(--accent)}\n"
        ".heats{display:flex;flex-wrap:wrap;gap:18px;align-items:flex-end}\n"
        ".heats svg{height:auto;max-width:100%;background:var(--track);border-radius:4px}\n"
        ".heats small{display:block;color:var(--soft);margin-bottom:4px}\n" + heat
    )
