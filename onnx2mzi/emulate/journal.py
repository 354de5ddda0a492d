"""Results of copies on disk as they come, one JSON line each; a broken run goes on from there."""

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from onnx2mzi.emulate.imperfect import How
from onnx2mzi.errors import UsageError

FORMAT = 1
Row = Sequence[float | None]


class Journal:
    """Rows of numbers by kind of chip and copy, kept in a file of JSON lines.

    `fingerprint` names chip, data and program version: a file with another one is written anew.
    A last line that was cut off is dropped. Use it as a context manager.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self._rows: dict[str, dict[int, list[float | None]]] = {}
        head = {"format": FORMAT, "fingerprint": fingerprint}
        keep = self._read(head)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("r+" if keep else "w", encoding="utf-8", newline="\n")
            if keep:
                self._file.seek(keep)
                self._file.truncate()
            else:
                self._file.write(json.dumps(head) + "\n")
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", where=str(path)) from None

    def _read(self, head: dict[str, Any]) -> int:
        """Take in the whole lines of a file with the same head; their length in bytes."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
            if not lines or json.loads(lines[0]) != head:
                return 0
        except (OSError, ValueError):
            return 0
        length = len(lines[0])
        for line in lines[1:]:
            try:
                kind, copy, *row = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self._rows.setdefault(kind, {})[int(copy)] = row
            length += len(line)
        return length

    def known(self, how: How) -> list[list[float | None]]:
        """The rows of copies 0, 1, ... without a gap."""
        rows = self._rows.get(kind_of(how), {})
        found: list[list[float | None]] = []
        while len(found) in rows:
            found.append(rows[len(found)])
        return found

    def add(self, how: How, copy: int, row: Row) -> None:
        """Keep a row; it is on disk when this returns."""
        kind = kind_of(how)
        self._rows.setdefault(kind, {})[copy] = list(row)
        self._file.write(json.dumps([kind, copy, *row]) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def kind_of(how: How) -> str:
    """A text that is the same for the same way of drawing chips: what differs from the default."""
    return json.dumps(_plain(how), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        named = {item.name: getattr(value, item.name) for item in fields(value)}
        return {name: _plain(part) for name, part in named.items() if part}
    return value
