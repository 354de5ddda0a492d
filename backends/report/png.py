"""PNG files without a library."""

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def png(pixels: Bytes) -> bytes:
    """An RGB picture, shape (height, width, 3)."""
    height, width = pixels.shape[:2]
    return _file(width, height, 2, b"", pixels.reshape(height, -1))


def indexed_png(pixels: Bytes, colours: Sequence[str]) -> bytes:
    """A picture of indices of at most 256 `colours` (`#rrggbb`), shape (height, width)."""
    height, width = pixels.shape
    palette = b"".join(bytes.fromhex(colour[1:]) for colour in colours)
    return _file(width, height, 3, _chunk(b"PLTE", palette), pixels)


def _file(width: int, height: int, kind: int, before: bytes, rows: Bytes) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    body = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    data = _chunk(b"IDAT", zlib.compress(body.tobytes(), 9))
    return b"\x89PNG\r\n\x1a\n" + head + before + data + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(content: bytes) -> str:
    """The picture as the source of an <img> that fetches nothing."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
