"""Where the strips of tiles lie on the die: below each other, or in line along the light.

Phases feel the difference of temperature between neighbouring rows, and along its own axis a
strip has none: tiles in line hardly disturb each other, tiles beside each other do. With more
tiles than a line holds, lines lie below each other and a search by swaps (2-opt of a quadratic
assignment; Burkard et al., Assignment Problems, SIAM 2009, ch. 8) settles who lies where.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.stack import ThermalStack
from onnx2mzi.tech import Technology

# Sweeps over all pairs of tiles before the search ends.
_SWEEPS = 20
_TABLE_UM = 60_000.0


class Objective(StrEnum):
    """What a floorplan is for."""

    AREA = "area"
    """Tiles below each other, guides straight to the die's edges; in lines if that fits a die."""

    HEAT = "heat"
    """Lines along the light, hot tiles away from those that feel it."""

    WIRE = "wire"
    """Lines along the light, tiles close to those whose outputs they take."""


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


def floorplan(
    boxes: Sequence[Box], technology: Technology, *, objective: Objective, gap_um: float
) -> Plan:
    """The places of all boxes, `gap_um` between them."""
    if objective is Objective.AREA or len(boxes) < 2:
        return _packed(boxes, technology, gap_um)
    order = np.arange(len(boxes))
    per_line = _per_line(boxes, technology, gap_um)
    best = _lines(boxes, order, per_line, gap_um)
    warmth = _warmth(technology.thermal_stack)
    cost = _cost(boxes, best, warmth, objective)
    for _ in range(_SWEEPS):
        moved = False
        for a in range(len(boxes)):
            for b in range(a + 1, len(boxes)):
                trial = order.copy()
                trial[[a, b]] = trial[[b, a]]
                plan = _lines(boxes, trial, per_line, gap_um)
                value = _cost(boxes, plan, warmth, objective)
                if value < cost * (1 - 1e-9):
                    order, best, cost, moved = trial, plan, value, True
        if not moved:
            break
    return best


def _packed(boxes: Sequence[Box], technology: Technology, gap_um: float) -> Plan:
    """Boxes below each other; where that fits no die, in the first lines that do."""
    heights = np.array([box.height_um for box in boxes])
    tops = np.concatenate([[0.0], np.cumsum(heights + gap_um)[:-1]])[: len(boxes)]
    width = max((box.width_um for box in boxes), default=0.0)
    depth = float(tops[-1] + heights[-1]) if len(boxes) else 0.0
    stack = Plan(np.zeros(len(boxes)), tops, width, depth)
    rim = 2 * np.array(technology.rim_um)
    rooms = [np.array(size) - rim for size in technology.die.sizes_um]
    if len(boxes) < 2 or any(_fits(stack, room) for room in rooms):
        return stack
    # As they come, and the highest first.
    for order in (np.arange(len(boxes)), np.argsort(-heights, kind="stable")):
        for room in rooms:
            lines = _shelves(boxes, order, float(room[0]), gap_um)
            if _fits(lines, room):
                return lines
    return stack


def _fits(plan: Plan, room_um: Real) -> bool:
    return bool(plan.width_um <= room_um[0] and plan.height_um <= room_um[1])


def _shelves(boxes: Sequence[Box], order: np.ndarray, room_um: float, gap_um: float) -> Plan:
    """Lines below each other, each box in the first one that has room for it."""
    left, line_of = np.zeros(len(boxes)), np.zeros(len(boxes), np.int64)
    ends: list[float] = []
    heights: list[float] = []
    for k in order.tolist():
        box = boxes[k]
        free = (i for i, end in enumerate(ends) if end + gap_um + box.width_um <= room_um)
        line = next(free, len(ends))
        if line == len(ends):
            ends.append(-gap_um)
            heights.append(0.0)
        left[k], line_of[k] = ends[line] + gap_um, line
        ends[line] = left[k] + box.width_um
        heights[line] = max(heights[line], box.height_um)
    tops = np.concatenate([[0.0], np.cumsum(np.array(heights) + gap_um)])
    return Plan(left, tops[line_of], max(ends), float(tops[-1]) - gap_um)


def _per_line(boxes: Sequence[Box], technology: Technology, gap_um: float) -> int:
    """Tiles a line: all that the largest die holds, all of them if none holds two."""
    rim = 2 * technology.die.margin_um
    longest = max((max(size) for size in technology.die.sizes_um), default=0.0) - rim
    widest = max(box.width_um for box in boxes)
    fitting = int((longest + gap_um) // (widest + gap_um))
    return min(fitting, len(boxes)) if fitting >= 2 else len(boxes)


def _lines(boxes: Sequence[Box], order: np.ndarray, per_line: int, gap_um: float) -> Plan:
    left, top = np.zeros(len(boxes)), np.zeros(len(boxes))
    depth = width = 0.0
    for start in range(0, len(order), per_line):
        line = order[start : start + per_line]
        x, height = 0.0, 0.0
        for k in line.tolist():
            left[k], top[k] = x, depth
            x += boxes[k].width_um + gap_um
            height = max(height, boxes[k].height_um)
        width = max(width, x - gap_um)
        depth += height + gap_um
    return Plan(left, top, width, depth - gap_um)


Warmth = Callable[[Real, Real], Real]


def _cost(boxes: Sequence[Box], plan: Plan, warmth: Warmth, objective: Objective) -> float:
    width = np.array([box.width_um for box in boxes])
    height = np.array([box.height_um for box in boxes])
    x, y = plan.left_um + width / 2, plan.top_um + height / 2
    dx, dy = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    if objective is Objective.WIRE:
        layer = np.array([box.layer for box in boxes])
        linked = layer[None, :] == layer[:, None] + 1
        return float(((dx + dy) * linked).sum()) + 1e-6 * plan.width_um * plan.height_um
    heat = np.array([box.heat_rad for box in boxes])
    phases = np.array([float(box.phases) for box in boxes])
    felt = (heat[:, None] * _gradient(warmth, dx, dy, width[:, None])) ** 2 * phases[None, :]
    np.fill_diagonal(felt, 0.0)
    return float(felt.sum())


def _warmth(stack: ThermalStack) -> Warmth:
    """The temperature around a point heater, by (x, y)."""
    # Bessel functions are slow to import, and most chips are packed for area.
    from onnx2mzi.physics.heat import point_response

    nodes = np.log(np.geomspace(1.0, _TABLE_UM, 200))
    found = np.abs(point_response(stack=stack, radius_um=np.exp(nodes)))
    values = np.log(np.maximum(found, 1e-300))

    def warmth(x: Real, y: Real) -> Real:
        r = np.maximum(np.hypot(x, y), 1.0)
        return np.asarray(np.exp(np.interp(np.log(r), nodes, values)))

    return warmth


def _gradient(warmth: Warmth, dx: Real, dy: Real, length: Real) -> Real:
    """Slope across the rows of the temperature that a strip makes at a distance, averaged."""
    step = 25.0
    total = np.zeros(dx.shape)
    for part in np.linspace(-0.4, 0.4, 5):
        x = dx + part * length
        total += (warmth(x, dy + step) - warmth(x, np.abs(dy - step))) / 5
    return np.abs(total)
