"""Between programs and networks of phases: what training starts from, and what it leaves."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnx2mzi.emulate.network import Network
from onnx2mzi.ir import LinearLayer, MeshTile, Program, TileGrid
from onnx2mzi.kernels import BalancedMesh
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
            starts = tuple(_start(tile) for tile in tiles)
            grids.append(GridStart(grid.rows, grid.columns, starts))
        found.append(LayerStart(layer.name, tuple(grids), not np.iscomplexobj(layer.weight)))
    return found


def _start(tile: BalancedTile) -> TileStart:
    none_v, none_u = (np.zeros((2, mesh.count), bool) for mesh in (tile.v, tile.u))
    theta_v, phi_v = none_v if tile.fixed_v is None else tile.fixed_v
    theta_u, phi_u = none_u if tile.fixed_u is None else tile.fixed_u
    return TileStart(
        outputs=tile.outputs,
        inputs=tile.inputs,
        u=tile.u,
        amplitude=tile.amplitude,
        v=tile.v,
        gain=tile.gain,
        fixed=(theta_v, phi_v, tile.taps.astype(bool), theta_u, phi_u),
    )


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


def with_phases(program: Program, starts: Sequence[LayerStart], rules: DrawingRules) -> Program:
    """The program with meshes of these phases; what is 0 has no heater."""
    grids = {start.name: start.grids for start in starts}
    layers = []
    for layer in program.layers:
        drawn = tuple(
            TileGrid(
                grid.rows,
                grid.columns,
                tuple(drawn_tile(_balanced(tile), rules) for tile in grid.tiles),
            )
            for grid in grids[layer.name]
        )
        layers.append(replace(layer, grids=drawn))
    return replace(program, layers=tuple(layers))


def _balanced(tile: TileStart) -> BalancedTile:
    if tile.is_real:
        real = RealTile(tile.u, tile.gain * tile.amplitude, tile.v)
        made = settled_tile(real, tile.outputs, tile.inputs)
        return made if tile.fixed is None else _with_fixed(made, tile)
    scale = _largest(tile.amplitude)
    made = BalancedTile(
        outputs=tile.outputs,
        inputs=tile.inputs,
        u=tile.u,
        amplitude=tile.amplitude / scale,
        v=tile.v,
        gain=tile.gain * scale,
    )
    return made if tile.fixed is None else _with_fixed(made, tile)


def _with_fixed(made: BalancedTile, tile: TileStart) -> BalancedTile:
    """The tile with its fixed phases marked; MZIs that became two guides have none."""
    assert tile.fixed is not None
    theta_v, phi_v, taps, theta_u, phi_u = tile.fixed
    v, u = _left(tile.v, made.v), _left(tile.u, made.u)
    return replace(
        made,
        taps=taps.astype(np.uint8),
        fixed_v=(theta_v[v], phi_v[v]),
        fixed_u=(theta_u[u], phi_u[u]),
    )


def _left(before: BalancedMesh, after: BalancedMesh) -> np.ndarray:
    """Which MZIs (K,) of a mesh are still there."""
    if before.count == after.count:
        return np.ones(before.count, bool)
    places = before.column.astype(np.int64) * before.ports + before.port
    return np.isin(places, after.column.astype(np.int64) * after.ports + after.port)


def _largest(amplitude: Real) -> float:
    return float(amplitude.max(initial=0.0)) or 1.0
