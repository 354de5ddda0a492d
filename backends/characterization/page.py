"""characterization.html: one file that needs nothing else."""

from collections.abc import Sequence
from typing import Any

from onnx2mzi.backends.characterization import figures
from onnx2mzi.backends.report import text
from onnx2mzi.backends.report.charts import bar
from onnx2mzi.backends.report.document import document
from onnx2mzi.backends.report.markup import Markup, el, joined, td, th
from onnx2mzi.emulate.characterize import JOINT, Characterization, profile
from onnx2mzi.emulate.sensitivity import BlockSensitivity
from onnx2mzi.emulate.setting import SAID, Setting

Row = dict[str, Any]

# Tiles with maps; the first of every layer come first.
MOST_TILES = 12
NAMES = {
    "phase_rad": ("Phase of a heater", "σ in rad"),
    "gamma": ("Rate of a heater, γ", "relative σ"),
    "split_rad": ("Coupler angle", "σ in rad, each coupler"),
    "split_shared_rad": ("Coupler angle, shared", "σ in rad, whole chip"),
    "split_offset_rad": ("Coupler angle, offset", "rad, all couplers"),
    "split_gradient_rad_mm": ("Gradient of couplers over the chip", "σ in rad per mm"),
    "loss_scale": ("Loss", "times the technology's"),
    "loss_sigma_db": ("Spread of loss", "σ in dB, an MZI"),
    "crosstalk_scale": ("Leak of crossings", "times the technology's"),
    "thermal": ("Thermal crosstalk", "phase in a neighbour per phase"),
    "fabrication_scale": ("Static phase error", "times the coherence length's"),
    "gradient_rad_mm2": ("Gradient of phases over the chip", "σ in rad per mm²"),
    "modulator": ("Modulators", "relative σ of amplitude"),
    "detector": ("Detectors", "relative σ of amplitude"),
    "input_noise": ("Noise of modulators", "σ a sample, of full scale"),
    "output_noise": ("Noise of detectors", "σ a sample, of full scale"),
    "shot_noise": ("Shot noise", "σ a sample at full scale"),
    "dead": ("Dead heaters", "share"),
    "stuck": ("Stuck heaters", "share"),
    "bits": ("Codes of the drivers", "bits"),
    "settings": ("Together: settings", JOINT["settings"] + ", times the sizes"),
    "tuned": ("Together: tuned", JOINT["tuned"] + ", times the sizes"),
    "all": ("Together: all", JOINT["all"] + ", times the sizes"),
}
BLOCK = {"v": "V", "s": "Σ", "u": "U", None: "all"}


def page(found: Characterization, report: Row) -> str:
    """The whole document; `report` is `numbers(found, about)`."""
    body = el(
        "main",
        _header(found, report),
        _cards(report),
        _scans(found, report),
        _regions(report),
        _maps(found),
        _profiles(found),
        _first_order(report),
        _worst(report),
        _method(report),
    )
    return document(f"{report['model']}: imperfections", body, style=figures.style())


def _shown(value: float) -> str:
    return f"{100 * value:.2f} %"


def _header(found: Characterization, report: Row) -> Markup:
    facts = (
        f"technology {report['technology']}",
        f"{text.count(found.samples)} samples",
        f"seed {report['seed']}",
        f"calibration: {report['calibration']}",
        SAID[Setting(report["setting"])],
    )
    single = [row for row in report["points"] if row["factor"] == 1.0 and row["kind"] not in JOINT]
    worst = min(single, key=lambda row: _goodness(report, row["mean"]), default=None)
    sentence = f"The ideal chip: {found.measure} {_shown(found.ideal_value)}."
    told = ""
    if worst is not None:
        name = NAMES[worst["kind"]][0].lower()
        told = f"What hurts most at its usual size: {name}, {_shown(worst['mean'])}."
    return joined(
        [
            el("div", "Imperfections", class_="over"),
            el("h1", report["model"]),
            el("div", *(el("span", fact) for fact in facts), class_="sub"),
            el("div", el("b", sentence), el("span", told), class_="verdict unsure"),
        ]
    )


def _goodness(report: Row, value: float) -> float:
    return -value if report["measure"] == "relative error" else value


