"""The section on heat: a map of the die, answers warm and cold, phases, hot spots, advice."""

from typing import Any

import numpy as np

from onnx2mzi.backends.report import text
from onnx2mzi.backends.report.markup import Child, Markup, el, joined, td, th
from onnx2mzi.backends.report.png import data_uri, png
from onnx2mzi.emulate.heat_words import trims_told

Row = dict[str, Any]

# From cold to hot: dark blue, violet, red, orange, pale yellow.
_RAMP = np.array(
    [[13, 18, 60], [86, 22, 110], [187, 40, 78], [243, 120, 25], [252, 200, 60], [252, 250, 200]]
)
_PAGE_PX = 1100


def heat_section(report: Row) -> Markup | None:
    """Nothing for a chip whose heat was not studied."""
    found = report.get("heat")
    if not found:
        return None
    return joined(
        [
            el("h2", "Heat"),
            el("p", _sentence(found), class_="note"),
            _map(found["map"]),
            el("div", _answers(found), class_="panel"),
            el("div", _phases(found), class_="panel"),
            el("div", _spots(found), class_="panel"),
        ]
    )


def _sentence(found: Row) -> str:
    parts = [
        f"{text.count(found['heaters'])} heaters, {found['heat_p_pi_naive']:.1f} →"
        f" {found['heat_p_pi']:.1f} Pπ ({text.power(found['heat_mw'])}) as compensated.",
        f"Pπ is {text.significant(found['p_pi_mw_derived'])} mW from the layers of the chip and"
        f" {text.significant(found['p_pi_mw_technology'])} mW in the technology.",
    ]
    if found["spacing_um"] is not None:
        distance = text.significant(found["spacing_um"], 2)
        parts.append(
            f"A phase feels less than 1 % of that of a heater {distance} µm away: rows closer"
            " than this depend on compensation."
        )
    else:
        parts.append("A heater is felt by more than 1 % at any distance up to 1 mm.")
    told = trims_told(found.get("trims"))
    if told:
        parts.append(f"{told[0].upper()}{told[1:]}.")
    return " ".join(parts)


def _map(shown: Row) -> Markup:
    kelvin = np.array(shown["kelvin"])
    low, high = float(kelvin.min()), float(kelvin.max())
    at = (kelvin - low) / max(high - low, 1e-12) * (len(_RAMP) - 1)
    first = np.minimum(at.astype(int), len(_RAMP) - 2)
    share = (at - first)[..., None]
    pixels = np.round(_RAMP[first] * (1 - share) + _RAMP[first + 1] * share).astype(np.uint8)
    height, width = kelvin.shape
    tall = max(60, round(_PAGE_PX * height / width))
    size = f"{width * shown['cell_um'] / 1000:.1f} × {height * shown['cell_um'] / 1000:.1f} mm"
    stops = ", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in _RAMP.tolist())
    scale = el(
        "span",
        style=f"display:inline-block;width:160px;height:10px;margin:0 8px;"
        f"background:linear-gradient(90deg, {stops})",
    )
    return el(
        "figure",
        el(
            "img",
            src=data_uri(png(pixels)),
            alt="temperature of the die",
            style=f"width:100%;height:{min(tall, 700)}px;image-rendering:pixelated",
        ),
        el(
            "figcaption",
            f"Temperature of the guides over the sink, {size}: {low:.1f} K",
            scale,
            f"{high:.1f} K",
            class_="note",
        ),
    )


def _table(heads: list[str], rows: list[Markup]) -> Markup:
    head = el("thead", el("tr", *(th(name, left=not k) for k, name in enumerate(heads))))
    return el("table", head, el("tbody", *rows))


def _answers(found: Row) -> Markup:
    rows: list[tuple[str, str, str]] = [
        ("cold", text.percent(found["ideal"], 2), ""),
        ("warm, drives as the phases ask", text.percent(found["naive"], 2), ""),
    ]
    if found["compensated"] is not None:
        rows.append(("warm, drives compensated", text.percent(found["compensated"], 2), ""))
    certified = {row["error"]: row["loss"] for row in found["certificate"]}
    for row in found["uncertain"]:
        told = f"{text.percent(row['mean'], 2)}, worst {text.percent(row['worst'], 2)}"
        name = f"heat off by {row['error']:.0%}, at random and altogether ({row['copies']} chips)"
        rows.append((name, told, text.significant(certified.get(row["error"]))))
    heads = ["Chip", str(found["score"]), f"expected loss of {found['loss_of']}"]
    return _table(heads, [el("tr", td(a, kind="l"), td(b), td(c)) for a, b, c in rows])


def _phases(found: Row) -> Markup:
    rows: list[Markup] = []
    for row in found["phases"]:
        cells: list[Child] = [
            td(f"{row['layer']} {row['tile']} {row['kind']}", kind="l"),
            td(text.count(row["phases"])),
            td(f"{text.significant(row['rms_naive_rad'], 2)} rad"),
            td(f"{text.significant(row['rms_rad'], 2)} rad"),
            td(f"{text.significant(row['worst_rad'], 2)} rad"),
        ]
        rows.append(el("tr", *cells))
    heads = ["Phases off by heat", "Phases", "rms as drawn", "rms compensated", "worst"]
    return _table(heads, rows)


def _spots(found: Row) -> Markup:
    rows = [
        el(
            "tr",
            td(f"{row['layer']} {row['block']}", kind="l"),
            td(f"{row['x_um'] / 1000:.3f}, {row['y_um'] / 1000:.3f} mm"),
            td(f"{row['kelvin']:.1f} K"),
            td(text.power(row["power_mw"])),
        )
        for row in found["hottest"]
    ]
    return _table(["Hottest heaters", "x, y", "over the sink", "power"], rows)
