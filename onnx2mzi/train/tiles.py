"""Tiles as training sees them: what is fixed of a tile, and where its phases stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import BalancedMesh, columns_layout, rows_layout
from onnx2mzi.physics.arrays import Index, Real
from onnx2mzi.train.layout import Layout

Block = Literal["v", "s", "u"]
Kind = Literal["theta", "phi", "sigma"]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TileStart:
    """A tile to start from: gain U[:, :r] diag(amplitude) V[:r] with V's `out` 0 or pi.

    Meshes in the balanced gauge; `outputs` (m,) and `inputs` (n,) are the guides of the grid;
    `amplitude`, shape (r,), in [0, 1]. `fixed` marks the phases that no heater makes: thetas and
    phis of v, attenuators, thetas and phis of u.
    """

    outputs: Index
    inputs: Index
    u: BalancedMesh
    amplitude: Real
    v: BalancedMesh
    gain: float
    fixed: tuple[Mask, Mask, Mask, Mask, Mask] | None = None

    @property
    def is_real(self) -> bool:
        """Whether both meshes are real."""
        return self.u.is_real and self.v.is_real


@dataclass(frozen=True, slots=True, eq=False)
class GridStart:
    """A grid of tiles, (rows, columns)."""

    rows: int
    columns: int
    tiles: tuple[TileStart, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LayerStart:
    """The grids of a layer in order; `real` if its matrix is."""

    name: str
    grids: tuple[GridStart, ...]
    real: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of the flat vector of phases: one kind of phase of one block of one tile."""

    layer: str
    grid: int
    tile: int
    block: Block
    kind: Kind
    start: int
    stop: int

    @property
    def slice(self) -> slice:
        """Where it stands."""
        return slice(self.start, self.stop)


def near_zero_tile(
    shape: tuple[int, int],
    *,
    norm: float,
    real: bool,
    spread_rad: float,
    rng: np.random.Generator,
    rank: int | None = None,
    inputs: Index | None = None,
    outputs: Index | None = None,
) -> TileStart:
    """A tile (m, n) whose phases are normal with deviation `spread_rad`: nearly all cross.

    `norm` is about the Frobenius norm of the matrix. `inputs` and `outputs` say which entry lies
    on which guide (default: in order). An all-cross V sends the last guides to its channels.
    """
    m, n = shape
    rank = min(m, n) if rank is None else rank

    def mesh(ports: int, place: tuple[Index, Index]) -> BalancedMesh:
        count = len(place[0])
        theta = spread_rad * rng.standard_normal(count)
        return BalancedMesh(
            ports=ports,
            column=place[0],
            port=place[1],
            theta=theta,
            phi=np.zeros(count) if real else spread_rad * rng.standard_normal(count),
            out=np.zeros(ports),
        )

    return TileStart(
        outputs=np.arange(m, dtype=np.int32) if outputs is None else outputs,
        inputs=np.arange(n, dtype=np.int32) if inputs is None else inputs,
        u=mesh(m, columns_layout(m, rank)),
        amplitude=np.cos(spread_rad * rng.standard_normal(rank) / 2),
        v=mesh(n, rows_layout(n, rank)),
        gain=norm / float(np.sqrt(rank)),
    )


def near_zero(
    name: str,
    shape: tuple[int, int],
    *,
    norm: float,
    real: bool,
    spread_rad: float,
    rng: np.random.Generator,
    rank: int | None = None,
    inputs: Index | None = None,
    outputs: Index | None = None,
) -> LayerStart:
    """A layer of one `near_zero_tile`."""
    tile = near_zero_tile(
        shape,
        norm=norm,
        real=real,
        spread_rad=spread_rad,
        rng=rng,
        rank=rank,
        inputs=inputs,
        outputs=outputs,
    )
    return LayerStart(name, (GridStart(*shape, (tile,)),), real)


@dataclass(frozen=True, slots=True, eq=False)
class TileModel:
    """What is fixed of a tile: guides, layouts, signs; and its places in the flat vectors.

    `v_signs` (n,) and `u_signs` (m,) are the +-1 of a real tile's `out`. `phi_*` and `turn` are
    empty slices for a real tile.
    """

    outputs: Index
    inputs: Index
    v: Layout
    u: Layout
    rank: int
    real: bool
    v_signs: Real
    u_signs: Real
    theta_v: slice
    phi_v: slice
    sigma: slice
    theta_u: slice
    phi_u: slice
    gain: int
    turn: slice


