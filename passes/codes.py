"""Tiles and layers on the codes of a driver: phase by phase, or one phase after the other.

Passive phases that compensate common phases are drawn for the rounded thetas, so they add no
error.
"""

from dataclasses import replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.transfer import grid_matrix, tile_matrix
from onnx2mzi.ir import Attenuators, LinearLayer, Mesh, MeshTile, Tile
from onnx2mzi.passes.aiming import aimed
from onnx2mzi.passes.code_error import tile_error
from onnx2mzi.passes.drawing import (
    BalancedTile,
    DrawingRules,
    Trims,
    balanced_tile,
    drawn_tile,
    trims_of,
)
from onnx2mzi.passes.prune.settle import without_full_turns
from onnx2mzi.passes.prune.thetas import RealTile
from onnx2mzi.passes.prune.thin import Metric
from onnx2mzi.passes.rounding import rounded_amplitudes, rounded_thetas
from onnx2mzi.passes.taps import AIMED, tap_error
from onnx2mzi.physics.arrays import Flags, Matrix, Real, within_pi, wrapped
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.quantization import DriveCode
from onnx2mzi.physics.shifter import Drive, ShifterState


class Rounding(StrEnum):
    """How phases find their codes."""

    NEAREST = "nearest"
    SEQUENTIAL = "sequential"
    TRAINED = "trained"


def _rounded(phase_rad: Real, state: Flags, code: DriveCode, drive: Drive) -> Real:
    # The way round matters: M(theta + 2 pi) = -M(theta), so theta may leave [-pi, pi] here.
    step_rad = wrapped(code.nearest_rad(phase_rad, drive) - phase_rad)
    return np.where(state == ShifterState.ACTIVE, phase_rad + step_rad, phase_rad)


def rounded_tile(tile: MeshTile, code: DriveCode, rules: DrawingRules) -> MeshTile:
    """The tile with every active phase on the nearest code: thetas and attenuators, then phi."""
    drive, balanced = tile.u.drive, balanced_tile(tile)
    return _redrawn(
        replace(
            balanced,
            u=replace(
                balanced.u, theta=_rounded(balanced.u.theta, tile.u.theta_state, code, drive)
            ),
            v=replace(
                balanced.v, theta=_rounded(balanced.v.theta, tile.v.theta_state, code, drive)
            ),
        ),
        _rounded_attenuators(tile.sigma, code),
        code,
        rules,
        trims_of(tile, balanced),
    )


def sequential_tile(
    tile: MeshTile, moment: Real, code: DriveCode, rules: DrawingRules, asked: MeshTile
) -> MeshTile | None:
    """The real tile rounded one phase after the other; None if it is not real.

    `moment`, shape (n, n), is the second moment of what enters the tile, `asked` what the result
    shall be near to. Attenuators without heaters stay; thetas make up for fixed couplers first.
    Never worse in that metric than `rounded_tile`, which it then returns.
    """
    balanced = balanced_tile(tile)
    if balanced.u.phi.any() or balanced.v.phi.any() or _fixed_thetas(tile):
        return None
    drive = tile.u.drive
    real = RealTile(balanced.u, balanced.gain * balanced.amplitude, balanced.v)
    metric = Metric(tile_matrix(asked).real, np.eye(balanced.u.ports), moment)
    taps = asked is not tile or _tapped(tile)

    def nearest(theta: Real) -> Real:
        return np.asarray(theta + wrapped(code.nearest_rad(within_pi(theta), drive) - theta))

    if taps:
        # What taps leave is too far for the linear steps of rounding.
        real = aimed(real, metric, most=AIMED * tap_error(asked))
    active = tile.sigma.state == ShifterState.ACTIVE
    ways = np.zeros((len(active), 0)) if taps else _ways(balanced.amplitude, active)
    moved = rounded_thetas(real, metric, nearest, ways=ways)
    turned = replace(balanced, u=moved.u, v=moved.v)
    if drive is not Drive.UPPER_ARM:
        # On upper arms a turn of 2 pi changes nothing, and -theta is another code.
        turned = replace(turned, u=without_full_turns(moved.u), v=without_full_turns(moved.v))
    gain = _gain(moved.s, balanced.amplitude, active)
    best = rounded_tile(tile, code, rules)
    if taps:
        found = _redrawn(turned, tile.sigma.theta_rad, code, rules, trims_of(tile, balanced))
        best = min((_regained(t, metric) for t in (best, found)), key=lambda t: _error(t, metric))
    elif gain > 0:
        levels = _attenuator_levels(code, drive)
        amplitudes = gain * attenuation(theta_rad=levels)

        def code_of(s: Real) -> npt.NDArray[np.intp]:
            return np.asarray(np.abs(s[:, None] - amplitudes).argmin(axis=1))

        s = rounded_amplitudes(moved, metric, lambda s: amplitudes[code_of(s)], active)
        theta = np.where(active, levels[code_of(s)], tile.sigma.theta_rad)
        found = _redrawn(replace(turned, gain=gain), theta, code, rules, trims_of(tile, balanced))
        best = min(best, found, key=lambda t: _error(t, metric))
    return best


