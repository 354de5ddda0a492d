"""Phases on every piece of guide of a mesh, pushed to where kernels know them: exactly linear.

Heat warms all guides, those without heaters too. A column of the mesh has two parts, `before`
the first coupler and `between` the couplers, and every guide has a phase in both; behind the
last column lies a tail. An MZI turns its four phases into

    theta += between[upper] - between[lower]
    phi   += arrived[upper] - arrived[lower]        arrived = carried + before
    carried = arrived[lower] + (between[upper] + between[lower]) / 2      on both outputs,

for B diag(e^{i b}) B diag(e^{i a}) = i e^{i (a_l + (b_u + b_l) / 2)} M(b_u - b_l, a_u - a_l) in
the balanced gauge M; common phases travel on to the right. A crossing has no couplers: what it
carries changes guides, and `between` is the phase behind it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from onnx2mzi.emulate.transfer import attenuator_phase_rad, balanced_mesh
from onnx2mzi.ir import Mesh, MeshTile
from onnx2mzi.kernels import BalancedMesh, build
from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.physics.arrays import Complex, Flags, Index, Real, frozen
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.shifter import ShifterState


@dataclass(frozen=True, slots=True, eq=False)
class MeshSegments:
    """Where the pieces of guide of a mesh are, and what lies between them.

    Segment (part, column, port) has number (part * columns + column) * ports + port, part 0
    before and 1 between the couplers; the tails are the last `ports` numbers. `crossing`,
    shape (K,), marks MZIs that are drawn without couplers.
    """

    ports: int
    columns: int
    column: Index
    port: Index
    crossing: Flags

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", frozen(self.column, np.int32))
        object.__setattr__(self, "port", frozen(self.port, np.int32))
        object.__setattr__(self, "crossing", frozen(self.crossing, np.uint8))

    def __len__(self) -> int:
        return (2 * self.columns + 1) * self.ports

    def number(
        self, part: int, column: npt.ArrayLike, port: npt.ArrayLike
    ) -> npt.NDArray[np.int64]:
        """The number of segments; part 2 are the tails, whatever the column."""
        if part == 2:
            return np.asarray(2 * self.columns * self.ports + np.asarray(port, np.int64))
        place = part * self.columns + np.asarray(column, np.int64)
        return np.asarray(place * self.ports + np.asarray(port, np.int64))


def mesh_segments(mesh: Mesh, crossing: npt.ArrayLike | None = None) -> MeshSegments:
    """The segments of a mesh; by default MZIs without theta and heater are crossings."""
    if crossing is None:
        bare = mesh.theta_state == ShifterState.REMOVED
        crossing = bare & (mesh.phi_state != ShifterState.ACTIVE)
    return MeshSegments(
        mesh.ports, mesh.columns, mesh.column, mesh.port, np.asarray(crossing, np.uint8)
    )


def push_phases(segments: MeshSegments, phase_rad: Real) -> tuple[Real, Real, Real]:
    """(theta, phi, left): what phases on all segments add to the balanced phases of the MZIs.

    `phase_rad` has shape (len(segments), ...), the results (K, ...), (K, ...), (ports, ...);
    `left` is the phase behind the tails. One sweep; for the whole map see `push_matrix`.
    """
    phase = np.asarray(phase_rad, float)
    p, count = segments.ports, segments.columns
    rest = phase.shape[1:]
    parts = phase[: 2 * count * p].reshape(2, count, p, *rest)
    theta, phi = np.zeros((2, len(segments.column), *rest))
    carried = np.zeros((p, *rest))
    runs = column_slices(segments.column)
    for column in range(count):
        run = runs[column]
        upper = segments.port[run]
        lower = upper + 1
        arrived = carried + parts[0, column]
        between = parts[1, column]
        carried = arrived + between
        cross = segments.crossing[run].astype(bool)
        real, swapped = ~cross, upper[cross]
        up, low = upper[real], lower[real]
        where = np.arange(run.start, run.stop)[real]
        theta[where] = between[up] - between[low]
        phi[where] = arrived[up] - arrived[low]
        carried[up] = carried[low] = arrived[low] + (between[up] + between[low]) / 2
        carried[swapped] = arrived[swapped + 1] + between[swapped]
        carried[swapped + 1] = arrived[swapped] + between[swapped + 1]
    return theta, phi, carried + phase[2 * count * p :]


def push_matrix(segments: MeshSegments) -> sp.csr_array:
    """The same map as a matrix, shape (2 K + ports, segments): theta rows, phi rows, left rows.

    Light that enters with a phase is as if the first `ports` segments had it. A row reaches
    back to the first column: some columns^2 ports entries in all.
    """
    p, count, k = segments.ports, segments.columns, len(segments.column)
    total = len(segments)
    carried = sp.csr_array((p, total))
    phi_rows: list[sp.csr_array] = []
    runs = column_slices(segments.column)
    for column in range(count):
        run = runs[column]
        upper, cross = segments.port[run], segments.crossing[run].astype(bool)
        up, swapped = upper[~cross], upper[cross]
        arrived = carried + _pick(segments, 0, column)
        phi_rows.append(_difference(upper, ~cross, p) @ arrived)
        source, share = np.arange(p), np.eye(p)
        source[up] = up + 1
        source[swapped], source[swapped + 1] = swapped + 1, swapped
        share[up, up] = share[up + 1, up + 1] = 0.5
        share[up, up + 1] = share[up + 1, up] = 0.5
        carried = arrived[source] + sp.csr_array(share) @ _pick(segments, 1, column)
    first = segments.number(1, segments.column, segments.port)
    real = np.flatnonzero(segments.crossing == 0)
    theta = sp.csr_array(
        (
            np.tile([1.0, -1.0], (len(real), 1)).ravel(),
            (np.repeat(real, 2), np.stack([first[real], first[real] + 1], 1).ravel()),
        ),
        shape=(k, total),
    )
    rows = [theta, *phi_rows, carried + _pick(segments, 2, 0)]
    return sp.vstack(rows, format="csr")


def _pick(segments: MeshSegments, part: int, column: int) -> sp.csr_array:
    """Rows that read one part of one column, shape (ports, segments)."""
    p = segments.ports
    number = segments.number(part, column, np.arange(p))
    return sp.csr_array((np.ones(p), (np.arange(p), number)), shape=(p, len(segments)))


def _difference(upper: Index, real: npt.NDArray[np.bool_], ports: int) -> sp.csr_array:
    """Rows upper - lower, zero for crossings, shape (MZIs of the column, ports)."""
    row = np.flatnonzero(real)
    data = np.tile([1.0, -1.0], (len(row), 1)).ravel()
    port = np.stack([upper[row], upper[row] + 1], 1).ravel()
    return sp.csr_array((data, (np.repeat(row, 2), port)), shape=(len(upper), ports))


@dataclass(frozen=True, slots=True, eq=False)
class TileSegments:
    """The segments of a tile: those of V, three a channel (lead, upper arm, lower arm), of U.

    `plain`, shape (r,), marks channels without an attenuator, whose arms are no arms.
    """

    v: MeshSegments
    plain: Flags
    u: MeshSegments

    def __len__(self) -> int:
        return len(self.v) + 3 * len(self.plain) + len(self.u)

    @property
    def phases(self) -> int:
        """Number of balanced phases: V's theta and phi, sigma's theta, U's theta and phi, out."""
        mzis = len(self.v.column) + len(self.u.column)
        return 2 * mzis + len(self.plain) + self.u.ports

    @property
    def sigma_start(self) -> int:
        """Number of the first lead; upper arms follow after r, lower arms after 2 r."""
        return len(self.v)

    @property
    def u_start(self) -> int:
        """Number of U's first segment."""
        return len(self.v) + 3 * len(self.plain)


