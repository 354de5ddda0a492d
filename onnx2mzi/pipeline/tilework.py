"""Tiles worked on in parallel: the part of a pass that takes every tile for itself.

Threads, for the kernels, LAPACK and numpy's loops hold no lock; results come back in the order
of the tiles, so their number changes nothing but the time.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from onnx2mzi.ir import LinearLayer, Program, Tile, TileGrid
from onnx2mzi.pipeline.base import Context

# What a pass does with the tiles of a grid of a layer; a tile that becomes None is left out.
Work = Callable[[LinearLayer, TileGrid], Callable[[Tile], Tile | None]]
Map = Callable[[Callable[[Tile], Tile | None], Iterable[Tile]], Iterator[Tile | None]]


@contextlib.contextmanager
def mapping(workers: int) -> Iterator[Map]:
    """As `map`, on so many threads. An error, or an interrupt, drops what has not begun."""
    if workers <= 1:
        yield map
        return
    executor = ThreadPoolExecutor(workers)
    try:
        yield executor.map
    finally:
        executor.shutdown(cancel_futures=True)


def with_tiles(
    program: Program, context: Context, what: str, work: Work, *, keep: str = ""
) -> Program:
    """The program, every tile of its layers replaced by what `work` makes of it.

    `what` names the work to `context.progress`, which counts tiles. With `keep`, the text of the
    pass, finished layers are kept and taken up again.
    """
    counts = [sum(len(grid.tiles) for grid in layer.grids) for layer in program.layers]
    kept = context.kept if keep else None
    done = 0
    layers: list[LinearLayer] = []
    # A pool of threads is not worth while for a single tile.
    with mapping(min(context.workers, sum(counts))) as mapped:
        for number, (layer, count) in enumerate(zip(program.layers, counts, strict=True)):
            told = f"{what}, layer {number + 1}/{len(program.layers)}"
            tell = partial(_tell, context.progress, told, sum(counts), done)
            made = kept.layer(keep, program, layer) if kept is not None else None
            if made is None:
                made = _worked(layer, mapped, work, tell)
                if kept is not None:
                    kept.keep_layer(keep, program, layer, made)
            tell(count)
            done += count
            layers.append(made)
    return replace(program, layers=tuple(layers))


def _tell(
    progress: Callable[[str, int, int], None], what: str, total: int, before: int, done: int
) -> None:
    progress(what, before + done, total)


def _worked(
    layer: LinearLayer, mapped: Map, work: Work, tell: Callable[[int], None]
) -> LinearLayer:
    """The layer with its tiles worked on; `tell` takes how many are done."""
    grids, done = [], 0
    for grid in layer.grids:
        tiles: list[Tile] = []
        for made in mapped(work(layer, grid), grid.tiles):
            done += 1
            tell(done)
            if made is not None:
                tiles.append(made)
        grids.append(replace(grid, tiles=tuple(tiles)))
    # The same object where nothing changed: what is known of it need not be computed again.
    same = all(map(_same_tiles, grids, layer.grids))
    return layer if same else replace(layer, grids=tuple(grids))


def _same_tiles(a: TileGrid, b: TileGrid) -> bool:
    return len(a.tiles) == len(b.tiles) and all(
        x is y for x, y in zip(a.tiles, b.tiles, strict=True)
    )
