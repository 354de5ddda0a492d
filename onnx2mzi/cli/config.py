"""Options from and to a TOML file. Keys are the long options without dashes in front.

model = "digits.onnx"
optimize = "prune"          # -O
max-drop = "0.5%"
exclude = ["/head/Gemm"]
strict = true
"""

import argparse
import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from onnx2mzi.cli.parser import Parser, compile_parser
from onnx2mzi.driver.one_file import check_file_target, replacing
from onnx2mzi.errors import UsageError
from onnx2mzi.pipeline.spec import suggestion

# Not of the chip but of the moment.
_LEFT_OUT = (
    "config", "save_config", "help", "version", "traceback", "print_pipeline", "dry_run",
    "resume",
)  # fmt: skip


def with_config(arguments: argparse.Namespace, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of `argv` over those of the file that `--config` names.

    Raises UsageError for a file that cannot be read, an unknown key or a wrong value.
    """
    if arguments.config is None:
        return arguments
    path = Path(arguments.config)
    where = f"--config {path}"
    content = _content(path, where)
    parser = compile_parser()
    try:
        words = [word for key, value in content.items() for word in _words(parser, key, value)]
        model = [] if arguments.model is not None or "model" not in content else [content["model"]]
        return parser.parse_args([*words, *model, *argv])
    except UsageError as error:
        raise UsageError(error.message, where=where, hint=error.hint) from None


def _content(path: Path, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=where) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"is no TOML: {error}", where=where) from None


def check_saved_config(arguments: argparse.Namespace, read: Iterable[tuple[str, str]]) -> None:
    """Raises UsageError if `--save-config` names an input of `read`, a file that is no config, or
    one that cannot be made."""
    name = arguments.save_config
    if name is None:
        return
    path = check_file_target(name, "--save-config", read=read)
    if path.exists() and not _is_config(path):
        raise UsageError(
            "is there, and is no config of onnx2mzi",
            where=f"--save-config {path}",
            hint="name another file",
        )


def _is_config(path: Path) -> bool:
    parser = compile_parser()
    try:
        content = _content(path, "")
        for key, value in content.items():
            _words(parser, key, value)
    except UsageError:
        return False
    # What holds comments only may be anybody's.
    return bool(content) or path.stat().st_size == 0


def save_config(arguments: argparse.Namespace) -> None:
    """Write the options that are not defaults to the file that `--save-config` names, if any."""
    if arguments.save_config is None:
        return
    path = Path(arguments.save_config)
    parser = compile_parser()
    lines = []
    for key, action in _keys(parser).items():
        value = getattr(arguments, action.dest)
        if value != parser.get_default(action.dest):
            lines.append(f"{key} = {_toml(_written(action.dest, value))}\n")
    try:
        with replacing(path) as file:
            file.write("".join(lines).encode())
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", where=f"--save-config {path}"
        ) from None


def _keys(parser: Parser) -> dict[str, argparse.Action]:
    """Every option that a file may hold, by its key."""
    keys = {}
    for action in parser._actions:
        if action.dest not in _LEFT_OUT:
            keys[action.dest.replace("_", "-")] = action
    return keys


def _words(parser: Parser, key: str, value: Any) -> list[str]:
    keys = _keys(parser)
    if key not in keys:
        raise UsageError(f"there is no option '{key}'", hint=suggestion(key, list(keys), "options"))
    action = keys[key]
    if not action.option_strings:
        if not isinstance(value, str):
            raise UsageError(f"'{key}' is {value!r}, not text")
        return []
    option = max(action.option_strings, key=len)
    if action.nargs == 0:
        count = int(value) if isinstance(value, (bool, int)) and value >= 0 else -1
        if count < 0:
            raise UsageError(f"'{key}' is {value!r}, not true or false")
        return [option] * count
    if isinstance(value, list) and isinstance(action.default, list):
        return [word for one in value for word in (option, _text(key, one))]
    return [option, _text(key, value)]


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"'{key}' is {value!r}, not text or a number")
    return str(value)


def _written(dest: str, value: Any) -> Any:
    """The value as it is typed."""
    if dest == "input_shape":
        return [f"{name}:{','.join(map(str, shape))}" for name, shape in value]
    if dest == "max_drop":
        return f"{value * 100!r}%"
    return value


def _toml(value: Any) -> str:
    # JSON's text, numbers, lists and truth values are TOML's.
    return json.dumps(value, ensure_ascii=False)
