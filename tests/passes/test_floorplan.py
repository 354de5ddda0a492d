"""Strips on the die: apart, in line along the light, hot ones away from what feels them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onnx2mzi.ir import Program
from onnx2mzi.ir.verify import verify
from onnx2mzi.passes.annealing import Box, Costs, Plan, Weights, annealed, planned
from onnx2mzi.passes.floorplan import Objective, floorplan
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, Technology, load_technology
from onnx2mzi.tech.edge import EdgeKind

MakeProgram = Callable[..., Program]
TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)


def technology(width_um: float) -> Technology:
    return replace(TECHNOLOGY, die=replace(TECHNOLOGY.die, sizes_um=((width_um, 900.0),)))


def overlaps(boxes: list[Box], plan: Plan) -> bool:
    ends = [(b.width_um, b.height_um) for b in boxes]
    spots = list(zip(plan.left_um.tolist(), plan.top_um.tolist(), ends, strict=True))
    return any(
        x < u + c[0] and u < x + a[0] and y < v + c[1] and v < y + a[1]
        for k, (x, y, a) in enumerate(spots)
        for u, v, c in spots[:k]
    )


@pytest.mark.parametrize("objective", list(Objective))
def test_nothing_overlaps(objective: Objective) -> None:
    rng = np.random.default_rng(0)
    boxes = [
        Box(float(w), float(h), float(heat), 10, k)
        for k, (w, h, heat) in enumerate(rng.uniform(50, 200, (7, 3)))
    ]
    plan = floorplan(boxes, technology(620.0), objective=objective, gap_um=5.0)
    assert not overlaps(boxes, plan)
    for box, left, top in zip(boxes, plan.left_um, plan.top_um, strict=True):
        assert 0 <= left <= plan.width_um - box.width_um + 1e-9
        assert 0 <= top <= plan.height_um - box.height_um + 1e-9


def test_what_fits_no_die_is_one_line() -> None:
    boxes = [Box(500.0, 100.0, 1.0, 10, k) for k in range(3)]
    plan = floorplan(boxes, technology(600.0), objective=Objective.HEAT, gap_um=5.0)
    assert (plan.top_um == 0).all() and len(set(plan.left_um.tolist())) == 3


def test_tiles_lie_in_line_where_only_that_fits() -> None:
    base = technology(1000.0)
    base = replace(base, die=replace(base.die, sizes_um=((1000.0, 500.0),), margin_um=10.0))
    base = replace(base, edge=replace(base.edge, coupler=EdgeKind.NONE))
    boxes = [Box(400.0, 200.0), Box(450.0, 240.0), Box(300.0, 150.0), Box(350.0, 130.0)]
    plan = floorplan(boxes, base, objective=Objective.AREA, gap_um=50.0)
    assert not overlaps(boxes, plan)
    assert plan.width_um <= 980.0 and plan.height_um <= 480.0
    assert plan.left_um.tolist() == [0.0, 450.0, 0.0, 350.0]
    # Below each other where that fits, or nothing does.
    for few in (boxes[:2], boxes * 2):
        plan = floorplan(few, base, objective=Objective.AREA, gap_um=30.0)
        assert not plan.left_um.any()


def test_hot_tiles_lie_away_from_those_that_feel_them() -> None:
    """Two lines of two: the hot tile shares its line with the one that feels most."""
    boxes = [
        Box(400.0, 100.0, 100.0, 0),
        Box(400.0, 100.0, 0.0, 1),
        Box(400.0, 100.0, 0.0, 1000),
        Box(400.0, 100.0, 0.0, 1),
    ]
    plan = floorplan(boxes, technology(1000.0), objective=Objective.HEAT, gap_um=5.0)
    assert plan.top_um[0] == plan.top_um[2] != plan.top_um[1]


def test_followers_lie_near() -> None:
    boxes = [Box(100.0, 100.0, 0.0, 0, layer) for layer in (0, 2, 1, 3)]
    plan = floorplan(boxes, technology(500.0), objective=Objective.WIRE, gap_um=5.0)
    order = [boxes[k].layer for k in np.argsort(plan.left_um)]
    assert order in ([0, 1, 2, 3], [3, 2, 1, 0])


@pytest.mark.parametrize("objective", list(Objective))
def test_a_program_is_placed(make_program: MakeProgram, objective: Objective) -> None:
    placed = place_program(make_program(2, drive=Drive.ARM_CHOICE), TECHNOLOGY, objective)
    placed = replace(placed, history=("place",))
    assert verify(placed) == []


def some(count: int, seed: int = 0) -> list[Box]:
    rng = np.random.default_rng(seed)
    sizes = zip(*rng.uniform(0.5, 1.0, (3, count)), strict=True)
    return [Box(8000 * w, 800 * h, 300 * q, 100, k % 3) for k, (w, h, q) in enumerate(sizes)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("weights", [Weights(1.0, 0.3, 0.02), Weights(0.1, 0.3, 1.0)])
def test_annealing_is_never_worse_than_its_start(weights: Weights, seed: int) -> None:
    boxes = some(8, seed)
    costs = Costs(boxes, TECHNOLOGY.thermal_stack)
    start = ((0, 1, 2), (3, 4, 5), (6, 7))
    made = annealed(
        costs, boxes, start, weights, gap_um=50.0, fits=lambda plan: True, moves=150, seed=seed
    )
    assert not overlaps(boxes, made)
    share = np.array([weights.heat, weights.area, weights.wire])
    before, after = costs.of(planned(boxes, start, 50.0)), costs.of(made)
    assert share @ (after / before) < share.sum()
    assert after[1] <= before[1] * (1 + 1e-9)
    again = annealed(
        costs, boxes, start, weights, gap_um=50.0, fits=lambda plan: True, moves=150, seed=seed
    )
    assert again.left_um.tolist() == made.left_um.tolist()
    assert again.top_um.tolist() == made.top_um.tolist()


def test_slopes_of_tiles_on_both_sides_cancel() -> None:
    hot, cold = Box(1000.0, 100.0, 100.0), Box(1000.0, 100.0, 0.0, 10)
    boxes = [hot, cold, hot]
    costs = Costs(boxes, TECHNOLOGY.thermal_stack)
    between = costs.of(planned(boxes, ((0,), (1,), (2,)), 50.0))[0]
    beside = costs.of(planned(boxes, ((1,), (0,), (2,)), 50.0))[0]
    assert between < 0.4 * beside
    in_line = costs.of(planned(boxes, ((0, 1, 2),), 50.0))[0]
    assert in_line < 0.2 * beside


def test_a_start_that_fits_no_die_stays_in_its_lines() -> None:
    boxes = some(5)
    costs = Costs(boxes, TECHNOLOGY.thermal_stack)
    start = ((0, 1, 2, 3, 4),)
    weights = Weights(1.0, 0.3, 0.02)
    made = annealed(costs, boxes, start, weights, gap_um=50.0, fits=lambda plan: False, moves=50)
    assert not made.top_um.any()


def test_heat_of_many_tiles_is_followed_from_fewer_points() -> None:
    boxes = some(130)
    costs = Costs(boxes, TECHNOLOGY.thermal_stack)
    lines = tuple(tuple(range(k, k + 10)) for k in range(0, 130, 10))
    assert costs.of(planned(boxes, lines, 50.0))[0] > 0
