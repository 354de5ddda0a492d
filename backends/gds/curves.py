"""Centrelines and the ribbons around them: pure geometry, lengths in um, y up, light to +x.

A centreline is an array (P, 2); `chain` sets pieces end to end. A sampled arc is as long as its
curve.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech.bends import Bumps, SBend

STEP_RAD = np.deg2rad(2.5)
# A fixed phase is a length: finer arcs keep it to a nanometre.
FINE_STEP_RAD = np.deg2rad(1.25)


def straight(length_um: float) -> Real:
    """A straight to the right."""
    return np.array([[0.0, 0.0], [length_um, 0.0]])


def rising(bend: SBend, direction: int, step_rad: float = STEP_RAD) -> Real:
    """An S-bend that leaves its row upwards (`direction` 1) or downwards (-1)."""
    if bend.angle_rad == 0:
        return np.zeros((1, 2))
    up = _arc(bend.radius_um, bend.angle_rad, step_rad)
    heading = np.array([np.cos(bend.angle_rad), np.sin(bend.angle_rad)])
    turn = up[-1] + bend.straight_um * heading
    back = turn + (up[-1] - up[::-1])
    line = np.concatenate([up, back] if bend.straight_um > 0 else [up, back[1:]])
    return line * (1, direction)


def bumped(line: Bumps, direction: int, step_rad: float = STEP_RAD) -> Real:
    """Bumps one after the other, above their row (`direction` 1) or below it (-1)."""
    if line.count == 0:
        return np.zeros((1, 2))
    bend = SBend(line.rise_um, line.radius_um, line.angle_rad, 0.0)
    up, down = rising(bend, direction, step_rad), rising(bend, -direction, step_rad)
    return chain([up, down] * line.count)


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
    polygon = np.concatenate([line + normal, (line - normal)[::-1]])
    # Next to a very short straight the tilted side of an arc would reach beyond the end.
    polygon[:, 0] = polygon[:, 0].clip(*sorted((line[0, 0], line[-1, 0])))
    return polygon


def _arc(radius_um: float, angle_rad: float, step_rad: float) -> Real:
    """An arc from the origin, tangential to +x. Its corners lie beside the circle by as much as
    makes the polyline as long as the arc: chords alone would lose 1e-4, of some bends more."""
    steps = max(1, int(np.ceil(angle_rad / step_rad)))
    t = np.linspace(0, angle_rad, steps + 1)
    radius = np.full(steps + 1, radius_um)
    if steps > 1:
        radius[1:-1] *= _corner_radius(steps, angle_rad / steps)
    return np.stack([radius * np.sin(t), radius_um - radius * np.cos(t)], 1)


def _corner_radius(steps: int, step_rad: float) -> float:
    """Radius of the inner corners of a polyline of `steps` chords as long as a unit arc."""
    wanted, radius = steps * step_rad, 1.0
    for _ in range(3):
        outer = np.sqrt(1 + radius * radius - 2 * radius * np.cos(step_rad))
        length = 2 * (steps - 2) * radius * np.sin(step_rad / 2) + 2 * outer
        slope = 2 * (steps - 2) * np.sin(step_rad / 2)
        slope += 2 * (radius - np.cos(step_rad)) / outer
        radius += float((wanted - length) / slope)
    return radius