def _ways(amplitude: Real, active: Flags) -> Real:
    """How amplitudes (r,) can move, as columns (r, q): those `active` each on its own, the others
    all by one factor, the gain."""
    alone, others = np.eye(len(active))[:, active], np.where(active, 0.0, amplitude)
    return np.column_stack([alone, others]) if others.any() else alone


def _gain(s: Real, amplitude: Real, active: Flags) -> float:
    """The gain at which the attenuators that are not `active` make `s`, shape (r,)."""
    held = ~active & (amplitude > 0.0)
    if not held.any():
        return float(np.abs(s).max(initial=0.0))
    return float(np.max(s[held] / amplitude[held]))


def _error(tile: MeshTile, metric: Metric) -> float:
    return metric.error(tile_matrix(tile).real)


def _tapped(tile: MeshTile) -> bool:
    """Whether attenuators are fixed couplers."""
    state = tile.sigma.state
    return bool(np.any(state == ShifterState.PASSIVE) and np.all(state != ShifterState.ACTIVE))


def _regained(tile: MeshTile, metric: Metric) -> MeshTile:
    """The tile with the electronic gain that suits the metric best."""
    matrix = tile_matrix(tile).real
    there = metric.p @ matrix @ metric.c
    whole = float((matrix * there).sum())
    factor = float((metric.target * there).sum()) / whole if whole > 0 else 1.0
    return replace(tile, gain=factor * tile.gain) if factor > 0 else tile


def _fixed_thetas(tile: MeshTile) -> bool:
    """Whether a theta is passive, and so cannot be moved to a code."""
    return any(bool(np.any(m.theta_state == ShifterState.PASSIVE)) for m in (tile.u, tile.v))


def _redrawn(
    tile: BalancedTile, sigma_theta: Real, code: DriveCode, rules: DrawingRules, trims: Trims
) -> MeshTile:
    """The tile drawn with these attenuators, and the phi that are left on codes as well."""
    tile = replace(tile, amplitude=attenuation(theta_rad=sigma_theta))
    drawn = drawn_tile(tile, rules, trims=trims)
    return replace(
        drawn,
        u=_rounded_phi(drawn.u, code, trims[1]),
        sigma=Attenuators(sigma_theta, drawn.sigma.state, rules.drive),
        v=_rounded_phi(drawn.v, code, trims[0]),
    )


def _rounded_attenuators(sigma: Attenuators, code: DriveCode) -> Real:
    """Nearest codes up to pi: an attenuator beyond pi would let light through again."""
    levels = _attenuator_levels(code, sigma.drive)
    nearest = levels[np.abs(sigma.theta_rad[:, None] - levels).argmin(axis=1)]
    return np.where(sigma.state == ShifterState.ACTIVE, nearest, sigma.theta_rad)


def _attenuator_levels(code: DriveCode, drive: Drive) -> Real:
    levels = code.levels_rad(drive)
    return np.asarray(levels[levels <= np.pi])


def _rounded_phi(mesh: Mesh, code: DriveCode, trims: npt.NDArray[np.bool_]) -> Mesh:
    phi = within_pi(_rounded(mesh.phi_rad, mesh.phi_state, code, mesh.drive))
    out = within_pi(_rounded(mesh.out_rad, mesh.out_state, code, Drive.UPPER_ARM))
    return replace(
        mesh,
        phi_rad=phi,
        phi_state=np.where(trims, mesh.phi_state, _off(phi, mesh.phi_state)),
        out_rad=out,
        out_state=_off(out, mesh.out_state),
    )


def _off(phase_rad: Real, state: Flags) -> Flags:
    return np.where(phase_rad == 0.0, np.uint8(ShifterState.REMOVED), state)


def rounded_layer(
    layer: LinearLayer,
    code: DriveCode,
    rules: DrawingRules,
    rounding: Rounding,
    inputs: Matrix,
    *,
    asked: LinearLayer | None = None,
) -> LinearLayer:
    """The layer on codes. `inputs`, shape (n, B), are what `sequential` rounds for, near to
    `asked`, the same layer before its amplitudes became powers of two.

    A tile that sequential rounding would move by more than `tile_error` is rounded to nearest.
    """
    grids = []
    asked = asked or layer
    for grid, whole in zip(layer.grids, asked.grids, strict=True):
        tiles: list[Tile] = []
        for tile, aim in zip(grid.tiles, whole.tiles, strict=True):
            found = tile
            if isinstance(tile, MeshTile) and isinstance(aim, MeshTile):
                found = rounded_tile(tile, code, rules)
                if rounding is Rounding.SEQUENTIAL and not np.iscomplexobj(layer.weight):
                    entering = np.asarray(inputs[tile.inputs], np.float64)
                    moment = entering @ entering.T / entering.shape[1]
                    other = sequential_tile(tile, moment, code, rules, aim)
                    limit = tile_error(aim, code, taps=AIMED if aim is not tile else 0.0)
                    if other is not None and _moved(aim, other) <= limit:
                        found = other
            tiles.append(found)
        grids.append(replace(grid, tiles=tuple(tiles)))
        inputs = grid_matrix(whole, real=not np.iscomplexobj(layer.weight)) @ inputs
    return replace(layer, grids=tuple(grids))


def _moved(before: MeshTile, after: MeshTile) -> float:
    return float(np.linalg.norm(tile_matrix(after) - tile_matrix(before)))
