"""The layout of a compiled chip: under the foundry's rules, as a circuit, as paths of light, and
as the program that it makes with the table of phases."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from onnx2mzi.backends.gds.backend import Gds
from onnx2mzi.backends.gds.drc import check_rules
from onnx2mzi.backends.gds.extraction import Extracted, extract
from onnx2mzi.backends.gds.files import DESIGN_FILE
from onnx2mzi.backends.gds.loop import Rebuilt, rebuild
from onnx2mzi.backends.gds.lvs import BALANCE_UM, Comparison, compare_circuit
from onnx2mzi.backends.phase_table import iterate_phases
from onnx2mzi.driver.compile import Compiled
from onnx2mzi.driver.heat import driven
from onnx2mzi.driver.plugins import BACKENDS
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.heat_lengths import as_drawn
from onnx2mzi.emulate.host import random_inputs
from onnx2mzi.emulate.transfer import program_matrices, tile_transfer
from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.ir import DenseTile, MeshTile, Program

MARKERS_FILE = "drc.lyrdb"
TABLE = "phases.csv"
MISSING = 'not checked: KLayout\'s module is not installed; pip install "onnx2mzi[check]"'
# Differences told in one line.
TOLD = 3
# Outputs of the chip that is made again: the table prints phases to full precision.
LOOP_TOLERANCE = 1e-9

Verdict = tuple[bool | None, str]


@dataclass(frozen=True)
class LayoutCheck:
    """The checks of one folder; the circuit is extracted once. All verdicts come with a sentence,
    None for a check that was not made. Violations of rules are written to `report`."""

    directory: Path
    chip: Compiled
    report: Path

    def verdicts(self) -> list[tuple[str, Callable[[], Verdict]]]:
        """Every check by name, in order."""
        checks = [
            ("drc", self.rules),
            ("lvs", self.circuit),
            ("paths", self.paths),
            ("loop", self.loop),
        ]
        why = self._skipped()
        return [(name, lambda: (None, why)) if why else (name, made) for name, made in checks]

    def _skipped(self) -> str:
        if not (self.directory / DESIGN_FILE).is_file():
            return f"no {DESIGN_FILE}"
        return "" if find_spec("klayout") else MISSING

    @property
    def _design(self) -> Path:
        return self.directory / DESIGN_FILE

    @cached_property
    def found(self) -> Extracted:
        """The circuit of design.gds."""
        return extract(self._design, self.chip.emission.technology)

    @cached_property
    def drawn(self) -> frozenset[str]:
        """The layers that the layout was asked to have."""
        layers = [layer.name for layer in self.chip.program.layers]
        for text in self.chip.about.get("emit", ()):
            for backend in BACKENDS.parse(text):
                if isinstance(backend, Gds) and backend.layers:
                    return frozenset(backend.layers)
        return frozenset(layers)

    @cached_property
    def compared(self) -> Comparison:
        """The circuit against the program. Raises UsageError for a program without places."""
        program = self.chip.program
        if program.placement is None:
            raise UsageError(
                "the program has no places", where=program.name, hint="run place first"
            )
        technology = self.chip.emission.technology
        return compare_circuit(self.found, as_drawn(program), technology, self.drawn)

    def rules(self) -> Verdict:
        """Whether design.gds keeps every rule."""
        technology = self.chip.emission.technology
        found = check_rules(self._design, technology, self.report)
        if not found.total:
            return True, f"{len(found.counts)} rules of {technology.name}, no violation"
        broken = [
            f"{rule} {count} x, first at ({found.first[rule][0]:.3f}, {found.first[rule][1]:.3f})"
            for rule, count in found.counts.items()
            if count
        ]
        return False, f"{'; '.join(broken)}; all in {self.report}"

    def circuit(self) -> Verdict:
        """Whether design.gds is the program's circuit."""
        found = self.compared
        if found.differences:
            return False, _told(found.differences)
        return True, (
            f"{found.devices} devices as in the program, {found.heaters} heaters between their pads"
        )

    def paths(self) -> Verdict:
        """Whether every guide is as long as designed, measured on design.gds."""
        found = self.compared
        if found.paths:
            return False, _told(found.paths)
        return True, (
            f"{found.guides} guides as long as designed to {found.guide_um * 1e3:.1f} nm, "
            f"rows from end to end to {found.row_um * 1e3:.1f} nm"
        )

    def loop(self) -> Verdict:
        """Whether the devices of design.gds, driven as phases.csv says, give the same outputs."""
        table = self.directory / TABLE
        if not table.is_file():
            return None, f"no {TABLE}"
        if driven(self.chip.program):
            return None, "not checked: the heaters are driven for a warm chip"
        program, technology = self.chip.program, self.chip.emission.technology
        made = rebuild(self.found, iterate_phases(table), program, technology, self.drawn)
        if made.problems:
            return False, _told(made.problems)
        exact, drawn = self._outputs(made.designed), self._light(made)
        allowed = 2 * np.pi * BALANCE_UM / technology.guide_wavelength_um
        return bool(exact <= LOOP_TOLERANCE and drawn <= allowed), (
            f"{made.mzis} MZIs and {made.heaters} heaters of the layout, driven by {TABLE}, give "
            f"the chip's outputs to {exact:.1e}; guides as drawn move amplitudes by {drawn:.1e}"
        )

    def _outputs(self, made: Program) -> float:
        """How far the outputs are from the chip's, on random inputs; of a program without a host
        the matrices."""
        matrices = program_matrices(made)
        try:
            inputs = random_inputs(self.chip.runner.host)
        except InputError:
            own = self.chip.emission.matrices
            return max((_apart(matrices[name], own[name]) for name in own), default=0.0)
        found = self.chip.runner.run(matrices, made.layers, inputs)
        return relative_error(found, self.chip.run(inputs))

    def _light(self, made: Rebuilt) -> float:
        """The largest error of an amplitude from any input to any output of a tile."""
        worst = 0.0
        for layer, other in zip(made.designed.layers, made.drawn.layers, strict=True):
            for grid, drawn in zip(layer.grids, other.grids, strict=True):
                for tile, dense in zip(grid.tiles, drawn.tiles, strict=True):
                    if isinstance(tile, MeshTile) and isinstance(dense, DenseTile) and tile.gain:
                        off = np.abs(dense.weight - tile_transfer(tile)).max(initial=0.0)
                        worst = max(worst, float(off) / abs(tile.gain))
        return worst


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    largest = float(np.abs(b).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0)) / (largest or 1.0)


def _told(differences: tuple[str, ...]) -> str:
    more = len(differences) - TOLD
    told = "; ".join(differences[:TOLD])
    return f"{told}; and {more} more" if more > 0 else told
