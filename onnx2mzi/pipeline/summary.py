"""The report's numbers: one dict that the command line, the API and the report back end share.

Flat keys, the same for the chip and, under `layers`, for every layer. What is not known is
None, never a made-up number. Everything can be traced to the program and its censuses.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from onnx2mzi.ir import LinearLayer, MeshTile, Placement, Program, Stage
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.backend import Emission
from onnx2mzi.pipeline.census import (
    Census,
    layer_census,
    layer_drivers,
    reference_mzis,
    reference_phases,
)
from onnx2mzi.pipeline.chip import layer_loss_db, layer_pads
from onnx2mzi.pipeline.edges import edge_losses_db
from onnx2mzi.pipeline.electrical import Electrics, layer_electrics

REPORT_FORMAT = 1

Row = dict[str, Any]

MADE_CHIPS = (
    "accuracy_retuned_mean",
    "accuracy_retuned_std",
    "accuracy_retuned_yield",
    "retuned_on",
    "accuracy_made",
    "accuracy_recalibrated",
    "max_rel_error_made",
    "max_rel_error_recalibrated",
    "power_recalibrated_mw",
)

_PASS_KEYS = ("mzis", "phases_active", "phases_passive", "power_mw", "depth_columns")


def report(emission: Emission) -> Row:
    """The content of report.json. JSON types only; the same program gives the same dict."""
    if emission.numbers is not None:
        return dict(emission.numbers)
    program, measured = emission.program, emission.measured
    meshes = program.stage is not Stage.LINEAR
    wires = layer_electrics(program, emission.technology)
    layers = [layer_row(emission, layer, wires.get(layer.name)) for layer in program.layers]
    edges = edge_losses_db(program, emission.technology)
    return {
        "format": REPORT_FORMAT,
        "model": program.name,
        "stage": str(program.stage),
        "technology": emission.technology.name,
        "ports": program.ports,
        "pipeline": list(program.history),
        **_counts(
            _total(emission.reference, program),
            _total(emission.exact, program),
            _sum(_census(emission, layer) for layer in program.layers) if meshes else None,
            mzis_reference=sum(row["mzis_reference"] for row in layers),
            phases_reference=sum(row["phases_reference"] for row in layers),
        ),
        "drivers": sum(_known(layers, "drivers")) if meshes else None,
        "area_mm2": _area_mm2(program.placement),
        "loss_db_worst": max(_known(layers, "loss_db_worst"), default=None),
        "loss_db_edges": max(edges.values(), default=None),
        "pads": sum(_known(layers, "pads")) if meshes else None,
        **_wires(sum(wires.values(), Electrics()) if wires else None),
        "max_abs_error": measured.max_abs_error,
        "max_rel_error": measured.max_rel_error,
        "accuracy_reference": measured.accuracy_reference,
        "accuracy": measured.accuracy,
        "accuracy_drop": _difference(measured.accuracy_reference, measured.accuracy),
        "changed_answers": measured.changed_answers,
        "accuracy_fabricated_mean": measured.accuracy_fabricated_mean,
        "accuracy_fabricated_std": measured.accuracy_fabricated_std,
        "accuracy_fabricated_yield": measured.accuracy_fabricated_yield,
        "fabricated_on": measured.fabricated_on,
        "heat": None if measured.heat is None else dict(measured.heat),
        **{name: getattr(measured, name) for name in MADE_CHIPS},
        "seconds": emission.seconds,
        "samples": measured.samples,
        "measured_on": measured.measured_on,
        "layers": layers,
        "electronic": electronic_rows(program),
        "passes": [_pass_row(record.text, record.censuses) for record in emission.passes],
        "frontier": [asdict(point) for point in emission.frontier],
    }


def layer_row(emission: Emission, layer: LinearLayer, wires: Electrics | None = None) -> Row:
    """The same keys for one layer; its errors are those of its matrix (max |dW|, / max |W|).

    `wires` are those of a placed layer; without places pads are counted as one a bus.
    """
    max_abs, max_rel = matrix_errors(layer.weight, emission.matrices.get(layer.name))
    shape = (int(layer.weight.shape[0]), int(layer.weight.shape[1]))
    ports = emission.program.ports
    meshes = emission.program.stage is not Stage.LINEAR
    return {
        "name": layer.name,
        "node": layer.loc.node,
        "op": layer.loc.op,
        "tensor": layer.loc.tensor,
        "rows": shape[0],
        "columns": shape[1],
        "complex": bool(np.iscomplexobj(layer.weight)),
        "uses": layer.uses,
        "folds": list(layer.folds),
        "copy_of": layer.copy_of or None,
        "tiles": sum(len(grid.tiles) for grid in layer.grids),
        **_counts(
            emission.reference.get(layer.copy_of or layer.name),
            emission.exact.get(layer.copy_of or layer.name),
            _census(emission, layer) if meshes else None,
            mzis_reference=reference_mzis(shape, ports),
            phases_reference=reference_phases(shape, ports),
        ),
        "drivers": layer_drivers(layer) if meshes else None,
        "area_mm2": _layer_area_mm2(emission.program, layer),
        "loss_db_worst": layer_loss_db(layer, emission.technology) if meshes else None,
        "pads": _pads(layer, wires) if meshes else None,
        **_wires(wires),
        "max_abs_error": max_abs,
        "max_rel_error": max_rel,
        "accuracy_reference": None,
        "accuracy": None,
        "accuracy_drop": None,
        "seconds": None,
    }


def _pads(layer: LinearLayer, wires: Electrics | None) -> int:
    return layer_pads(layer).total if wires is None else wires.pads


def _wires(wires: Electrics | None) -> Row:
    return {
        "bus_current_ma_max": wires.bus_ma if wires else None,
        "wire_current_percent_max": wires.wire_percent if wires else None,
        "ir_drop_percent_max": wires.ir_drop_percent if wires else None,
    }


def electronic_rows(program: Program) -> list[Row]:
    """What stays electronic and why, in the model's order."""
    if program.host is None:
        return []
    return [
        {"node": item.loc.node, "op": item.loc.op, "tensor": item.loc.tensor, "why": item.why}
        for item in program.host.electronic
    ]


