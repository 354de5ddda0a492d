"""Rotations of pairs of guides laid out column by column, in as few micrometres as can be found.

A column with a theta is several times as long as one of crossings alone, and crossings beside a
theta cost nothing. So a column of thetas is made when all rotations are at hand that the longest
chain of rotations to come begins with; until then guides cross, by how near that brings the next
pairs (as qubits are routed on a line: Li, Ding, Xie 2019, arXiv 1809.02573). Which guides lie
where at first is searched by trial, with the layout's own lengths as the cost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

# Pairs ahead of each guide that a crossing is judged by, and what each counts less than the last.
AHEAD = 5
# Annealing of the first order: how often, in how many moves, in ports of distance.
ANNEALINGS = 3
MOVES = 20_000
HOTTEST, COOLEST = 8.0, 0.3
# Placements of rotations that a search may try, in all orders together, and orders.
EFFORT = 30_000
MOST_ORDERS = 600
# Every first order is laid there and back so often; and the share of later orders that are, once.
ROUNDS = 10
REFINED = 0.2


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of a column of crossings alone, and of one with a theta, in um or in each other."""

    crossing_um: float
    theta_um: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two guides that have to meet."""

    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What a layout goes by: what pairs further ahead count less (`fading`), what those on the
    longest chain count more (`urgent`), and the most columns of crossings in a row while pairs
    that are together wait."""

    fading: float = 0.6
    urgent: float = 1.0
    patience: int = 5


POLICIES = Policy(), Policy(urgent=3.0), Policy(fading=0.8, patience=8)

# A column: (port, the pair's number or CROSSING).
CROSSING = -1
Column = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Laid:
    """Columns, the guides by port behind them, and the length of all."""

    columns: tuple[Column, ...]
    order: tuple[int, ...]
    length_um: float


def tails(pairs: Sequence[Pair]) -> list[int]:
    """How many pairs the longest chain has that begins with each one, itself included."""
    behind: dict[int, int] = {}
    found = [0] * len(pairs)
    for k in range(len(pairs) - 1, -1, -1):
        pair = pairs[k]
        found[k] = 1 + max(behind.get(pair.a, 0), behind.get(pair.b, 0))
        behind[pair.a] = behind[pair.b] = found[k]
    return found


def laid(
    pairs: Sequence[Pair], order: Sequence[int], lengths: Lengths, policy: Policy, most_um: float
) -> Laid | None:
    """The pairs on guides that start in this order; None if it gets longer than `most_um`."""
    return _Laying(pairs, order, lengths, policy).run(most_um)


