"""Is a compiled chip consistent? Every file of an output folder against its program."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mzi.backends.phase_table import TileTable, phase_files, tile_tables
from onnx2mzi.backends.phases import FOLDER
from onnx2mzi.driver.compile import Compiled, host_of, load
from onnx2mzi.driver.output import need_manifest, sha256
from onnx2mzi.driver.plugins import BACKENDS
from onnx2mzi.driver.provenance import versions
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import random_inputs, reference_run
from onnx2mzi.emulate.transfer import tile_matrix
from onnx2mzi.errors import InputError, Onnx2MziError
from onnx2mzi.ir import MeshTile
from onnx2mzi.pipeline.electrical import Electrics, layer_electrics, told, violations

# The table prints phases to full precision; a photonic ONNX holds single precision.
TABLE_TOLERANCE = 1e-9
ONNX_TOLERANCE = 1e-5
# A report holds what was measured, which is not in the program.
NOT_REWRITTEN = ("report",)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `ok` is None if it was not made, and `message` says why, or what was found."""

    name: str
    ok: bool | None
    message: str


def check(directory: Path) -> list[Finding]:
    """All findings about an output folder, in order. Raises InputError if it is none of ours."""
    manifest = need_manifest(directory)
    findings = [_files(directory, manifest)]
    try:
        chip = load(directory)
    except InputError as error:
        return [*findings, Finding("program", False, str(error))]
    findings.append(Finding("program", True, f"valid, stage {chip.program.stage}"))
    findings += [
        _guarded("phases", lambda: _phases(directory, chip)),
        _guarded("onnx", lambda: _photonic_onnx(directory, chip)),
    ]
    for text in manifest.get("emit", ()):
        if text.partition("{")[0] not in NOT_REWRITTEN:
            findings.append(_guarded(f"rewrite {text}", _rewriter(directory, chip, text)))
    findings.append(_guarded("currents", lambda: _currents(chip)))
    return findings + layout_findings(directory, chip)


def layout_findings(directory: Path, chip: Compiled) -> list[Finding]:
    """The checks of design.gds; violations of rules are written beside the folder."""
    # KLayout and the layout's code are imported with this check only.
    from onnx2mzi.driver.layout import MARKERS_FILE, LayoutCheck

    # Not into the folder: its files are those of the manifest.
    report = directory.resolve().with_name(f"{directory.resolve().name}_{MARKERS_FILE}")

    def finding(name: str, verdict: Callable[[], tuple[bool | None, str]]) -> Finding:
        return _guarded(name, lambda: Finding(name, *verdict()))

    return [finding(*one) for one in LayoutCheck(directory, chip, report).verdicts()]


def _currents(chip: Compiled) -> Finding:
    """What wires and heaters carry with the program's phases, against the technology."""
    technology = chip.emission.technology
    if chip.program.placement is None:
        return Finding("currents", None, "the program has no places, so there are no wires")
    wires = sum(layer_electrics(chip.program, technology).values(), Electrics())
    wrong = violations(wires, technology)
    return Finding("currents", not wrong, "; ".join(wrong) or told(wires, technology))


def _rewriter(directory: Path, chip: Compiled, text: str) -> Callable[[], Finding]:
    return lambda: _rewritten(directory, chip, text)


def _guarded(name: str, made: Callable[[], Finding]) -> Finding:
    try:
        return made()
    except Onnx2MziError as error:
        return Finding(name, False, str(error))


def _files(directory: Path, manifest: dict[str, Any]) -> Finding:
    wrong = []
    for name, digest in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif sha256(path) != digest:
            wrong.append(f"{name} was changed")
    if wrong:
        return Finding("files", False, "; ".join(wrong))
    return Finding("files", True, f"{len(manifest['files'])} files as they were written")


def _phases(directory: Path, chip: Compiled) -> Finding:
    """The matrices that follow from the table of phases by couplers and arms alone."""
    tables = phase_files(directory)
    if not tables:
        return Finding("phases", None, "no table of phases")
    name = tables[0].name if tables[0].suffix == ".csv" else f"{FOLDER}/*.npz"
    left = {(layer, where): tile for layer, where, tile in _mesh_tiles(chip)}
    worst, differing = 0.0, ""
    for found in (found for path in tables for found in tile_tables(path)):
        tile = left.pop((found.layer, found.tile), None)
        if tile is None:
            return Finding("phases", False, f"rows of unknown tiles: {found.layer}.{found.tile}")
        error = _distance(found, tile)
        if not error <= worst:
            worst, differing = error, f"{found.layer}.{found.tile}"
    for (layer, where), tile in left.items():
        if len(tile.u) or len(tile.v) or len(tile.sigma):
            return Finding("phases", False, f"{name} has no rows of tile {layer}.{where}")
    if not worst <= TABLE_TOLERANCE:
        return Finding("phases", False, f"tile {differing} differs from the program by {worst:.2g}")
    return Finding("phases", True, f"{name} gives the program's matrices to {worst:.1e}")


def _distance(found: TileTable, tile: MeshTile) -> float:
    """How far the table's matrix is from the program's, relative to the gain."""
    made = found.matrix(
        outputs=len(tile.outputs),
        inputs=len(tile.inputs),
        drive=tile.u.drive,
        gain=tile.gain,
        readout_rad=tile.readout_rad,
    )
    asked = tile_matrix(tile)
    error = float(np.abs(made - asked).max(initial=0.0)) if made.shape == asked.shape else np.inf
    return error / tile.gain if tile.gain > 0 else 0.0


def _mesh_tiles(chip: Compiled) -> Iterator[tuple[str, str, MeshTile]]:
    for layer in chip.program.layers:
        for g, grid in enumerate(layer.grids):
            for t, tile in enumerate(grid.tiles):
                if isinstance(tile, MeshTile):
                    yield layer.name, f"g{g}.t{t}", tile


def _photonic_onnx(directory: Path, chip: Compiled) -> Finding:
    """The ONNX file in plain onnxruntime against the emulated chip."""
    path = directory / f"{chip.program.name}_photonic.onnx"
    if not path.is_file():
        return Finding("onnx", None, f"no {path.name}")
    try:
        inputs = random_inputs(host_of(chip.program))
    except InputError as refused:
        return Finding("onnx", None, str(refused))
    error = relative_error(reference_run(path, inputs), chip.run(inputs))
    message = f"{path.name} in onnxruntime equals the emulated chip to {error:.1e}"
    return Finding("onnx", bool(error <= ONNX_TOLERANCE), message)


def _rewritten(directory: Path, chip: Compiled, text: str) -> Finding:
    """Whether the back end writes the same bytes from the program once more."""
    name = f"rewrite {text}"
    with tempfile.TemporaryDirectory() as temporary:
        (writer,) = BACKENDS.parse(text)
        files = writer.write(chip.emission, Path(temporary))
        differing = [
            file
            for file in files
            if not (directory / file).is_file()
            or (directory / file).read_bytes() != (Path(temporary) / file).read_bytes()
        ]
    if differing:
        message = f"{', '.join(differing)} is not what the program gives"
        then, now = chip.about.get("versions", {}), versions()
        other = [f"{what} {then[what]}" for what in sorted(then) if then[what] != now.get(what)]
        if other:
            message += f"; it was written with {', '.join(other)}"
        return Finding(name, False, message)
    return Finding(name, True, f"{', '.join(files) or 'nothing'}: the same bytes")