def matrix_errors(asked: Matrix, realised: Matrix | None) -> tuple[float | None, float | None]:
    """max |dW| and max |dW| / max |W|; None if unknown, or if W is zero and dW is not."""
    if realised is None:
        return None, None
    error = float(np.abs(realised - asked).max(initial=0.0))
    scale = float(np.abs(asked).max(initial=0.0))
    if scale == 0.0:
        return error, 0.0 if error == 0.0 else None
    return error, error / scale


def _counts(
    reference: Census | None,
    exact: Census | None,
    now: Census | None,
    *,
    mzis_reference: int,
    phases_reference: int,
) -> Row:
    kept = now.phases_active + now.phases_passive if now else None
    return {
        "mzis_reference": mzis_reference,
        "mzis_exact": exact.mzis if exact else None,
        "mzis": now.mzis if now else None,
        "crossings": now.crossings if now else None,
        "phases_reference": phases_reference,
        "phases_exact": exact.phases_active if exact else None,
        "phases_active": now.phases_active if now else None,
        "phases_passive": now.phases_passive if now else None,
        "active_fraction": _ratio(now.phases_active if now else None, phases_reference),
        "pruned_fraction": _ratio(
            None if kept is None else phases_reference - kept, phases_reference
        ),
        "power_reference_mw": reference.power_mw if reference else None,
        "power_exact_mw": exact.power_mw if exact else None,
        "power_mw": now.power_mw if now else None,
        "depth_columns": now.depth_columns if now else None,
    }


def _census(emission: Emission, layer: LinearLayer) -> Census:
    return layer_census(layer, emission.technology.p_pi_mw)


def _total(censuses: dict[str, Census], program: Program) -> Census | None:
    """The census of all layers, copies as often as they are there."""
    names = [layer.copy_of or layer.name for layer in program.layers]
    return _sum(censuses[name] for name in names if name in censuses) if censuses else None


def _sum(censuses: Iterable[Census]) -> Census:
    return sum(censuses, Census())


def _pass_row(text: str, censuses: dict[str, Census]) -> Row:
    if not censuses:
        return {"pass": text} | dict.fromkeys(_PASS_KEYS)
    total = _sum(censuses.values())
    return {"pass": text} | {key: getattr(total, key) for key in _PASS_KEYS}


def _area_mm2(placement: Placement | None) -> float | None:
    return placement.width_um * placement.height_um * 1e-6 if placement else None


def _layer_area_mm2(program: Program, layer: LinearLayer) -> float | None:
    """Area of the layer's blocks, without what lies between them."""
    if program.placement is None:
        return None
    area_um2 = 0.0
    for block in program.placement.blocks:
        if block.layer != layer.name or len(block.column_x_um) < 2:
            continue
        tile = layer.grids[block.grid].tiles[block.tile]
        if isinstance(tile, MeshTile):
            guides = {"u": tile.u.ports, "v": tile.v.ports, "s": len(tile.sigma)}[block.block]
            width_um = float(block.column_x_um[-1] - block.column_x_um[0])
            area_um2 += width_um * guides * block.row_pitch_um
    return area_um2 * 1e-6


def _ratio(part: float | None, whole: float) -> float | None:
    return part / whole if part is not None and whole else None


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _known(rows: list[Row], key: str) -> list[Any]:
    return [row[key] for row in rows if row[key] is not None]
