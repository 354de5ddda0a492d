"""Rotations of pairs of guides laid out column by column, in as few micrometres as can be found.

A column with a theta is several times as long as one of crossings alone, and crossings beside a
theta cost nothing. So a column of thetas is made when all rotations are at hand that the longest
chain of rotations to come begins with; until then guides cross, by how near that brings the next
pairs (as qubits are routed on a line: Li, Ding, Xie 2019, arXiv 1809.02573).
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Pairs ahead of each guide that a crossing is judged by, and what each counts less than the last.
AHEAD = 5


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