class _Laying:
    """One layout on its way."""

    def __init__(
        self, pairs: Sequence[Pair], order: Sequence[int], lengths: Lengths, policy: Policy
    ) -> None:
        self.pairs, self.lengths, self.policy = pairs, lengths, policy
        self.guides = list(order)
        self.at = {guide: port for port, guide in enumerate(self.guides)}
        self.todo: dict[int, list[int]] = {guide: [] for guide in self.guides}
        for k in range(len(pairs) - 1, -1, -1):
            self.todo[pairs[k].a].append(k)
            self.todo[pairs[k].b].append(k)
        self.tail = tails(pairs)
        self.left = len(pairs)
        self.front = {k for k in range(len(pairs)) if self._first(k)}
        self.fade = [policy.fading**i for i in range(AHEAD)]

    def _first(self, k: int) -> bool:
        return all(self.todo[g][-1] == k for g in (self.pairs[k].a, self.pairs[k].b))

    def _together(self, k: int) -> bool:
        return abs(self.at[self.pairs[k].a] - self.at[self.pairs[k].b]) == 1

    def run(self, most_um: float) -> Laid | None:
        """Column after column."""
        columns: list[Column] = []
        length, crossings, forced = 0.0, 0, -1
        while self.left:
            near = [k for k in self.front if self._together(k)]
            longest = max(self.tail[k] for k in self.front)
            urgent = [k for k in self.front if self.tail[k] == longest]
            ready = all(self._together(k) for k in urgent)
            if near and (ready or crossings >= self.policy.patience):
                columns.append(self._thetas(sorted(near)))
                length += self.lengths.theta_um
                crossings = 0
                forced = -1 if forced in near else forced
            else:
                swaps = [] if forced >= 0 else self._swaps(set())
                if not swaps:
                    # No crossing helps all: the nearest pair comes together.
                    if forced < 0:
                        forced = min(
                            (k for k in sorted(urgent) if not self._together(k)),
                            key=lambda k: abs(self.at[self.pairs[k].a] - self.at[self.pairs[k].b]),
                            default=-1,
                        )
                    swaps = self._forced(forced)
                    if self._nearly(forced):
                        forced = -1
                columns.append(tuple((port, CROSSING) for port in swaps))
                for port in swaps:
                    self._cross(port)
                length += self.lengths.crossing_um
                crossings += 1
            if length > most_um:
                return None
        return Laid(tuple(columns), tuple(self.guides), length)

    def _nearly(self, k: int) -> bool:
        """Whether the pair is together once the crossings are made that bring it nearer."""
        return abs(self.at[self.pairs[k].a] - self.at[self.pairs[k].b]) <= 3

    def _thetas(self, chosen: list[int]) -> Column:
        made = []
        busy: set[int] = set()
        for k in chosen:
            pair = self.pairs[k]
            port = min(self.at[pair.a], self.at[pair.b])
            made.append((port, k))
            busy |= {port, port + 1}
        for port, k in made:
            self._cross(port)
            self._done(k)
        if self.left:
            free = self._swaps(busy)
            for port in free:
                self._cross(port)
            made += [(port, CROSSING) for port in free]
        return tuple(sorted(made))

    def _done(self, k: int) -> None:
        pair = self.pairs[k]
        self.left -= 1
        self.front.discard(k)
        for guide in (pair.a, pair.b):
            self.todo[guide].pop()
        for guide in (pair.a, pair.b):
            if self.todo[guide] and self._first(self.todo[guide][-1]):
                self.front.add(self.todo[guide][-1])

    def _cross(self, port: int) -> None:
        upper, lower = self.guides[port], self.guides[port + 1]
        self.guides[port], self.guides[port + 1] = lower, upper
        self.at[lower], self.at[upper] = port, port + 1

    def _swaps(self, busy: set[int]) -> list[int]:
        """Ports of crossings beside each other that bring most: none uses a port in `busy`."""
        force = []
        longest = max(self.tail[k] for k in self.front)
        between: dict[int, float] = {}
        for port, guide in enumerate(self.guides):
            total = 0.0
            for k, weight in zip(reversed(self.todo[guide][-AHEAD:]), self.fade, strict=False):
                pair = self.pairs[k]
                mate = self.at[pair.b if pair.a == guide else pair.a]
                weight *= 1.0 + self.policy.urgent * self.tail[k] / longest
                total += weight if mate > port else -weight
                if abs(mate - port) == 1:
                    low = min(mate, port)
                    between[low] = between.get(low, 0.0) + weight
            force.append(total)
        # The best set of crossings that share no guide: of the ports up to p, with or without p.
        count = len(force)
        best = [0.0] * (count + 1)
        taken = [False] * (count + 1)
        for port in range(count - 1):
            best[port + 2] = best[port + 1]
            if port in busy or port + 1 in busy:
                continue
            gain = force[port] - force[port + 1] - between.get(port, 0.0)
            if gain > 1e-9 and best[port] + gain > best[port + 1] + 1e-12:
                best[port + 2], taken[port + 2] = best[port] + gain, True
        found, at = [], count
        while at > 1:
            if taken[at]:
                found.append(at - 2)
                at -= 2
            else:
                at -= 1
        return found[::-1]

    def _forced(self, k: int) -> list[int]:
        """Crossings that bring this pair nearer from both sides."""
        pair = self.pairs[k]
        low, high = sorted((self.at[pair.a], self.at[pair.b]))
        return [low, high - 1] if high - low > 2 else [low]


@dataclass(frozen=True, slots=True)
class Order:
    """Guides by port between V and U."""

    channels: tuple[int, ...]
    dumped: tuple[int, ...]
    dark: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Halves:
    """A tile seen from its channels: pairs of V backwards and of U forwards, guides named alike.

    Channel j is guide j in both; V's and U's other guides are those of an `Order`.
    """

    v: tuple[Pair, ...]
    u: tuple[Pair, ...]
    lengths: Lengths

    def laid(self, order: Order, policy: Policy, most_um: float) -> tuple[Laid, Laid] | None:
        """Both halves; None if they get longer than `most_um` together."""
        v = laid(self.v, (*order.channels, *order.dumped), self.lengths, policy, most_um)
        if v is None:
            return None
        most_um -= v.length_um
        u = laid(self.u, (*order.channels, *order.dark), self.lengths, policy, most_um)
        return None if u is None else (v, u)


