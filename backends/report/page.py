"""report.html: one file that needs nothing else, from the report's numbers and the program."""

from typing import Any

from onnx2mzi.backends.report import text
from onnx2mzi.backends.report.charts import bar, phase_histogram, phase_legend, share_chart
from onnx2mzi.backends.report.chip import chip_section
from onnx2mzi.backends.report.document import document
from onnx2mzi.backends.report.frontier import frontier_section
from onnx2mzi.backends.report.heat import heat_section
from onnx2mzi.backends.report.making import (
    electronic_section,
    method_section,
    passes_section,
    technology_section,
)
from onnx2mzi.backends.report.markup import Child, Markup, el, joined, td, th
from onnx2mzi.backends.report.tiles import heater_phases, layer_figures
from onnx2mzi.pipeline.backend import Emission

# Layers in a chart; the largest are shown.
CHART_ROWS = 20
# A chip this close to its model (relative, single precision) computes the same function.
SAME = 1e-5

Row = dict[str, Any]


def page(emission: Emission, report: Row, *, tiles_per_layer: int) -> str:
    """The whole document. `report` is `pipeline.summary.report(emission)`."""
    body = el(
        "main",
        _header(report),
        _verdict(report),
        _cards(report),
        _layers(report),
        _shares(report),
        chip_section(emission),
        _meshes(emission, tiles_per_layer),
        _histograms(emission),
        heat_section(report),
        frontier_section(report),
        passes_section(report),
        electronic_section(report),
        technology_section(emission),
        method_section(emission),
    )
    return document(f"{report['model']}: photonic chip", body)


# ---- top ----------------------------------------------------------------------------------


def _header(report: Row) -> Markup:
    facts = [
        f"{text.plural(len(report['layers']), 'linear layer')} on the chip",
        f"technology {report['technology']}",
        f"up to {report['ports']} ports a mesh",
        f"stage {report['stage']}",
    ]
    return joined(
        [
            el("div", "Photonic chip report", class_="over"),
            el("h1", report["model"]),
            el("div", *(el("span", fact) for fact in facts), class_="sub"),
        ]
    )


def saving_sentence(report: Row) -> str:
    """How much of the textbook chip is left."""
    active, reference = report["phases_active"], report["phases_reference"]
    if active is None:
        return "Not on meshes yet: there is nothing to count."
    sentence = (
        f"{text.count(active)} of {text.count(reference)} phases need a heater"
        f" ({text.percent(report['active_fraction'])})"
    )
    before, after = report["power_reference_mw"], report["power_mw"]
    if before:
        sentence += f", at {text.power(after)} instead of {text.power(before)}"
    return f"{sentence}."


def fidelity_sentence(report: Row) -> str:
    """How close the chip is to the model."""
    where = ""
    if report["measured_on"]:
        where = f" on {report['measured_on']}"
    elif report["samples"]:
        where = f" on {text.plural(report['samples'], 'sample')}"
    parts = []
    if report["accuracy"] is not None:
        parts.append(
            f"Accuracy {text.percent(report['accuracy_reference'], 2)} →"
            f" {text.percent(report['accuracy'], 2)}"
            f" ({text.points(report['accuracy_drop'])}){where}."
        )
    changed = report.get("changed_answers")
    if changed is not None:
        parts.append(f"The answer (top class) changes for {text.percent(changed)} of the samples.")
    error = report["max_rel_error"]
    if error is not None and error <= SAME:
        parts.append(
            "The emulated chip computes the same function as the ONNX model: the largest"
            f" difference is {text.significant(error)} of the largest output"
            f"{'' if parts else where}."
        )
    elif error is not None:
        parts.append(
            f"Outputs differ from the ONNX model by at most {text.significant(error)} of the"
            f" largest output{'' if parts else where}."
        )
    return " ".join(parts) or "The chip was not compared with the model."


def _verdict(report: Row) -> Markup:
    measured = report["accuracy"] is not None or report["max_rel_error"] is not None
    return el(
        "div",
        el("b", saving_sentence(report)),
        el("span", fidelity_sentence(report)),
        class_="verdict" if measured else "verdict unsure",
    )


