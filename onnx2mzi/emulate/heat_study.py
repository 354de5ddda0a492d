"""What heat does to a finished chip, in numbers: answers, phases, temperatures, what to do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnx2mzi.emulate.compensate_chip import Caution, expected_loss
from onnx2mzi.emulate.heat_aim import Aim, aim_of
from onnx2mzi.emulate.heat_layout import (
    HeatLayout,
    heat_layout,
    set_drives_rad,
    smallest_die,
)
from onnx2mzi.emulate.heat_lengths import length_phases
from onnx2mzi.emulate.heat_task import Task
from onnx2mzi.emulate.heat_trims import candidates, fewest_trims
from onnx2mzi.emulate.heated import HeatResponse, heat_response, phase_errors, uncertain
from onnx2mzi.ir import Program
from onnx2mzi.physics.arrays import Matrix, Real
from onnx2mzi.physics.heat_bars import Bars
from onnx2mzi.physics.heat_law import compact_law
from onnx2mzi.physics.heat_model import HeatModel, heat_model
from onnx2mzi.physics.heat_operator import coupling_operator
from onnx2mzi.physics.heat_section import p_pi_mw
from onnx2mzi.physics.stack import Die
from onnx2mzi.tech import Detection, Technology

ERRORS = (0.05, 0.1, 0.2)
COPIES = 8
KINDS = ("theta", "phi", "sigma", "out")
_SPOTS = 5
# Cells of the map along its longer side.
_CELLS = 160
# A neighbour's heat that a phase feels, per phase of the neighbour, to be called small.
SMALL = 0.01
# Loss that trim heaters need not undo, and pairs of heaters and guides up to which they are sought.
ENOUGH = 1e-4
_MOST_TRIMMED = 20_000_000

Score = Callable[[dict[str, Matrix]], float]


@dataclass(frozen=True, slots=True, eq=False)
class Warm:
    """A placed chip with its heat: what a study needs, computed once."""

    program: Program
    technology: Technology
    model: HeatModel
    layout: HeatLayout
    die: Die
    response: HeatResponse
    aim: Aim


def warm_chip(
    program: Program,
    technology: Technology,
    task: Task | None,
    *,
    most_pairs: int = 1_000_000_000,
) -> Warm:
    """Raises ValueError for chips without places, or with push-pull drives, and OverflowError
    for more than `most_pairs` of heaters and pieces of guide, 8 bytes each."""
    layout = heat_layout(program, technology)
    pairs = len(layout.heaters) * layout.push.shape[1]
    if pairs > most_pairs:
        raise OverflowError(
            f"{len(layout.heaters):,} heaters and {layout.push.shape[1]:,} pieces of guide are "
            f"{pairs:,} pairs, at most {most_pairs:,} are followed"
        )
    assert program.placement is not None
    model = heat_model(stack=technology.thermal_stack)
    die = smallest_die(program.placement, technology)
    response = heat_response(layout=layout, model=model, die=die)
    iq = technology.detection is Detection.IQ
    aim = aim_of(program, layout, task, recalibrated=iq)
    return Warm(program, technology, model, layout, die, response, aim)


def heat_study(
    warm: Warm,
    score: Score,
    *,
    drive_rad: Real | None = None,
    errors: Sequence[float] = ERRORS,
    copies: int = COPIES,
    seed: int = 0,
) -> dict[str, Any]:
    """JSON types but for `drives`, (heaters,), those of the study.

    `score` takes the layers' matrices (accuracy, say); `drive_rad` are the heaters' drives
    (default: those that are set).

    Scores: `ideal` (cold), `naive` (the drives that phases ask for), `compensated`, and
    `uncertain`, its mean and worst where the model of heat is wrong by so much, at random and
    altogether. `certificate` is the loss that such an error is expected to cost.
    """
    layout, response = warm.layout, warm.response
    drawn = layout.heaters.drive_rad
    drives = set_drives_rad(warm.program, layout) if drive_rad is None else drive_rad
    drawn_longer = length_phases(warm.program, layout)
    before, after = (
        phase_errors(layout=layout, response=response, drive_rad=x) for x in (drawn, drives)
    )
    after = after + drawn_longer
    p_pi = p_pi_mw(stack=warm.model.stack)
    certified = _certified(warm, drives, after)
    compensated = bool(np.any(drives != drawn))
    left = warm.aim.loss(after) if compensated else None
    return {
        "drives": drives,
        "ideal": score(warm.aim.warm(np.zeros_like(before))),
        "naive": score(warm.aim.warm(before)),
        "compensated": score(warm.aim.warm(after)) if compensated else None,
        "uncertain": [
            _uncertain(warm, score, drives, drawn_longer, e, copies, seed) for e in errors
        ],
        # Costs go with the square of the error.
        "certificate": [{"error": e, "loss": e**2 * certified} for e in errors],
        "loss_naive": warm.aim.loss(before),
        "loss_compensated": left,
        "trims": None if left is None else _trims(warm, drives, after, left),
        "loss_of": "answers (KL)" if warm.aim.task is not None else "layers' outputs (relative)",
        "heaters": len(layout.heaters),
        "heat_p_pi_naive": float(drawn.sum() / np.pi),
        "heat_p_pi": float(drives.sum() / np.pi),
        "heat_mw": float((drives * response.mw_per_rad).sum()),
        "p_pi_mw_technology": warm.technology.p_pi_mw,
        "p_pi_mw_derived": p_pi,
        "p_pi_mw_here": float(response.mw_per_rad.mean() * np.pi) if len(drives) else None,
        "phases": _by_kind(layout, before, after),
        "hottest": _hottest(warm, drives),
        "spacing_um": _spacing_um(warm),
    }


def _uncertain(
    warm: Warm, score: Score, drives: Real, longer: Real, error: float, copies: int, seed: int
) -> dict[str, Any]:
    found = []
    for copy in range(copies):
        rng = np.random.default_rng([seed, copy])
        real = uncertain(
            layout=warm.layout,
            response=warm.response,
            random=error,
            # Half of the chips are warmer than the model, half are colder.
            systematic=error if copy % 2 else -error,
            rng=rng,
        )
        off = phase_errors(layout=warm.layout, response=real, drive_rad=drives) + longer
        found.append(score(warm.aim.warm(off)))
    return {"error": error, "copies": copies, "mean": float(np.mean(found)), "worst": min(found)}


def _trims(warm: Warm, drives: Real, off: Real, loss: float) -> dict[str, Any] | None:
    """Heaters that `trim` must add so that no more than `ENOUGH` is left; None if not known.

    `needed` is None where all that are `possible` are too few.
    """
    found = candidates(warm.program, warm.layout)
    needed: int | None = 0
    if loss > ENOUGH:
        if len(drives) * warm.layout.push.shape[1] > _MOST_TRIMMED:
            return None
        needed = fewest_trims(
            found,
            metric=warm.aim.metric(off),
            canonical=np.asarray(warm.layout.push @ warm.response.segment),
            drive_rad=drives,
            loss=loss,
            enough=ENOUGH,
            most=len(found),
        ).needed(ENOUGH)
    return {"loss": ENOUGH, "needed": needed, "possible": len(found)}


def _certified(warm: Warm, drives: Real, off: Real) -> float:
    """The loss that errors of the size of the whole coupling would cost, to second order."""
    return expected_loss(
        aim=warm.aim,
        layout=warm.layout,
        response=warm.response,
        drive_rad=drives,
        error_rad=off,
        caution=Caution(random=1.0, systematic=1.0),
    )


def _by_kind(layout: HeatLayout, before: Real, after: Real) -> list[dict[str, Any]]:
    rows = []
    for placed in layout.tiles:
        s = placed.segments
        kv, ku, r = len(s.v.column), len(s.u.column), len(s.plain)
        ends = placed.phase_start + np.cumsum([0, kv, kv, r, ku, ku, s.u.ports])
        names = ("v theta", "v phi", "sigma", "u theta", "u phi", "out")
        for k, name in enumerate(names):
            part = slice(int(ends[k]), int(ends[k + 1]))
            if name == "out" or part.start == part.stop:
                continue
            rows.append(
                {
                    "layer": placed.layer,
                    "tile": f"g{placed.grid}.t{placed.tile}",
                    "kind": name,
                    "phases": part.stop - part.start,
                    "rms_naive_rad": _rms(before[part]),
                    "rms_rad": _rms(after[part]),
                    "worst_rad": float(np.abs(after[part]).max()),
                }
            )
    return rows


def _rms(values: Real) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """Temperature over the sink at the depth of the guides, K: rows from the top, (ny, nx)."""

    kelvin: Real
    x0_um: float
    y0_um: float
    cell_um: float


def heat_map(warm: Warm, drives: Real, *, cells: int = _CELLS) -> HeatMap:
    """The temperature of the placement and a rim around it."""
    placement = warm.program.placement
    assert placement is not None
    rim = 0.04 * max(placement.width_um, placement.height_um)
    x0 = max(-rim, warm.die.x0_um)
    x1 = min(placement.width_um + rim, warm.die.x1_um)
    y0 = max(-rim, warm.die.y0_um)
    y1 = min(placement.height_um + rim, warm.die.y1_um)
    cell = max(x1 - x0, y1 - y0) / cells
    x = np.arange(x0, x1 - cell * 0.5, cell)
    y = np.arange(y1 - cell / 2, y0, -cell)
    grid_x, grid_y = np.meshgrid(x, y)
    points = Bars(grid_x.ravel(), grid_x.ravel() + cell, grid_y.ravel())
    operator = coupling_operator(
        model=warm.model, heaters=warm.layout.heaters.bars, segments=points, die=warm.die
    )
    warmth = operator.warmth(drives * warm.response.mw_per_rad) / cell
    return HeatMap(warmth.reshape(len(y), len(x)), float(x0), float(y1), float(cell))


def _hottest(warm: Warm, drives: Real) -> list[dict[str, Any]]:
    """The heaters whose guides are the warmest, with their place and temperature."""
    if not len(drives):
        return []
    bars = warm.layout.heaters.bars
    power = drives * warm.response.mw_per_rad
    chosen = np.argsort(-power)[: 8 * _SPOTS]
    operator = coupling_operator(
        model=warm.model, heaters=bars, segments=bars.take(chosen), die=warm.die
    )
    kelvin = operator.warmth(power) / bars.take(chosen).length_um
    best = np.argsort(-kelvin)[:_SPOTS]
    layers = [placed.layer for placed in warm.layout.tiles]
    found = []
    for k in best.tolist():
        heater = int(chosen[k])
        number = int(warm.layout.heaters.block[heater])
        found.append(
            {
                "layer": layers[number // 3],
                "block": "vsu"[number % 3],
                "x_um": float((bars.x0_um[heater] + bars.x1_um[heater]) / 2),
                "y_um": float(bars.y_um[heater]),
                "kelvin": float(kelvin[k]),
                "power_mw": float(power[heater]),
            }
        )
    return found


def _spacing_um(warm: Warm) -> float | None:
    """Rows this far apart feel a heater's neighbour by less than `SMALL`; None beyond 1 mm.

    What counts is the difference between the two guides of an MZI, one pitch apart.
    """
    law = compact_law(model=warm.model, length_um=warm.technology.heater.length_um)
    placement = warm.program.placement
    assert placement is not None
    pitch = placement.blocks[0].row_pitch_um if placement.blocks else 50.0
    d = np.geomspace(law.nearest_um, law.farthest_um - pitch, 400)
    felt = np.abs(law(d) - law(d + pitch))
    small = np.flatnonzero(felt < SMALL)
    return float(d[small[0]]) if len(small) else None
