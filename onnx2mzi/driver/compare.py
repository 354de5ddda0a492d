"""A compiled chip on data, and two chips side by side."""

from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from onnx2mzi.driver.compile import REPORT, Compiled, host_of, load
from onnx2mzi.driver.copies import chosen_setting, imperfections_of, on_copies
from onnx2mzi.driver.heat import heated
from onnx2mzi.driver.measure import compared
from onnx2mzi.emulate.accuracy import check_labels
from onnx2mzi.emulate.data import load_data
from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.ir import identical

Row = dict[str, Any]

# The numbers that two reports are compared by, in the order of the report.
COMPARED = (
    "technology", "ports", "pipeline", "mzis_reference", "mzis_exact", "mzis", "phases_reference",
    "phases_exact", "phases_active", "phases_passive", "active_fraction", "pruned_fraction",
    "power_reference_mw", "power_exact_mw", "power_mw", "depth_columns", "area_mm2",
    "loss_db_worst", "pads", "bus_current_ma_max", "ir_drop_percent_max", "max_abs_error",
    "max_rel_error", "accuracy_reference", "accuracy", "accuracy_drop",
)  # fmt: skip
COMPARED_LAYER = ("mzis", "phases_active", "phases_passive", "power_mw", "max_rel_error")


def run_on_data(
    directory: Path,
    data: Path,
    *,
    imperfect: str | None = None,
    copies: int | None = None,
    seed: int = 0,
    setting: str = "each",
    heat: bool = False,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[Row, dict[str, np.ndarray]]:
    """The ideal chip on samples: figures against the network that was asked for, and outputs.

    With `heat` what its own heat does to the chip (driver.heat). With `imperfect` (see
    copies.imperfections_of) also figures of imperfect copies, heaters set as `setting` says
    (copies.chosen_setting). Raises InputError for a folder or data that do not fit, UsageError
    for imperfections and settings.
    """
    how = chosen_setting(setting)
    if copies is not None and copies < 1:
        raise UsageError("at least one copy is needed", where="--copies")
    chip = load(directory)
    technology = chip.emission.technology
    sizes = None if imperfect is None else imperfections_of(imperfect, technology)
    samples = load_data(data, host_of(chip.program))
    outputs = chip.run(samples.inputs)
    check_labels(outputs, samples.labels, data.name)
    name = f"{len(samples)} samples of {data.name}"
    found = compared(outputs, chip.run_original(samples.inputs), samples.labels, name, len(samples))
    drop = None
    if found.accuracy is not None and found.accuracy_reference is not None:
        drop = found.accuracy_reference - found.accuracy
    return (
        {
            "directory": str(directory),
            "measured_on": name,
            "samples": len(samples),
            "max_abs_error": found.max_abs_error,
            "max_rel_error": found.max_rel_error,
            "accuracy_reference": found.accuracy_reference,
            "accuracy": found.accuracy,
            "accuracy_drop": drop,
            "changed_answers": found.changed_answers,
            "imperfect": None
            if sizes is None
            else on_copies(
                chip, samples, sizes, copies=copies, seed=seed, setting=how, progress=progress
            ),
            "heat": heated(chip.program, chip.emission.technology, chip.runner, samples, progress)
            if heat
            else None,
            "notes": list(samples.notes),
        },
        outputs,
    )


def difference(before: Path, after: Path) -> Row:
    """What differs between two output folders. Raises InputError if one is none."""
    a, b = load(before), load(after)
    old, new = _numbers(a, before), _numbers(b, after)
    return {
        "before": str(before),
        "after": str(after),
        "identical": identical(a.program, b.program),
        "numbers": {
            key: [old.get(key), new.get(key)] for key in COMPARED if key in old or key in new
        },
        "layers": _layers(a, b, old, new),
    }


def _numbers(chip: Compiled, directory: Path) -> Row:
    if chip.saved_report is None:
        raise InputError(
            "has no report.json", where=str(directory), hint="compile with report among --emit"
        )
    layers = chip.saved_report.get("layers")
    if not isinstance(layers, list) or not all(map(_is_layer, layers)):
        raise InputError(
            "is damaged: 'layers' is no list of layers and their numbers",
            where=str(directory / REPORT),
            hint="compile again",
        )
    return dict(chip.saved_report)


def _is_layer(row: object) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        return False
    return all(isinstance(row.get(key), (int, float, NoneType)) for key in COMPARED_LAYER)


def _layers(a: Compiled, b: Compiled, old: Row, new: Row) -> list[Row]:
    before = {layer["name"]: layer for layer in old["layers"]}
    after = {layer["name"]: layer for layer in new["layers"]}
    rows = []
    for name in [*before, *(name for name in after if name not in before)]:
        x, y = a.emission.matrices.get(name), b.emission.matrices.get(name)
        moved = None
        if x is not None and y is not None and x.shape == y.shape:
            scale = float(np.abs(x).max(initial=0.0))
            moved = float(np.abs(y - x).max(initial=0.0)) / scale if scale else None
        rows.append(
            {"name": name, "matrix_moved": moved}
            | {
                key: [before.get(name, {}).get(key), after.get(name, {}).get(key)]
                for key in COMPARED_LAYER
            }
        )
    return rows
