"""Tokens of the `.mzi` text form, and errors that point at one."""

import json
import re
from dataclasses import dataclass

from onnx2mzi.errors import InputError

_TOKEN = re.compile(
    r"""
    (?P<blank>  (?: \s+ | //[^\n]* )+ )
  | (?P<string> "(?:[^"\\\n]|\\.)*" )
  | (?P<number> -?(?: \d+(?:\.\d+)?(?:[eE][+-]?\d+)? | (?:inf|nan)\b ) )
  | (?P<word>   [A-Za-z_][\w-]* )
  | (?P<mark>   \.\. | [{}\[\](),:@?.] )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text: `kind` is string, number, word, mark or end; `offset` is its place."""

    kind: str
    text: str
    offset: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the text"
        short = self.text if len(self.text) <= 40 else f"{self.text[:37]}..."
        return short if self.kind == "string" else f"'{short}'"


@dataclass(frozen=True, slots=True)
class Source:
    """A text and what to call it in messages."""

    text: str
    file: str

    def error(self, offset: int, message: str) -> InputError:
        """The error at `offset`, as file:line:column with the line as hint."""
        line = self.text.count("\n", 0, offset) + 1
        start = self.text.rfind("\n", 0, offset) + 1
        where = f"{self.file}:{line}:{offset - start + 1}"
        content = self.text[start:].split("\n", 1)[0].strip()
        shown = content if len(content) <= 72 else f"{content[:69]}..."
        return InputError(message, where=where, hint=f"the line reads: {shown}" if shown else "")


def tokens(source: Source) -> list[Token]:
    """All tokens, the last one of kind end. Raises InputError at what is no token."""
    found: list[Token] = []
    offset, text = 0, source.text
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            what = "a string that does not end" if text[offset] == '"' else repr(text[offset])
            raise source.error(offset, f"unexpected {what}")
        kind = match.lastgroup or ""
        if kind != "blank":
            found.append(Token(kind, match.group(), offset))
        offset = match.end()
    found.append(Token("end", "", len(text)))
    return found


def string_value(source: Source, token: Token) -> str:
    """What a string token spells."""
    try:
        return str(json.loads(token.text))
    except ValueError:
        raise source.error(token.offset, f"the string {token} has a bad escape") from None
