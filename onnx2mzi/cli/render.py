"""The result as text: a line a layer, totals against both chips it is compared with, a verdict."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import ndiff
from typing import Any

from onnx2mzi.cli.layers import gathered, used_often
from onnx2mzi.cli.terminal import paint
from onnx2mzi.emulate.heat_words import trims_told

Row = Mapping[str, Any]

NAME_WIDTH = 32
# Commas between passes, not those within braces.
_BETWEEN = re.compile(r",(?![^{]*\})")
UNKNOWN = "-"


def table(rows: Iterable[Sequence[str]], *, right: Sequence[bool] = ()) -> str:
    """Columns of equal width, two blanks between; `right` says which lean to the right."""
    listed = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    lean = [*right, *[False] * (len(widths) - len(right))]
    lines = []
    for row in listed:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, lean, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def result(report: Row, *, wrote: str, files: int, color: bool) -> str:
    """Everything that a compile says on stdout."""
    return "".join(
        [
            layers(report, color=color),
            "\n",
            totals(report),
            folded(report),
            electronic(report),
            "\n",
            verdict(report, color=color),
            f"wrote {wrote} ({files} file{'' if files == 1 else 's'})\n",
        ]
    )


def layers(report: Row, *, color: bool) -> str:
    """One line per layer."""
    often = used_often(report["layers"])
    head = ["layer", "op", "matrix", *["uses"][:often]]
    head += ["tiles", "MZIs", "active phases", "power mW", "error"]
    rows = [head]
    for layer in gathered(report["layers"]):
        rows.append(
            [
                shortened(layer["name"]),
                layer["op"] or UNKNOWN,
                _matrix(layer),
                *[count(layer.get("uses"))][:often],
                count(layer["tiles"]),
                change(layer["mzis_reference"], layer["mzis"]),
                change(layer["phases_reference"], layer["phases_active"]),
                power(layer["power_mw"]),
                number(layer["max_rel_error"]),
            ]
        )
    rows.append(
        [
            "total",
            "",
            "",
            *[""][:often],
            count(sum(layer["tiles"] for layer in report["layers"])),
            change(report["mzis_reference"], report["mzis"]),
            change(report["phases_reference"], report["phases_active"]),
            power(report["power_mw"]),
            number(report["max_rel_error"]),
        ]
    )
    lines = table(rows, right=(False, False, *[True] * (len(head) - 2))).splitlines()
    lines[0] = paint(lines[0], "dim", color=color)
    lines[-1] = paint(lines[-1], "bold", color=color)
    return "\n".join(lines) + "\n"


def _matrix(layer: Row) -> str:
    kind = " complex" if layer.get("complex") else ""
    return f"{layer['rows']} x {layer['columns']}{kind}"


def totals(report: Row) -> str:
    """Before -> after, against the textbook chip and the least one that is exact."""
    rows = [["", "reference", "exact", "this chip", "of reference", "of exact"]]
    for what, key, before in (
        ("MZIs", "mzis", "mzis"),
        ("active phases", "phases_active", "phases"),
    ):
        reference, exact, now = (
            report[f"{before}_reference"],
            report[f"{before}_exact"],
            report[key],
        )
        rows.append(
            [what, *map(count, (reference, exact, now)), share(now, reference), share(now, exact)]
        )
    reference, exact, now = (
        report[key] for key in ("power_reference_mw", "power_exact_mw", "power_mw")
    )
    rows.append(
        ["power mW", *map(power, (reference, exact, now)), share(now, reference), share(now, exact)]
    )
    text = table(rows, right=(False, True, True, True, True, True))
    parts = [f"{count(report['phases_active'])} active"]
    if report["phases_passive"] is not None:
        gone = report["phases_reference"] - report["phases_active"] - report["phases_passive"]
        parts += [f"{count(report['phases_passive'])} passive", f"{count(gone)} removed"]
    text += f"phases: {', '.join(parts)} ({percent(report['pruned_fraction'])} pruned)"
    if report["drivers"] is not None and report["drivers"] < report["phases_active"]:
        text += f"; {count(report['drivers'])} drivers"
    if report["area_mm2"] is not None:
        text += f"; {report['area_mm2']:.3g} mm2"
    if report["depth_columns"] is not None:
        text += f"; depth {count(report['depth_columns'])} columns"
    if report["loss_db_worst"] is not None:
        text += f"; loss up to {report['loss_db_worst']:.1f} dB"
    if report.get("loss_db_edges"):
        text += f", {report['loss_db_edges']:.1f} dB more by edge couplers"
    return text + "\n"


def folded(report: Row) -> str:
    """Which nodes' work the layers' matrices do as well; "" if there are none."""
    into: dict[str, list[str]] = {}
    for layer in report["layers"]:
        for node in layer.get("folds", ()):
            names = into.setdefault(node, [])
            stem = layer["name"].partition("__")[0]
            names += [stem] if stem not in names else []
    if not into:
        return ""
    lines = [f"folded into layers ({len(into)}):"]
    lines += [f"  node '{node}' into {', '.join(names)}" for node, names in into.items()]
    return "\n".join(lines) + "\n"


def electronic(report: Row) -> str:
    """What stays electronic and why; "" if nothing does."""
    rows = report["electronic"]
    if not rows:
        return ""
    lines = [f"stays electronic ({len(rows)}):"]
    for row in rows:
        op = f" ({row['op']})" if row["op"] else ""
        lines.append(f"  node '{row['node'] or row['tensor']}'{op}: {row['why']}")
    return "\n".join(lines) + "\n"


def verdict(report: Row, *, color: bool) -> str:
    """What was measured: the chip against the model, and accuracy where there are labels."""
    on = report["measured_on"]
    if not on:
        return "not measured\n"
    error = number(report["max_rel_error"])
    text = f"relative error {error} (emulated chip to model, max over outputs) on {on}\n"
    if report["accuracy_drop"] is not None:
        text += accuracy(report) + "\n"
    elif report.get("changed_answers") is not None:
        text += f"top-1 answers that changed: {report['changed_answers']:.2%}\n"
    text += made(report)
    return f"{paint('verified:', 'good', color=color)} {text}"


def made(report: Row) -> str:
    """What becomes of it on chips with errors, and on the one that was measured."""
    lines = []
    fabricated, retuned = (
        report.get(f"accuracy_{kind}_mean") for kind in ("fabricated", "retuned")
    )
    if fabricated is not None:
        set_for = "" if retuned is None else f"; set for measured errors {retuned:.2%}"
        lines.append(f"chips as fabricated: accuracy {fabricated:.2%}{set_for}\n")
    before, after = (report.get(f"accuracy_{kind}") for kind in ("made", "recalibrated"))
    errors = [report.get(f"max_rel_error_{kind}") for kind in ("made", "recalibrated")]
    if before is not None and after is not None:
        lines.append(f"measured chip: accuracy {before:.2%}, re-calibrated {after:.2%}\n")
    elif errors[1] is not None:
        lines.append(
            f"measured chip: relative error {number(errors[0])}, "
            f"re-calibrated {number(errors[1])}\n"
        )
    return "".join(lines)


def shortened(name: str) -> str:
    """A long name without its middle."""
    if len(name) <= NAME_WIDTH:
        return name or UNKNOWN
    head = (NAME_WIDTH - 2) // 2
    return f"{name[:head]}..{name[-(NAME_WIDTH - 2 - head) :]}"


def count(value: int | None) -> str:
    """12,345, or - if unknown."""
    return UNKNOWN if value is None else f"{value:,}"


def change(before: int | None, after: int | None) -> str:
    """before -> after."""
    return f"{count(before)} -> {count(after)}"


def power(value: float | None) -> str:
    """mW to four digits."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def number(value: float | None) -> str:
    """Two digits."""
    return UNKNOWN if value is None else f"{value:.2g}"


