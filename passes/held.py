"""What a training of phases leaves as it is: couplers, drivers that heaters share, trim heaters."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onnx2mzi.ir import Mesh, MeshTile, Program, Tile
from onnx2mzi.passes.drawing import DrawingRules, balanced_tile, drawn_tile, trims_of
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import Drive, ShifterState, drive_rad

if TYPE_CHECKING:
    from onnx2mzi.train.loop import At, Trainer
    from onnx2mzi.train.network import PhaseNetwork

# Heaters whose drives agree to so many digits share a driver (see `layer_drivers`).
DIGITS = 9

Mask = npt.NDArray[np.bool_]


def as_made(model: "PhaseNetwork", drive: Drive) -> "Callable[[Trainer, At], None]":
    """What every step is followed by: couplers of powers of two stand where they stood, heaters
    of one driver at the mean of their drives.

    Heaters of a real layer share a driver where they start at one drive; phis of complex meshes
    are not those that are drawn, so their layers share none.
    """
    import torch

    start = model.phase.detach().clone()
    still = torch.from_numpy(_power_of_two(start.numpy()))
    still &= model.fixed & model.alive & (model.kinds() == 2)
    made = drive_rad(start.numpy(), np.full(len(start), ShifterState.ACTIVE), drive)
    sign = torch.ones_like(start)
    if drive is not Drive.UPPER_ARM:
        sign[start < 0] = -1.0
    # Whole turns, on an upper arm.
    turn = start - sign * torch.from_numpy(made)
    heater = (model.alive & ~model.fixed).numpy()
    members, numbers = _shared(model, made, heater)
    at, driver = torch.from_numpy(members), torch.from_numpy(numbers)
    sizes = torch.bincount(driver).to(start.dtype)
    sharing = [spot for spot in model.spots.values() if np.isin(np.r_[spot], members).any()]
    # Beyond half a turn signs travel on, and on an upper arm -theta is another drive.
    most = np.nextafter(np.pi, 0.0)
    bounded = sharing if drive is Drive.UPPER_ARM else []

    def hook(trainer: "Trainer", now: "At") -> None:
        with torch.no_grad():
            model.phase[still] = start[still]
            drives = sign[at] * (model.phase[at] - turn[at])
            mean = torch.zeros_like(sizes).index_add_(0, driver, drives) / sizes
            model.phase[at] = turn[at] + sign[at] * mean[driver]
            for spot in bounded:
                model.phase[spot].clamp_(-most, most)

    return hook


def _power_of_two(sigma: Real) -> Mask:
    """Which attenuators (their thetas, rad) are dark or make an amplitude of 1, 1/2, 1/4, ..."""
    octaves = -np.log2(np.maximum(np.abs(np.cos(sigma / 2)), 1e-300))
    return (np.abs(octaves - np.round(octaves)) < 1e-9) | (np.abs(np.cos(sigma / 2)) < 1e-9)


def _shared(
    model: "PhaseNetwork", made: Real, heater: Mask
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(places in the vector of phases, number of its driver) of all heaters that share one."""
    places, numbers = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    drivers = 0
    for name, spot in model.spots.items():
        if all(tile.real for grid in model.layers[name] for tile in grid.tiles):
            there = spot.start + np.flatnonzero(heater[spot])
            _, group, size = np.unique(
                np.round(made[there], DIGITS), return_inverse=True, return_counts=True
            )
            several = size[group] > 1
            _, number = np.unique(group[several], return_inverse=True)
            places.append(there[several])
            numbers.append(drivers + number)
            drivers += int(np.count_nonzero(size > 1))
    return np.concatenate(places), np.concatenate(numbers)


def with_trims_of(before: Program, after: Program, rules: DrawingRules) -> Program:
    """`after` with trim heaters in the places where `before` has them."""
    layers = []
    for old_layer, new_layer in zip(before.layers, after.layers, strict=True):
        grids = []
        for old_grid, new_grid in zip(old_layer.grids, new_layer.grids, strict=True):
            pairs = zip(old_grid.tiles, new_grid.tiles, strict=True)
            grids.append(replace(new_grid, tiles=tuple(_trimmed(*pair, rules) for pair in pairs)))
        layers.append(replace(new_layer, grids=tuple(grids)))
    return replace(after, layers=tuple(layers))


def _trimmed(before: Tile, after: Tile, rules: DrawingRules) -> Tile:
    if not (isinstance(before, MeshTile) and isinstance(after, MeshTile)):
        return after
    old = trims_of(before, balanced_tile(before))
    if not any(trims.any() for trims in old):
        return after
    v, u = (
        np.isin(_places(now), _places(then)[trims]) | (now.phi_state == ShifterState.ACTIVE)
        for now, then, trims in zip((after.v, after.u), (before.v, before.u), old, strict=True)
    )
    return drawn_tile(balanced_tile(after), rules, trims=(v, u))


def _places(mesh: Mesh) -> npt.NDArray[np.int64]:
    """One number for each MZI's place."""
    return mesh.column.astype(np.int64) * mesh.ports + mesh.port
