"""Down from everything, one step at a time: the step that buys the most phases for its error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx2mzi.passes.prune.plan import (
    Cache,
    Plan,
    Prunable,
    first_plan,
    matrices,
    moves,
    plan_phases,
)
from onnx2mzi.physics.arrays import Matrix

Error = Callable[[list[Matrix]], float]

# A step measured long ago is measured again unless it was this much worse than the best.
STALE = 0.8


@dataclass(frozen=True, slots=True)
class Waypoint:
    """A plan on the way down, its phases, and its error on the fitting data."""

    plan: Plan
    phases: int
    error: float


def descend(
    layers: Sequence[Prunable],
    error: Error,
    *,
    ports: int,
    stop: float,
    enough: float | None = None,
    cache: Cache,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Waypoint]:
    """Plans of falling cost, until `error` exceeds `stop` or no more than `enough` phases are left.

    Greedy by error per phase saved; a step's ratio is measured again only when it may win
    (lazy greedy, Minoux 1978: ratios grow on the way down, though not strictly).
    """
    plan = first_plan(layers)
    here = Waypoint(plan, plan_phases(layers, plan, ports), error(matrices(layers, plan, cache)))
    start = here.phases
    path = [here]
    known: dict[tuple[int, int, float], float] = {}
    while here.error <= stop and (enough is None or here.phases > enough):
        steps = []
        for name, to in moves(layers, here.plan):
            phases = plan_phases(layers, to, ports)
            if phases < here.phases:
                steps.append((known.get(name, 0.0), name, to, phases))
        steps.sort(key=lambda step: step[:2])
        best: tuple[float, Waypoint] | None = None
        for ratio, name, to, phases in steps:
            if best is not None and ratio * STALE > best[0]:
                break
            there = Waypoint(to, phases, error(matrices(layers, to, cache)))
            known[name] = max(there.error - here.error, 1e-12) / (here.phases - phases)
            if best is None or known[name] < best[0]:
                best = known[name], there
        if best is None:
            break
        here = best[1]
        path.append(here)
        progress(start - here.phases, start)
    return path


def deepest(path: Sequence[Waypoint], accepted: Callable[[Waypoint], bool]) -> Waypoint | None:
    """The last waypoint of the path's accepted start, by bisection; None if none is accepted."""
    low, high = 0, len(path)
    while low < high:
        middle = (low + high) // 2
        if accepted(path[middle]):
            low = middle + 1
        else:
            high = middle
    return path[low - 1] if low else None
