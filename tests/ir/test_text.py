"""Print and parse: exact both ways, and every mistake is pointed at."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.errors import InputError
from onnx2mzi.ir import Loc, Operand, Program, Stage, TensorSpec, identical
from onnx2mzi.ir.files import read_mzi, write_mzi
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import number, print_program

STAGES = st.sampled_from(Stage)
SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, stage=STAGES, inline=st.sampled_from([0, 3, 64, 10_000]))
def test_text_reads_back_as_the_same_program(
    make_program: Any, seed: int, stage: Stage, inline: int
) -> None:
    program = make_program(seed, stage)
    text, arrays = print_program(program, inline=inline)
    assert identical(parse_program(text, arrays), program)


@given(text=st.text())
def test_any_name_survives(make_program: Any, text: str) -> None:
    program = make_program(1)
    layer = replace(
        program.layers[0],
        name=text,
        loc=Loc(text, text, text, text),
        operand=Operand(text, -1, text, False, text),
    )
    renamed = replace(program, name=text, layers=(layer,), history=(text,))
    printed, arrays = print_program(renamed)
    assert identical(parse_program(printed, arrays), renamed)


@given(values=st.lists(st.floats(allow_nan=False) | st.just(float("nan")), max_size=8))
def test_any_float_survives(make_program: Any, values: list[float]) -> None:
    program = make_program(1)
    layer = replace(program.layers[0], weight=np.array([values, values]), grids=())
    program = replace(program, stage=Stage.LINEAR, layers=(layer,))
    text, arrays = print_program(program)
    assert identical(parse_program(text, arrays), program)


def test_signs_of_zero_and_nan_survive() -> None:
    for text in ("-0.0", "-nan", "nan", "-inf"):
        program = parse_program(TEXT.replace("gain 1.0", f"gain {text}"), {})
        (tile,) = program.layers[0].grids[0].tiles
        assert number(tile.gain) == text  # type: ignore[union-attr]


def test_identical_sees_a_difference_in_the_last_bit(make_program: Any) -> None:
    program = make_program(3, Stage.PLACED)
    text, arrays = print_program(program, inline=10_000)
    digits = re.search(r"gain \d\.\d*?(\d) *\n", text)
    assert digits is not None
    last = "1" if digits[1] != "1" else "2"
    changed = text[: digits.start(1)] + last + text[digits.end(1) :]
    assert not identical(parse_program(changed, arrays), program)


def test_large_arrays_go_beside_the_text(make_program: Any) -> None:
    program = make_program(5)
    near, _ = print_program(program, inline=10_000)
    far, arrays = print_program(program, inline=0)
    assert "theta" in near
    assert "theta" not in far
    assert "mzi.theta_rad" in arrays
    assert all(array.ndim == 1 for array in arrays.values())


# ---- files --------------------------------------------------------------------------------


def with_host(make_program: Any) -> Program:
    programs: list[Program] = [make_program(seed) for seed in range(20)]
    return next(program for program in programs if program.host is not None)


def test_files_read_back_and_are_the_same_bytes_twice(make_program: Any, tmp_path: Path) -> None:
    program = with_host(make_program)
    written = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths = write_mzi(program, tmp_path / folder / "program.mzi", inline=2)
        assert [path.name for path in paths] == ["program.mzi", "program.npz"]
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert identical(read_mzi(tmp_path / "a" / "program.mzi"), program)


def test_a_stale_sidecar_is_removed(make_program: Any, tmp_path: Path) -> None:
    program = replace(make_program(1), host=None)
    (tmp_path / "program.npz").write_bytes(b"old")
    paths = write_mzi(program, tmp_path / "program.mzi", inline=10_000)
    assert paths == (tmp_path / "program.mzi",)
    assert not (tmp_path / "program.npz").exists()
    assert identical(read_mzi(paths[0]), program)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("unpickling ran code",))


def test_a_sidecar_with_objects_is_refused(make_program: Any, tmp_path: Path) -> None:
    write_mzi(with_host(make_program), tmp_path / "program.mzi")
    np.savez(tmp_path / "program.npz", **{"host.model": np.array([Payload()], object)})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"program\.npz: is no \.npz of plain arrays"):
        read_mzi(tmp_path / "program.mzi")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut"])
def test_a_damaged_sidecar_is_refused(make_program: Any, tmp_path: Path, content: bytes) -> None:
    write_mzi(with_host(make_program), tmp_path / "program.mzi")
    (tmp_path / "program.npz").write_bytes(content)
    with pytest.raises(InputError, match="is no"):
        read_mzi(tmp_path / "program.mzi")


def test_files_that_cannot_be_read(make_program: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.mzi: cannot be read: No such file"):
        read_mzi(tmp_path / "gone.mzi")
    (tmp_path / "binary.mzi").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"is not text in UTF-8 \(give a \.mzi that"):
        read_mzi(tmp_path / "binary.mzi")
    write_mzi(with_host(make_program), tmp_path / "program.mzi")
    (tmp_path / "program.npz").unlink()
    with pytest.raises(InputError, match=r"program\.mzi:8:13: there is no array 'host\.model' in"):
        read_mzi(tmp_path / "program.mzi")


# ---- errors -------------------------------------------------------------------------------

TEXT = """\
mzi 1
// A comment.
program "p" stage mesh ports 4
history {
  "svd"
}
host u8[2] [1, 2] {
  input "x" "float32" ["N", 4, ?]
}
layer "fc" {
  loc file "m.onnx"
  operand "x" axis -1 binding "w" "float32"
  weight f64[2, 2] [1.0, 0.0, 0.0, 1.0]
  grid 2 x 2 {
    tile mesh {
      outputs i32[2] 0..2
      inputs i32[2] 0..2
      gain 1.0
      readout f64[2] all 0.0
      v ports 2 arm-choice mzis 1 {
        c0 p0 theta 0.5 phi removed
        out p1 0.25 passive
      }
      s channels 1 arm-choice {
        p0 theta 1.0
      }
      u ports 2 arm-choice mzis 0 {
      }
    }
  }
}
placement "generic" 10.0 x 20.0 {
  "fc" grid 0 tile 0 v y 0.0 pitch 40.0 columns f64[2] [0.0, 300.0]
}
"""


def test_the_example_is_read() -> None:
    program = parse_program(TEXT, {})
    (tile,) = program.layers[0].grids[0].tiles
    assert tile.v.theta_rad.tolist() == [0.5]  # type: ignore[union-attr]
    assert tile.v.out_state.tolist() == [0, 1]  # type: ignore[union-attr]
    assert program.host is not None
    assert program.host.inputs == (TensorSpec("x", "float32", ("N", 4, None)),)
    assert program.placement is not None
    assert program.placement.blocks[0].column_x_um.tolist() == [0.0, 300.0]


MISTAKES = [
    ("mzi 1", "mzi 2", "1:5", "text form 2 is unknown"),
    ("mzi 1", "chip 1", "1:1", "expected 'mzi', found 'chip'"),
    ("stage mesh", "stage mash", "3:19", "expected 'linear', 'mesh' or 'placed', found 'mash'"),
    ("ports 4", "ports four", "3:30", "expected a number of ports, found 'four'"),
    ('"svd"', '"svd', "5:3", "unexpected a string that does not end"),
    ('"svd"', r'"\q"', "5:3", "has a bad escape"),
    ('"svd"', "svd", "5:3", "expected a pass in quotes, found 'svd'"),
    ("[1, 2]", "[1, 256]", "7:16", "a byte must be in 0..255, not 256"),
    ("[1, 2]", "[1]", "7:6", "the list has 1 entries, not 2"),
    (
        "input",
        "imput",
        "8:3",
        "expected 'input', 'output', 'electronic' or 'activation', found 'imput'",
    ),
    ("weight f64", "weight f32", "13:10", "expected 'f64' or 'c128', found 'f32'"),
    ("0..2", "0..3", "16:15", "the range has 3 entries, not 2"),
    ("0..2", "#", "16:22", "unexpected '#'"),
    ("0..2", "{", "16:22", "expected '[', 'all', '@' or a range, found '{'"),
    ("gain 1.0", "gain high", "18:12", "expected a number, found 'high'"),
    ("f64[2] all", "f64[99999, 99999] all", "19:15", "must be beside the text"),
    ("arm-choice mzis 1", "arms mzis 1", "20:17", "'push-pull', found 'arms'"),
    ("mzis 1", "mzis 2", "20:33", "1 MZIs follow, not 2"),
    ("c0 p0", "c0 q0", "21:12", "expected a port such as 'p3', found 'q0'"),
    ("c0 p0", "x0 p0", "21:9", "expected an MZI such as 'c0 p0', 'out' or '}', found 'x0'"),
    ("theta 0.5", "theta", "21:21", "expected a phase or 'removed', found 'phi'"),
    ("out p1", "out p2", "22:13", "a port must be in 0..1, not p2"),
    ("channels 1", "channels 2", "24:18", "1 channels follow, not 2"),
    ("p0 theta 1.0", "p1 theta 1.0", "25:9", "expected channel p0, found 'p1'"),
    ("mzis 0 {\n      }", "mzis 3 @a[0:2] @b[0:2]", "27:35", "2 entries of a.column, not 3"),
    ("mzis 0 {\n      }", "mzis 0 @far[0:0] @b[0:2]", "27:35", "no array 'far.column'"),
    ("placement", "placed", "32:1", "expected 'layer', 'placement' or the end of the text"),
    ("300.0]\n}", "300.0]\n", "35:1", "expected '}', found the end of the text"),
]


@pytest.mark.parametrize(("old", "new", "place", "message"), MISTAKES)
def test_mistakes_are_pointed_at(old: str, new: str, place: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(InputError) as caught:
        parse_program(TEXT.replace(old, new, 1), {}, file="p.mzi")
    assert caught.value.where == f"p.mzi:{place}"
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "array 'w' ends at 3"),
        (np.zeros(4, np.float32), "array 'w' is float32 of shape (4,), not a row of f64"),
        (np.zeros((2, 2)), "array 'w' is float64 of shape (2, 2), not a row of f64"),
    ],
)
def test_arrays_beside_the_text_are_checked(array: Any, message: str) -> None:
    text = TEXT.replace("[1.0, 0.0, 0.0, 1.0]", "@w[0:4]")
    with pytest.raises(InputError, match=re.escape(message)):
        parse_program(text, {"w": array})


@given(cut=st.integers(0, len(TEXT) - 3), junk=st.sampled_from(["", "}", "0..", '"', "@", "nan"]))
def test_damaged_text_never_escapes_as_another_error(cut: int, junk: str) -> None:
    with suppress(InputError):
        parse_program(TEXT[:cut] + junk, {})


def test_slots_of_one_host_input_survive(make_program: Any) -> None:
    program = make_program(1)
    slots = tuple(
        replace(layer, operand=replace(layer.operand, slot=(k, len(program.layers) + 1)))
        for k, layer in enumerate(program.layers)
    )
    program = replace(program, layers=slots)
    text, arrays = print_program(program)
    assert identical(parse_program(text, arrays), program)
    assert f"slot 0 of {len(slots) + 1}" in text