def percent(value: float | None) -> str:
    """One decimal."""
    return UNKNOWN if value is None else f"{value:.1%}".replace("%", " %")


def share(part: float | None, whole: float | None) -> str:
    """part / whole in percent."""
    return UNKNOWN if part is None or not whole else percent(part / whole)


def model(described: Row) -> str:
    """What `inspect` and `--dry-run` say about a program."""
    stage, ports = described["stage"], described["ports"]
    text = f"{described['model']}: stage {stage}, meshes of up to {ports} ports\n"
    for what in ("inputs", "outputs"):
        for spec in described[what]:
            shape = ", ".join("?" if size is None else str(size) for size in spec["shape"])
            text += f"  {what[:-1]} '{spec['name']}' {spec['dtype']} [{shape}]\n"
    if described["history"]:
        text += f"  passes so far: {','.join(described['history'])}\n"
    compiled = described["mzis"] is not None
    often = used_often(described["layers"])
    rows = [["layer", "op", "matrix", *["uses"][:often], "tiles", "MZIs", "phases"]]
    rows += [
        [
            shortened(layer["name"]),
            layer["op"] or UNKNOWN,
            _matrix(layer),
            *[count(layer.get("uses"))][:often],
            count(layer["tiles"]),
            *_sizes(layer, compiled=compiled),
        ]
        for layer in gathered(described["layers"])
    ]
    rows.append(["total", "", "", *[""][:often], "", *_sizes(described, compiled=compiled)])
    text += table(rows, right=(False, False, *[True] * (len(rows[0]) - 2)))
    if not compiled:
        text += "MZIs and phases are those of the textbook chip\n"
    return text + folded(described) + electronic(described)


