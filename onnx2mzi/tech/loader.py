"""Technology files: TOML to `Technology` and back. Whatever is wrong is refused with its line."""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from enum import StrEnum
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.tech.consistency import inconsistencies
from onnx2mzi.tech.edge import Edge
from onnx2mzi.tech.fixed import DERIVED, KEYS, CellError, FixedCell, derived, given_keys
from onnx2mzi.tech.technology import Technology

DEFAULT_TECHNOLOGY = "cornerstone_si220"
_HEAD = "tech"


def technology_names() -> tuple[str, ...]:
    """The technologies that come with the package, sorted."""
    files = resources.files("onnx2mzi.tech").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def load_technology(name_or_path: str | Path) -> Technology:
    """The built-in technology of that name, or the one in that TOML file.

    Raises UsageError when there is no such name or file, InputError (with file, line, hint)
    when the file is refused.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and text in technology_names():
        file = resources.files("onnx2mzi.tech") / f"{text}.toml"
        return parse_technology(file.read_text(encoding="utf-8"), where=f"{text}.toml")
    path = Path(name_or_path)
    if path.is_file():
        try:
            content = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=text) from error
        except UnicodeDecodeError as error:
            raise InputError(
                "is not text in UTF-8",
                where=text,
                hint="give a technology's TOML file; see `onnx2mzi tech show`",
            ) from error
        return parse_technology(content, where=text, folder=path.parent)
    names = technology_names()
    guess = get_close_matches(text, names, n=1)
    meant = f"did you mean '{guess[0]}'? " if guess else ""
    raise UsageError(
        f"no technology and no file is called '{text}'",
        where="--tech",
        hint=f"{meant}built in: {', '.join(names)}; or give a TOML file",
    )


def parse_technology(text: str, *, where: str, folder: Path | None = None) -> Technology:
    """The technology in a TOML text; `where` names the text in messages, `folder` is where the
    GDS files of its fixed cells are.

    Raises InputError: bad TOML, a missing or unknown section or key, a wrong type, a value out
    of range, values that contradict each other, a cell that is not there or has other ports.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}", where=where, hint="see `tech show`") from error
    reader = _Reader(where, _line_numbers(text))
    hints = get_type_hints(Technology)
    sections = [f.name for f in fields(Technology) if is_dataclass(hints[f.name])]
    for name in document:
        if name not in (_HEAD, *sections):
            raise reader.unknown(name, "", (_HEAD, *sections))
    head_fields = tuple(f for f in fields(Technology) if f.name not in sections)
    values = reader.table(document, _HEAD, head_fields, hints)
    optional = {f.name for f in fields(Technology) if f.default is not MISSING}
    for name in sections:
        if name in optional and name not in document:
            continue
        section = hints[name]
        keys = tuple(f for f in fields(section) if f.name != "fixed")
        made = _fixed(reader, document, name, values, folder or Path())
        read = {**document, name: made[1]} if made else document
        table = reader.table(read, name, keys, get_type_hints(section))
        values[name] = section(**table, **({"fixed": made[0]} if made else {}))
    technology = Technology(**values)
    if not technology.name.isidentifier():
        message = f"the name '{technology.name}' is not an identifier"
        raise reader.refused(message, _HEAD, "name", "letters, digits and _ only")
    for problem in inconsistencies(technology):
        raise reader.refused(problem.message, problem.section, problem.key, problem.hint)
    return technology


def _fixed(
    reader: "_Reader",
    document: Mapping[str, Any],
    section: str,
    values: Mapping[str, Any],
    folder: Path,
) -> tuple[FixedCell, dict[str, Any]] | None:
    """The fixed cell of a section, and the section without its keys but with what follows from
    its ports; None where it has none."""
    table = document.get(section)
    if section not in DERIVED or not isinstance(table, dict):
        return None
    if "gds" not in table:
        for key in KEYS:
            if key in table:
                hint = "with a fixed cell: gds, cell, ports"
                raise reader.refused(f"'{key}' without 'gds' in [{section}]", section, key, hint)
        return None
    for key in DERIVED[section]:
        if key in table:
            message = f"'{key}' follows from the ports of the fixed cell"
            raise reader.refused(message, section, key, "leave it out")
    # Here, for most technologies have none, and gdstk takes its time.
    from onnx2mzi.tech.fixed_reader import fixed_cell

    layers, width_um = values["layers"], values["guide"].width_um
    made = tuple(getattr(layers, f.name) for f in fields(layers))
    try:
        cell = fixed_cell(
            section,
            {key: table[key] for key in KEYS if key in table},
            folder=folder,
            grid_um=values["grid_um"],
            width_um=width_um,
            core=layers.core,
            layers=tuple(layer for layer in made if layer is not None),
        )
    except CellError as error:
        within, _, port = error.key.partition(".")
        inner = f"{section}.{within}"
        if (inner, port) in reader.lines:
            raise reader.refused(error.message, inner, port, error.hint) from None
        raise reader.refused(error.message, section, within, error.hint) from None
    rest = {key: value for key, value in table.items() if key not in KEYS}
    contact = rest.get("contact_length_um")
    contact_um = float(contact) if isinstance(contact, (int, float)) else 0.0
    return cell, rest | derived(section, cell, width_um=width_um, contact_um=contact_um)


