"""Drives for a whole chip: heat undone where the network feels it, and robustly.

minimise  loss(K x) + eps_r^2 / 2 sum_h x_h^2 sum_s S_sh^2 (P^T F P)_ss + eps_s^2 / 2 |K' x|_F^2

over x >= 0. S is the response of segments to drives, P pushes phases of segments to balanced
ones, K = P S, and K' is K without what heaters do to their own segments. The last two terms are
what random and systematic errors of S are expected to cost: a solution that relies on large
opposite effects pays for it. Each step is Gauss and Newton's (see `compensate`). Passive phases
whose guides may still be made longer follow the drives (see `heat_lengths`): the loss is that of
what they leave.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.emulate.compensate import nonnegative_least
from onnx2mzi.emulate.heat_aim import Aim, Metric
from onnx2mzi.emulate.heat_layout import HeatLayout
from onnx2mzi.emulate.heat_lengths import Lengths, no_lengths
from onnx2mzi.emulate.heated import HeatResponse
from onnx2mzi.physics.arrays import Real

_SHARES = (1.0, 0.5, 0.25, 0.1, 0.03)
_TRIALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """How well the response is known: relative errors, random and shared by all; a ridge."""

    random: float = 0.03
    systematic: float = 0.03
    ridge: float = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Compensated:
    """Drives (heaters,) in rad, the loss that is left, and the loss of the drives as drawn.

    `length_rad` are those of the `lengths` given, `error_rad` (phases,) is what all leave.
    """

    drive_rad: Real
    length_rad: Real
    error_rad: Real
    loss: float
    loss_before: float
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    layout: HeatLayout
    response: HeatResponse
    whole: Real
    canonical: Real
    asked_rad: Real

    def error(self, drive_rad: Real) -> Real:
        return np.asarray(self.canonical @ drive_rad - self.asked_rad)


@dataclass(frozen=True, slots=True, eq=False)
class _Quadratic:
    """x^T data x / 2 of the loss, and `caution` of what is not known."""

    data: Real
    caution: Real


def compensate_chip(
    *,
    aim: Aim,
    layout: HeatLayout,
    response: HeatResponse,
    caution: Caution | None = None,
    start_rad: Real | None = None,
    lengths: Lengths | None = None,
    steps: int = 6,
    tell: Callable[[int, float], None] = lambda step, loss: None,
) -> Compensated:
    """The drives that keep what `aim` says when heat flows as `response` says.

    Starts at the drawn drives, or `start_rad`; `tell` hears the number and loss of every step.
    `lengths` are the passive phases that may be drawn anew (default: none).
    """
    caution = caution or Caution()
    lengths = no_lengths(layout) if lengths is None else lengths
    whole = np.asarray(layout.push @ response.segment)
    asked = np.asarray(layout.push @ layout.asked_rad())
    problem = _Problem(layout, response, whole, lengths.undone(whole), lengths.undone(asked))
    x = np.array(layout.heaters.drive_rad if start_rad is None else start_rad, float)
    before = aim.loss(whole @ x - asked)
    loss = aim.loss(problem.error(x))
    tell(0, loss)
    # The first step is taken in the metric of the cold chip, for heat may be far from small;
    # what is not known matters only near the goal.
    metric = aim.metric(np.zeros(len(problem.asked_rad)))
    quadratic = _quadratic(problem, metric, replace(caution, random=0.0, systematic=0.0))
    goal = _cold_goal(problem, metric, quadratic, x, caution)
    x, loss, moved = _searched(aim, problem, quadratic, x, loss, loss, goal)
    tell(1, loss)
    done, damping = 1, 1.0
    for step in range(2, steps + 1):
        metric = aim.metric(problem.error(x))
        quadratic = _quadratic(problem, metric, caution)
        slope = problem.canonical.T @ metric.gradient
        best = _total(loss, quadratic, x)
        x, after, damping, moved = _damped(
            aim, problem, quadratic, slope, x, loss, best, damping * _ridge(quadratic, caution)
        )
        damping /= _ridge(quadratic, caution)
        done = step
        tell(step, after)
        finished = not moved or abs(loss - after) < 1e-3 * max(after, 1e-4)
        loss = after
        if finished:
            break
    length_rad = lengths.undoing(whole @ x - asked)
    return Compensated(x, length_rad, problem.error(x), loss, before, done)


def _damped(
    aim: Aim,
    problem: _Problem,
    quadratic: _Quadratic,
    slope: Real,
    x: Real,
    loss: float,
    best: float,
    mu: float,
) -> tuple[Real, float, float, bool]:
    """A step of Levenberg and Marquardt: (x, its loss, mu for the next step, whether it moved).

    Directions that the network does not feel at x may be felt elsewhere: mu keeps steps short.
    """
    data = quadratic.data
    for _ in range(_TRIALS):
        total = data + quadratic.caution + mu * np.eye(len(data))
        goal = nonnegative_least(quadratic=total, linear=data @ x - slope + mu * x)
        value = aim.loss(problem.error(goal))
        if _total(value, quadratic, goal) < best:
            return goal, value, mu / 4, True
        mu *= 8
    return x, loss, mu, False


def _quadratic(problem: _Problem, metric: Metric, caution: Caution) -> _Quadratic:
    layout, segment = problem.layout, problem.response.segment
    own = layout.heaters.own
    count = segment.shape[1]
    data, shared = np.zeros((count, count)), np.zeros((count, count))
    for columns, root in metric.roots:
        seen = root @ problem.canonical[columns]
        data += seen.T @ seen
        if caution.systematic:
            # Own segments are measured when the chip is calibrated: they are known. Lengths are
            # there whatever heat does.
            seen = root @ problem.whole[columns] - root @ layout.push[columns][:, own].toarray()
            shared += seen.T @ seen
    weight = metric.diagonal(layout.push)
    felt = weight @ segment**2 - weight[own] * segment[own, np.arange(count)] ** 2
    unknown = caution.systematic**2 * shared
    unknown[np.diag_indices(count)] += caution.random**2 * felt
    return _Quadratic(data, unknown)


def _ridge(quadratic: _Quadratic, caution: Caution) -> float:
    return caution.ridge * float(np.trace(quadratic.data)) / max(len(quadratic.data), 1) + 1e-300


def _cold_goal(
    problem: _Problem, metric: Metric, quadratic: _Quadratic, x: Real, caution: Caution
) -> Real:
    mu = _ridge(quadratic, caution)
    linear = mu * x
    for columns, root in metric.roots:
        target = root @ problem.asked_rad[columns]
        linear = linear + problem.canonical[columns].T @ (root.T @ target)
    total = quadratic.data + quadratic.caution + mu * np.eye(len(x))
    return nonnegative_least(quadratic=total, linear=linear)


def _total(loss: float, quadratic: _Quadratic, x: Real) -> float:
    return loss + 0.5 * float(x @ quadratic.caution @ x)


def _searched(
    aim: Aim,
    problem: _Problem,
    quadratic: _Quadratic,
    x: Real,
    loss: float,
    best: float,
    goal: Real,
) -> tuple[Real, float, bool]:
    """The best point between x and the goal; where none is better, x."""
    for share in _SHARES:
        trial = x + share * (goal - x)
        value = aim.loss(problem.error(trial))
        if _total(value, quadratic, trial) < best:
            return trial, value, True
    return x, loss, False


def expected_loss(
    *,
    aim: Aim,
    layout: HeatLayout,
    response: HeatResponse,
    drive_rad: Real,
    error_rad: Real,
    caution: Caution,
) -> float:
    """A certificate: what errors of the response of the sizes of `caution` are expected to add
    to the loss at `drive_rad`, whose phases are off by `error_rad`; to second order."""
    metric = aim.metric(error_rad)
    x, own, segment = drive_rad, layout.heaters.own, response.segment
    each = np.arange(len(own))
    weight = metric.diagonal(layout.push)
    squared = segment**2 @ x**2
    felt = float(weight @ squared - weight[own] @ (segment[own, each] * x) ** 2)
    # Own segments are measured when the chip is calibrated, as in `_quadratic`.
    warmth = segment @ x
    np.subtract.at(warmth, own, x)
    moved = layout.push @ warmth
    shared = sum(float(np.sum((root @ moved[columns]) ** 2)) for columns, root in metric.roots)
    return 0.5 * (caution.random**2 * felt + caution.systematic**2 * shared)
