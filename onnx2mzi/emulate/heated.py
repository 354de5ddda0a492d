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
from onnx2mzi.physics.stack import Die

# Heaters at a time: keeps the bars' matrix below a few hundred MB.
_AT_ONCE = 512


@dataclass(frozen=True, slots=True, eq=False)
class HeatResponse:
    """`segment`, shape (segments, heaters): rad on every piece of guide per rad of a drive.

    A drive of 1 rad is the power with which a heater makes 1 rad between its own two arms, its
    neighbours cold; that power is `mw_per_rad`, shape (heaters,).
    """

    segment: Real
    mw_per_rad: Real


def heat_response(*, layout: HeatLayout, model: HeatModel, die: Die | None) -> HeatResponse:
    """The response of all segments to all heaters, dense: for some 10^4 segments.

    Raises ValueError if a heater warms the opposite arm more than its own.
    """
    heaters, gather = layout.heaters, layout.gather()
    factor = phase_rad_per_k_um(stack=model.stack)
    blocks = [np.zeros((layout.push.shape[1], 0))]
    for start in range(0, len(heaters), _AT_ONCE):
        some = heaters.bars.take(np.arange(start, min(start + _AT_ONCE, len(heaters))))
        bars = coupling_matrix(model=model, heaters=some, segments=layout.guides, die=die)
        blocks.append(factor * (gather @ bars))
    per_mw = np.concatenate(blocks, axis=1)
    each = np.arange(len(heaters))
    opposite = np.where(heaters.other >= 0, per_mw[heaters.other, each], 0.0)
    own = per_mw[heaters.own, each] - opposite
    if (own <= 0).any():
        raise ValueError("a heater warms the opposite arm more than its own")
    return HeatResponse(per_mw / own, 1 / own)


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
    noise = rng.standard_normal(response.segment.shape)
    real = response.segment * (1 + systematic) * np.exp(random * noise - random**2 / 2)
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


def heated_matrices(*, program: Program, layout: HeatLayout, error_rad: Real) -> dict[str, Matrix]:
    """The matrix of every layer when its balanced phases are off by `error_rad`, (phases,)."""
    transfers: dict[tuple[str, int, int], Complex] = {}
    for placed, tile in zip(layout.tiles, balanced_tiles(program), strict=True):
        part = slice(placed.phase_start, placed.phase_start + placed.segments.phases)
        warm = tile.moved(error_rad[part]).transfer()
        transfers[placed.layer, placed.grid, placed.tile] = warm
    return {layer.name: _layer_matrix(layer, transfers) for layer in program.layers}


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
