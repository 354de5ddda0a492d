"""Between programs and networks of phases: what training starts from, and what it leaves."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnx2mzi.emulate.network import Network
from onnx2mzi.ir import LinearLayer, MeshTile, Program, TileGrid
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.passes.prune.cost import cuts
from onnx2mzi.passes.prune.settle import settled_tile
from onnx2mzi.passes.prune.thetas import RealTile
from onnx2mzi.physics.arrays import Real
from onnx2mzi.train.tiles import GridStart, LayerStart, TileStart, near_zero_tile

# Deviation of phases that start near zero, for narrow tiles; wide ones add up more of them.
SPREAD_RAD = 0.2
NARROW = 64


def program_starts(program: Program) -> list[LayerStart]:
    """The layers of a program with the phases that they have, in the balanced gauge.

    V's output phases of a complex tile are in U's phi already (see `balanced_tile`).
    """
    found = []
    for layer in program.layers:
        grids = []
        for grid in layer.grids:
            tiles = (balanced_tile(tile) for tile in grid.tiles if isinstance(tile, MeshTile))
            starts = tuple(
                TileStart(t.outputs, t.inputs, t.u, t.amplitude, t.v, t.gain) for t in tiles
            )
            grids.append(GridStart(grid.rows, grid.columns, starts))
        found.append(LayerStart(layer.name, tuple(grids), not np.iscomplexobj(layer.weight)))
    return found


def zero_starts(program: Program, network: Network, seed: int) -> list[LayerStart]:
    """The layers on one grid of tiles with phases near zero, on the guides that the program's
    tiles use.

    A nearly heater-free V sends its last guides to the channels, so the inputs that vary most
    lie there.
    """
    rng = np.random.default_rng(seed)
    inputs = network.layer_inputs()
    found = []
    for layer in program.layers:
        m, n = layer.weight.shape
        rows, columns = _used(layer)
        varies = np.asarray(np.abs(inputs[layer.name]).std(axis=1))
        tiles = []
        for top in cuts(len(rows), program.ports):
            for left in cuts(len(columns), program.ports):
                outputs, entering = rows[top], columns[left]
                order = np.argsort(varies[entering], kind="stable")
                norm = float(np.linalg.norm(layer.weight[np.ix_(outputs, entering)]))
                widest = max(len(outputs), len(entering))
                tiles.append(
                    near_zero_tile(
                        (len(outputs), len(entering)),
                        norm=norm,
                        real=not np.iscomplexobj(layer.weight),
                        spread_rad=SPREAD_RAD * float(np.sqrt(min(1.0, NARROW / widest))),
                        rng=rng,
                        inputs=entering[order],
                        outputs=outputs,
                    )
                )
        grid = GridStart(m, n, tuple(tiles))
        found.append(LayerStart(layer.name, (grid,), not np.iscomplexobj(layer.weight)))
    return found


def _used(layer: LinearLayer) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and inputs of a layer that its tiles use, ascending."""
    m, n = layer.weight.shape
    outputs = [tile.outputs for tile in layer.grids[-1].tiles] if layer.grids else [np.arange(m)]
    inputs = [tile.inputs for tile in layer.grids[0].tiles] if layer.grids else [np.arange(n)]
    none = np.zeros(0, np.int32)
    return (
        np.unique(np.concatenate([none, *outputs])).astype(np.int32),
        np.unique(np.concatenate([none, *inputs])).astype(np.int32),
    )


def with_phases(
    program: Program, starts: Sequence[LayerStart], rules: DrawingRules, *, taps: bool = False
) -> Program:
    """The program with meshes of these phases; what is 0 has no heater. With `taps` attenuators
    are fixed couplers."""
    grids = {start.name: start.grids for start in starts}
    layers = []
    for layer in program.layers:
        drawn = tuple(
            TileGrid(
                grid.rows,
                grid.columns,
                tuple(drawn_tile(_balanced(tile, taps), rules) for tile in grid.tiles),
            )
            for grid in grids[layer.name]
        )
        layers.append(replace(layer, grids=drawn))
    return replace(program, layers=tuple(layers))


def _balanced(tile: TileStart, taps: bool) -> BalancedTile:
    fixed = np.full(len(tile.amplitude), taps, np.uint8)
    if tile.is_real:
        real = RealTile(tile.u, tile.gain * tile.amplitude, tile.v)
        return replace(settled_tile(real, tile.outputs, tile.inputs), taps=fixed)
    scale = _largest(tile.amplitude)
    return BalancedTile(
        outputs=tile.outputs,
        inputs=tile.inputs,
        u=tile.u,
        amplitude=tile.amplitude / scale,
        v=tile.v,
        gain=tile.gain * scale,
        taps=fixed,
    )


def _largest(amplitude: Real) -> float:
    return float(amplitude.max(initial=0.0)) or 1.0
