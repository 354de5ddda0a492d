"""An ONNX model from a file, from bytes, or as a ModelProto that the caller has."""

import stat
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnx2mzi.errors import InputError

_LIMIT = 1 << 31
_TORCH = "this is a PyTorch checkpoint: export it with torch.onnx.export"
_ARCHIVE = (
    "this is an archive: a PyTorch checkpoint is exported with torch.onnx.export, "
    "an .npz with data is given with --data or --test"
)
_FOREIGN = {
    b"version https://git-lfs": "this is a Git LFS pointer: fetch the file with 'git lfs pull'",
    b"PK\x03\x04": _ARCHIVE,
    b"\x80\x02": _TORCH,
    b"\x89HDF": "this is an HDF5 file (Keras?): convert it with tf2onnx",
    b"\x1f\x8b": "this is a gzip archive: unpack it first",
    b"<!DOCTYPE": "this is a web page: the download went wrong",
    b"<html": "this is a web page: the download went wrong",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed model, the name of its file, and the folder that external data are relative to."""

    model: onnx.ModelProto
    file: str
    name: str
    folder: Path | None


def read_source(model: str | Path | bytes | onnx.ModelProto) -> Source:
    """The model, parsed. Raises InputError if it cannot be read or is no ONNX model.

    A caller's ModelProto is not changed by anything that follows.
    """
    if isinstance(model, onnx.ModelProto):
        return Source(model, "", _plain(model.graph.name), None)
    if isinstance(model, bytes):
        return Source(_parse(model, "the model"), "", "model", None)
    path = Path(model)
    data = _bytes(path)
    return Source(_parse(data, str(path)), path.name, _plain(path.stem), path.parent)


def check_file(path: Path) -> None:
    """Raises InputError if this cannot be a model's file, before a byte of it is read."""
    where = str(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError("is a folder, not an ONNX file", where=where)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("is no regular file", where=where)
        # The parser takes 20 s to find this out.
        if status.st_size >= _LIMIT:
            raise InputError(
                f"is {status.st_size / 1e9:.1f} GB; an ONNX file can hold 2 GB",
                where=where,
                hint="save the weights as external data: onnx.save(save_as_external_data=True)",
            )
    except FileNotFoundError:
        raise InputError("there is no such file", where=where) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be read: {reason}", where=where) from None


def _bytes(path: Path) -> bytes:
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise InputError("is empty", where=where)
    for start, hint in _FOREIGN.items():
        if data.startswith(start):
            raise InputError("is no ONNX model", where=where, hint=hint)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # The protobuf library's own errors differ by its implementation.
        raise InputError(
            "is no ONNX model, or a truncated one", where=where, hint="export or fetch it again"
        ) from None
    return model


def _plain(name: str) -> str:
    """A name that is good in any file system."""
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in str(name))
    return kept.strip("._")[:80] or "model"
