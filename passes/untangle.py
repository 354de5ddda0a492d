"""Where few MZIs are left, a mesh is a list of rotations of pairs of guides: it is laid out anew.

An MZI with theta = 0 only crosses its guides. If guides are followed through all crossings, what
is left is a sequence of rotations, each of two guides that may lie anywhere: a pruned mesh is a
product of Givens rotations on freely chosen pairs. The orders of a tile's inputs, channels and
outputs are electronic, hence free, so guides start next to those that they meet, and as few
crossings as possible bring others together. The search is that for the routing of qubits on a
line (Li, Ding, Xie 2019, arXiv 1809.02573): rotations of neighbours are made at once, crossings
are chosen by how near they bring the next pairs. All is exact, for real meshes (phi = 0).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.passes.drawing import BalancedTile

# Pairs ahead of each guide that a crossing is judged by, and what each counts less than the last.
AHEAD = 4
FADING = 0.6
# Placements of rotations that a search may try, in all orders together.
EFFORT = 6_000
MOST_ORDERS = 150
# Annealing of the first order: how often, in how many moves, in ports of distance.
ANNEALINGS = 3
MOVES = 20_000
HOTTEST, COOLEST = 8.0, 0.3


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


@dataclass(frozen=True, slots=True)
class Laid:
    """(port, theta) one after the other, and the guides by port behind them."""

    places: tuple[tuple[int, float], ...]
    order: tuple[int, ...]


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


def laid(rotations: Sequence[Rotation], order: Sequence[int]) -> Laid:
    """The rotations on guides that start in this order, with crossings where they are needed."""
    guides = list(order)
    at = {guide: port for port, guide in enumerate(guides)}
    todo: dict[int, list[int]] = {guide: [] for guide in guides}
    for k in range(len(rotations) - 1, -1, -1):
        todo[rotations[k].a].append(k)
        todo[rotations[k].b].append(k)
    partner = [(r.a, r.b) for r in rotations]
    places: list[tuple[int, float]] = []

    def cross(port: int, theta: float = 0.0) -> None:
        upper, lower = guides[port], guides[port + 1]
        guides[port], guides[port + 1] = lower, upper
        at[lower], at[upper] = port, port + 1
        places.append((port, theta))

    def pull(guide: int, port: int, other: int) -> float:
        """How far from its next partners a guide would be at `port`, `other` being passed by."""
        total, weight = 0.0, 1.0
        for k in reversed(todo[guide][-AHEAD:]):
            a, b = partner[k]
            mate = b if a == guide else a
            if mate != other:
                total += weight * abs(port - at[mate])
            weight *= FADING
        return total

    def gain(port: int) -> float:
        upper, lower = guides[port], guides[port + 1]
        before = pull(upper, port, lower) + pull(lower, port + 1, upper)
        return before - pull(upper, port + 1, lower) - pull(lower, port, upper)

    front = {k for k, (a, b) in enumerate(partner) if todo[a][-1] == k == todo[b][-1]}
    while front:
        near = [k for k in front if abs(at[partner[k][0]] - at[partner[k][1]]) == 1]
        if near:
            for k in sorted(near):
                a, b = partner[k]
                # One that was made before may have moved them apart.
                if abs(at[a] - at[b]) != 1:
                    continue
                theta = rotations[k].theta_rad
                cross(min(at[a], at[b]), theta if at[a] < at[b] else -theta)
                front.discard(k)
                for guide in (a, b):
                    todo[guide].pop()
                for guide in (a, b):
                    if todo[guide]:
                        head = todo[guide][-1]
                        if all(todo[g][-1] == head for g in partner[head]):
                            front.add(head)
            continue
        ends = sorted({at[guide] for k in front for guide in partner[k]})
        ports = {p for end in ends for p in (end - 1, end) if 0 <= p < len(guides) - 1}
        best = max(sorted(ports), key=gain)
        if gain(best) > 1e-9:
            cross(best)
            continue
        # No crossing helps all: the nearest pair comes together.
        a, b = min((partner[k] for k in sorted(front)), key=lambda ab: abs(at[ab[0]] - at[ab[1]]))
        low, high = sorted((at[a], at[b]))
        for port in range(low, high - 1):
            cross(port)
    return Laid(tuple(places), tuple(guides))


def depth(places: Sequence[tuple[int, float]], ports: int) -> int:
    """Columns that MZIs and crossings take if each comes as early as it can."""
    free = [0] * ports
    for port, _ in places:
        free[port] = free[port + 1] = max(free[port], free[port + 1]) + 1
    return max(free, default=0)


def meshed(places: Sequence[tuple[int, float]], out_rad: Sequence[float]) -> BalancedMesh:
    """The mesh of MZIs one after the other, each in the first column that it can be in."""
    ports = len(out_rad)
    free = [0] * ports
    rows = []
    for port, theta in places:
        column = max(free[port], free[port + 1])
        free[port] = free[port + 1] = column + 1
        rows.append((column, port, theta))
    rows.sort()
    values = np.array(rows, float).reshape(-1, 3)
    return BalancedMesh(
        ports=ports,
        column=values[:, 0].astype(np.int32),
        port=values[:, 1].astype(np.int32),
        theta=values[:, 2],
        phi=np.zeros(len(rows)),
        out=np.array(out_rad, float),
    )


@dataclass(frozen=True, slots=True)
class _Halves:
    """A tile seen from its channels: V backwards and U forwards, guides named alike.

    Channel j is guide j in both; `dumped` are V's other guides, `dark` U's, those that rotate.
    """

    v: tuple[Rotation, ...]
    u: tuple[Rotation, ...]
    channels: int
    dumped: tuple[int, ...]
    dark: tuple[int, ...]

    def laid(self, order: "_Order") -> tuple[Laid, Laid]:
        return (
            laid(self.v, (*order.channels, *order.dumped)),
            laid(self.u, (*order.channels, *order.dark)),
        )

    def cost(self, order: "_Order") -> tuple[int, int]:
        """Columns, then devices, of both meshes."""
        v, u = self.laid(order)
        columns = depth(v.places, len(v.order)) + depth(u.places, len(u.order))
        return columns, len(v.places) + len(u.places)


@dataclass(frozen=True, slots=True)
class _Order:
    """Guides by port between V and U."""

    channels: tuple[int, ...]
    dumped: tuple[int, ...]
    dark: tuple[int, ...]


def untangled(tile: BalancedTile, *, effort: float = 1.0, seed: int = 0) -> BalancedTile | None:
    """The same matrix with guides in the order in which the MZIs that are left meet best.

    `effort`: how long to search, 1 for a second or two.

    None where phases phi stand in the way, or hardly any MZI is a crossing. Guides that nothing
    leaves or enters are no longer among the tile's inputs and outputs.
    """
    r = len(tile.amplitude)
    count = tile.v.count + tile.u.count
    heaters = int(np.count_nonzero(tile.v.theta) + np.count_nonzero(tile.u.theta))
    if tile.v.phi.any() or tile.u.phi.any() or r == 0 or 2 * heaters >= count:
        return None
    v, u = sequenced(tile.v), sequenced(tile.u)
    halves = _halves(v, u, r)
    order = _best_order(halves, effort, seed)
    left, right = halves.laid(order)
    behind = [*order.channels, *order.dumped]
    start = {port: k for k, port in enumerate(v.end)}
    final_u = [u.end[k] for k in right.order]
    return replace(
        tile,
        inputs=tile.inputs[[start[k] for k in left.order]],
        v=meshed(left.places[::-1], tile.v.out[behind].tolist()),
        amplitude=tile.amplitude[list(order.channels)],
        taps=tile.taps[list(order.channels)],
        u=meshed(right.places, tile.u.out[final_u].tolist()),
        outputs=tile.outputs[final_u],
    )


def _halves(v: Sequenced, u: Sequenced, channels: int) -> _Halves:
    # Backwards, the guide that left an MZI above is the one that entered it below.
    back = tuple(
        Rotation(v.end[rotation.b], v.end[rotation.a], rotation.theta_rad)
        for rotation in reversed(v.rotations)
    )
    return _Halves(
        v=back,
        u=u.rotations,
        channels=channels,
        dumped=_others(back, channels),
        dark=_others(u.rotations, channels),
    )


def _others(rotations: Sequence[Rotation], channels: int) -> tuple[int, ...]:
    """Guides that are no channels but rotate, those first that do so first."""
    found: dict[int, None] = {}
    for rotation in rotations:
        found |= {k: None for k in (rotation.a, rotation.b) if k >= channels}
    return tuple(found)


def _best_order(halves: _Halves, effort: float, seed: int) -> _Order:
    """By trial: guides change places as long as that saves columns, or devices."""
    rng = np.random.default_rng(seed)
    plain = _Order(tuple(range(halves.channels)), halves.dumped, halves.dark)
    moves = int(effort * MOVES)
    starts = [plain, *(_annealed(halves, plain, moves, rng) for _ in range(ANNEALINGS))]
    best, _, order = min((halves.cost(start), k, start) for k, start in enumerate(starts))
    trials = min(MOST_ORDERS, int(effort * EFFORT) // max(len(halves.v) + len(halves.u), 1))
    for _ in range(trials):
        tried = _moved(order, rng)
        cost = halves.cost(tried)
        if cost <= best:
            order, best = tried, cost
    return order


def _annealed(halves: _Halves, start: _Order, count: int, rng: np.random.Generator) -> _Order:
    """Guides in an order in which those that rotate lie near each other: the sum of distances of
    all pairs, by annealing (minimum linear arrangement)."""
    r, n = halves.channels, halves.channels + len(start.dumped)
    # Guides by number: channels, V's own, U's own; each at a port of its mesh.
    number = {k: k for k in start.channels}
    v = number | {k: r + i for i, k in enumerate(start.dumped)}
    u = number | {k: n + i for i, k in enumerate(start.dark)}
    mates: list[list[int]] = [[] for _ in range(n + len(start.dark))]
    for side, rotations in ((v, halves.v), (u, halves.u)):
        for rotation in rotations:
            a, b = side[rotation.a], side[rotation.b]
            mates[a].append(b)
            mates[b].append(a)
    place = [*range(n), *range(r, r + len(start.dark))]
    spans = [span for span in ((0, r), (r, n), (n, len(mates))) if span[1] - span[0] > 1]
    guides = [k for low, high in spans for k in range(low, high)]
    reach = {k: span for span in spans for k in range(*span)}

    def pull(k: int) -> int:
        at = place[k]
        return sum(abs(at - place[mate]) for mate in mates[k])

    if guides:
        moves = rng.integers(0, len(guides), count)
        others, luck = rng.random(count), rng.random(count)
        heat = HOTTEST * (COOLEST / HOTTEST) ** np.linspace(0, 1, count)
        for move, other, lucky, warm in zip(
            moves.tolist(), others.tolist(), luck.tolist(), heat.tolist(), strict=True
        ):
            i = guides[move]
            low, high = reach[i]
            j = low + int(other * (high - low))
            before = pull(i) + pull(j)
            place[i], place[j] = place[j], place[i]
            worse = pull(i) + pull(j) - before
            if worse > 0 and lucky >= math.exp(-worse / warm):
                place[i], place[j] = place[j], place[i]

    def ordered(low: int, high: int, names: Sequence[int]) -> tuple[int, ...]:
        return tuple(names[k - low] for k in sorted(range(low, high), key=place.__getitem__))

    return _Order(
        ordered(0, r, range(r)), ordered(r, n, start.dumped), ordered(n, len(mates), start.dark)
    )


def _moved(order: _Order, rng: np.random.Generator) -> _Order:
    """One guide elsewhere, or two in each other's place."""
    groups = [name for name in ("channels", "dumped", "dark") if len(getattr(order, name)) > 1]
    if not groups:
        return order
    sizes = np.array([len(getattr(order, name)) for name in groups], float)
    name = groups[int(rng.choice(len(groups), p=sizes / sizes.sum()))]
    guides = list(getattr(order, name))
    i, j = (int(x) for x in rng.choice(len(guides), 2, replace=False))
    if rng.random() < 0.5:
        guides[i], guides[j] = guides[j], guides[i]
    else:
        guides.insert(j, guides.pop(i))
    made: _Order = replace(order, **{name: tuple(guides)})
    return made
