"""Which tiles share a line on the die, and in which order: simulated annealing.

The cost is a weighted sum of what tiles feel of each other's heat, of the die's area and of the
way from tiles to those that take their outputs, each relative to the start's. Rows feel the
slope of the temperature across them, and slopes of several tiles add up with their signs: what
lies between two lines that are equally hot feels little (Kirkpatrick et al., Science 220, 1983;
for placement Sechen and Sangiovanni-Vincentelli, TimberWolf, JSSC 1985).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.stack import ThermalStack

# Moves of few tiles; of many each takes longer, and there are fewer.
MOVES, FEWEST = 1500, 50
FEW_TILES = 20
# Heat of more tiles is followed from fewer points of each.
MANY_TILES = 120
# Of the start's cost: what is accepted at first and in the end.
HOTTEST, COOLEST = 0.05, 0.0005
_TABLE_UM = 60_000.0
# Half the distance over which a slope is taken.
_STEP_UM = 25.0

Lines = tuple[tuple[int, ...], ...]
Warmth = Callable[[Real, Real], Real]


@dataclass(frozen=True, slots=True)
class Box:
    """A strip to be placed: its size, how hot it is, how many phases feel heat, its layer."""

    width_um: float
    height_um: float
    heat_rad: float = 0.0
    phases: int = 0
    layer: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Left ends and tops of the boxes (heights count downwards from 0), and the whole extent."""

    left_um: Real
    top_um: Real
    width_um: float
    height_um: float


@dataclass(frozen=True, slots=True)
class Weights:
    """What heat, area and wires count in the cost."""

    heat: float
    area: float
    wire: float


def planned(boxes: Sequence[Box], lines: Lines, gap_um: float) -> Plan:
    """The boxes in these lines, below each other from the left."""
    left, top = np.zeros(len(boxes)), np.zeros(len(boxes))
    depth = width = 0.0
    for line in lines:
        x, height = 0.0, 0.0
        for k in line:
            left[k], top[k] = x, depth
            x += boxes[k].width_um + gap_um
            height = max(height, boxes[k].height_um)
        width = max(width, x - gap_um)
        depth += height + gap_um
    return Plan(left, top, width, depth - gap_um)


class Costs:
    """What plans of these boxes cost."""

    def __init__(self, boxes: Sequence[Box], stack: ThermalStack | None) -> None:
        """Without a stack heat costs nothing."""
        self._width = np.array([box.width_um for box in boxes])
        self._height = np.array([box.height_um for box in boxes])
        self._heat = np.array([box.heat_rad for box in boxes])
        self._phases = np.array([float(box.phases) for box in boxes])
        layer = np.array([box.layer for box in boxes])
        self._linked = layer[None, :] == layer[:, None] + 1
        self._warmth = None if stack is None else _warmth(stack)

    def of(self, plan: Plan) -> Real:
        """Heat, area, wire, (3,)."""
        x, y = plan.left_um + self._width / 2, plan.top_um + self._height / 2
        apart = np.abs(x[:, None] - x) + np.abs(y[:, None] - y)
        wire = float((apart * self._linked).sum())
        return np.array([self._felt(x, y), plan.width_um * plan.height_um, wire])

    def _felt(self, x: Real, y: Real) -> float:
        """Squared slopes across the rows by all other tiles, summed over phases."""
        if self._warmth is None:
            return 0.0
        many = len(x) > MANY_TILES
        along = np.linspace(-0.4, 0.4, 3 if many else 5)
        across = np.zeros(1) if many else np.array([-0.3, 0.3])
        seen_x, seen_y = (
            (np.zeros(1), np.array([-0.4, 0.4]))
            if many
            else (np.array([-0.35, 0.0, 0.35]), np.array([-0.4, 0.4]))
        )
        from_x = x[:, None, None] + self._width[:, None, None] * along[:, None]
        from_y = y[:, None, None] + self._height[:, None, None] * across
        heat = self._heat / (len(along) * len(across))
        to_x = x[:, None] + self._width[:, None] * seen_x
        to_y = y[:, None] + self._height[:, None] * seen_y
        dx = to_x[:, :, None, None, None, None] - from_x
        dy = to_y[:, None, :, None, None, None] - from_y
        slope = self._warmth(dx, dy + _STEP_UM) - self._warmth(dx, dy - _STEP_UM)
        each = slope.sum(axis=(4, 5)) * heat
        each[np.arange(len(x)), :, :, np.arange(len(x))] = 0.0
        return float(self._phases @ (each.sum(axis=3) ** 2).mean(axis=(1, 2)))


def annealed(
    costs: Costs,
    boxes: Sequence[Box],
    start: Lines,
    weights: Weights,
    *,
    gap_um: float,
    fits: Callable[[Plan], bool],
    moves: int = MOVES,
    seed: int = 0,
) -> Plan:
    """The best plan on the way from `start`, itself if there is none.

    Plans that do not fit, or take more area, are no plans; where the start does not fit, tiles
    only change places.
    """
    rng = np.random.default_rng(seed)
    best = now = planned(boxes, start, gap_um)
    scale = costs.of(now)
    share = np.array([weights.heat, weights.area, weights.wire])
    share = np.where(scale > 0, share / np.where(scale > 0, scale, 1.0), 0.0)
    least = value = float(share @ scale)
    lines, free = start, fits(now)
    area = now.width_um * now.height_um
    many = len(boxes)
    count = min(max(FEWEST, int(moves * min(1.0, (FEW_TILES / many) ** 2))), 40 * many**2)
    for step in range(count):
        trial = _moved(lines, rng, breaks=free)
        plan = planned(boxes, trial, gap_um)
        luck = rng.random()
        if plan.width_um * plan.height_um > area * (1 + 1e-9) or (free and not fits(plan)):
            continue
        cost = float(share @ costs.of(plan))
        warm = least * HOTTEST * (COOLEST / HOTTEST) ** (step / count)
        if cost < value or luck < math.exp(-(cost - value) / max(warm, 1e-300)):
            lines, value = trial, cost
            if cost < least * (1 - 1e-9):
                best, least = plan, cost
    return best


def _moved(lines: Lines, rng: np.random.Generator, *, breaks: bool) -> Lines:
    """Two tiles in each other's places, or one elsewhere, or in a line of its own."""
    made = [list(line) for line in lines]
    places = [(i, j) for i, line in enumerate(made) for j in range(len(line))]
    a, b = (places[int(k)] for k in rng.choice(len(places), 2, replace=False))
    if not breaks or rng.random() < 0.5:
        made[a[0]][a[1]], made[b[0]][b[1]] = made[b[0]][b[1]], made[a[0]][a[1]]
    else:
        tile = made[a[0]].pop(a[1])
        if rng.random() < 0.2:
            made.insert(int(rng.integers(len(made) + 1)), [tile])
        else:
            made[b[0]].insert(b[1], tile)
    return tuple(tuple(line) for line in made if line)


def _warmth(stack: ThermalStack) -> Warmth:
    """The temperature around a point heater, by (x, y)."""
    # Bessel functions are slow to import, and most chips are packed for area.
    from onnx2mzi.physics.heat import point_response

    nodes = np.log(np.geomspace(1.0, _TABLE_UM, 200))
    found = np.abs(point_response(stack=stack, radius_um=np.exp(nodes)))
    values = np.log(np.maximum(found, 1e-300))

    def warmth(x: Real, y: Real) -> Real:
        r2 = np.maximum(x * x + y * y, 1.0)
        return np.asarray(np.exp(np.interp(np.log(r2) / 2, nodes, values)))

    return warmth