def _compared(report: Row, keys: tuple[str, str, str], show: Any) -> Markup | None:
    """Reference, exact and this chip, as bars of one scale."""
    reference, exact, now = (report[key] for key in keys)
    if not reference or now is None:
        return None
    rows: list[Child] = []
    for name, value, kind in (
        ("reference", reference, "ref"),
        ("exact", exact, "exact"),
        ("this chip", now, "now"),
    ):
        if value is not None:
            rows += [el("span", name), bar(value / max(reference, exact or 0, now), kind)]
            share = el("small", text.percent(value / reference))
            rows.append(el("span", show(value), share, class_="value"))
    return el("div", *rows, class_="compare")


def _made_chips(report: Row) -> list[Markup]:
    """Cards of chips with errors: fabricated ones, set for their errors, and one measured."""
    cards: list[Markup] = []
    for kind, title in (("fabricated", "Accuracy as fabricated"), ("retuned", "Set when made")):
        mean = report.get(f"accuracy_{kind}_mean")
        if mean is not None:
            spread = f"± {text.percent(report[f'accuracy_{kind}_std'], 2)}"
            good = f"yield {text.percent(report[f'accuracy_{kind}_yield'], 0)}"
            card = _card(title, text.percent(mean, 2), f"{spread}, {good}")
            cards.append(el("div", card, title=report[f"{kind}_on"]))
    made, after = report.get("accuracy_made"), report.get("accuracy_recalibrated")
    if made is not None and after is not None:
        was = f"was {text.percent(made, 2)} as made"
        cards.append(_card("Measured chip, re-calibrated", text.percent(after, 2), was))
    return cards


def _card(what: str, big: str, small: str = "", below: Markup | None = None) -> Markup:
    return el(
        "div",
        el("div", what, class_="what"),
        el("div", big, el("small", small) if small else None, class_="big"),
        below,
        class_="card",
    )


def _shared(report: Row) -> str:
    """Heaters driven alike share a driver."""
    drivers = report["drivers"]
    if drivers is None or drivers >= report["phases_active"]:
        return ""
    return f"; {text.plural(drivers, 'driver')}"


def _cards(report: Row) -> Markup:
    phases = ("phases_reference", "phases_exact", "phases_active")
    power = ("power_reference_mw", "power_exact_mw", "power_mw")
    mzis = ("mzis_reference", "mzis_exact", "mzis")
    cards = [
        _card(
            "Phases with a heater",
            text.count(report["phases_active"]),
            f"and {text.count(report['phases_passive'])} passive" + _shared(report),
            _compared(report, phases, text.count),
        ),
        _card(
            "Heater power",
            text.power(report["power_mw"]),
            "all heaters on",
            _compared(report, power, text.power),
        ),
        _card(
            "MZIs",
            text.count(report["mzis"]),
            f"and {text.plural(report['crossings'], 'crossing')}",
            _compared(report, mzis, text.count),
        ),
    ]
    small = []
    accuracy = report["accuracy"]
    if accuracy is not None:
        was = f"was {text.percent(report['accuracy_reference'], 2)}"
        small.append(_card("Accuracy", text.percent(accuracy, 2), was))
    small += _made_chips(report)
    small += [
        _card(
            "Output error, worst",
            text.significant(report["max_rel_error"]),
            "of the largest output" if report["max_rel_error"] is not None else "not measured",
        ),
        _card("Depth", text.count(report["depth_columns"]), "columns of MZIs"),
    ]
    if report["area_mm2"] is not None:
        small.append(_card("Area", text.area(report["area_mm2"]), "as placed"))
    if report["loss_db_worst"] is not None:
        small.append(_card("Worst loss", text.loss(report["loss_db_worst"]), "on the longest path"))
    if report.get("loss_db_edges") is not None:
        edges = text.loss(report["loss_db_edges"])
        small.append(_card("Loss of couplers", edges, "in and out, with their guides"))
    if report["pads"] is not None:
        small.append(_card("Pads", text.count(report["pads"]), "signals and grounds"))
    if report.get("ir_drop_percent_max") is not None:
        carried = f"buses carry up to {text.significant(report['bus_current_ma_max'])} mA"
        rise = f"{text.significant(report['ir_drop_percent_max'])} %"
        small.append(_card("Grounds rise", rise, carried))
    return joined([el("div", *cards, class_="cards"), el("div", *small, class_="cards small")])


