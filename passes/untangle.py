"""Where few MZIs are left, a mesh is a list of rotations of pairs of guides: it is laid out anew.

An MZI with theta = 0 only crosses its guides. If guides are followed through all crossings, what
is left is a sequence of rotations, each of two guides that may lie anywhere: a pruned mesh is a
product of Givens rotations on freely chosen pairs. The orders of a tile's inputs, channels and
outputs are electronic, hence free, so guides start next to those that they meet, and as few
crossings as possible bring others together (see `laying`). Rotations that light does not reach,
or whose light nobody looks at, go. All is exact, for real meshes (phi = 0).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.passes.drawing import BalancedTile, without_real_signs
from onnx2mzi.passes.laying import CROSSING, Column, Laid, Lengths, Pair, tails
from onnx2mzi.passes.orders import Halves, Order, shortest
from onnx2mzi.physics.arrays import Real

# Columns of crossings are about this much shorter than others, in any technology.
USUAL = Lengths(crossing_um=1.0, theta_um=5.0)


@dataclass(frozen=True, slots=True)
class Rotation:
    """M(theta) of guide `a`, if it lies above `b`; M(-theta) if below. Guides cross as well."""

    a: int
    b: int
    theta_rad: float


@dataclass(frozen=True, slots=True)
class Sequenced:
    """A real mesh as rotations in order; guide k starts at port k and ends at port `end[k]`."""

    rotations: tuple[Rotation, ...]
    end: tuple[int, ...]


def sequenced(mesh: BalancedMesh) -> Sequenced:
    """The rotations of a mesh without phi."""
    guide = list(range(mesh.ports))
    found = []
    for port, theta in zip(mesh.port.tolist(), mesh.theta.tolist(), strict=True):
        a, b = guide[port], guide[port + 1]
        if theta != 0.0:
            found.append(Rotation(a, b, theta))
        guide[port], guide[port + 1] = b, a
    end = [0] * mesh.ports
    for port, k in enumerate(guide):
        end[k] = port
    return Sequenced(tuple(found), tuple(end))


def meshed(
    columns: Sequence[Column],
    rotations: Sequence[Rotation],
    order: Sequence[int],
    out_rad: Sequence[float] | Real,
) -> BalancedMesh:
    """The mesh of these columns, on guides that start in this order."""
    guides = list(order)
    rows = []
    for at, column in enumerate(columns):
        for port, k in column:
            upper, lower = guides[port], guides[port + 1]
            theta = 0.0
            if k != CROSSING:
                theta = rotations[k].theta_rad * (1.0 if rotations[k].a == upper else -1.0)
            rows.append((at, port, theta))
            guides[port], guides[port + 1] = lower, upper
    values = np.array(rows, float).reshape(-1, 3)
    return BalancedMesh(
        ports=len(guides),
        column=values[:, 0].astype(np.int32),
        port=values[:, 1].astype(np.int32),
        theta=values[:, 2],
        phi=np.zeros(len(rows)),
        out=np.array(out_rad, float),
    )


@dataclass(frozen=True, slots=True)
class _Tile:
    """Rotations of V and of U in the light's order, guides named alike: channel j is guide j in
    both, others are V's or U's own."""

    v: tuple[Rotation, ...]
    u: tuple[Rotation, ...]
    channels: tuple[int, ...]

    def merged(self, amplitude: Real) -> "_Tile":
        """Rotations on channels of amplitude 1 where they lie best: those of U that can are V's,
        then the last of V are U's that make no chain of U longer."""
        free = {k for k in self.channels if amplitude[k] == 1.0}
        v, u = _moved(self.u, free)
        deepest = max(tails(_pairs(u)), default=0)
        mine = (*self.v, *v)
        last = {k for k, tail in enumerate(tails(_pairs(mine))) if tail <= deepest}
        back, rest = _moved(mine[::-1], free, [len(mine) - 1 - k for k in last])
        again = (*reversed(back), *u)
        if max(tails(_pairs(again)), default=0) > deepest:
            back, rest, again = [], list(mine[::-1]), tuple(u)
        return replace(self, v=tuple(reversed(rest)), u=again)

    def lit(self) -> "_Tile":
        """Without rotations that no channel reaches, or that reach none."""
        v, live = [], set(self.channels)
        for rotation in reversed(self.v):
            if rotation.a in live or rotation.b in live:
                v.append(rotation)
                live |= {rotation.a, rotation.b}
        u, live = [], set(self.channels)
        for rotation in self.u:
            if rotation.a in live or rotation.b in live:
                u.append(rotation)
                live |= {rotation.a, rotation.b}
        return replace(self, v=tuple(reversed(v)), u=tuple(u))

    def order(self) -> Order:
        """The guides; those that are no channels by when they rotate, seen from the channels."""
        return Order(
            self.channels,
            _others(reversed(self.v), self.channels),
            _others(self.u, self.channels),
        )