def _cards(report: Row) -> Markup:
    cards = []
    for name in JOINT:
        for row in report["points"]:
            if row["kind"] == name and row["factor"] == 1.0:
                spread = f"± {_shown(row['std'])}, yield {text.percent(row['yield'], 0)}"
                cards.append(
                    el(
                        "div",
                        el("div", NAMES[name][0], class_="what"),
                        el("div", _shown(row["mean"]), el("small", spread), class_="big"),
                        el("div", JOINT[name], class_="what"),
                        class_="card",
                    )
                )
    return el("div", *cards, class_="cards")


def _scans(found: Characterization, report: Row) -> Markup:
    kinds: dict[str, list[Row]] = {}
    for row in report["points"]:
        kinds.setdefault(row["kind"], []).append(row)
    charts = []
    for kind, rows in kinds.items():
        name, unit = NAMES[kind]
        sizes = [row["size"] for row in rows]
        figure = figures.line_figure(
            sizes,
            [text.significant(size, 2) for size in sizes],
            [row["mean"] for row in rows],
            [row["half_width"] for row in rows],
            found.ideal_value,
        )
        charts.append(el("div", el("h3", name, el("small", unit)), figure, class_="chart"))
    note = (
        f"{found.measure.capitalize()} in % over the size of each imperfection; the band is the"
        " confidence interval of the mean, the dashed line the ideal chip."
    )
    return joined(
        [
            el("h2", "How much each hurts"),
            el("p", note, class_="note"),
            el("div", *charts, class_="charts"),
        ]
    )


def _table(heads: Sequence[str], rows: list[Markup], left: int) -> Markup:
    cells = [th(head, left=k < left) for k, head in enumerate(heads)]
    table = el("table", el("thead", el("tr", *cells)), el("tbody", *rows))
    return el("div", table, class_="panel")


def _regions(report: Row) -> Markup | None:
    if not report["regions"]:
        return None
    rows = []
    for row in report["regions"]:
        fall = _goodness(report, report["ideal"]) - _goodness(report, row["mean"])
        rows.append(
            el(
                "tr",
                td(row["layer"], kind="l"),
                td(BLOCK[row["block"]], kind="l"),
                td(_shown(row["mean"])),
                td(text.significant(100 * fall)),
                td(bar(min(max(fall, 0.0), 1.0))),
                td("" if row["half_width"] is None else f"± {_shown(row['half_width'])}"),
                td(text.significant(row["error_mean"])),
            )
        )
    note = "One layer, or one block of it, has the settings' imperfections at twice their sizes."
    heads = ["Layer", "Block", report["measure"].capitalize(), "Points lost", "", "Interval"]
    return joined(
        [
            el("h2", "Where it hurts"),
            el("p", note, class_="note"),
            _table([*heads, "Output error"], rows, 2),
        ]
    )


def _chosen(found: Characterization) -> list[tuple[str, list[BlockSensitivity]]]:
    tiles: dict[str, list[BlockSensitivity]] = {}
    for block in found.blocks:
        tiles.setdefault(block.tile, []).append(block)
    first: dict[str, int] = {}
    ranked = []
    for name, blocks in tiles.items():
        seen = first.get(blocks[0].layer, 0)
        first[blocks[0].layer] = seen + 1
        ranked.append((seen, name))
    keep = {name for _, name in sorted(ranked, key=lambda pair: pair[0])[:MOST_TILES]}
    return [(name, blocks) for name, blocks in tiles.items() if name in keep]


def _maps(found: Characterization) -> Markup | None:
    chosen = _chosen(found)
    largest = max(
        (float(found.map_of(block).max(initial=0.0)) for _, blocks in chosen for block in blocks),
        default=0.0,
    )
    if not largest:
        return None
    parts = []
    for name, blocks in chosen:
        maps = [
            el(
                "div",
                el("small", BLOCK[block.block]),
                figures.heat_map(
                    block.column,
                    block.port if block.block != "s" else 2 * block.port,
                    found.map_of(block),
                    largest,
                    f"{name} {BLOCK[block.block]}",
                ),
            )
            for block in blocks
            if len(block.column)
        ]
        parts.append(
            el("figure", el("figcaption", el("b", name)), el("div", *maps, class_="heats"))
        )
    note = (
        "Expected relative error of the network's output if this MZI alone has random errors of"
        " phase, couplers and loss: first order, all inputs. Light runs from left to right."
    )
    return joined(
        [
            el("h2", "MZI by MZI"),
            el("p", note, class_="note"),
            figures.scale(text.significant(largest)),
            *parts,
        ]
    )


