"""The grammar: what is read, what is printed, and what each mistake is answered with."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.pipeline.base import option
from onnx2mzi.pipeline.options import BadValue, checked, option_fields
from onnx2mzi.pipeline.spec import SpecError, build, describe, parse_items, show


class Colour(StrEnum):
    RED = "red"
    BLUE = "dark-blue"


@dataclass(frozen=True, slots=True)
class Paint:
    name: ClassVar[str] = "paint"

    coats: int = option(1, "how many", low=1, high=9)
    width_um: float = option(0.5, "width", unit="um", low=0.0)
    dry: bool = option(False, "wait for it")
    colour: Colour = option(Colour.RED, "which")
    label: str = option("none", "what is written on it")
    note: str | None = option(None, "a remark")
    spots: tuple[int, ...] = option((1, 2), "places")
    size: tuple[float, str] = option((1.0, "um"), "length and unit")
    words: tuple[str, ...] | None = option(None, "words")
    finish: str = option("matt", "surface", choices=("matt", "gloss"))


@dataclass(frozen=True, slots=True)
class Sign:
    name: ClassVar[str] = "sign"

    text: str


@dataclass(frozen=True, slots=True)
class Plain:
    name: ClassVar[str] = "plain"


def paint(text: str) -> Paint:
    (item,) = parse_items(text)
    return build(item, Paint)


paints = st.builds(
    Paint,
    coats=st.integers(1, 9),
    width_um=st.floats(0, allow_nan=False, allow_infinity=False),
    dry=st.booleans(),
    colour=st.sampled_from(Colour),
    label=st.text(),
    note=st.none() | st.text() | st.just("none"),
    spots=st.lists(st.integers()).map(tuple),
    size=st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.text()),
    words=st.none() | st.lists(st.text() | st.sampled_from(["none", "()"])).map(tuple),
    finish=st.sampled_from(["matt", "gloss"]),
)


@given(paints)
def test_what_is_printed_parses_back_to_an_equal_object(made: Paint) -> None:
    assert paint(show(made)) == made


@given(paints, paints)
def test_items_keep_their_bounds_in_a_list(a: Paint, b: Paint) -> None:
    items = parse_items(f"{show(a)},{show(b)}")
    assert [build(item, Paint) for item in items] == [a, b]


def test_defaults_are_left_out_and_the_rest_is_canonical() -> None:
    assert show(Paint()) == "paint"
    assert show(Paint(label="none", note=None)) == "paint"
    made = paint('paint{ dry   coats=3 width_um=1e1 note="none" spots=() label="a b" }')
    assert show(made) == 'paint{coats=3 width_um=10.0 dry=true label="a b" note="none" spots=()}'
    assert paint("paint{note=none}").note is None
    assert paint("paint{words=a,b size=2,mm colour=dark-blue}") == Paint(
        words=("a", "b"), size=(2.0, "mm"), colour=Colour.BLUE
    )


def test_empty_text_has_no_items() -> None:
    assert parse_items("") == ()
    assert parse_items(" \n") == ()


SYNTAX = [
    ("a,", 2, "expected a name, found the end", ""),
    (",a", 0, "expected a name, found ','", ""),
    ("a b", 2, "expected ',' or '{', found 'b'", ""),
    ("a{x=1} b", 7, "expected ',', found 'b'", ""),
    ("a{x=1", 5, "expected an option or '}', found the end", ""),
    ("a{x=}", 4, "expected a value, found '}'", ""),
    ("a{x=1, y=2}", 7, "expected a value, found 'y'", "separated by spaces, not commas"),
    ("a{dry, y=2}", 5, "expected an option, found ','", "separated by spaces"),
    ("a{x=1 x=2}", 6, "option 'x' is given twice", ""),
    ('a{x="b}', 4, "a quote that is not closed", ""),
    ("a}", 1, "expected ',' or '{', found '}'", ""),
    ("3d", 0, "expected a name, found '3d'", ""),
]


@pytest.mark.parametrize(("text", "start", "message", "hint"), SYNTAX)
def test_mistakes_of_syntax(text: str, start: int, message: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_items(text)
    error = caught.value
    assert (error.start, error.message) == (start, message)
    assert hint in error.hint
    assert error.exit_code == 2


OPTIONS = [
    ("paint{coat=1}", "paint has no option 'coat'", "did you mean 'coats'? its options: coats,"),
    ("paint{zzz=1}", "paint has no option 'zzz'", "its options: coats, width_um,"),
    ("paint{coats=1e3}", "paint: option 'coats' is '1e3', not a whole number", "1 .. 9; how many"),
    ("paint{coats=1.0}", "paint: option 'coats' is '1.0', not a whole number", ""),
    ("paint{coats=0}", "paint: option 'coats' is 0, below 1", "whole number, 1 .. 9"),
    ("paint{coats=10}", "paint: option 'coats' is 10, above 9", ""),
    ("paint{coats}", "paint: option 'coats' needs a value: coats=...", ""),
    ("paint{coats=none}", "paint: option 'coats' is 'none', not a whole number", ""),
    ("paint{coats=1,2}", "paint: option 'coats' takes one value, not 2", ""),
    ('paint{coats="1"}', "paint: option 'coats' is text, not a whole number", ""),
    ("paint{width_um=x}", "paint: option 'width_um' is 'x', not a number", ">= 0, in um; width"),
    ("paint{width_um=nan}", "paint: option 'width_um' is 'nan', not a number", ""),
    ("paint{width_um=-1}", "paint: option 'width_um' is -1, below 0", ""),
    ("paint{dry=yes}", "paint: option 'dry' is 'yes', not true or false", ""),
    (
        "paint{colour=green}",
        "paint: option 'colour' is 'green', not one of red, dark-blue",
        "which",
    ),
    (
        "paint{colour=dark-bleu}",
        "paint: option 'colour' is 'dark-bleu', not one of red, dark-blue",
        "did you mean 'dark-blue'? which",
    ),
    ("paint{finish=wet}", "paint: option 'finish' is 'wet', not one of matt, gloss", ""),
    ("paint{spots=1,x}", "paint: option 'spots' is 'x', not a whole number", ""),
    ("paint{size=1}", "paint: option 'size' takes 2 values separated by commas, not 1", ""),
]


@pytest.mark.parametrize(("text", "message", "hint"), OPTIONS)
def test_mistakes_in_options(text: str, message: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        paint(text)
    assert caught.value.message == message
    assert hint in caught.value.hint
    # The message names the choices; the hint does not say them again.
    assert "one of" not in caught.value.message or "one of" not in caught.value.hint


def test_an_error_points_at_its_place() -> None:
    items = parse_items("plain,paint{dry coats=0}")
    with pytest.raises(SpecError) as caught:
        build(items[1], Paint)
    assert caught.value.pointer.splitlines() == [
        "  plain,paint{dry coats=0}",
        "                  ^^^^^^^",
    ]
    assert caught.value.where == "'plain,paint{dry coats=0}', column 17"


def test_an_option_without_default_must_be_given() -> None:
    (item,) = parse_items("sign")
    with pytest.raises(SpecError, match="sign needs the option 'text'"):
        build(item, Sign)
    (item,) = parse_items("sign{text=stop}")
    assert show(build(item, Sign)) == "sign{text=stop}"


def test_an_item_without_options_says_so() -> None:
    (item,) = parse_items("plain{x=1}")
    with pytest.raises(SpecError, match=r"plain has no option 'x' \(it has no options\)"):
        build(item, Plain)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Paint(coats=12), "option 'coats' is 12, above 9"),
        (Paint(width_um=float("nan")), "option 'width_um' is nan, not a finite number"),
        (Paint(finish="wet"), "option 'finish' is 'wet', not one of matt, gloss"),
    ],
)
def test_options_made_in_python_are_checked_too(made: Any, message: str) -> None:
    with pytest.raises(BadValue) as caught:
        checked(made)
    assert str(caught.value) == message


def test_every_option_is_described() -> None:
    said = {field.name: describe(field) for field in option_fields(Paint)}
    assert said["width_um"] == "number, >= 0, in um; width"
    assert said["spots"] == "whole numbers separated by commas; places"
    assert said["note"] == "text or none; a remark"
    assert said["size"] == "number,text; length and unit"
    assert [field.default_text for field in option_fields(Paint)][:4] == [
        "1",
        "0.5",
        "false",
        "red",
    ]