def tile_segments(tile: MeshTile) -> TileSegments:
    """The segments of a tile as it is drawn by default."""
    plain = np.asarray(tile.sigma.state == ShifterState.REMOVED, np.uint8)
    return TileSegments(mesh_segments(tile.v), plain, mesh_segments(tile.u))


def tile_push_matrix(segments: TileSegments) -> sp.csr_array:
    """Phases on all segments to balanced phases of the tile, shape (phases, len(segments)).

    Rows: theta and phi of V, theta of the attenuators, theta and phi of U, outputs of U.
    """
    r = len(segments.plain)
    v, u = push_matrix(segments.v), push_matrix(segments.u)
    mzis = 2 * len(segments.v.column)
    arms = sp.diags_array(1.0 - segments.plain.astype(float))
    one = sp.eye_array(r)
    leave = sp.hstack([v[mzis : mzis + r], one, one * 0.5, one * 0.5], format="csr")
    enter = sp.vstack([leave, sp.csr_array((segments.u.ports - r, leave.shape[1]))])
    sigma = sp.hstack([sp.csr_array((r, len(segments.v) + r)), arms, -arms])
    upto = sp.hstack([v[:mzis], sp.csr_array((mzis, 3 * r))])
    chained = sp.hstack([u[:, : segments.u.ports] @ enter, u])
    beside = sp.csr_array((mzis + r, len(segments.u)))
    before = sp.hstack([sp.vstack([upto, sigma]), beside])
    return sp.vstack([before, chained], format="csr")


