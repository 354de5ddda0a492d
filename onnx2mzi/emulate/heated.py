"""What a chip computes when its heaters warm all guides, and how much power they take."""

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from onnx2mzi.emulate.heat import BalancedTile, balanced_tile
from onnx2mzi.emulate.heat_layout import HeatLayout
from onnx2mzi.ir import LinearLayer, MeshTile, Program
from onnx2mzi.physics.arrays import Complex, Matrix, Real
from onnx2mzi.physics.heat import phase_rad_per_k_um
from onnx2mzi.physics.heat_coupling import coupling_matrix
from onnx2mzi.physics.heat_model import HeatModel
from onnx2mzi.physics.heat_operator import coupling_operator
from onnx2mzi.physics.stack import Die

# More pairs than this, and the far field comes from a coarse grid: within 1e-3 of the entries.
_PAIRS = 500_000
_SPLIT_UM = 600.0
_SPACING = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class HeatResponse:
    """`segment`, shape (segments, heaters): rad on every piece of guide per rad of a drive.

    A drive of 1 rad is the power with which a heater makes 1 rad between its own two arms, its
    neighbours cold; that power is `mw_per_rad`, shape (heaters,).
    """

    segment: Real
    mw_per_rad: Real


def heat_response(*, layout: HeatLayout, model: HeatModel, die: Die | None) -> HeatResponse:
    """The response of all segments to all heaters, dense: 8 bytes a pair.

    Raises ValueError if a heater warms the opposite arm more than its own.
    """
    heaters = layout.heaters
    per_mw = phase_rad_per_k_um(stack=model.stack) * _warmth(layout, model, die)
    each = np.arange(len(heaters))
    opposite = np.where(heaters.other >= 0, per_mw[heaters.other, each], 0.0)
    own = per_mw[heaters.own, each] - opposite
    if (own <= 0).any():
        raise ValueError("a heater warms the opposite arm more than its own")
    return HeatResponse(per_mw / own, 1 / own)


def _warmth(layout: HeatLayout, model: HeatModel, die: Die | None) -> Real:
    """K um / mW of all segments, shape (segments, heaters)."""
    bars, gather = layout.heaters.bars, layout.gather()
    if len(bars) * len(layout.guides) <= _PAIRS:
        exact = coupling_matrix(model=model, heaters=bars, segments=layout.guides, die=die)
        return np.asarray(gather @ exact)
    split_um = _SPLIT_UM
    if die is not None:
        split_um = min(split_um, 0.4 * (die.x1_um - die.x0_um), 0.4 * (die.y1_um - die.y0_um))
    operator = coupling_operator(
        model=model,
        heaters=bars,
        segments=layout.guides,
        die=die,
        split_um=split_um,
        spacing_um=_SPACING * split_um,
    )
    return operator.columns(np.arange(len(bars)), gather)


def phase_errors(*, layout: HeatLayout, response: HeatResponse, drive_rad: Real) -> Real:
    """What heat adds to the balanced phases that the drawing asks for, shape (phases,)."""
    return np.asarray(layout.push @ (response.segment @ drive_rad - layout.asked_rad()))


def uncertain(
    *,
    layout: HeatLayout,
    response: HeatResponse,
    random: float,
    systematic: float,
    rng: np.random.Generator,
) -> HeatResponse:
    """A response as it may really be: crosstalk times (1 + systematic) e^{random normal}.

    Own segments, which calibration measures, stay.
    """
    # Single precision is enough, and half of the memory and time of large chips.
    noise = rng.standard_normal(response.segment.shape, np.float32)
    noise *= np.float32(random)
    noise -= np.float32(random**2 / 2)
    np.exp(noise, out=noise)
    real = response.segment * noise
    real *= 1 + systematic
    each = np.arange(len(layout.heaters))
    real[layout.heaters.own, each] = response.segment[layout.heaters.own, each]
    return replace(response, segment=real)


def balanced_tiles(program: Program) -> tuple[BalancedTile, ...]:
    """All tiles in the balanced gauge, in the order of the layout."""
    return tuple(balanced_tile(tile) for tile in _tiles(program))


def _tiles(program: Program) -> list[MeshTile]:
    return [
        tile
        for layer in program.layers
        for grid in layer.grids
        for tile in grid.tiles
        if isinstance(tile, MeshTile)
    ]


def tile_errors(
    *, layout: HeatLayout, cold: tuple[BalancedTile, ...], error_rad: Real
) -> tuple[BalancedTile, ...]:
    """The tiles when their balanced phases are off by `error_rad`, shape (phases,)."""
    parts = (slice(p.phase_start, p.phase_start + p.segments.phases) for p in layout.tiles)
    return tuple(tile.moved(error_rad[part]) for tile, part in zip(cold, parts, strict=True))


def heated_matrices(
    *,
    program: Program,
    layout: HeatLayout,
    error_rad: Real,
    recalibrated: bool = True,
    cold: tuple[BalancedTile, ...] | None = None,
) -> dict[str, Matrix]:
    """The matrix of every layer when its balanced phases are off by `error_rad`, (phases,).

    Heat turns whole outputs by many radians; a readout of both quadratures turns them back
    electronically. `recalibrated` outputs are turned to where they are closest to the cold ones.
    `cold` are the program's `balanced_tiles`, if they are known.
    """
    transfers: dict[tuple[str, int, int], Complex] = {}
    cold = balanced_tiles(program) if cold is None else cold
    made = tile_errors(layout=layout, cold=cold, error_rad=error_rad)
    for placed, before, after in zip(layout.tiles, cold, made, strict=True):
        warm = after.transfer()
        if recalibrated:
            warm = np.exp(1j * output_turn_rad(warm, before.transfer()))[:, None] * warm
        transfers[placed.layer, placed.grid, placed.tile] = warm
    return {layer.name: _layer_matrix(layer, transfers) for layer in program.layers}


def output_turn_rad(warm: Complex, cold: Complex) -> Real:
    """The angle by which a readout turns every row of `warm` to be closest to `cold`, (m,).

    Derivatives of the warm tile (heat_jacobian) are seen through the same turned readout.
    """
    return np.asarray(-np.angle((warm * cold.conj()).sum(axis=1)))


def _layer_matrix(layer: LinearLayer, transfers: dict[tuple[str, int, int], Complex]) -> Matrix:
    if not layer.grids:
        return layer.weight
    real = not np.iscomplexobj(layer.weight)
    products: list[Matrix] = []
    for g, grid in enumerate(layer.grids):
        total: Matrix = (
            np.zeros((grid.rows, grid.columns))
            if real
            else np.zeros((grid.rows, grid.columns), np.complex128)
        )
        for t, tile in enumerate(grid.tiles):
            assert isinstance(tile, MeshTile)
            read = tile.gain * np.exp(1j * tile.readout_rad)[:, None]
            light: Complex = np.asarray(read * transfers[layer.name, g, t])
            at = np.ix_(tile.outputs, tile.inputs)
            total[at] += np.asarray(light.real) if real else light
        products.append(total)
    return reduce(_behind, products)


def _behind(first: Matrix, second: Matrix) -> Matrix:
    product: Matrix = second @ first
    return product