def shortest(halves: Halves, plain: Order, effort: float, seed: int) -> tuple[Order, Laid, Laid]:
    """By trial: guides change places, and policies change, as long as that is no longer."""
    rng = np.random.default_rng(seed)
    moves = int(effort * MOVES)
    starts = [plain, *(_annealed(halves, plain, moves, rng) for _ in range(ANNEALINGS))]
    search = _Search(halves, plain)
    rounds = ROUNDS if effort > 0 else 1
    for start in starts:
        for policy in POLICIES:
            order = start
            for _ in range(rounds):
                made = search.tried(order, policy, math.inf)
                assert made is not None
                order = _refined(halves, order, policy, made)
    trials = min(MOST_ORDERS, int(effort * EFFORT) // max(len(halves.v) + len(halves.u), 1))
    for _ in range(trials):
        order, policy = _moved(search.order, rng), _changed(search.policy, rng)
        if rng.random() < REFINED:
            made = halves.laid(order, policy, math.inf)
            assert made is not None
            order = _refined(halves, order, policy, made)
        search.tried(order, policy, search.cost[0] + 1e-6)
    assert search.made is not None
    return search.order, *search.made


class _Search:
    """The best order and policy so far, what they make, and its cost."""

    def __init__(self, halves: Halves, order: Order) -> None:
        self.halves, self.order, self.policy = halves, order, POLICIES[0]
        self.cost = math.inf, 0
        self.made: tuple[Laid, Laid] | None = None

    def tried(self, order: Order, policy: Policy, most_um: float) -> tuple[Laid, Laid] | None:
        """What these make, kept if it costs no more."""
        made = self.halves.laid(order, policy, most_um)
        if made is not None and _cost(made) <= self.cost:
            self.order, self.policy, self.made, self.cost = order, policy, made, _cost(made)
        return made


def _refined(halves: Halves, order: Order, policy: Policy, made: tuple[Laid, Laid]) -> Order:
    """The order between V and U in which guides arrive that are laid back from where they went."""
    at: list[dict[int, int]] = []
    for pairs, half in zip((halves.v, halves.u), made, strict=True):
        back = laid(pairs[::-1], half.order, halves.lengths, policy, math.inf)
        assert back is not None
        at.append({guide: port for port, guide in enumerate(back.order)})
    weight = [len(halves.v), len(halves.u)]
    return Order(
        tuple(sorted(order.channels, key=lambda k: weight[0] * at[0][k] + weight[1] * at[1][k])),
        tuple(sorted(order.dumped, key=at[0].__getitem__)),
        tuple(sorted(order.dark, key=at[1].__getitem__)),
    )


def _cost(made: tuple[Laid, Laid]) -> tuple[float, int]:
    """Length, then devices, of both meshes."""
    return (
        round(sum(half.length_um for half in made), 3),
        sum(len(column) for half in made for column in half.columns),
    )


def _changed(policy: Policy, rng: np.random.Generator) -> Policy:
    """One of the policy's numbers a little different, at times."""
    match int(rng.integers(0, 7)):
        case 0:
            return replace(policy, fading=float(rng.uniform(0.4, 0.95)))
        case 1:
            return replace(policy, urgent=float(rng.uniform(0.0, 5.0)))
        case 2:
            return replace(policy, patience=int(rng.integers(1, 10)))
        case _:
            return policy


def _annealed(halves: Halves, start: Order, count: int, rng: np.random.Generator) -> Order:
    """Guides in an order in which those that rotate lie near each other: the sum of distances of
    all pairs, by annealing (minimum linear arrangement)."""
    r, n = len(start.channels), len(start.channels) + len(start.dumped)
    # Guides by number: channels, V's own, U's own; each at a port of its mesh.
    number = {k: i for i, k in enumerate(start.channels)}
    v = number | {k: r + i for i, k in enumerate(start.dumped)}
    u = number | {k: n + i for i, k in enumerate(start.dark)}
    mates: list[list[int]] = [[] for _ in range(n + len(start.dark))]
    for side, pairs in ((v, halves.v), (u, halves.u)):
        for pair in pairs:
            a, b = side[pair.a], side[pair.b]
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

    return Order(
        ordered(0, r, start.channels),
        ordered(r, n, start.dumped),
        ordered(n, len(mates), start.dark),
    )


def _moved(order: Order, rng: np.random.Generator) -> Order:
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
    made: Order = replace(order, **{name: tuple(guides)})
    return made
