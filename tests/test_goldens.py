"""Goldens: tests/goldens/*.mzi hold a program, a pipeline, and the program behind it.

    // RUN: quantize{bits=4}
    // TECH: generic_two_metal          (optional)
    ...the program...
    // EXPECT
    ...the program after the pipeline...

Words are compared exactly, numbers to 1e-9. `pytest --update-golden` rewrites the expectation.
Programs start as text and not from ONNX: singular vectors are not unique.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnx2mzi.ir import LinearLayer, Loc, Operand, Program, Stage, identical
from onnx2mzi.ir.lexer import Source, Token, tokens
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import print_program
from onnx2mzi.ir.verify import verify
from onnx2mzi.passes import TABLE
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.base import Context, Pass
from onnx2mzi.pipeline.manager import Pipeline
from onnx2mzi.pipeline.registry import Registry
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, load_technology

FOLDER = Path(__file__).parent / "goldens"
EXPECT = "// EXPECT\n"
TOLERANCE = 1e-9
REGISTRY: Registry[Pass] = Registry("pass", Pass, "onnx2mzi.passes", TABLE)  # type: ignore[type-abstract]


def header(text: str, key: str, default: str = "") -> str:
    found = re.search(rf"^// {key}: *(.*?) *$", text, re.MULTILINE)
    return found[1] if found else default


def outcome(given: str, file: str) -> str:
    """The text of the program behind the golden's pipeline."""
    program: Program = parse_program(given, {}, file=file)
    assert verify(program) == []
    run = header(given, "RUN")
    if run:
        technology = load_technology(header(given, "TECH", DEFAULT_TECHNOLOGY))
        program = Pipeline.parse(run, REGISTRY).run(program, Context(technology)).program
    text, arrays = print_program(program, inline=1_000_000)
    assert arrays == {}
    return text


def same(a: Token, b: Token) -> bool:
    if a.kind == b.kind == "number" and ("." in a.text or "." in b.text):
        return float(a.text) == pytest.approx(float(b.text), rel=TOLERANCE, abs=TOLERANCE)
    return (a.kind, a.text) == (b.kind, b.text)


def first_difference(expected: str, found: str, file: str) -> str:
    """Where two texts differ beyond round-off; empty if they do not."""
    sources = Source(expected, file), Source(found, "outcome")
    for a, b in zip(*(tokens(source) for source in sources), strict=False):
        if not same(a, b):
            return str(sources[0].error(a.offset, f"expected {a}, found {b}"))
    return ""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.mzi")), ids=lambda path: path.stem)
def test_golden(path: Path, update_golden: bool) -> None:
    given, _, expected = path.read_text(encoding="utf-8").partition(EXPECT)
    found = outcome(given, path.name)
    if update_golden:
        path.write_text(given + EXPECT + found, encoding="utf-8")
    else:
        difference = first_difference(expected, found, f"{path.name} (expected part)")
        assert difference == ""


@pytest.mark.parametrize("pipeline", ["", "canonicalize", "canonicalize,quantize{bits=5},place"])
@pytest.mark.parametrize("drive", list(Drive))
def test_what_passes_make_reads_back_exactly(pipeline: str, drive: Drive) -> None:
    rng = np.random.default_rng(3)
    operand = Operand("x", -1, "w", False, "float32")
    layer = LinearLayer("fc", rng.normal(size=(5, 7)), operand, Loc("net.onnx", "fc"))
    text = ",".join(filter(None, ("tile,svd,decompose", pipeline)))
    technology = replace(load_technology(DEFAULT_TECHNOLOGY), drive=drive)
    program = Program("net", Stage.LINEAR, 4, (layer,))
    made = Pipeline.parse(text, REGISTRY).run(program, Context(technology)).program
    assert identical(parse_program(*print_program(made)), made)


def test_there_are_goldens() -> None:
    assert len(list(FOLDER.glob("*.mzi"))) >= 3


def test_a_difference_is_seen() -> None:
    text = "gain 1.25 { theta removed }"
    assert first_difference(text, text.replace("1.25", "1.2500000001"), "g") == ""
    assert "g:1:6: expected '1.25', found '1.26'" in first_difference(
        text, text.replace("1.25", "1.26"), "g"
    )
    assert "found 'passive'" in first_difference(text, text.replace("removed", "passive"), "g")
    assert "found the end" in first_difference(text, text[:-2], "g")
