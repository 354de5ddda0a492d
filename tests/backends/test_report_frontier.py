"""The frontier in the report: a point for every chip that was met, in both plots."""

import json
from collections.abc import Callable
from pathlib import Path

from onnx2mzi.backends.report import Report
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import Program
from onnx2mzi.pipeline.backend import Emission
from onnx2mzi.pipeline.frontier import FrontierPoint
from onnx2mzi.tech import load_technology


def test_every_point_is_drawn_and_told(
    make_program: Callable[..., Program], tmp_path: Path
) -> None:
    points = (
        FrontierPoint("before <training>", 900, 5e3, 0.98, True),
        FrontierPoint("soft-l1", 400, 2e3, 0.975, True),
        FrontierPoint("soft-l1", 100, 9e2, 0.2, False),
        FrontierPoint("no answers", 50, 9e2, None, False),
    )
    program = make_program(0)
    emission = Emission(
        program,
        load_technology("cornerstone_si220"),
        program_matrices(program),
        frontier=points,
    )
    Report(tiles=0).write(emission, tmp_path)
    told = json.loads((tmp_path / "report.json").read_text())["frontier"]
    assert [row["heaters"] for row in told] == [900, 400, 100, 50]
    html = (tmp_path / "report.html").read_text()
    assert html.count('class="in"') == 4 and html.count('class="out"') == 2
    assert "before &lt;training&gt;: 5,000 mW, 98.00 %" in html
    Report(tiles=0).write(Emission(program, emission.technology, emission.matrices), tmp_path)
    assert "frontier that was walked" not in (tmp_path / "report.html").read_text()
