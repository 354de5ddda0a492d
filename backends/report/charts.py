"""Small charts as inline SVG and CSS bars, without a library."""

from collections.abc import Sequence

import numpy as np

from onnx2mzi.backends.report.colour import BINS, bin_phase_rad, phase_colour
from onnx2mzi.backends.report.markup import Markup, el, joined, short
from onnx2mzi.backends.report.text import significant
from onnx2mzi.physics.arrays import Real


def bar(fraction: float | None, kind: str = "now") -> Markup:
    """A horizontal bar in a track; unknown is an empty track."""
    width = 0.0 if fraction is None else 100 * min(max(fraction, 0.0), 1.0)
    # What is there must be seen.
    width = max(width, 0.6) if fraction else width
    return el("span", el("i", class_=kind, style=f"width:{short(width)}%"), class_="track")


def share_chart(
    title: str, names: Sequence[str], values: Sequence[float], texts: Sequence[str], note: str = ""
) -> Markup:
    """One bar a layer, the longest is full; each says its value."""
    largest = max(values, default=0.0)
    rows = [
        el(
            "div",
            el("span", name, class_="name", title=name),
            bar(value / largest if largest > 0 else 0.0),
            el("span", text, class_="value"),
            class_="row",
        )
        for name, value, text in zip(names, values, texts, strict=True)
    ]
    heading = el("h3", title, el("small", note) if note else None)
    return el("div", heading, *rows, class_="chart")


def phase_histogram(title: str, phases_rad: Real) -> Markup:
    """How many phases lie where in [-pi, pi], in the colours of the meshes."""
    bins = 2 * BINS
    counts, _ = np.histogram(phases_rad, bins=bins, range=(-np.pi, np.pi))
    width, height, step = 320.0, 96.0, 320.0 / bins
    tallest = max(int(counts.max()), 1)
    bars = []
    for k, value in enumerate(counts.tolist()):
        if value:
            tall = max(height * value / tallest, 1.0)
            middle = (k + 0.5) * 2 * np.pi / bins - np.pi
            hint = f"{value:,} near {middle:+.2f} rad"
            bars.append(
                el(
                    "rect",
                    el("title", hint),
                    x=k * step + 0.4,
                    y=height - tall,
                    width=step - 0.8,
                    height=tall,
                    fill=phase_colour(float(middle)),
                )
            )
    marks = [(0.0, "−π", "start"), (0.25, "−π/2", "middle"), (0.5, "0", "middle")]
    marks += [(0.75, "π/2", "middle"), (1.0, "π", "end")]
    labels = [
        el("text", text, x=at * width, y=height + 13, text_anchor=anchor)
        for at, text, anchor in marks
    ]
    mean = float(np.abs(phases_rad).mean()) if len(phases_rad) else 0.0
    note = f"{len(phases_rad):,} active, mean |phase| {significant(mean / np.pi, 2)} π"
    svg = el(
        "svg",
        el("path", class_="axis", d=f"M0 {short(height)}H{short(width)}"),
        *bars,
        *labels,
        viewBox=f"0 -2 {short(width)} {short(height + 20)}",
        role="img",
        class_="histogram",
    )
    return el("div", el("h3", title, el("small", note)), svg, class_="chart")


def singular_values(asked: Real, made: Real) -> Markup:
    """Singular values of the tile's matrix (line) and of what the chip makes of it (dots)."""
    width, height = 220.0, 64.0
    largest = max(float(asked.max(initial=0.0)), float(made.max(initial=0.0)), 1e-300)
    longest = max(len(asked), len(made), 2)

    def spot(k: int, value: float) -> tuple[float, float]:
        return 4 + k * (width - 8) / (longest - 1), height - 3 - (height - 8) * value / largest

    line = " ".join(
        f"{short(x)},{short(y)}" for x, y in (spot(k, v) for k, v in enumerate(asked.tolist()))
    )
    radius = 2.2 if longest <= 32 else 1.5
    dots = [
        el("circle", cx=x, cy=y, r=radius)
        for x, y in (spot(k, v) for k, v in enumerate(made.tolist()))
    ]
    title = (
        f"{len(made)} channels of {len(asked)} singular values; largest {significant(largest, 4)}"
    )
    return el(
        "svg",
        el("title", title),
        el("path", class_="axis", d=f"M0 {short(height - 1)}H{short(width)}"),
        el("polyline", points=line),
        *dots,
        viewBox=f"0 0 {short(width)} {short(height)}",
        class_="singular",
        role="img",
    )


def phase_legend() -> Markup:
    """What the colours and shapes of a mesh mean."""
    stops = [el("i", style=f"background:{phase_colour(bin_phase_rad(k))}") for k in range(BINS + 1)]
    scale = el("span", "−π", el("span", *stops, class_="ramp"), "π", class_="scale")

    def swatch(shape: Markup, text: str) -> Markup:
        svg = el("svg", shape, viewBox="0 0 18 18", class_="mesh key")
        return el("span", svg, text, class_="swatch")

    def path(kind: str, command: str) -> Markup:
        return el("path", class_=kind, d=command)

    guides = path("g", "M0 5H18M0 13H18")
    return el(
        "div",
        el("span", "phase of a heater", scale, class_="swatch"),
        swatch(joined([guides, path("t16", "M9 2v14")]), "θ, the MZI"),
        swatch(joined([guides, path("f16", "M9 2.5v5")]), "φ or output phase"),
        swatch(joined([guides, path("tp", "M9 2v14")]), "passive: fixed length, no power"),
        swatch(
            joined([guides, path("bg", "M9 4v10"), path("x", "M5 5l8 8m-8 0l8-8")]),
            "removed: waveguides cross",
        ),
        swatch(guides, "plain guides: nothing left"),
        class_="legend",
    )
