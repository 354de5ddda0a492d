"""Outputs that no layer reads: their guides go, what is read stays."""

from dataclasses import replace

import numpy as np

from onnx2mzi.emulate.data import Dataset
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import MeshTile, Program, TileGrid
from onnx2mzi.kernels import BalancedMesh, build, clements_layout
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.drawing import BalancedTile, drawn_tile
from onnx2mzi.passes.prune.unread import dimmed, without_unread
from onnx2mzi.pipeline.base import Context
from onnx2mzi.tech import load_technology


def mesh(ports: int, thetas: dict[int, float]) -> BalancedMesh:
    column, port = clements_layout(ports)
    theta = np.zeros(len(column))
    theta[list(thetas)] = list(thetas.values())
    zero = np.zeros(len(column))
    return BalancedMesh(
        ports=ports, column=column, port=port, theta=theta, phi=zero, out=np.zeros(ports)
    )


def tile(m: int, n: int, u: dict[int, float], v: dict[int, float]) -> BalancedTile:
    return BalancedTile(
        outputs=np.arange(m, dtype=np.int32),
        inputs=np.arange(n, dtype=np.int32),
        u=mesh(m, u),
        amplitude=np.ones(min(m, n)),
        v=mesh(n, v),
        gain=1.0,
    )


def matrix(made: BalancedTile) -> np.ndarray:
    r = len(made.amplitude)
    return np.asarray((build(made.u).real[:, :r] * made.amplitude) @ build(made.v).real[:r])


def test_rows_that_are_read_stay() -> None:
    before = tile(7, 7, {3: 0.4, 9: -0.8, 14: 1.1}, {5: 0.7})
    for seed in range(20):
        read = np.random.default_rng(seed).random(7) < 0.5
        after = dimmed(before, read)
        assert np.abs(matrix(after) - matrix(before))[read].max(initial=0.0) < 1e-12
        assert np.count_nonzero(after.u.theta) <= np.count_nonzero(before.u.theta)


def test_rotations_that_lead_to_unread_outputs_alone_go() -> None:
    before = tile(7, 7, {3: 0.4, 9: -0.8}, {})
    after = dimmed(before, np.zeros(7, bool))
    assert not after.u.theta.any() and not after.amplitude.any()
    assert dimmed(before, np.ones(7, bool)).amplitude.all()


def test_a_network_without_unread_units_computes_the_same(tiny_onnx: bytes) -> None:
    """The second layer reads one unit: the first loses the guides of others."""
    linear = import_model(tiny_onnx, ports=8)
    assert linear.host is not None
    context = Context(load_technology("cornerstone_si220"))
    rules = drawing_rules(context)
    first, second = linear.layers
    (m, n), (k, _) = first.weight.shape, second.weight.shape
    tiles = tile(m, n, {}, {2: 0.6}), tile(k, m, {0: 0.3}, {})
    one = tiles[1].amplitude * 0.0
    one[0] = 1.0
    drawn = [drawn_tile(tiles[0], rules), drawn_tile(replace(tiles[1], amplitude=one), rules)]
    program: Program = replace(
        linear,
        layers=tuple(
            replace(layer, grids=(grid,))
            for layer, grid in zip(
                linear.layers,
                [_grid(m, n, drawn[0]), _grid(k, m, drawn[1])],
                strict=True,
            )
        ),
    )
    x = np.random.default_rng(0).standard_normal((40, n)).astype(np.float32)
    data = Dataset({"x": x}, None)
    network = Network(HostRunner(linear.host), linear.layers, data, data)
    found = without_unread(program, network, rules, 0)
    before, after = program_matrices(program), program_matrices(found)
    old, new = (network.outputs(w, data)["y"] for w in (before, after))
    assert np.abs(old - new).max() <= 1e-6 * np.abs(old).max()
    (made,) = found.layers[0].grids[0].tiles
    assert isinstance(made, MeshTile)
    assert len(made.outputs) < m
    assert np.count_nonzero(np.abs(after[first.name]).max(1)) < np.count_nonzero(
        np.abs(before[first.name]).max(1)
    )


def _grid(rows: int, columns: int, made: MeshTile) -> TileGrid:
    return TileGrid(rows, columns, (made,))
