"""Programs on disk: `NAME.mzi` and, beside it, `NAME.npz`."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from onnx2mzi.errors import InputError
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import INLINE, print_program
from onnx2mzi.ir.program import Program

# The oldest time that a zip can hold: the same arrays give the same bytes on any day.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def write_mzi(program: Program, path: Path, *, inline: int = INLINE) -> tuple[Path, ...]:
    """Write the text to `path` (`.mzi`) and the arrays, if any, beside it; return what exists.

    Both are the same bytes whenever the program is the same.
    """
    text, arrays = print_program(program, inline=inline)
    sidecar = path.with_suffix(".npz")
    path.write_bytes(text.encode())
    if not arrays:
        sidecar.unlink(missing_ok=True)
        return (path,)
    write_npz(arrays, sidecar)
    return path, sidecar


def read_mzi(path: Path) -> Program:
    """The program of `path` and the arrays beside it. Never runs code.

    Raises InputError if a file is missing, damaged, or not of this form. `verify` says
    whether the program is valid.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputError(
            "is not text in UTF-8", where=str(path), hint="give a .mzi that onnx2mzi wrote"
        ) from None
    sidecar = path.with_suffix(".npz")
    arrays = read_npz(sidecar) if sidecar.exists() else {}
    return parse_program(text, arrays, file=str(path))


def write_npz(arrays: Mapping[str, npt.NDArray[np.generic]], path: Path) -> None:
    """An uncompressed .npz without time stamps, members in the order of `arrays`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with zip_member(archive, name) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def zip_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """A new member `NAME.npy` to write to, without a time stamp."""
    member = zipfile.ZipInfo(f"{name}.npy", _NO_TIME)
    member.create_system = _UNIX
    member.external_attr = 0o644 << 16
    return archive.open(member, "w", force_zip64=True)


def read_npz(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """All arrays of an .npz, read-only. Raises InputError if it is damaged or holds objects."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                arrays[name] = archive[name]
                arrays[name].flags.writeable = False
    except Exception as error:  # A damaged archive raises anything, zlib.error included.
        raise InputError(f"is no .npz of plain arrays: {error}", where=str(path)) from None
    return arrays