def untangled(
    tile: BalancedTile,
    *,
    lengths: Lengths = USUAL,
    effort: float = 1.0,
    seed: int = 0,
    merge: bool = False,
) -> BalancedTile | None:
    """The same matrix with guides in the order in which the MZIs that are left meet best.

    `lengths` of columns are what is to become short; `effort`: how long to search, 1 for some
    seconds. `merge`: amplitudes are made use of, those of 0 are no channels and those of 1 let
    MZIs of U go to V.

    None where phases phi stand in the way, or hardly any MZI is a crossing. Guides that nothing
    leaves or enters are no longer among the tile's inputs and outputs.
    """
    count = tile.v.count + tile.u.count
    heaters = int(np.count_nonzero(tile.v.theta) + np.count_nonzero(tile.u.theta))
    channels = tuple(range(len(tile.amplitude)))
    if merge:
        tile = without_real_signs(tile)
        channels = tuple(np.flatnonzero(tile.amplitude).tolist())
    if tile.v.phi.any() or tile.u.phi.any() or not channels or 2 * heaters >= count:
        return None
    v, u = sequenced(tile.v), sequenced(tile.u)
    # V's guides by where they end, as U's by where they begin.
    ended = tuple(Rotation(v.end[x.a], v.end[x.b], x.theta_rad) for x in v.rotations)
    parts = _Tile(ended, u.rotations, channels).lit()
    if merge and not tile.v.out.any():
        parts = parts.merged(tile.amplitude)
    halves = Halves(_pairs(parts.v[::-1]), _pairs(parts.u), lengths)
    order, left, right = shortest(halves, parts.order(), effort, seed)
    behind = [*order.channels, *order.dumped]
    start = {port: k for k, port in enumerate(v.end)}
    final_u = [u.end[k] for k in right.order]
    chosen = list(order.channels)
    return replace(
        tile,
        inputs=tile.inputs[[start[k] for k in left.order]],
        v=meshed(_backwards(left, len(parts.v)), parts.v, left.order, tile.v.out[behind]),
        amplitude=tile.amplitude[chosen],
        taps=tile.taps[chosen],
        u=meshed(right.columns, parts.u, [*order.channels, *order.dark], tile.u.out[final_u]),
        outputs=tile.outputs[final_u],
    )


def _moved(
    rotations: Iterable[Rotation], free: Iterable[int], only: Iterable[int] | None = None
) -> tuple[list[Rotation], list[Rotation]]:
    """Those that can come before all others, by guides that are free; and the others. `only`
    these, by number."""
    there, allowed = set(free), None if only is None else set(only)
    moved, left = [], []
    for k, rotation in enumerate(rotations):
        if {rotation.a, rotation.b} <= there and (allowed is None or k in allowed):
            moved.append(rotation)
        else:
            left.append(rotation)
            there -= {rotation.a, rotation.b}
    return moved, left


def _pairs(rotations: Iterable[Rotation]) -> tuple[Pair, ...]:
    return tuple(Pair(x.a, x.b) for x in rotations)


def _backwards(made: Laid, count: int) -> list[Column]:
    """The columns of a layout against the light, in the light's order."""
    return [
        tuple((port, k if k == CROSSING else count - 1 - k) for port, k in column)
        for column in reversed(made.columns)
    ]


def _others(rotations: Iterable[Rotation], channels: tuple[int, ...]) -> tuple[int, ...]:
    """Guides that are no channels but rotate, those first that do so first."""
    found: dict[int, None] = {}
    for rotation in rotations:
        found |= {rotation.a: None, rotation.b: None}
    return tuple(k for k in found if k not in set(channels))
