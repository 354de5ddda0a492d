"""The grammar of passes and back ends: text to dataclass, dataclass to text.

    pipeline := item ("," item)*
    item     := NAME [ "{" option* "}" ]           prune{method=obs target=0.95}
    option   := NAME "=" value ("," value)*        options are separated by spaces
              | NAME                               a flag that is switched on
    value    := word | "quoted text"

The fields of the dataclass say what a value means: int, float, bool, str, an Enum (by value),
`X | None` (`none`), `tuple[X, ...]` (`1,2,3`; `()` is empty). Text that is printed leaves out
defaults and parses back to an equal object.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from onnx2mzi.errors import UsageError
from onnx2mzi.pipeline.options import (
    BadValue,
    OptionField,
    Word,
    option_fields,
    printed_value,
    read_value,
)

T = TypeVar("T")

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<mark>[,{}=])|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<word>[^\s,{}="]+)""",
    re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


class SpecError(UsageError):
    """Text that is no pipeline, or does not fit its passes: says where, and points at it."""

    def __init__(self, message: str, text: str, start: int, stop: int, hint: str = "") -> None:
        super().__init__(message, where=f"'{text}', column {start + 1}", hint=hint)
        self.text = text
        self.start = start
        self.stop = max(stop, start + 1)

    @property
    def pointer(self) -> str:
        """The text and, under it, a caret under every wrong character."""
        line = re.sub(r"\s", " ", self.text)
        return f"  {line}\n  {' ' * self.start}{'^' * (self.stop - self.start)}"


@dataclass(frozen=True, slots=True)
class OptionText:
    """`name=values` as written; `values` is None for a bare flag."""

    name: str
    values: tuple[Word, ...] | None
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ItemText:
    """One pass or back end as written, and where in `text` it stands."""

    name: str
    options: tuple[OptionText, ...]
    text: str
    start: int
    stop: int

    def error(self, message: str, hint: str = "") -> SpecError:
        """An error that points at the name."""
        return SpecError(message, self.text, self.start, self.start + len(self.name), hint)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    value: str
    start: int
    stop: int


class _Reader:
    """Tokens of one text, read from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._split())
        self.at = 0

    def _split(self) -> list[_Token]:
        tokens, position = [], 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise self.error("a quote that is not closed", position, len(self.text))
            kind = str(match.lastgroup)
            if kind != "space":
                tokens.append(_Token(kind, match.group(), match.start(), match.end()))
            position = match.end()
        tokens.append(_Token("end", "", len(self.text), len(self.text)))
        return tokens

    def error(self, message: str, start: int, stop: int, hint: str = "") -> SpecError:
        return SpecError(message, self.text, start, stop, hint)

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def next(self) -> _Token:
        token = self.token
        self.at += 1
        return token

    def takes(self, mark: str) -> bool:
        if self.token.kind == "mark" and self.token.value == mark:
            self.at += 1
            return True
        return False

    def expected(self, what: str, hint: str = "") -> SpecError:
        token = self.token
        found = "the end" if token.kind == "end" else f"'{token.value}'"
        return self.error(f"expected {what}, found {found}", token.start, token.stop, hint)

    def name(self, what: str) -> _Token:
        if self.token.kind != "word" or not _NAME.match(self.token.value):
            raise self.expected(what)
        return self.next()

    def item(self) -> ItemText:
        name = self.name("a name")
        options: list[OptionText] = []
        if self.takes("{"):
            while not self.takes("}"):
                option = self.option()
                if any(option.name == other.name for other in options):
                    raise self.error(
                        f"option '{option.name}' is given twice", option.start, option.stop
                    )
                options.append(option)
        stop = self.tokens[self.at - 1].stop
        return ItemText(name.value, tuple(options), self.text, name.start, stop)

    def option(self) -> OptionText:
        if self.token.kind == "mark" and self.token.value == ",":
            raise self.expected("an option", "options are separated by spaces")
        name = self.name("an option or '}'")
        if not self.takes("="):
            return OptionText(name.value, None, name.start, name.stop)
        values = [self.value()]
        while self.takes(","):
            if self.tokens[self.at + 1].value == "=":
                raise self.expected("a value", "options are separated by spaces, not commas")
            values.append(self.value())
        stop = self.tokens[self.at - 1].stop
        return OptionText(name.value, tuple(values), name.start, stop)

    def value(self) -> Word:
        token = self.token
        if token.kind == "quoted":
            self.next()
            return Word(re.sub(r"\\(.)", r"\1", token.value[1:-1], flags=re.DOTALL), quoted=True)
        if token.kind != "word":
            raise self.expected("a value")
        self.next()
        return Word(token.value, quoted=False)


def parse_items(text: str) -> tuple[ItemText, ...]:
    """The items of a pipeline text; () for an empty one. Raises SpecError."""
    reader = _Reader(text)
    if reader.token.kind == "end":
        return ()
    items = [reader.item()]
    while reader.takes(","):
        items.append(reader.item())
    if reader.token.kind != "end":
        raise reader.expected("',' or '{'" if not items[-1].options else "','")
    return tuple(items)


def build(item: ItemText, made: type[T]) -> T:
    """An instance of the dataclass `made` with the item's options.

    Raises SpecError for an unknown option, a value of the wrong type or out of range, and an
    option that is needed but missing.
    """
    fields = {field.name: field for field in option_fields(made)}
    values: dict[str, Any] = {}
    for option in item.options:
        if option.name not in fields:
            raise SpecError(
                f"{item.name} has no option '{option.name}'",
                item.text,
                option.start,
                option.start + len(option.name),
                _options_hint(option.name, list(fields)),
            )
        try:
            values[option.name] = read_value(fields[option.name], option.values)
        except BadValue as bad:
            raise SpecError(
                f"{item.name}: option '{option.name}' {bad}",
                item.text,
                option.start,
                option.stop,
                _remedy(fields[option.name], option.values),
            ) from None
    for field in fields.values():
        if field.required and field.name not in values:
            raise item.error(f"{item.name} needs the option '{field.name}'", describe(field))
    return made(**values)


def show(made: Any) -> str:
    """The text of an instance, without the options that have their default value."""
    words = [
        f"{field.name}={printed_value(getattr(made, field.name), field.type)}"
        for field in option_fields(type(made))
        if field.required or getattr(made, field.name) != field.default
    ]
    return str(made.name) + (f"{{{' '.join(words)}}}" if words else "")


def describe(field: OptionField) -> str:
    """What an option takes: `number, 0 .. 1 rad; how far to go`."""
    parts = [field.kind]
    if field.limits:
        parts.append(field.limits)
    if field.unit:
        parts.append(f"in {field.unit}")
    return ", ".join(parts) + (f"; {field.help}" if field.help else "")


def _remedy(field: OptionField, words: tuple[Word, ...] | None) -> str:
    # The message names all choices already.
    close = get_close_matches(words[0].text, field.choices, n=1, cutoff=0.6) if words else []
    meant = f"did you mean '{close[0]}'? " if close else ""
    return meant + field.help if field.choices and field.help else meant + describe(field)


def suggestion(name: str, names: list[str], what: str) -> str:
    """`did you mean 'prune'? passes: ...`: a remedy for a name that is not there."""
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    meant = f"did you mean '{close[0]}'? " if close else ""
    return f"{meant}{what}: {', '.join(names) or 'none'}"


def _options_hint(name: str, names: list[str]) -> str:
    return suggestion(name, names, "its options") if names else "it has no options"
