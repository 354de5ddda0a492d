"""The sections of the page that say how the chip was made, and of what."""

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from onnx2mzi import __version__
from onnx2mzi.backends.report import text
from onnx2mzi.backends.report.markup import Child, Markup, el, joined, td, th
from onnx2mzi.pipeline.backend import Emission

# Rows of the table of electronic nodes before the rest is left to report.json.
ELECTRONIC_ROWS = 200

Row = dict[str, Any]

# What the back ends that write beside the report have, by their names.
_BESIDE = {"phases": "every phase", "ir": "the program itself"}


def passes_section(report: Row) -> Markup | None:
    """The census behind every pass."""
    if not report["passes"]:
        return None
    rows, before = [], None
    for row in report["passes"]:
        active = row["phases_active"]
        change = ""
        if active is not None and before is not None and active != before:
            change = f"{'+' if active > before else '−'}{abs(active - before):,}"
        before = active if active is not None else before
        rows.append(
            el(
                "tr",
                td(el("code", row["pass"]), kind="l wrap"),
                td(text.count(row["mzis"])),
                td(text.count(active)),
                td(change),
                td(text.count(row["phases_passive"])),
                td(text.power(row["power_mw"])),
                td(text.count(row["depth_columns"])),
            )
        )
    heads = ["Pass", "MZIs", "Active phases", "Change", "Passive", "Power", "Depth"]
    head = el("thead", el("tr", *(th(name, left=not k) for k, name in enumerate(heads))))
    return joined(
        [
            el("h2", "Passes"),
            el("p", "What the chip was made of after each pass.", class_="note"),
            el("div", el("table", head, el("tbody", *rows)), class_="panel"),
        ]
    )


def electronic_section(report: Row) -> Markup:
    """Linear nodes that are not on the chip, and why; nodes whose work layers do as well."""
    heading = el("h2", "What stays electronic")
    items = report["electronic"]
    rest = "Activations, biases, sums of tiles and everything that is no linear layer"
    if not items:
        note = f"{rest} stay electronic. Every linear layer of the model is on the chip."
        return joined([heading, el("p", note, class_="note"), _folded(report)])
    rows = [
        el(
            "tr",
            td(item["node"] or text.UNKNOWN, kind="l"),
            td(item["op"], kind="l"),
            td(item["tensor"], kind="l"),
            td(item["why"], kind="l wrap"),
        )
        for item in items[:ELECTRONIC_ROWS]
    ]
    heads = ("Node", "Op", "Weight", "Why")
    head = el("thead", el("tr", *(th(name, left=True) for name in heads)))
    more = len(items) - len(rows)
    note = f"{rest} stay electronic, and these nodes:"
    return joined(
        [
            heading,
            el("p", note, class_="note"),
            el("div", el("table", head, el("tbody", *rows)), class_="panel"),
            el("p", f"{more} more are in report.json.", class_="note") if more else None,
            _folded(report),
        ]
    )


def _folded(report: Row) -> Markup | None:
    """Which nodes became part of a layer's matrix: norms, and parts of complex products."""
    nodes = dict.fromkeys(node for layer in report["layers"] for node in layer.get("folds", ()))
    if not nodes:
        return None
    told = ", ".join(list(nodes)[:ELECTRONIC_ROWS])
    more = ", …" if len(nodes) > ELECTRONIC_ROWS else ""
    text_ = f"Nodes whose work the matrices of layers do as well ({len(nodes)}): {told}{more}"
    return el("p", text_, class_="note")


def facts(thing: object, prefix: str = "") -> list[tuple[str, str]]:
    """Every field of a technology as (name, value), sections behind their name."""
    found: list[tuple[str, str]] = []
    if is_dataclass(thing):
        for field in fields(thing):
            value, name = getattr(thing, field.name), f"{prefix}{field.name}"
            if is_dataclass(value):
                found += facts(value, f"{name}.")
            elif value not in (None, "", ()):
                found.append((name, _fact(value)))
    return found


def _fact(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return " ".join(_fact(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def technology_section(emission: Emission) -> Markup:
    """Every number of the technology, folded away."""
    rows = [
        el("div", el("dt", name), el("dd", value)) for name, value in facts(emission.technology)
    ]
    return joined(
        [
            el("h2", f"Technology {emission.technology.name}"),
            el(
                "details",
                el("summary", "All values that the chip was compiled for"),
                el("div", el("dl", *rows, class_="facts"), class_="panel"),
            ),
        ]
    )


def method_section(emission: Emission) -> Markup:
    """What the words mean, and the command that made the chip."""
    terms = [
        (
            "reference",
            "the textbook chip: a full square U and V for every tile (Clements), two phases an"
            " MZI on the upper arm modulo 2π, one attenuator a singular value",
        ),
        ("exact", "the same function after the lossless passes"),
        ("active", "a phase with a heater; it costs power and can be tuned"),
        ("passive", "a fixed phase, drawn as waveguide length; no power, never counted as removed"),
        ("power", "Σ |phase| / π · Pπ over all heaters"),
    ]
    if emission.command:
        terms.append(("command", emission.command))
    if emission.program.history:
        terms.append(("pipeline", ", ".join(emission.program.history)))
    rows: list[Child] = []
    for term, meaning in terms:
        code = term in ("command", "pipeline")
        rows += [el("dt", term), el("dd", el("code", meaning) if code else meaning)]
    return joined(
        [
            el("h2", "How to read this"),
            el("div", el("dl", *rows), class_="panel"),
            el(
                "footer",
                f"onnx2mzi {__version__}. The numbers are in report.json and layers.csv"
                + "".join(
                    f", {what} in {emission.beside[name]}"
                    for name, what in _BESIDE.items()
                    if name in emission.beside
                )
                + ".",
            ),
        ]
    )
