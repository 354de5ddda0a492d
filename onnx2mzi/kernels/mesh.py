"""Meshes as structures of arrays, and where the MZIs of the known layouts lie."""

import functools
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels.check import F64, I32, KernelError


def _frozen(a: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    out = np.array(a, dtype=dtype, ndmin=1, order="C")
    out.flags.writeable = False
    return out


@dataclass(frozen=True, slots=True)
class BalancedMesh:
    """A mesh in the balanced gauge, K MZIs on `ports` ports.

    An MZI is M(theta, phi) = [[e^{i phi} s, c], [e^{i phi} c, -s]], s = sin(theta/2),
    c = cos(theta/2), on ports (port, port + 1); the mesh is
    y = diag(e^{i out}) C_{L-1} ... C_1 C_0 x, column 0 being where light enters.
    MZIs are sorted by (column, port) and do not overlap within a column; a port without an
    MZI in a column passes unchanged. Phases in rad. All arrays are read-only copies.

    Raises KernelError when the arrays do not describe such a mesh.
    """

    ports: int
    column: I32
    port: I32
    theta: F64
    phi: F64
    out: F64

    def __post_init__(self) -> None:
        for name, dtype in (
            ("column", np.int32),
            ("port", np.int32),
            ("theta", np.float64),
            ("phi", np.float64),
            ("out", np.float64),
        ):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        self._verify()

    def _verify(self) -> None:
        count = len(self.column)
        if self.ports < 1 or self.out.shape != (self.ports,):
            raise KernelError(f"a mesh of {self.ports} ports has {self.out.shape} output phases")
        for a in (self.column, self.port, self.theta, self.phi):
            if a.shape != (count,):
                raise KernelError(f"arrays of {count} MZIs differ in shape: {a.shape}")
        if count == 0:
            return
        if self.port.min() < 0 or self.port.max() > self.ports - 2 or self.column.min() < 0:
            raise KernelError(f"an MZI lies outside of the mesh of {self.ports} ports")
        step = np.diff(self.column)
        if (step < 0).any() or (np.diff(self.port)[step == 0] < 2).any():
            raise KernelError("MZIs must be sorted by (column, port) and must not overlap")
        if not np.isfinite(self.theta.sum() + self.phi.sum() + self.out.sum()):
            raise KernelError("a phase of the mesh is NaN or infinite")

    @classmethod
    def trusted(cls, ports: int, column: I32, port: I32, theta: F64, phi: F64, out: F64) -> Self:
        """A mesh around arrays that are known to be right; they become read-only, not copied."""
        mesh = object.__new__(cls)
        object.__setattr__(mesh, "ports", ports)
        for name, a in (
            ("column", column),
            ("port", port),
            ("theta", theta),
            ("phi", phi),
            ("out", out),
        ):
            a.flags.writeable = False
            object.__setattr__(mesh, name, a)
        return mesh

    @property
    def count(self) -> int:
        """Number of MZIs, K."""
        return len(self.column)

    @property
    def columns(self) -> int:
        """Number of columns up to the last occupied one."""
        return int(self.column[-1]) + 1 if len(self.column) else 0

    @property
    def is_real(self) -> bool:
        """Whether the matrix is real by construction: phi = 0 and out in {0, pi}."""
        return not self.phi.any() and bool(((self.out == 0.0) | (self.out == np.pi)).all())


def _sorted(column: I32, port: I32) -> tuple[I32, I32]:
    order = np.lexsort((port, column))
    return _read_only(column[order]), _read_only(port[order])


def _read_only(a: npt.NDArray[np.signedinteger]) -> I32:
    out = np.ascontiguousarray(a, dtype=np.int32)
    out.flags.writeable = False
    return out


@functools.lru_cache(maxsize=8)  # read-only; small meshes take longer to lay out than to null
def clements_layout(ports: int) -> tuple[I32, I32]:
    """(column, port) of the rectangular mesh: `ports` columns, an MZI where column + port is even.

    Clements et al., Optica 3, 1460 (2016).
    """
    if ports < 1:
        raise KernelError(f"a mesh needs at least one port, got {ports}")
    even, odd = ports // 2, (ports - 1) // 2
    column = np.repeat(np.arange(ports), [odd if c % 2 else even for c in range(ports)])
    pair = np.concatenate((2 * np.arange(even), 2 * np.arange(odd) + 1))
    port = np.tile(pair, (ports + 1) // 2)[: len(column)]
    return _read_only(column), _read_only(port)


def reck_layout(ports: int) -> tuple[I32, I32]:
    """(column, port) of the triangular mesh: 2 ports - 3 columns.

    Reck et al., Phys. Rev. Lett. 73, 58 (1994), its tip at the first column's lowest ports.
    """
    if ports < 1:
        raise KernelError(f"a mesh needs at least one port, got {ports}")
    return _parallelogram(ports, ports - 1)


def nulling_order(ports: int, channels: int) -> tuple[I32, I32]:
    """(column, port) of the truncated triangle row by row, each from the last port upwards."""
    channel, step = np.nonzero(np.add.outer(np.arange(channels), np.arange(ports - 1)) < ports - 1)
    port = ports - 2 - step
    return (2 * channel + ports - 2 - port).astype(np.int32), port.astype(np.int32)


@functools.lru_cache(maxsize=8)
def sorted_nulling(
    ports: int, channels: int, mirrored: bool
) -> tuple[I32, I32, npt.NDArray[np.int64]]:
    """(column, port) in the order of the mesh, and where each MZI stands in `nulling_order`."""
    column, port = nulling_order(ports, channels)
    if mirrored:
        column = ports + channels - 3 - column
    order = np.lexsort((port, column))
    return _read_only(column[order]), _read_only(port[order]), order


def _parallelogram(ports: int, channels: int) -> tuple[I32, I32]:
    return _sorted(*nulling_order(ports, channels))


def _check_channels(ports: int, channels: int) -> None:
    if not 1 <= channels <= ports:
        raise KernelError(f"{channels} channels do not fit a mesh of {ports} ports")


def rows_layout(ports: int, channels: int) -> tuple[I32, I32]:
    """(column, port) of the mesh of an isometry with `channels` orthonormal rows.

    A truncated triangle of channels (2 ports - channels - 1) / 2 MZIs in
    ports + channels - 2 columns; the rectangular mesh when channels >= ports - 1.
    """
    _check_channels(ports, channels)
    if channels >= ports - 1:
        return clements_layout(ports)
    return _parallelogram(ports, channels)


def columns_layout(ports: int, channels: int) -> tuple[I32, I32]:
    """(column, port) of the mesh of an isometry with `channels` orthonormal columns.

    The mirror image of `rows_layout` (light runs the other way).
    """
    _check_channels(ports, channels)
    if channels >= ports - 1:
        return clements_layout(ports)
    column, port = _parallelogram(ports, channels)
    return _sorted(ports + channels - 3 - column, port)