def _profiles(found: Characterization) -> Markup | None:
    charts = []
    for name, blocks in _chosen(found):
        for block in blocks:
            if block.block == "s" or not len(block.column):
                continue
            for along in ("column", "port"):
                title = f"{name} {BLOCK[block.block]}, by {along}"
                figure = figures.profile_figure(profile(found, block, along), title)
                charts.append(el("div", el("h3", title), figure, class_="chart"))
    if not charts:
        return None
    note = "Parts of the expected squared error, from the first column (port) to the last."
    return joined(
        [
            el("h2", "Columns and ports"),
            el("p", note, class_="note"),
            el("div", *charts, class_="charts"),
        ]
    )


def _first_order(report: Row) -> Markup:
    angle = [
        el(
            "tr",
            td(f"up to {row['theta_rad_to']:.2f}", kind="l"),
            td(text.count(row["mzis"])),
            td(text.significant(row["error_squared"])),
        )
        for row in report["by_angle"]
    ]
    checks = [
        el(
            "tr",
            td(row["layer"], kind="l"),
            td(text.significant(row["expected"])),
            td(text.significant(row["measured"])),
            td(text.significant(row["measured"] / row["expected"]) if row["expected"] else "—"),
            td(text.significant(row["weight"])),
        )
        for row in report["first_order"]
    ]
    places = [
        el(
            "tr",
            td(f"{row['layer']} {row['block']}", kind="l"),
            td(f"{row['along']}s {row['first']} to {row['stop'] - 1}", kind="l"),
            td(text.significant(row["expected"])),
            td(text.significant(row["measured"])),
            td(text.significant(row["measured"] / row["expected"]) if row["expected"] else "—"),
        )
        for row in report["places"]
    ]
    where = ["Mesh", "Imperfect alone", "Expected", "Drawn", "Drawn / expected"]
    heads = ["Layer", "Expected", "Drawn", "Drawn / expected", "Network per layer"]
    return joined(
        [
            el("h2", "First order against drawn chips"),
            el(
                "p",
                "Squared relative error of every layer's output for small errors of phases and"
                " couplers, and how much of it reaches the network's output.",
                class_="note",
            ),
            _table(heads, checks, 1),
            *([el("h3", "By column and port"), _table(where, places, 2)] if places else []),
            el("h2", "By tuned angle"),
            el("p", "Mean expected squared error of an MZI by its |θ|.", class_="note"),
            _table(["|θ| in rad", "MZIs", "Error squared"], angle, 1),
        ]
    )


def _worst(report: Row) -> Markup | None:
    if not report["worst"]:
        return None
    rows = [
        el(
            "tr",
            td(row["tile"], kind="l"),
            td(BLOCK[row["block"]], kind="l"),
            td(text.count(row["column"])),
            td(text.count(row["port"])),
            td(f"{row['theta_rad']:.3f}"),
            td(text.significant(row["error"])),
            td(text.percent(row["share"], 2)),
        )
        for row in report["worst"]
    ]
    heads = ["Tile", "Block", "Column", "Port", "θ in rad", "Output error", "Part of all"]
    return joined([el("h2", "Worst devices"), _table(heads, rows, 2)])


def _together(report: Row) -> str:
    copies = [row["copies"] for row in report["points"] if row["setting"] == Setting.TOGETHER]
    if not copies:
        return ""
    return (
        "Chips with errors that stay (couplers, losses, static phases) are measured and all"
        f" heaters of a tile set together for them, by a search a chip: at most {max(copies)}"
        " such chips a point; others have nothing to set."
    )


def _method(report: Row) -> Markup:
    sizes = ", ".join(
        f"{NAMES[name][0].lower()} {text.significant(value)}"
        for name, value in report["sizes"].items()
        if value
    )
    words = (
        f"Sizes that scans go about: {sizes}. Copy c of a seed is the same chip at every size and"
        f" for any number of workers. Yield: chips that lose at most {100 * report['drop']:g}"
        " points against the ideal chip, with Wilson's interval in the tables beside this page."
        " A copy is drawn from the chip as drawn on the mask: heaters on their arms, lengths of"
        " guides, crossings. A heater that is gone cannot trim."
        f" {_together(report)}"
    )
    return joined([el("h2", "How it was found"), el("p", words, class_="note")])