# ---- layers -------------------------------------------------------------------------------


def _layers(report: Row) -> Markup:
    heads = ["Layer", "Op", "Matrix", "Tiles", "MZIs", "Active phases", "", "Passive", "Power"]
    heads += ["Depth", "Loss", "Area", "Error"]
    rows = [_layer_row(row) for row in report["layers"]]
    total = {**report, "name": "Total", "op": "", "node": ""}
    total["tiles"] = sum(row["tiles"] for row in report["layers"])
    return joined(
        [
            el("h2", "Layers"),
            el(
                "p",
                "Shares are of the reference, the textbook chip for the same matrix. The error"
                " of a layer is max |ΔW| / max |W| of the matrix that its meshes make; that of"
                " the total is of the network's outputs.",
                class_="note",
            ),
            el(
                "div",
                el(
                    "table",
                    el("thead", el("tr", *(th(head, left=k < 2) for k, head in enumerate(heads)))),
                    el("tbody", *rows),
                    el("tfoot", _layer_row(total)),
                ),
                class_="panel",
            ),
        ]
    )


def _layer_row(row: Row) -> Markup:
    matrix = f"{row['rows']} × {row['columns']}" if "rows" in row else ""
    share = el("small", text.percent(row["active_fraction"]))
    node = row["node"] if row["node"] != row["name"] else ""
    return el(
        "tr",
        td(row["name"], el("small", node) if node else None, kind="l"),
        td(row["op"], kind="l"),
        td(matrix),
        td(text.count(row["tiles"])),
        td(text.count(row["mzis"])),
        td(text.count(row["phases_active"]), share),
        td(bar(row["active_fraction"])),
        td(text.count(row["phases_passive"])),
        td(text.power(row["power_mw"])),
        td(text.count(row["depth_columns"])),
        td(text.loss(row["loss_db_worst"])),
        td(text.area(row["area_mm2"])),
        td(text.significant(row["max_rel_error"])),
    )


def _shares(report: Row) -> Markup | None:
    layers = report["layers"]
    charts = []
    for title, key, show, note in (
        ("Active phases", "phases_active", text.count, "heaters of each layer"),
        ("Power", "power_mw", text.power, "static, all heaters on"),
        ("Area", "area_mm2", text.area, "of the layer's blocks"),
        ("Error", "max_rel_error", text.significant, "max |ΔW| / max |W|"),
    ):
        known = [(row["name"], row[key]) for row in layers if row[key] is not None]
        if known:
            # The largest say most; which are shown keeps the model's order.
            ranked = sorted(known, key=lambda pair: -pair[1])[:CHART_ROWS]
            shown = [pair for pair in known if pair in ranked][:CHART_ROWS]
            if len(known) > len(shown):
                note += f"; the {len(shown)} largest of {len(known)} layers"
            names, values = [name for name, _ in shown], [value for _, value in shown]
            charts.append(share_chart(title, names, values, [show(v) for v in values], note))
    if not charts:
        return None
    return joined([el("h2", "Where it goes"), el("div", *charts, class_="charts")])


# ---- pictures -----------------------------------------------------------------------------


def _meshes(emission: Emission, tiles_per_layer: int) -> Markup | None:
    figures = layer_figures(emission, tiles_per_layer)
    if not figures:
        return None
    return joined(
        [
            el("h2", "Meshes"),
            el(
                "p",
                "Light runs from left to right, through V, the attenuators Σ and U. The small"
                " plot beside a tile has the singular values that the model asks for (line) and"
                " those that the chip makes (dots).",
                class_="note",
            ),
            phase_legend(),
            figures,
        ]
    )


def _histograms(emission: Emission) -> Markup | None:
    charts = [
        phase_histogram(title, phases)
        for title, phases in heater_phases(emission.program).items()
        if len(phases)
    ]
    if not charts:
        return None
    note = "Signed phases of the heaters; a heater's power goes with |phase|."
    return joined(
        [
            el("h2", "Phases"),
            el("p", note, class_="note"),
            el("div", *charts, class_="charts"),
        ]
    )