def _sizes(row: Row, *, compiled: bool) -> list[str]:
    if not compiled:
        return [count(row["mzis_reference"]), count(row["phases_reference"])]
    return [
        change(row["mzis_reference"], row["mzis"]),
        change(row["phases_reference"], row["phases_active"]),
    ]


def emulated(found: Row, *, color: bool) -> str:
    """What `run` says."""
    error = number(found["max_rel_error"])
    text = f"{found['directory']} on {found['measured_on']}\n"
    text += f"relative error to the network that was asked for (max over outputs): {error}\n"
    if found["changed_answers"] is not None:
        text += f"top-1 answers that changed: {found['changed_answers']:.2%}\n"
    if found["accuracy"] is not None:
        text += paint(accuracy(found), "bold", color=color) + "\n"
    if found.get("heat"):
        text += heat(found["heat"])
    return text + (imperfect(found["imperfect"]) if found["imperfect"] else "")


def heat(found: Row) -> str:
    """Scores of a warm chip, its power, its hottest spots."""
    rows = [["heat", found["score"]], ["  cold", f"{found['ideal']:.2%}"]]
    rows.append(["  warm, drives as drawn", f"{found['naive']:.2%}"])
    if found["compensated"] is not None:
        rows.append(["  warm, drives compensated", f"{found['compensated']:.2%}"])
    for row in found["uncertain"]:
        told = f"{row['mean']:.2%}, worst {row['worst']:.2%}"
        rows.append([f"  heat off by {row['error']:.0%}", told])
    text = table(rows, right=(False, False))
    text += (
        f"{found['heaters']:,} heaters, {found['heat_p_pi_naive']:.1f} -> "
        f"{found['heat_p_pi']:.1f} P_pi, {found['heat_mw']:,.0f} mW; P_pi "
        f"{found['p_pi_mw_derived']:.2f} mW from the stack, "
        f"{found['p_pi_mw_technology']:g} mW in the technology\n"
    )
    for row in found["certificate"]:
        text += f"expected loss ({found['loss_of']}) at {row['error']:.0%}: {number(row['loss'])}\n"
    for spot in found["hottest"][:3]:
        text += (
            f"hottest: {spot['kelvin']:.1f} K over the sink at ({spot['x_um']:.0f}, "
            f"{spot['y_um']:.0f}) um, {spot['layer']} {spot['block']}, {spot['power_mw']:.1f} mW\n"
        )
    if found["spacing_um"] is not None:
        text += f"a neighbour {found['spacing_um']:.0f} um away is felt by less than 1 %\n"
    told = trims_told(found.get("trims"))
    return f"{text}{told}\n" if told else text