def dump_technology(technology: Technology, *, data: bool = True) -> str:
    """The technology as TOML; `parse_technology` gives the same technology back.

    Without `data` fixed cells are not in it, only where they are to be read from.
    """
    sections = [f.name for f in fields(technology) if is_dataclass(getattr(technology, f.name))]
    head = {f.name: getattr(technology, f.name) for f in fields(technology)}
    blocks = [_dumped(_HEAD, {k: v for k, v in head.items() if k not in sections})]
    for name in sections:
        section = getattr(technology, name)
        if section == Edge():
            continue
        keys = {f.name: getattr(section, f.name) for f in fields(section)}
        if cell := keys.pop("fixed", None):
            keys = {key: value for key, value in keys.items() if key not in DERIVED[name]}
            keys |= given_keys(cell, data=data)
        blocks.append(_dumped(name, keys))
    return "\n".join(blocks)


def _dumped(section: str, values: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[{section}]", *lines, ""])


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return repr(value)


def _line_numbers(text: str) -> dict[tuple[str, str], int]:
    """The line of every section ("" as key) and of every key in it."""
    lines: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if head := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            section = head[1].strip("\"'")
            lines.setdefault((section, ""), number)
        elif entry := re.match(r"\s*[\"']?([\w-]+)[\"']?\s*=", line):
            lines.setdefault((section, entry[1]), number)
            if not section:
                lines.setdefault((entry[1], ""), number)
    return lines


class _Reader:
    """Turns tables into fields; knows where every key stands."""

    def __init__(self, where: str, lines: dict[tuple[str, str], int]) -> None:
        self.where = where
        self.lines = lines

    def table(
        self,
        document: Mapping[str, Any],
        section: str,
        wanted: tuple[Field[Any], ...],
        hints: Mapping[str, Any],
    ) -> dict[str, Any]:
        if section not in document:
            raise InputError(
                f"section [{section}] is missing",
                where=self.where,
                hint="every section but [thermal], [edge] and [errors] is needed",
            )
        table = document[section]
        if not isinstance(table, dict):
            raise self.refused(f"'{section}' is no section", section, "", f"write [{section}]")
        names = tuple(f.name for f in wanted)
        for key in table:
            if key not in names:
                raise self.unknown(key, section, names)
        values = {}
        for entry in wanted:
            if entry.name in table:
                values[entry.name] = self.value(table[entry.name], section, entry, hints)
            elif entry.default is MISSING:
                what = entry.metadata["what"]
                raise self.refused(f"'{entry.name}' is missing in [{section}]", section, "", what)
        return values

    def value(self, given: Any, section: str, entry: Field[Any], hints: Mapping[str, Any]) -> Any:
        key, meta = entry.name, entry.metadata
        converted = _converted(given, hints[key])
        if converted is None:
            wanted = f"'{key}' must be {_described(hints[key])}, not {given!r}"
            near = _near_choice(given, hints[key])
            raise self.refused(wanted, section, key, near or meta["what"])
        if "low" in meta and not meta["low"] <= converted <= meta["high"]:
            raise self.refused(
                f"'{key}' = {given} is outside {meta['low']}..{meta['high']}",
                section,
                key,
                meta["what"],
            )
        return converted

    def unknown(self, key: str, section: str, names: tuple[str, ...]) -> InputError:
        guess = get_close_matches(key, names, n=1)
        hint = f"did you mean '{guess[0]}'?" if guess else f"known: {', '.join(names)}"
        if section:
            return self.refused(f"unknown key '{key}' in [{section}]", section, key, hint)
        return self.refused(f"unknown section or key '{key}'", key, "", hint)

    def refused(self, message: str, section: str, key: str, hint: str) -> InputError:
        line = self.lines.get((section, key)) or self.lines.get((section, ""))
        place = f"{self.where}:{line}" if line else self.where
        return InputError(message, where=place, hint=hint)


def _converted(given: Any, kind: Any) -> Any:
    """The value as `kind`, or None if it is none."""
    if get_origin(kind) is UnionType:
        return _converted(given, next(k for k in get_args(kind) if k is not NoneType))
    if get_origin(kind) is tuple:
        items = get_args(kind)
        if not isinstance(given, list):
            return None
        kinds = [items[0]] * len(given) if items[-1] is Ellipsis else list(items)
        if len(kinds) != len(given) or not given:
            return None
        values = tuple(_converted(g, k) for g, k in zip(given, kinds, strict=True))
        if any(
            value is None or (k is int and value < 0)
            for value, k in zip(values, kinds, strict=True)
        ):
            return None
        return values
    if isinstance(given, bool):
        return None
    if kind is float:
        number = isinstance(given, (int, float)) and math.isfinite(given)
        return float(given) if number else None
    if issubclass(kind, StrEnum):
        return kind(given) if given in list(kind) else None
    return given if isinstance(given, kind) else None


def _described(kind: Any) -> str:
    if get_origin(kind) is UnionType:
        return _described(next(k for k in get_args(kind) if k is not NoneType))
    if get_origin(kind) is tuple:
        items = get_args(kind)
        if items[-1] is Ellipsis:
            return f"a list, each {_described(items[0])}"
        return f"[{', '.join(_described(item) for item in items)}]"
    if issubclass(kind, StrEnum):
        return " or ".join(f'"{choice}"' for choice in kind)
    return {float: "a number", int: "a whole number", str: "a text"}[kind]


def _near_choice(given: Any, kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, StrEnum) and isinstance(given, str):
        guess = get_close_matches(given, list(kind), n=1, cutoff=0.5)
        return f'did you mean "{guess[0]}"?' if guess else ""
    return ""
