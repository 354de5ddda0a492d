"""Centrelines and the ribbons around them: pure geometry, lengths in um, y up, light to +x.

A centreline is an array (P, 2); `chain` sets pieces end to end. Arcs are sampled so finely
that a polyline is shorter than its curve by less than 1e-4 of its length.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech.bends import Bumps, SBend, bump_angle_rad

STEP_RAD = np.deg2rad(2.5)
# A fixed phase is a length: finer arcs keep it to a nanometre.
_FINE_STEP_RAD = np.deg2rad(1.25)


def straight(length_um: float) -> Real:
    """A straight to the right."""
    return np.array([[0.0, 0.0], [length_um, 0.0]])


def rising(bend: SBend, direction: int) -> Real:
    """An S-bend that leaves its row upwards (`direction` 1) or downwards (-1)."""
    if bend.angle_rad == 0:
        return np.zeros((1, 2))
    up = _arc(bend.radius_um, bend.angle_rad)
    heading = np.array([np.cos(bend.angle_rad), np.sin(bend.angle_rad)])
    turn = up[-1] + bend.straight_um * heading
    back = turn + (up[-1] - up[::-1])
    line = np.concatenate([up, back] if bend.straight_um > 0 else [up, back[1:]])
    return line * (1, direction)


def bumped(line: Bumps, direction: int) -> Real:
    """Bumps one after the other, above their row (`direction` 1) or below it (-1)."""
    if line.count == 0:
        return np.zeros((1, 2))
    bend = SBend(line.rise_um, line.radius_um, line.angle_rad, 0.0)
    return chain([rising(bend, direction), rising(bend, -direction)] * line.count)


def moved(line: Real, x_um: float, y_um: float) -> Real:
    """The same line elsewhere."""
    return np.asarray(line + np.array([x_um, y_um]))


def chain(pieces: Sequence[Real]) -> Real:
    """Pieces end to end; pieces without length vanish."""
    points = [np.zeros((1, 2))]
    for piece in pieces:
        points.append(points[-1][-1] + piece[1:] - piece[0])
    line = np.concatenate(points)
    moves = np.hypot(*np.diff(line, axis=0).T) > 1e-9
    return np.asarray(line[np.concatenate([[True], moves])])


def length_um(line: Real) -> float:
    """Length of a polyline."""
    return float(sum(np.hypot(*(b - a)) for a, b in pairwise(line)))


def ribbon(line: Real, width_um: float) -> Real:
    """The polygon of a guide around a centreline that starts and ends along x, shape (2 P, 2)."""
    steps = np.diff(line, axis=0)
    steps /= np.hypot(steps[:, 0], steps[:, 1])[:, None]
    tangent = np.concatenate([[[1.0, 0.0]], steps[:-1] + steps[1:], [[1.0, 0.0]]])
    tangent /= np.hypot(tangent[:, 0], tangent[:, 1])[:, None]
    # Mitred: both sides stay half a width from the two segments that meet.
    cosine = np.concatenate([[1.0], (tangent[1:-1] * steps[1:]).sum(1), [1.0]])
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) * (width_um / 2 / cosine)[:, None]
    return np.concatenate([line + normal, (line - normal)[::-1]])


def bump_ribbons(extra_um: Real, *, section_um: float, radius_um: float, width_um: float) -> Real:
    """Polygons of B guides of `section_um`, each longer by its `extra_um` (B,) through one bump.

    Shape (B, Q, 2); every guide starts at (0, 0) and ends at (section_um, 0).
    """
    angle = bump_angle_rad(extra_um, radius_um)[:, None]
    steps = max(2, int(np.ceil(float(angle.max(initial=0.0)) / _FINE_STEP_RAD)))
    t = np.linspace(0, 1, steps + 1)
    heading = np.concatenate([t, 1 - t[1:], -t[1:], t[1:] - 1], -1) * angle
    # On arcs of one radius the heading grows evenly along the path: integrate in closed form.
    x1, y1 = radius_um * np.sin(t * angle), radius_um * (1 - np.cos(t * angle))
    x = np.concatenate([x1, 2 * x1[:, -1:] - x1[:, -2::-1]], -1)
    y = np.concatenate([y1, 2 * y1[:, -1:] - y1[:, -2::-1]], -1)
    x = np.concatenate([x, 2 * x[:, -1:] - x[:, -2::-1]], -1)
    y = np.concatenate([y, y[:, -2::-1]], -1)
    x += (section_um - x[:, -1:]) / 2
    half = width_um / 2
    dx, dy = -half * np.sin(heading), half * np.cos(heading)
    ends = np.zeros((len(x), 1))
    first, last = ends, ends + section_um
    upper_x = np.concatenate([first, x + dx, last], -1)
    upper_y = np.concatenate([ends + half, y + dy, ends + half], -1)
    lower_x = np.concatenate([first, x - dx, last], -1)
    lower_y = np.concatenate([ends - half, y - dy, ends - half], -1)
    return np.stack(
        [
            np.concatenate([upper_x, lower_x[:, ::-1]], -1),
            np.concatenate([upper_y, lower_y[:, ::-1]], -1),
        ],
        -1,
    )


def _arc(radius_um: float, angle_rad: float) -> Real:
    steps = max(1, int(np.ceil(angle_rad / STEP_RAD)))
    t = np.linspace(0, angle_rad, steps + 1)
    return np.stack([radius_um * np.sin(t), radius_um * (1 - np.cos(t))], 1)