def imperfect(found: Row) -> str:
    """Mean, spread and worst of imperfect copies."""
    sizes = " ".join(f"{name}={size:g}" for name, size in found["sizes"].items()) or "none"
    about = f"{sizes}; seed {found['seed']}; setting {found['setting']}"
    text = f"{found['copies']} imperfect copies ({about}):\n"
    rows = [["", "mean", "sigma", "worst"]]
    for name, title in (
        ("accuracy", "accuracy"),
        ("changed_answers", "changed answers"),
        ("rel_error", "relative error"),
    ):
        values = [found[f"{name}_{kind}"] for kind in ("mean", "std", "worst")]
        if values[0] is not None:
            told = number if name == "rel_error" else percent
            rows.append([f"  {title}", *(told(value) for value in values)])
    return text + table(rows, right=(False, True, True, True))


def accuracy(row: Row) -> str:
    """accuracy 98.44% -> 98.22% (0.22 points lost)."""
    drop = row["accuracy_drop"]
    lost = f"{abs(drop) * 100:.2f} points {'lost' if drop > 0 else 'gained'}"
    before, after = row["accuracy_reference"], row["accuracy"]
    return f"accuracy {before:.2%} -> {after:.2%} ({lost if drop else 'unchanged'})"


def difference(found: Row) -> str:
    """What `diff` says: numbers that differ, then layers that differ."""
    text = f"{found['before']} -> {found['after']}\n"
    if found["identical"]:
        text += "the programs are identical\n"
    rows = [
        [key, _value(old), _value(new), _relation(key, old, new)]
        for key, (old, new) in found["numbers"].items()
        if old != new and key != "pipeline"
    ]
    if rows:
        text += table([["", "before", "after", ""], *rows], right=(False, True, True, True))
    text += _passes_between(*found["numbers"].get("pipeline", ("", "")))
    layers = [
        [
            shortened(layer["name"]),
            change(*layer["mzis"]),
            change(*layer["phases_active"]),
            number(layer["matrix_moved"]),
        ]
        for layer in found["layers"]
        if layer["matrix_moved"] != 0.0 or any(old != new for key, (old, new) in _pairs(layer))
    ]
    if layers:
        head = ["layer", "MZIs", "active phases", "matrix moved"]
        text += table([head, *layers], right=(False, True, True, True))
    return text


def _passes_between(old: object, new: object) -> str:
    """Two pipelines, a pass a line: `-` is of the first only, `+` of the second."""
    if old == new:
        return ""
    before, after = (_BETWEEN.split(_value(text)) for text in (old, new))
    lines = [line.rstrip() for line in ndiff(before, after) if not line.startswith("?")]
    return "\n".join(["pipeline:", *(f"  {line}" for line in lines), ""])


def _pairs(layer: Row) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in layer.items() if isinstance(value, list)]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, int):
        return count(value)
    return UNKNOWN if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _relation(key: str, old: Any, new: Any) -> str:
    if not (isinstance(old, (int, float)) and isinstance(new, (int, float))):
        return ""
    if key.startswith("accuracy") or key.endswith("_fraction"):
        return f"{(new - old) * 100:+.2f} points"
    return f"{new / old - 1:+.1%}" if old else ""


def plugins(found: Mapping[str, Sequence[Row]]) -> str:
    """What `passes` says: every pass and back end, an option a line."""
    text = ""
    for title, rows in found.items():
        if not rows:
            continue
        text += f"{'passes' if title == 'passes' else 'back ends'}:\n"
        for row in rows:
            stages = f" ({row['stage_in']} -> {row['stage_out']})" if row["stage_in"] else ""
            origin = "" if row["origin"] == "onnx2mzi" else f" [{row['origin']}]"
            text += f"  {row['name']}{stages}{origin}: {row['about']}\n"
            for option in row["options"]:
                default = option["default"]
                given = f"={default}" if default else " (must be given)"
                legal = ", ".join(part for part in (option["type"], option["limits"]) if part)
                unit = f" {option['unit']}" if option["unit"] else ""
                text += f"      {option['name']}{given}{unit}  [{legal}] {option['help']}\n"
    return text