@dataclass(frozen=True, slots=True, eq=False)
class BalancedTile:
    """A tile in the balanced gauge, its phases as one vector in the order of `tile_push_matrix`.

    `channel_rad`, shape (r,), are common phases of the attenuators; those of V and U are in
    their `out`.
    """

    v: BalancedMesh
    u: BalancedMesh
    sigma_rad: Real
    channel_rad: Real

    @property
    def phase_rad(self) -> Real:
        """All phases, shape (phases,)."""
        parts = (self.v.theta, self.v.phi, self.sigma_rad, self.u.theta, self.u.phi, self.u.out)
        return np.concatenate(parts)

    def moved(self, delta_rad: Real) -> "BalancedTile":
        """The tile with phases moved by `delta_rad`, shape (phases,)."""
        kv, ku, r = self.v.count, self.u.count, len(self.sigma_rad)
        cuts = np.cumsum([kv, kv, r, ku, ku])
        v_theta, v_phi, sigma, theta, phi, out = np.split(np.asarray(delta_rad, float), cuts)
        return BalancedTile(
            _moved(self.v, v_theta, v_phi, np.zeros(self.v.ports)),
            _moved(self.u, theta, phi, out),
            self.sigma_rad + sigma,
            self.channel_rad,
        )

    def transfer(self) -> Complex:
        """U diag(sigma) V, shape (m, n); the gain and the readout are not in it."""
        r = len(self.sigma_rad)
        amplitude = np.exp(1j * self.channel_rad) * attenuation(theta_rad=self.sigma_rad)
        return np.asarray(build(self.u)[:, :r] @ (amplitude[:, None] * build(self.v)[:r]))


def _moved(mesh: BalancedMesh, theta: Real, phi: Real, out: Real) -> BalancedMesh:
    return BalancedMesh(
        mesh.ports, mesh.column, mesh.port, mesh.theta + theta, mesh.phi + phi, mesh.out + out
    )


def balanced_tile(tile: MeshTile) -> BalancedTile:
    """A drawn tile in the balanced gauge: `transfer` is its U diag(sigma) V, nothing moved."""
    v, u = _balanced(tile.v), _balanced(tile.u)
    sigma = tile.sigma
    return BalancedTile(v, u, np.array(sigma.theta_rad), attenuator_phase_rad(sigma))


def _balanced(mesh: Mesh) -> BalancedMesh:
    core, after_rad = balanced_mesh(mesh)
    out = np.asarray(after_rad + mesh.out_rad)
    return BalancedMesh(mesh.ports, core.column, core.port, core.theta, core.phi, out)
