"""Constant tensors as numpy arrays; nothing in them is believed before it is checked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from onnx2mzi.errors import InputError

_MOST = 1 << 31
_PLAIN: Mapping[int, str] = {
    TensorProto.FLOAT: "<f4",
    TensorProto.DOUBLE: "<f8",
    TensorProto.FLOAT16: "<f2",
    TensorProto.INT8: "i1",
    TensorProto.INT16: "<i2",
    TensorProto.INT32: "<i4",
    TensorProto.INT64: "<i8",
    TensorProto.UINT8: "u1",
    TensorProto.UINT16: "<u2",
    TensorProto.UINT32: "<u4",
    TensorProto.UINT64: "<u8",
    TensorProto.BOOL: "?",
}

_FLOATS = frozenset((TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16))


@dataclass(frozen=True, slots=True)
class TensorReader:
    """Reads tensors of one model; `folder` holds its external data."""

    file: str
    folder: Path | None

    def error(self, tensor: TensorProto, message: str, hint: str = "") -> InputError:
        place = f"tensor '{tensor.name}'"
        return InputError(message, where=f"{self.file}: {place}" if self.file else place, hint=hint)

    def check(self, tensor: TensorProto) -> None:
        """Raises InputError unless the tensor's shape, type and amount of data agree."""
        entries = self._entries(tensor)
        if tensor.data_type == TensorProto.STRING:
            return
        if tensor.data_location == TensorProto.EXTERNAL:
            self._external(tensor)
        elif tensor.data_type in _PLAIN and tensor.HasField("raw_data"):
            self._check_length(tensor, entries, len(tensor.raw_data))

    def array(self, tensor: TensorProto) -> np.ndarray:
        """The tensor's values; may be read-only. Raises InputError as `check`."""
        entries = self._entries(tensor)
        dtype = _PLAIN.get(tensor.data_type)
        external = tensor.data_location == TensorProto.EXTERNAL
        if dtype and (external or tensor.HasField("raw_data")):
            raw = self._external_bytes(tensor) if external else tensor.raw_data
            self._check_length(tensor, entries, len(raw))
            return np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))
        if external:
            raise self.error(tensor, "external data of this type are not read")
        try:
            array: np.ndarray = numpy_helper.to_array(tensor)
        except Exception as error:  # A damaged tensor raises anything.
            reason = " ".join(str(error).split())
            raise self.error(tensor, f"its data do not fit its shape or type: {reason}") from None
        return array

    def refuse_nan(self, tensor: TensorProto) -> None:
        """Raises InputError if a float tensor holds NaN (infinities may mask something)."""
        if tensor.data_type in _FLOATS and np.isnan(self.array(tensor)).any():
            raise self.error(tensor, "holds NaN", "the training diverged, or the file is damaged")

    def inline(self, tensor: TensorProto) -> TensorProto:
        """The tensor itself, or with external data a copy that holds them."""
        if tensor.data_location != TensorProto.EXTERNAL:
            return tensor
        raw = self._external_bytes(tensor)
        if tensor.data_type in _PLAIN:
            self._check_length(tensor, self._entries(tensor), len(raw))
        copy = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        copy.raw_data = raw
        return copy

    def _entries(self, tensor: TensorProto) -> int:
        dims = tuple(tensor.dims)
        if min(dims, default=0) < 0:
            raise self.error(tensor, f"its shape {list(dims)} is negative")
        entries: int = math.prod(dims)
        if entries > _MOST:
            raise self.error(tensor, f"its shape {list(dims)} is {entries} entries")
        if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == 0:
            raise self.error(tensor, f"its type {tensor.data_type} is unknown")
        return entries

    def _check_length(self, tensor: TensorProto, entries: int, found: int) -> None:
        size = entries * np.dtype(_PLAIN[tensor.data_type]).itemsize
        if found != size:
            raise self.error(
                tensor,
                f"holds {found} bytes, its shape {list(tensor.dims)} needs {size}",
                "the file is damaged: export or fetch it again",
            )

    # ---- external data ----------------------------------------------------------------------

    def _external(self, tensor: TensorProto) -> tuple[Path, int, int]:
        """File, offset and length in bytes of a tensor's external data."""
        entries = self._entries(tensor)
        info = {entry.key: entry.value for entry in tensor.external_data}
        path = self._external_path(tensor, info.get("location", ""))
        try:
            size = path.stat().st_size
        except OSError:
            raise self.error(
                tensor,
                f"its external data '{info.get('location')}' are missing",
                "keep the data file beside the model",
            ) from None
        try:
            offset = int(info.get("offset", "0"))
            dtype = _PLAIN.get(tensor.data_type)
            length = int(info["length"]) if "length" in info else None
            if length is None:
                length = entries * np.dtype(dtype).itemsize if dtype else size - offset
        except ValueError:
            raise self.error(tensor, "the offset or length of its external data is wrong") from None
        if offset < 0 or length < 0 or offset + length > size:
            raise self.error(
                tensor,
                f"its external data end at byte {offset + length}, the file at {size}",
                "the data file is another one, or truncated",
            )
        if dtype:
            self._check_length(tensor, entries, length)
        return path, offset, length

    def _external_bytes(self, tensor: TensorProto) -> bytes:
        path, offset, length = self._external(tensor)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise self.error(tensor, f"its external data: {error.strerror}") from None

    def _external_path(self, tensor: TensorProto, location: str) -> Path:
        if self.folder is None:
            raise self.error(
                tensor, "its data lie in another file", "give the model as a path, not as bytes"
            )
        parts = PurePosixPath(location).parts
        windows = PureWindowsPath(location)
        unsafe = (
            not location
            or "\0" in location
            or ".." in parts
            or ".." in windows.parts
            or PurePosixPath(location).is_absolute()
            or bool(windows.drive or windows.root)
        )
        path = self.folder
        if not unsafe:
            for part in parts:
                path = path / part
                unsafe = unsafe or path.is_symlink()
            unsafe = unsafe or (path.exists() and not path.is_file())
        if unsafe:
            raise self.error(
                tensor,
                f"its external data are at {location!r}, which is no plain file beside the model",
                "external data must be given by a relative path below the model's folder",
            )
        return path


def tensors_of(graph: onnx.GraphProto) -> list[TensorProto]:
    """All constant tensors of a graph and of the graphs in its nodes."""
    found: list[TensorProto] = []
    waiting = [graph]
    while waiting:
        current = waiting.pop()
        found.extend(current.initializer)
        for node in current.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    found.append(attribute.t)
                found.extend(attribute.tensors)
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)
    return found
