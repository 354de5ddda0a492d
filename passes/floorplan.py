"""Where the strips of tiles lie on the die: below each other, or in line along the light.

Phases feel the difference of temperature between neighbouring rows, and along its own axis a
strip has none: tiles in line hardly disturb each other, tiles beside each other do. With more
tiles than a line holds, lines lie below each other, and a search settles who lies where (see
`annealing`).
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from onnx2mzi.passes.annealing import Box, Costs, Plan, Weights, annealed
from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech import Technology


class Objective(StrEnum):
    """What a floorplan is for."""

    AREA = "area"
    """Tiles below each other, guides straight to the die's edges; in lines if that fits a die."""

    HEAT = "heat"
    """Lines along the light, so that tiles feel little of each other's heat, on little area."""

    WIRE = "wire"
    """Lines along the light, tiles close to those whose outputs they take, on little area."""


# What counts first, and how much what counts next.
_WEIGHTS = {
    Objective.HEAT: Weights(heat=1.0, area=0.3, wire=0.02),
    Objective.WIRE: Weights(heat=0.1, area=0.3, wire=1.0),
}


def floorplan(
    boxes: Sequence[Box],
    technology: Technology,
    *,
    objective: Objective,
    gap_um: float,
    seed: int = 0,
) -> Plan:
    """The places of all boxes, `gap_um` between them."""
    if objective is Objective.AREA or len(boxes) < 2:
        return _packed(boxes, technology, gap_um)
    per_line = _per_line(boxes, technology, gap_um)
    every = tuple(range(len(boxes)))
    start = tuple(every[k : k + per_line] for k in range(0, len(every), per_line))
    rim = 2 * np.array(technology.rim_um)
    rooms = [np.array(size) - rim for size in technology.die.sizes_um]
    return annealed(
        Costs(boxes, technology.thermal_stack),
        boxes,
        start,
        _WEIGHTS[objective],
        gap_um=gap_um,
        fits=lambda plan: any(_fits(plan, room) for room in rooms),
        seed=seed,
    )


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
    return Plan(left, tops[line_of], float(max(ends)), float(tops[-1]) - gap_um)


def _per_line(boxes: Sequence[Box], technology: Technology, gap_um: float) -> int:
    """Tiles a line: all that the largest die holds, all of them if none holds two."""
    rim = 2 * technology.die.margin_um
    longest = max((max(size) for size in technology.die.sizes_um), default=0.0) - rim
    widest = max(box.width_um for box in boxes)
    fitting = int((longest + gap_um) // (widest + gap_um))
    return min(fitting, len(boxes)) if fitting >= 2 else len(boxes)