@dataclass(frozen=True, slots=True, eq=False)
class GridModel:
    """Tiles of one grid."""

    rows: int
    columns: int
    tiles: tuple[TileModel, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All layers' grids, the segments of the flat vector of phases, and the start values.

    `phase` (P,): thetas and phis, and the thetas of attenuators (amplitude cos(theta / 2)), rad.
    `fixed` (P,) those that no heater makes; `gain` (T,) natural logarithms; `turn` phases of
    complex outputs, read electronically.
    """

    layers: Mapping[str, tuple[GridModel, ...]]
    real: Mapping[str, bool]
    segments: tuple[Segment, ...]
    phase: Real
    fixed: Mask
    gain: Real
    turn: Real
    spots: Mapping[str, slice] = field(default_factory=dict)


def plan(layers: Sequence[LayerStart]) -> Plan:
    """The plan of training these layers."""
    values: list[Real] = []
    fixed: list[Mask] = []
    segments: list[Segment] = []
    gains: list[float] = []
    turns: list[Real] = []
    size = turn_size = 0
    models: dict[str, tuple[GridModel, ...]] = {}
    spots: dict[str, slice] = {}
    for layer in layers:
        begin = size
        grids = []
        for g, grid in enumerate(layer.grids):
            tiles = []
            for t, tile in enumerate(grid.tiles):
                at: dict[str, slice] = {}
                parts: list[tuple[Block, Kind, Real]] = [("v", "theta", tile.v.theta)]
                if not tile.is_real:
                    parts.append(("v", "phi", tile.v.phi))
                parts.append(("s", "sigma", 2 * np.arccos(np.clip(tile.amplitude, 0.0, 1.0))))
                parts.append(("u", "theta", tile.u.theta))
                if not tile.is_real:
                    parts.append(("u", "phi", tile.u.phi))
                for block, kind, array in parts:
                    fixed.append(_marked(tile, block, kind, len(array)))
                    segment = Segment(layer.name, g, t, block, kind, size, size + len(array))
                    at[block + kind] = segment.slice
                    segments.append(segment)
                    values.append(array)
                    size += len(array)
                nothing = slice(size, size)
                turn = slice(turn_size, turn_size + (0 if tile.is_real else tile.u.ports))
                turn_size = turn.stop
                turns.append(np.zeros(0) if tile.is_real else tile.u.out)
                gains.append(float(np.log(max(tile.gain, 1e-300))))
                tiles.append(
                    TileModel(
                        outputs=tile.outputs,
                        inputs=tile.inputs,
                        v=Layout.of(tile.v),
                        u=Layout.of(tile.u),
                        rank=len(tile.amplitude),
                        real=tile.is_real,
                        v_signs=np.where(tile.v.out == 0.0, 1.0, -1.0),
                        u_signs=np.where(tile.u.out == 0.0, 1.0, -1.0),
                        theta_v=at["vtheta"],
                        phi_v=at.get("vphi", nothing),
                        sigma=at["ssigma"],
                        theta_u=at["utheta"],
                        phi_u=at.get("uphi", nothing),
                        gain=len(gains) - 1,
                        turn=turn,
                    )
                )
            grids.append(GridModel(grid.rows, grid.columns, tuple(tiles)))
        models[layer.name] = tuple(grids)
        spots[layer.name] = slice(begin, size)
    empty = np.zeros(0)
    return Plan(
        layers=models,
        real={layer.name: layer.real for layer in layers},
        segments=tuple(segments),
        phase=np.concatenate([empty, *values]),
        fixed=np.concatenate([np.zeros(0, bool), *fixed]),
        gain=np.array(gains),
        turn=np.concatenate([empty, *turns]),
        spots=spots,
    )


_PLACES = {
    ("v", "theta"): 0,
    ("v", "phi"): 1,
    ("s", "sigma"): 2,
    ("u", "theta"): 3,
    ("u", "phi"): 4,
}


def _marked(tile: TileStart, block: Block, kind: Kind, count: int) -> Mask:
    if tile.fixed is None:
        return np.zeros(count, bool)
    return tile.fixed[_PLACES[block, kind]]
