"""Options of a pass or back end: the fields of its dataclass, their types, ranges and words."""

import math
import numbers
import re
import typing
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar

T = TypeVar("T")

_BARE = re.compile(r'[^\s,{}="\\()]+\Z')
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")


class BadValue(Exception):
    """A value that an option does not take; the text completes "option 'x' ..."."""


@dataclass(frozen=True, slots=True)
class Word:
    """A value as written: quoted words are always text."""

    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class OptionField:
    """One option: its type, default (MISSING if it must be given), help, unit and legal values."""

    name: str
    type: Any
    default: Any
    help: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def kind(self) -> str:
        """The type in words."""
        return _kind(self.type)

    @property
    def limits(self) -> str:
        """The legal values in words, "" if all are."""
        if self.choices:
            return "one of " + "|".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} .. {self.high:g}"
        if self.low is not None:
            return f">= {self.low:g}"
        return f"<= {self.high:g}" if self.high is not None else ""

    @property
    def default_text(self) -> str:
        """The default as one writes it, "" if the option must be given."""
        return "" if self.required else printed_value(self.default, self.type)


def option_fields(made: type) -> tuple[OptionField, ...]:
    """The options of a dataclass, in its order."""
    hints = typing.get_type_hints(made)
    found = []
    for field in fields(made):
        if not field.init:
            continue
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        about = field.metadata
        found.append(
            OptionField(
                name=field.name,
                type=hints[field.name],
                default=default,
                help=about.get("help", ""),
                unit=about.get("unit", ""),
                low=about.get("low"),
                high=about.get("high"),
                choices=tuple(map(str, about.get("choices", ()))) or _members(hints[field.name]),
            )
        )
    return tuple(found)


def read_value(field: OptionField, words: tuple[Word, ...] | None) -> Any:
    """The value that the words mean for this option. Raises BadValue."""
    kind, optional = _unwrapped(field.type)
    if words is None:
        if kind is not bool:
            raise BadValue(f"needs a value: {field.name}=...")
        return True
    if optional and words == (Word("none", quoted=False),):
        return None
    elements = _elements(kind, words)
    if elements is None:
        if len(words) != 1:
            raise BadValue(f"takes one value, not {len(words)}")
        value = _scalar(kind, words[0])
    else:
        value = tuple(_scalar(k, word) for k, word in elements)
    check_value(field, value)
    return value


def check_value(field: OptionField, value: Any) -> None:
    """Raises BadValue if the value is outside of the option's range or choices."""
    for element in value if isinstance(value, tuple) else (value,):
        if element is None:
            continue
        if field.choices and str(_plain(element)) not in field.choices:
            raise BadValue(f"is '{_plain(element)}', not one of {', '.join(field.choices)}")
        if isinstance(element, bool) or not isinstance(element, (int, float)):
            continue
        if not math.isfinite(element):
            raise BadValue(f"is {element}, not a finite number")
        if field.low is not None and element < field.low:
            raise BadValue(f"is {element:g}, below {field.low:g}")
        if field.high is not None and element > field.high:
            raise BadValue(f"is {element:g}, above {field.high:g}")


def checked(made: T) -> T:
    """The instance itself, if all its options are legal. Raises BadValue."""
    for field in option_fields(type(made)):
        try:
            check_value(field, getattr(made, field.name))
        except BadValue as bad:
            raise BadValue(f"option '{field.name}' {bad}") from None
    return made


def printed_value(value: Any, kind: Any) -> str:
    """The value as one writes it; `kind` is the option's type."""
    if value is None:
        return "none"
    optional = _unwrapped(kind)[1]
    if isinstance(value, tuple):
        text = ",".join(printed_value(element, str) for element in value) or "()"
        return '"none"' if text == "none" and optional else text
    if isinstance(value, bool):
        return "true" if value else "false"
    plain = _plain(value)
    if isinstance(plain, numbers.Integral):
        return str(int(plain))
    if isinstance(plain, numbers.Real):
        return repr(float(plain))
    if not isinstance(plain, str):
        # A script's own object: no text gives it back, and its repr may hold an address.
        plain = f"<{type(plain).__name__}>"
    if _BARE.match(plain) and not (plain == "none" and optional):
        return plain
    return '"' + re.sub(r'(["\\])', r"\\\1", plain) + '"'


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _unwrapped(kind: Any) -> tuple[Any, bool]:
    """The type without `| None`, and whether None was allowed."""
    if typing.get_origin(kind) in (UnionType, typing.Union):
        rest = [arg for arg in typing.get_args(kind) if arg is not NoneType]
        if len(rest) == 1:
            return rest[0], True
    return kind, False


def _elements(kind: Any, words: tuple[Word, ...]) -> list[tuple[Any, Word]] | None:
    """The types of a tuple's elements with their words; None if `kind` is no tuple."""
    if typing.get_origin(kind) is not tuple:
        return None
    types = typing.get_args(kind)
    if words == (Word("()", quoted=False),):
        words = ()
    if len(types) == 2 and types[1] is Ellipsis:
        types = (types[0],) * len(words)
    if len(types) != len(words):
        raise BadValue(f"takes {len(types)} values separated by commas, not {len(words)}")
    return list(zip(types, words, strict=True))


def _scalar(kind: Any, word: Word) -> Any:
    text = word.text
    if kind is str:
        return text
    if isinstance(kind, type) and issubclass(kind, Enum):
        for member in kind:
            if str(member.value) == text:
                return member
        raise BadValue(f"is '{text}', not one of {', '.join(_members(kind))}")
    if word.quoted:
        raise BadValue(f"is text, not {_article(_kind(kind))}")
    if kind is bool:
        if text not in ("true", "false"):
            raise BadValue(f"is '{text}', not true or false")
        return text == "true"
    if kind is int:
        if not _INTEGER.match(text):
            raise BadValue(f"is '{text}', not {_article(_kind(kind))}")
        return int(text)
    if kind is float:
        return _float(text)
    raise BadValue(f"has a type that no text can give: {kind}")


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise BadValue(f"is '{text}', not a number")
    return value


def _members(kind: Any) -> tuple[str, ...]:
    kind = _unwrapped(kind)[0]
    if typing.get_origin(kind) is tuple:
        kind = typing.get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(member.value) for member in kind)
    return ()


_KINDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
}


def _kind(kind: Any) -> str:
    plain, optional = _unwrapped(kind)
    if typing.get_origin(plain) is tuple:
        words = _tuple_kind(typing.get_args(plain))
    elif isinstance(plain, type) and issubclass(plain, Enum):
        words = "word"
    else:
        words = _KINDS.get(plain, str(plain))
    return f"{words} or none" if optional else words


def _tuple_kind(types: Iterable[Any]) -> str:
    listed = tuple(types)
    if len(listed) == 2 and listed[1] is Ellipsis:
        return f"{_kind(listed[0])}s separated by commas"
    return ",".join(_kind(kind) for kind in listed)


def _article(words: str) -> str:
    return f"a {words}"
