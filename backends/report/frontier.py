"""The frontier that a search walked: accuracy against heaters and against power."""

import math
from collections.abc import Sequence
from typing import Any

from onnx2mzi.backends.report import text
from onnx2mzi.backends.report.markup import Markup, el, joined, short, td, th

Row = dict[str, Any]

WIDTH, HEIGHT = 320.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 308.0, 8.0, 118.0


def frontier_section(report: Row) -> Markup | None:
    """Both plots and the points; None if nothing was searched."""
    points = [row for row in report.get("frontier", []) if row["right"] is not None]
    if not points:
        return None
    note = (
        "Chips that training met on its way, measured on samples kept back from it. Filled: within"
        " what may be lost."
    )
    return joined(
        [
            el("h2", "The frontier that was walked"),
            el("p", note, class_="note"),
            el(
                "div",
                _plot("Accuracy against heaters", points, "heaters", "heaters"),
                _plot("Accuracy against power", points, "power_mw", "mW"),
                class_="charts",
            ),
            el("details", el("summary", "All points"), el("div", _table(points), class_="panel")),
        ]
    )


def _plot(title: str, points: Sequence[Row], key: str, unit: str) -> Markup:
    xs = [math.log10(max(float(row[key]), 1e-3)) for row in points]
    ys = [float(row["right"]) for row in points]
    # What is far too bad would hide the rest.
    low_y = max(min(ys), 2 * sorted(ys)[len(ys) // 2] - 1.0)
    x_of = _scale(min(xs), max(xs), LEFT + 6, RIGHT - 6)
    y_of = _scale(low_y, max(ys), BOTTOM - 6, TOP + 6)
    marks = [
        el(
            "circle",
            el(
                "title",
                f"{row['made_by']}: {float(row[key]):,.0f} {unit}, {text.percent(row['right'], 2)}",
            ),
            cx=x_of(x),
            cy=y_of(max(y, low_y)),
            r=3.0,
            class_="in" if row["kept"] else "out",
        )
        for x, y, row in zip(xs, ys, points, strict=True)
    ]
    axis = f"M{short(LEFT)} {short(TOP)}V{short(BOTTOM)}H{short(RIGHT)}"
    labels = [
        el("text", text.percent(max(ys), 1), x=LEFT - 4, y=TOP + 10, text_anchor="end"),
        el("text", text.percent(low_y, 1), x=LEFT - 4, y=BOTTOM - 2, text_anchor="end"),
        el("text", f"{10 ** min(xs):,.0f}", x=LEFT, y=BOTTOM + 14, text_anchor="start"),
        el("text", f"{10 ** max(xs):,.0f} {unit}", x=RIGHT, y=BOTTOM + 14, text_anchor="end"),
    ]
    svg = el(
        "svg",
        el("path", class_="axis", d=axis),
        *marks,
        *labels,
        viewBox=f"0 0 {short(WIDTH)} {short(HEIGHT - 12)}",
        role="img",
        class_="histogram frontier",
    )
    return el("div", el("h3", title, el("small", "logarithmic")), svg, class_="chart")


def _scale(low: float, high: float, start: float, end: float) -> Any:
    span = high - low

    def place(value: float) -> float:
        share = (value - low) / span if span > 0 else 0.5
        return start + share * (end - start)

    return place


def _table(points: Sequence[Row]) -> Markup:
    heads = ("Made by", "Heaters", "Power", "Right", "Kept")
    head = el("thead", el("tr", *(th(name, left=not k) for k, name in enumerate(heads))))
    rows = [
        el(
            "tr",
            td(row["made_by"], kind="l"),
            td(text.count(row["heaters"])),
            td(text.power(row["power_mw"])),
            td(text.percent(row["right"], 2)),
            td("yes" if row["kept"] else "no"),
        )
        for row in points
    ]
    return el("table", head, el("tbody", *rows))
