"""Matrices that imperfect copies of a program's chip multiply by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from onnx2mzi.emulate.imperfect_devices import (
    AttenuatorDevices,
    MeshDevices,
    attenuator_devices,
    mesh_devices,
)
from onnx2mzi.emulate.imperfect_mesh import (
    Carried,
    Chips,
    DrawnMesh,
    drawn_attenuators,
    drawn_mesh,
)
from onnx2mzi.emulate.transfer import layer_matrix, tile_matrix
from onnx2mzi.ir import LinearLayer, MeshTile, Program, Tile
from onnx2mzi.kernels import propagate_cells
from onnx2mzi.physics.arrays import Complex, Matrix, Real
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.imperfection_random import block_keys, normal
from onnx2mzi.tech import Technology

BLOCKS = ("v", "s", "u")
IDEAL = Imperfections()
MODULATOR, DETECTOR = 14, 15


class Calibration(StrEnum):
    """What is adjusted behind the detectors of every tile once a chip is made."""

    NONE = "none"
    GAIN = "gain"
    """One real gain a tile: loss that is alike everywhere does no harm."""

    READOUT = "readout"
    """A gain and an angle for each output of a tile: receivers have one each."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where a chip is imperfect: a layer, a block ("v", "s", "u") or both; None is all."""

    layer: str | None = None
    block: str | None = None

    def covers(self, layer: str, block: str) -> bool:
        """Whether the block is imperfect."""
        return self.layer in (None, layer) and self.block in (None, block)


@dataclass(frozen=True, slots=True)
class How:
    """How copies are drawn: sizes, seed, where, trimming of static errors, calibration."""

    sizes: Imperfections
    seed: int = 0
    region: Region = Region()
    trim: bool = True
    calibration: Calibration = Calibration.GAIN


@dataclass(frozen=True, slots=True, eq=False)
class TileDevices:
    """A tile on the chip: its devices, and its ideal matrix (m, n)."""

    name: str
    tile: MeshTile
    v: MeshDevices
    sigma: AttenuatorDevices
    u: MeshDevices
    ideal: Matrix


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
        if how.sizes == IDEAL or not touched or not item.grids:
            return [item.ideal] * len(copies)
        real = not np.iscomplexobj(item.layer.weight)
        product: Matrix | None = None
        for grid, tiles in zip(item.layer.grids, item.grids, strict=True):
            total = np.zeros((len(copies), grid.rows, grid.columns), np.complex128)
            for tile in tiles:
                if isinstance(tile, TileDevices):
                    drawn = tile_copies(tile, item.layer.name, self.technology, how, copies)
                    total[:, tile.tile.outputs[:, None], tile.tile.inputs] += drawn
                else:
                    total[:, tile.outputs[:, None], tile.inputs] += tile_matrix(tile)
            here: Matrix = np.ascontiguousarray(total.real) if real else total
            product = here if product is None else here @ product
        assert product is not None
        return list(product)


def imperfect_program(program: Program, technology: Technology) -> ImperfectProgram:
    """Prepare a program whose layers are meshes; layers in other forms stay exact."""
    layers = []
    for layer in program.layers:
        grids = tuple(
            tuple(
                _tile_devices(layer, g, t, tile, technology) if isinstance(tile, MeshTile) else tile
                for t, tile in enumerate(grid.tiles)
            )
            for g, grid in enumerate(layer.grids)
        )
        layers.append(LayerDevices(layer, layer_matrix(layer), grids))
    return ImperfectProgram(program, technology, tuple(layers))


def _tile_devices(
    layer: LinearLayer, grid: int, number: int, tile: MeshTile, technology: Technology
) -> TileDevices:
    return TileDevices(
        name=f"{layer.name}/g{grid}.t{number}",
        tile=tile,
        v=mesh_devices(tile.v, technology),
        sigma=attenuator_devices(tile.sigma, technology),
        u=mesh_devices(tile.u, technology),
        ideal=tile_matrix(tile),
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


def tile_copies(
    tile: TileDevices, layer: str, technology: Technology, how: How, copies: Sequence[int]
) -> Complex:
    """What copies of the tile add to its outputs, (C, m, n), calibrated."""
    chips = {
        block: Chips(
            sizes=how.sizes if how.region.covers(layer, block) else IDEAL,
            keys=block_keys(seed=how.seed, copies=copies, block=f"{tile.name}/{block}"),
            chip_keys=block_keys(seed=how.seed, copies=copies, block=""),
            coherence_mm=technology.guide.coherence_mm,
            crosstalk_db=technology.crossing.crosstalk_db,
            trim=how.trim,
        )
        for block in BLOCKS
    }
    count, channels = len(copies), len(tile.sigma.gone)
    n, m = tile.v.ports, tile.u.ports
    v = drawn_mesh(tile.v, chips["v"], Carried(np.zeros((1, n)), np.ones(n)))
    behind = Carried(v.carried.phase_rad[:, :channels], v.carried.power[:channels])
    sigma, behind = drawn_attenuators(tile.sigma, chips["s"], behind)
    entering = np.zeros((len(behind.phase_rad), m))
    entering[:, :channels] = behind.phase_rad
    power = np.zeros(m)
    power[:channels] = behind.power
    u = drawn_mesh(tile.u, chips["u"], Carried(entering, power))
    light = np.empty((count, m, n), np.complex128)
    identity = np.eye(n, dtype=np.complex128)
    for c in range(count):
        fields = np.zeros((m, n), np.complex128)
        fields[:channels] = _through(tile.v, v, c, identity)[:channels] * sigma[c][:, None]
        light[c] = _through(tile.u, u, c, fields)
    turned = tile.tile.gain * np.exp(1j * tile.tile.readout_rad)[:, None] * light
    turned = _ends(turned, tile, chips["v"], chips["u"])
    return calibrated(turned, tile.ideal, how.calibration)


def _through(devices: MeshDevices, drawn: DrawnMesh, copy: int, x: Complex) -> Complex:
    y = propagate_cells(devices.core, drawn.cells[copy], x)
    return np.asarray(drawn.out[copy][:, None] * y)


def _ends(light: Complex, tile: TileDevices, v: Chips, u: Chips) -> Complex:
    """Modulators before V and detectors behind U that are not alike."""
    if v.sizes.modulator > 0:
        device = np.arange(tile.v.ports)
        drawn = normal(keys=v.keys, device=device, stream=MODULATOR)
        light = light * (1 + v.sizes.modulator * drawn[:, None, :])
    if u.sizes.detector > 0:
        device = np.arange(tile.u.ports)
        drawn = normal(keys=u.keys, device=device, stream=DETECTOR)
        light = light * (1 + u.sizes.detector * drawn[:, :, None])
    return light


def calibrated(light: Complex, ideal: Matrix, calibration: Calibration) -> Complex:
    """The matrices (C, m, n) after what electronics can adjust without touching the chip."""
    if calibration is Calibration.NONE:
        return light
    axes = 2 if calibration is Calibration.READOUT else (1, 2)
    overlap = (light.conj() * ideal).sum(axis=axes, keepdims=True)
    power = (np.abs(light) ** 2).sum(axis=axes, keepdims=True)
    if calibration is Calibration.GAIN:
        overlap = overlap.real
    return np.asarray(light * np.where(power > 0, overlap / np.where(power > 0, power, 1.0), 1.0))


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
