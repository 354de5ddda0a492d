"""Matrices that imperfect copies of a program's chip multiply by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnx2mzi.emulate.imperfect_devices import Site, attenuator_devices, mesh_devices
from onnx2mzi.emulate.imperfect_tile import (
    BLOCKS,
    IDEAL,
    How,
    Region,
    TileDevices,
    tile_copies,
)
from onnx2mzi.emulate.readout import Calibration, calibrated
from onnx2mzi.emulate.transfer import layer_matrix, tile_matrix
from onnx2mzi.ir import LinearLayer, MeshTile, Program, Tile
from onnx2mzi.physics.arrays import Index, Matrix, Real
from onnx2mzi.tech import Technology

__all__ = [
    "BLOCKS",
    "IDEAL",
    "Calibration",
    "How",
    "ImperfectProgram",
    "LayerDevices",
    "Region",
    "TileDevices",
    "calibrated",
    "imperfect_program",
    "mesh_tiles",
    "relative_errors",
    "tile_copies",
]


@dataclass(frozen=True, slots=True, eq=False)
class LayerDevices:
    """A layer, its ideal matrix (m, n), and for each grid its tiles (others are exact)."""

    layer: LinearLayer
    ideal: Matrix
    grids: tuple[tuple[TileDevices | Tile, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ImperfectProgram:
    """A program prepared for drawing copies of its chip."""

    program: Program
    technology: Technology
    layers: tuple[LayerDevices, ...]
    moments: Mapping[str, Real] = field(default_factory=dict)
    """Second moment (n, n) of every tile's inputs, by its name, where data are known."""

    @property
    def ideal(self) -> dict[str, Matrix]:
        """The matrices of the ideal chip, by layer."""
        return {item.layer.name: item.ideal for item in self.layers}

    @property
    def mzis(self) -> int:
        """MZIs of all meshes and rows of attenuators."""
        return sum(
            tile.v.core.count + tile.u.core.count + len(tile.sigma.gone)
            for _, tile in mesh_tiles(self)
        )

    def matrices(self, how: How, copies: Sequence[int]) -> list[dict[str, Matrix]]:
        """For each copy the matrix of every layer, by name. The same numbers for the same copy,
        whatever other copies are drawn with it."""
        found: list[dict[str, Matrix]] = [{} for _ in copies]
        for item in self.layers:
            for here, matrix in zip(found, self._layer(item, how, copies), strict=True):
                here[item.layer.name] = matrix
        return found

    def _layer(self, item: LayerDevices, how: How, copies: Sequence[int]) -> list[Matrix]:
        touched = any(how.region.covers(item.layer.name, block) for block in BLOCKS)
        if how.sizes.lasting == IDEAL or not touched or not item.grids:
            return [item.ideal] * len(copies)
        real = not np.iscomplexobj(item.layer.weight)
        product: Matrix | None = None
        for grid, tiles in zip(item.layer.grids, item.grids, strict=True):
            total = np.zeros((len(copies), grid.rows, grid.columns), np.complex128)
            for tile in tiles:
                place: Tile = tile.tile if isinstance(tile, TileDevices) else tile
                added: Matrix
                if isinstance(tile, TileDevices):
                    moment = self.moments.get(tile.name)
                    name = item.layer.name
                    added = tile_copies(tile, name, self.technology, how, copies, moment)
                else:
                    added = tile_matrix(tile)
                total[_entries(place.outputs, place.inputs)] += added
            here: Matrix = np.ascontiguousarray(total.real) if real else total
            product = here if product is None else here @ product
        assert product is not None
        return list(product)


def _entries(outputs: Index, inputs: Index) -> Any:
    """Where a tile's matrices lie in those of its grid; slices, where guides are neighbours."""
    ends = [(int(guides[0]), int(guides[-1]) + 1) for guides in (outputs, inputs)]
    for guides, (first, stop) in zip((outputs, inputs), ends, strict=True):
        if not np.array_equal(guides, np.arange(first, stop)):
            return slice(None), outputs[:, None], inputs
    return slice(None), *(slice(*end) for end in ends)


def imperfect_program(program: Program, technology: Technology) -> ImperfectProgram:
    """Prepare a program whose layers are meshes; layers in other forms stay exact.

    Devices lie where the program was placed; without a placement every block lies about the
    middle of the chip.
    """
    sites = _sites(program)
    layers = []
    for layer in program.layers:
        grids = tuple(
            tuple(
                _tile_devices(layer, g, t, tile, technology, sites)
                if isinstance(tile, MeshTile)
                else tile
                for t, tile in enumerate(grid.tiles)
            )
            for g, grid in enumerate(layer.grids)
        )
        layers.append(LayerDevices(layer, layer_matrix(layer), grids))
    return ImperfectProgram(program, technology, tuple(layers))


Sites = Mapping[tuple[str, int, int, str], Site]


def _sites(program: Program) -> Sites:
    placement = program.placement
    if placement is None:
        return {}
    return {(b.layer, b.grid, b.tile, b.block): Site.of(b, placement) for b in placement.blocks}


def _tile_devices(
    layer: LinearLayer,
    grid: int,
    number: int,
    tile: MeshTile,
    technology: Technology,
    sites: Sites,
) -> TileDevices:
    v, s, u = (sites.get((layer.name, grid, number, block)) for block in BLOCKS)
    return TileDevices(
        name=f"{layer.name}/g{grid}.t{number}",
        tile=tile,
        v=mesh_devices(tile.v, technology, v),
        sigma=attenuator_devices(tile.sigma, technology, s),
        u=mesh_devices(tile.u, technology, u),
        ideal=tile_matrix(tile),
        real=not np.iscomplexobj(layer.weight),
    )


def mesh_tiles(chip: ImperfectProgram) -> list[tuple[str, TileDevices]]:
    """Every tile on the chip with the name of its layer."""
    return [
        (item.layer.name, tile)
        for item in chip.layers
        for grid in item.grids
        for tile in grid
        if isinstance(tile, TileDevices)
    ]


def relative_errors(
    chip: ImperfectProgram, found: Sequence[Mapping[str, Matrix]]
) -> dict[str, Real]:
    """||W' - W|| / ||W|| (Frobenius) of every layer for every copy, shape (C,)."""
    ideal = chip.ideal
    return {
        name: np.array([_relative(here[name], matrix) for here in found])
        for name, matrix in ideal.items()
    }


def _relative(found: Matrix, ideal: Matrix) -> float:
    scale = float(np.linalg.norm(ideal))
    error = float(np.linalg.norm(found - ideal))
    return error / scale if scale > 0 else error
