"""Which guides lie where between V and U, so that both meshes get short: searched by trial.

Each first order is laid out, and laid back from where its guides went, again and again, as
routers of qubits settle first places (SABRE, see `laying`). Then guides change places as long as
that lengthens nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.passes.laying import Laid, Lengths, Pair, Policy, laid

# Annealing of the first order: how often, in how many moves, in ports of distance.
ANNEALINGS = 3
MOVES = 20_000
HOTTEST, COOLEST = 8.0, 0.3
# Layouts that a search may try at most, and how many pairs times guides in all of them.
MOST_LAYOUTS = 900
EFFORT = 2_000_000
# Every first order is laid there and back so often; and the share of later orders that are, once.
ROUNDS = 10
REFINED = 0.2
POLICIES = Policy(), Policy(urgent=3.0), Policy(fading=0.8, patience=8)


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
    search = _Search(halves, plain, effort)
    ways = [(start, policy) for policy in POLICIES for start in starts]
    for _ in range(ROUNDS):
        for k, (order, policy) in enumerate(ways):
            if search.left > 0:
                made = search.tried(order, policy, math.inf)
                assert made is not None
                if search.left > 0:
                    ways[k] = search.refined(order, policy, made), policy
    while search.left > 0:
        order, policy = _moved(search.order, rng), _changed(search.policy, rng)
        if rng.random() < REFINED:
            made = halves.laid(order, policy, math.inf)
            assert made is not None
            order = search.refined(order, policy, made)
        search.tried(order, policy, search.cost[0] + 1e-6)
    assert search.made is not None
    return search.order, *search.made


class _Search:
    """The best order and policy so far, what they make, and its cost; layouts that are `left`."""

    def __init__(self, halves: Halves, order: Order, effort: float) -> None:
        self.halves, self.order, self.policy = halves, order, POLICIES[0]
        self.cost = math.inf, 0
        self.made: tuple[Laid, Laid] | None = None
        guides = sum(map(len, (order.channels, order.dumped, order.dark)))
        size = max(1, (len(halves.v) + len(halves.u)) * guides)
        self.left = max(1, min(MOST_LAYOUTS, int(effort * EFFORT / size)))

    def tried(self, order: Order, policy: Policy, most_um: float) -> tuple[Laid, Laid] | None:
        """What these make, kept if it costs no more."""
        self.left -= 1
        made = self.halves.laid(order, policy, most_um)
        if made is not None and _cost(made) <= self.cost:
            self.order, self.policy, self.made, self.cost = order, policy, made, _cost(made)
        return made

    def refined(self, order: Order, policy: Policy, made: tuple[Laid, Laid]) -> Order:
        """The order between V and U in which guides arrive that are laid back from where they
        went, as routers of qubits settle the first places."""
        self.left -= 1
        halves = self.halves
        at: list[dict[int, int]] = []
        for pairs, half in zip((halves.v, halves.u), made, strict=True):
            back = laid(pairs[::-1], half.order, halves.lengths, policy, math.inf)
            assert back is not None
            at.append({guide: port for port, guide in enumerate(back.order)})
        v, u = len(halves.v), len(halves.u)
        return Order(
            tuple(sorted(order.channels, key=lambda k: v * at[0][k] + u * at[1][k])),
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
