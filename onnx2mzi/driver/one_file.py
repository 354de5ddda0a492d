"""One file that a user names to be written: checked before the work, written whole or not at all.

Folders of chips are written by driver.output.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from onnx2mzi.driver.output import files_of
from onnx2mzi.errors import UsageError


def check_file_target(name: str, option: str, *, read: Iterable[tuple[str, object]] = ()) -> Path:
    """The path of a file to write. `read` are options and the files that they name, which stay.

    Raises UsageError for an empty name, a folder, a file that is read, or a folder above it that
    is not there or may not be written.
    """
    if not name:
        raise UsageError("is empty", where=option, hint="name a file")
    path, where = Path(name), f"{option} {name}"
    if path.is_dir():
        raise UsageError("is a folder", where=where, hint="name a file in it")
    for what, given in read:
        if same_file(path, given):
            raise UsageError(
                f"is the file of {what}, which it would replace",
                where=where,
                hint="name another file",
            )
    parent = path.resolve().parent
    if not parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", where=where, hint="make it first")
    if not os.access(parent, os.W_OK):
        raise UsageError(
            f"folder {path.parent} may not be written", where=where, hint="name a file elsewhere"
        )
    return path


def check_not_of_chip(path: Path, directory: Path, option: str) -> None:
    """Raises UsageError if a chip's folder has `path` among its own files."""
    if path.resolve() in files_of(directory):
        raise UsageError(
            f"is a file of the chip in {directory}",
            where=f"{option} {path}",
            hint="name another file",
        )


def same_file(path: Path, given: object) -> bool:
    """Whether `given` is a path of the file `path`, under whatever name."""
    if not isinstance(given, (str, Path)):
        return False
    try:
        return path.samefile(given)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its place when the block ends without error."""
    target = path.resolve()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], option: str) -> None:
    """An .npz of arrays. Raises UsageError if it cannot be written."""
    try:
        with replacing(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=f"{option} {path}") from None
