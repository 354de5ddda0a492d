"""The layout of a compiled chip under the foundry's rules, and as a circuit."""

from importlib.util import find_spec
from pathlib import Path

from onnx2mzi.backends.gds.drc import check_rules
from onnx2mzi.backends.gds.files import DESIGN_FILE
from onnx2mzi.backends.gds.lvs import compare_layout
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Program
from onnx2mzi.tech import Technology

MARKERS_FILE = "drc.lyrdb"
MISSING = 'not checked: KLayout\'s module is not installed; pip install "onnx2mzi[check]"'
# Differences told in one line.
TOLD = 3


def skipped(directory: Path) -> str:
    """Why the layout of a folder cannot be checked; empty if it can."""
    if not (directory / DESIGN_FILE).is_file():
        return f"no {DESIGN_FILE}"
    return "" if find_spec("klayout") else MISSING


def rules_verdict(
    directory: Path, technology: Technology, report: Path | None = None
) -> tuple[bool, str]:
    """Whether design.gds keeps every rule, and a sentence; all violations go to `report`."""
    found = check_rules(directory / DESIGN_FILE, technology, report)
    if not found.total:
        return True, f"{len(found.counts)} rules of {technology.name}, no violation"
    broken = [
        f"{rule} {count} x, first at ({found.first[rule][0]:.3f}, {found.first[rule][1]:.3f})"
        for rule, count in found.counts.items()
        if count
    ]
    where = f"; all in {report}" if report is not None else ""
    return False, f"{'; '.join(broken)}{where}"


def circuit_verdict(directory: Path, program: Program, technology: Technology) -> tuple[bool, str]:
    """Whether design.gds is the program's circuit, and a sentence.

    Raises UsageError for a program without places.
    """
    if program.placement is None:
        raise UsageError("the program has no places", where=program.name, hint="run place first")
    found = compare_layout(directory / DESIGN_FILE, program, technology)
    if not found.differences:
        return True, (
            f"{found.devices} devices as in the program, {found.heaters} heaters between their pads"
        )
    told = "; ".join(found.differences[:TOLD])
    more = len(found.differences) - TOLD
    return False, f"{told}; and {more} more" if more > 0 else told
