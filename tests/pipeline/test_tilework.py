"""Tiles worked on in parallel: their order, what is told, and what an error leaves."""

from threading import Barrier

import numpy as np
import pytest

from onnx2mzi.ir import DenseTile, LinearLayer, Loc, Operand, Program, Stage, Tile, TileGrid
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.tilework import mapping, with_tiles
from onnx2mzi.tech import load_technology


def dense(value: float) -> DenseTile:
    return DenseTile(np.array([0]), np.array([0]), np.array([[value]]))


def program(counts: tuple[int, ...]) -> Program:
    operand = Operand("x", -1, "w", False, "float32")
    layers = []
    for number, count in enumerate(counts):
        grid = TileGrid(1, 1, tuple(dense(10 * number + k) for k in range(count)))
        layers.append(LinearLayer(f"fc{number}", np.ones((1, 1)), operand, Loc(), (grid,)))
    return Program("m", Stage.LINEAR, 4, tuple(layers))


def values(made: Program) -> list[list[float]]:
    return [
        [float(tile.weight[0, 0]) for tile in layer.grids[0].tiles if isinstance(tile, DenseTile)]
        for layer in made.layers
    ]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_order_and_what_is_told(workers: int) -> None:
    told: list[tuple[str, int, int]] = []
    context = Context(
        load_technology("cornerstone_si220"),
        workers=workers,
        progress=lambda what, done, total: told.append((what, done, total)),
    )

    def odd_doubled(tile: Tile) -> Tile | None:
        assert isinstance(tile, DenseTile)
        value = float(tile.weight[0, 0])
        return dense(2 * value) if value % 2 else None

    made = with_tiles(program((4, 2)), context, "double", lambda layer, grid: odd_doubled)
    assert values(made) == [[2.0, 6.0], [22.0]]
    assert told[0] == ("double, layer 1/2", 1, 6)
    assert told[-1] == ("double, layer 2/2", 6, 6)


def test_a_layer_of_which_no_tile_changed_is_the_same_object() -> None:
    before = program((3, 2, 1))
    context = Context(load_technology("cornerstone_si220"))

    def work(tile: Tile) -> Tile | None:
        assert isinstance(tile, DenseTile)
        value = float(tile.weight[0, 0])
        return None if value == 20 else dense(-1) if value == 11 else tile

    made = with_tiles(before, context, "some", lambda layer, grid: work)
    assert made.layers[0] is before.layers[0]
    assert values(made) == [[0.0, 1.0, 2.0], [10.0, -1.0], []]


def test_threads_really_run_at_the_same_time() -> None:
    meeting = Barrier(2, timeout=30)

    def meets(tile: Tile) -> Tile:
        meeting.wait()
        return tile

    with mapping(2) as mapped:
        assert len(list(mapped(meets, [dense(0), dense(1)]))) == 2


def test_an_error_drops_what_has_not_begun() -> None:
    begun: list[float] = []

    def fails(tile: Tile) -> Tile:
        assert isinstance(tile, DenseTile)
        begun.append(float(tile.weight[0, 0]))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), mapping(2) as mapped:
        tiles = [dense(k) for k in range(10_000)]
        list(mapped(fails, tiles))
    assert len(begun) < 10_000
