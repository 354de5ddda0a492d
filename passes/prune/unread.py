"""Outputs of a layer that the next one no longer looks at: their guides go.

Training takes heaters where the outputs do not feel it, and leaves units that nobody reads on
their guides. Rotations that lead to such outputs alone go, and then the guides that lead straight
to them. The layers' matrices change, the network's outputs do not.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.transfer import layer_matrix
from onnx2mzi.ir import LinearLayer, MeshTile, Program
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.passes.prune.links import readers
from onnx2mzi.passes.untangle import sequenced, untangled

Bools = npt.NDArray[np.bool_]

# `compact` looks longer for the best order of guides.
EFFORT = 0.1
# A column of weights this small is round-off.
NOTHING = 1e-12


def without_unread(program: Program, network: Network, rules: DrawingRules, seed: int) -> Program:
    """The program without guides for outputs that no layer reads; itself where all are read.

    Real tiles alone, and those of which few MZIs are left.
    """
    layers = list(program.layers)
    if all(_read(layer).all() for layer in layers):
        return program
    names = [layer.name for layer in layers]
    for k, reader in reversed(list(enumerate(readers(network, names, seed)))):
        if reader is not None:
            layers[k] = _without(layers[k], _read(layers[reader]), rules)
    return replace(program, layers=tuple(layers))


def _read(layer: LinearLayer) -> Bools:
    """Which inputs a layer uses, shape (n,)."""
    weight = np.abs(layer_matrix(layer))
    return np.asarray(weight.max(axis=0, initial=0.0) > NOTHING * weight.max(initial=0.0))


def _without(layer: LinearLayer, read: Bools, rules: DrawingRules) -> LinearLayer:
    if read.all() or not layer.grids:
        return layer
    last = layer.grids[-1]
    tiles = tuple(
        _thinner(tile, read, rules) if isinstance(tile, MeshTile) else tile for tile in last.tiles
    )
    return replace(layer, grids=(*layer.grids[:-1], replace(last, tiles=tiles)))


def _thinner(tile: MeshTile, read: Bools, rules: DrawingRules) -> MeshTile:
    found = untangled(dimmed(balanced_tile(tile), read[tile.outputs]), effort=EFFORT, merge=True)
    if found is None or found.fixed_u is not None or found.fixed_v is not None:
        return tile
    return drawn_tile(found, rules)


def dimmed(tile: BalancedTile, read: Bools) -> BalancedTile:
    """The tile without light that reaches no output that is `read`, (m,): thetas of U that lead
    to others alone are 0, and so are channels."""
    u, theta = sequenced(tile.u), np.array(tile.u.theta)
    live = {k for k, end in enumerate(u.end) if read[end]}
    turned = np.flatnonzero(theta)
    for index, rotation in zip(turned[::-1].tolist(), reversed(u.rotations), strict=True):
        if rotation.a in live or rotation.b in live:
            live |= {rotation.a, rotation.b}
        else:
            theta[index] = 0.0
    amplitude = np.array([x if k in live else 0.0 for k, x in enumerate(tile.amplitude.tolist())])
    return replace(tile, u=replace(tile.u, theta=theta), amplitude=amplitude)
