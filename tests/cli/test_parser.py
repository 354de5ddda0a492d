"""Arguments: what is taken, what is refused and how."""

import argparse

import pytest

from onnx2mzi.cli.parser import fraction, input_shape, number, parse, whole
from onnx2mzi.errors import UsageError


def test_the_first_word_decides() -> None:
    assert parse(["run", "chip", "--data", "x.npz"])[0] == "run"
    verb, arguments = parse(["net.onnx", "-O2"])
    assert (verb, arguments.model, arguments.optimize) == ("compile", "net.onnx", "2")
    assert parse(["./run"])[0] == "compile"


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5%", 0.005), ("0.005", 0.005), ("0", 0.0), ("100%", 1.0), ("1e-3", 1e-3)],
)
def test_fractions(text: str, value: float) -> None:
    assert fraction(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5", "'0.5' would be 50%; write 0.5% or 50%"),
        ("x", "'x' is no fraction; write 0.5% or 0.005"),
        ("-1%", "'-1%' is not between 0 and 100%"),
        ("nan", "'nan' is not between 0 and 100%"),
        ("101%", "'101%' is not between 0 and 100%"),
    ],
)
def test_what_is_no_fraction(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        fraction(text)
    assert str(caught.value) == message


def test_other_values() -> None:
    assert input_shape("a:b:1,3, 8") == ("a:b", (1, 3, 8))
    assert number("1e-2") == 0.01
    assert whole("64") == 64
    for made, text in (
        (input_shape, "x"),
        (input_shape, ":1,2"),
        (input_shape, "x:1,0"),
        (input_shape, "x:1,N"),
        (number, "-1"),
        (number, "inf"),
        (number, "x"),
        (whole, "-1"),
        (whole, "1.0"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}'"):
            made(text)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            ["net.onnx", "--otput-dir", "x"],
            "there is no option '--otput-dir'",
            "did you mean '--output-dir'? see onnx2mzi --help",
        ),
        (["net.onnx", "other"], "'other' is one argument too many", "see onnx2mzi --help"),
        (
            ["net.onnx", "--max-drop", "0.5"],
            "argument --max-drop: '0.5' would be 50%; write 0.5% or 50%",
            "see onnx2mzi --help",
        ),
        (
            ["net.onnx", "--ports", "many"],
            "argument --ports: 'many' is no whole number of 0 or more",
            "see onnx2mzi --help",
        ),
        (["net.onnx", "-o"], "argument -o/--output-dir: expected one argument", ""),
        (["run", "chip"], "the following arguments are required: --data", "see onnx2mzi run"),
        (["tech", "lst"], "argument action: invalid choice: 'lst'", "see onnx2mzi tech --help"),
        (["net.onnx", "--out", "x"], "there is no option '--out'", ""),
    ],
)
def test_refused_arguments(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2
