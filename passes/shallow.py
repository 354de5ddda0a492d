"""Meshes of few rows of a real orthogonal matrix in as few columns as a square mesh has.

The truncated triangle of `kernels.decompose_rows` nulls row after row: n + r - 2 columns for r of n
rows. Nulled along diagonals, from the inputs and from the outputs in turns as in a rectangular mesh
(Clements et al., Optica 3, 1460 (2016)), but from the inputs alone where the outputs are not to be
read, the same r n - r (r + 1) / 2 MZIs take about n columns. No phi: M(theta) is
[[s, c], [c, -s]], its own inverse and its own transpose.
"""

from dataclasses import dataclass, replace
from math import atan, cos, pi, sin

import numpy as np

from onnx2mzi.kernels import BalancedMesh, propagate
from onnx2mzi.passes.drawing import BalancedTile
from onnx2mzi.physics.arrays import Matrix

# An MZI: (port, theta).
Step = tuple[int, float]


@dataclass(frozen=True, slots=True)
class _Nulled:
    """a = after[-1] ... after[0] diag(sign) before[-1] ... before[0], MZIs in the light's order,
    of which rows the first."""

    before: list[Step]
    sign: list[float]
    after: list[Step]


def shallow_rows(a: Matrix) -> BalancedMesh:
    """The mesh of a real a (r, n) with orthonormal rows: a = diag(e^{i out[:r]}) mesh[:r, :].

    As `kernels.decompose_rows`, in other columns.
    """
    return min((_rows(a, odd) for odd in (0, 1)), key=_columns_and_heat)


def shallow_columns(a: Matrix) -> BalancedMesh:
    """The mesh of a real a (m, r) with orthonormal columns: a = diag(e^{i out}) mesh[:, :r].

    As `kernels.decompose_columns`, in other columns.
    """
    return min((_turned(a.T, odd) for odd in (0, 1)), key=_columns_and_heat)


def nulled_anew(tile: BalancedTile) -> BalancedTile:
    """The tile with its real meshes in few columns, as far as those are truncated triangles of
    which no heater is gone: the others would get more heaters."""
    rank = len(tile.amplitude)
    v, u = tile.v, tile.u
    if _truncated(v, rank):
        v = shallow_rows(_matrix(v)[:rank])
    if _truncated(u, rank):
        u = shallow_columns(_matrix(u)[:, :rank])
    return tile if v is tile.v and u is tile.u else replace(tile, v=v, u=u)


def _truncated(mesh: BalancedMesh, rank: int) -> bool:
    full = rank * mesh.ports - rank * (rank + 1) // 2
    whole = len(mesh.port) == full and bool(mesh.theta.all())
    return whole and mesh.is_real and _columns(mesh) > mesh.ports


def _matrix(mesh: BalancedMesh) -> Matrix:
    return np.asarray(propagate(mesh, np.eye(mesh.ports)).real)


def _columns(mesh: BalancedMesh) -> int:
    return int(mesh.column[-1]) + 1 if len(mesh.column) else 0


def _columns_and_heat(mesh: BalancedMesh) -> tuple[int, float]:
    return _columns(mesh), float(np.abs(mesh.theta).sum())


def _rows(a: Matrix, odd: int) -> BalancedMesh:
    made = _nulled(a, odd)
    return _mesh(a.shape[1], made.before, made.sign, made.after)


def _turned(a: Matrix, odd: int) -> BalancedMesh:
    """The transpose of the mesh: light runs the other way."""
    made = _nulled(a, odd)
    ports = a.shape[1]
    behind = made.before[::-1]
    # after^T comes first, and then the signs.
    return _mesh(ports, made.after[::-1], made.sign, behind)


def _nulled(a: Matrix, odd: int) -> _Nulled:
    """The MZIs that make a (r, n) diagonal. Diagonals of which `odd` is the parity are nulled from
    the outputs, the others from the inputs."""
    r, n = a.shape
    # The rows lie at the lower end while they are nulled.
    w = np.array(a[::-1, ::-1], np.float64, order="F")
    before: list[Step] = []
    after: list[Step] = []
    for k in range(1, n):
        if k < r and k % 2 == odd:
            for c in range(k):
                i = r - k + c
                theta = _angle(w[i - 1, c], w[i, c])
                s, cosine = sin(theta / 2), cos(theta / 2)
                upper = s * w[i - 1] + cosine * w[i]
                w[i] = cosine * w[i - 1] - s * w[i]
                w[i - 1] = upper
                after.append((n - r + i - 1, theta))
        else:
            for c in range(k - 1, max(0, k - r) - 1, -1):
                i = r - k + c
                theta = _angle(-w[i, c + 1], w[i, c])
                s, cosine = sin(theta / 2), cos(theta / 2)
                left = s * w[:, c] + cosine * w[:, c + 1]
                w[:, c + 1] = cosine * w[:, c] - s * w[:, c + 1]
                w[:, c] = left
                before.append((c, theta))
    sign = np.ones(n)
    sign[n - r :] = np.sign(w[np.arange(r), np.arange(n - r, n)])

    def ported(steps: list[Step]) -> list[Step]:
        # Upside down an MZI's theta has the other sign.
        return [(n - 2 - port, -theta) for port, theta in steps]

    return _Nulled(ported(before), sign[::-1].tolist(), ported(after)[::-1])


def _angle(over: float, under: float) -> float:
    """theta in (-pi, pi] with tan(theta / 2) = over / under."""
    if under == 0.0:
        return pi if over != 0.0 else 0.0
    return 2 * atan(over / under)


def _mesh(ports: int, before: list[Step], sign: list[float], after: list[Step]) -> BalancedMesh:
    """The MZIs in the earliest columns; the signs between them go on to the outputs."""
    steps = list(before)
    for port, theta in after:
        upper, lower = sign[port], sign[port + 1]
        if upper != lower:
            sign[port], sign[port + 1] = lower, upper
            theta = -theta
        steps.append((port, theta))
    free = [0] * (ports + 1)
    placed = []
    for port, theta in steps:
        column = max(free[port], free[port + 1])
        free[port] = free[port + 1] = column + 1
        placed.append((column, port, theta))
    placed.sort()
    columns, at, thetas = zip(*placed, strict=True) if placed else ((), (), ())
    return BalancedMesh(
        ports=ports,
        column=np.array(columns, np.int32),
        port=np.array(at, np.int32),
        theta=np.array(thetas, np.float64),
        phi=np.zeros(len(placed)),
        out=np.where(np.array(sign) < 0, pi, 0.0),
    )
