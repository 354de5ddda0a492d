"""Trim heaters for a warm chip: the fewest phi that must get one, by orthogonal matching pursuit.

Behind compensation heat leaves a loss L with gradient g by the balanced phases. Moving drives of
the heaters that there are by dx and of trims by z costs, to second order,

    L + g^T (K dx + T z) + |R (K dx + T z)|^2 / 2,    R the roots of the metric (heat_aim.Metric).

Over dx this is least at a Schur complement; of the trims the one with the steepest slope for its
size comes next, and all chosen ones are fitted again (Pati, Rezaiifar, Krishnaprasad, Asilomar
1993). A trim may lie on either arm, and only warms.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg as la
import scipy.sparse as sp

from onnx2mzi.emulate.heat_aim import Metric
from onnx2mzi.emulate.heat_layout import HeatLayout
from onnx2mzi.emulate.heat_lengths import mesh_tiles
from onnx2mzi.ir import Program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import ShifterState

Numbers = npt.NDArray[np.int64]

_RIDGE = 1e-6
# Heaters that make less than this cannot be driven less.
_IDLE_RAD = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The n phi without a heater, before a coupler that mixes light.

    `push`, shape (phases, 2 n): balanced phases by 1 rad on the upper arms, then on the lower
    ones. `tile` counts the mesh tiles, `mesh` is 0 for V and 1 for U, `mzi` counts in the mesh.
    """

    push: sp.csr_array
    tile: Numbers
    mesh: Numbers
    mzi: Numbers

    def __len__(self) -> int:
        return len(self.mzi)


def candidates(program: Program, layout: HeatLayout) -> Candidates:
    """All of a placed program but passive ones, whose lengths can be drawn for a warm chip."""
    uppers, tiles, meshes, mzis = ([np.zeros(0, np.int64)] for _ in range(4))
    for number, (placed, tile) in enumerate(zip(layout.tiles, mesh_tiles(program), strict=True)):
        parts = (
            (tile.v, placed.segments.v, 0),
            (tile.u, placed.segments.u, placed.segments.u_start),
        )
        for which, (mesh, segments, start) in enumerate(parts):
            bare = (mesh.phi_state == ShifterState.REMOVED) & (segments.crossing == 0)
            chosen = np.flatnonzero(bare & (mesh.theta_rad != 0.0))
            numbers = segments.number(0, mesh.column[chosen], mesh.port[chosen])
            uppers.append(placed.segment_start + start + numbers)
            tiles.append(np.full(len(chosen), number))
            meshes.append(np.full(len(chosen), which))
            mzis.append(chosen)
    upper = np.concatenate(uppers)
    push = layout.push.tocsc()[:, np.concatenate([upper, upper + 1])]
    joined = (np.concatenate(parts).astype(np.int64) for parts in (tiles, meshes, mzis))
    return Candidates(push.tocsr(), *joined)


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Trims in the order in which they pay: which candidates, whether on the lower arm, and the
    loss that is expected with the first k of them, shape (len + 1,)."""

    which: Numbers
    lower: npt.NDArray[np.bool_]
    loss: Real

    def needed(self, loss: float) -> int | None:
        """How many bring the loss down to this; None if all together do not."""
        enough = np.flatnonzero(self.loss <= loss)
        return int(enough[0]) if len(enough) else None


def fewest_trims(
    found: Candidates,
    *,
    metric: Metric,
    canonical: Real,
    drive_rad: Real,
    loss: float,
    enough: float,
    most: int,
) -> Chosen:
    """At most `most` trims, or as many as bring the loss from `loss` down to `enough`.

    `canonical`, shape (phases, heaters), are the phases by the drives `drive_rad`; `metric` is
    that of the phases which these reach.
    """
    free = canonical[:, drive_rad > _IDLE_RAD]
    both = found.push.toarray()
    k = free.shape[1]
    whole = np.concatenate([free, both], axis=1)
    hessian = np.zeros((whole.shape[1], whole.shape[1]))
    for columns, root in metric.roots:
        seen = root @ whole[columns]
        hessian += seen.T @ seen
    slope = whole.T @ metric.gradient
    ridge = _RIDGE * float(np.trace(hessian)) / max(len(hessian), 1) + 1e-300
    hessian[np.diag_indices(len(hessian))] += ridge
    if k:
        factor = la.cho_factor(hessian[:k, :k])
        solved = la.cho_solve(factor, np.column_stack([hessian[:k, k:], slope[:k]]))
        loss -= 0.5 * float(slope[:k] @ solved[:, -1])
        rest = hessian[k:, k:] - hessian[k:, :k] @ solved[:, :-1]
        slope = slope[k:] - hessian[k:, :k] @ solved[:, -1]
    else:
        rest = hessian
    return _pursued(rest, slope, len(found), max(loss, 0.0), enough, most)


def _pursued(
    hessian: Real, slope: Real, count: int, loss: float, enough: float, most: int
) -> Chosen:
    chosen: list[int] = []
    open_to = np.ones(2 * count, bool)
    size = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    losses = [loss]
    now = slope.copy()
    while len(chosen) < min(most, count) and losses[-1] > enough:
        # Warmth only adds: a slope must lead downwards.
        gain = np.where(open_to, -now / size, 0.0)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        chosen.append(best)
        open_to[[best % count, best % count + count]] = False
        at = np.ix_(chosen, chosen)
        z = la.solve(hessian[at], -slope[chosen], assume_a="pos")
        now = slope + hessian[:, chosen] @ z
        losses.append(max(loss + 0.5 * float(slope[chosen] @ z), 0.0))
    picked = np.array(chosen, np.int64)
    return Chosen(picked % max(count, 1), picked >= count, np.array(losses))
