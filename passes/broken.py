"""`broken`: the same matrices without the heaters that are declared broken, as near as can be.

A theta without its heater leaves its MZI in the cross state, an attenuator without its heater
lets all light through. The other phases of the tile make up for it: of all orders of the tile's
inputs, outputs and channels (they are electronic) that keep the places of its MZIs one is taken
in which the broken phases are nearly nothing, or the broken attenuator is that of the largest
singular value; then Levenberg-Marquardt steps settle every phase that is left. What error
remains is told. Matrices are real: what a phi heater makes cannot be made elsewhere.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from onnx2mzi.emulate.transfer import tile_matrix
from onnx2mzi.errors import FitError, UsageError
from onnx2mzi.ir import LinearLayer, Mesh, MeshTile, Program, Stage, Tile
from onnx2mzi.passes.canonicalize import NEGLIGIBLE, drawing_rules, factored, isometry_tile
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.passes.prune.settle import settled_tile
from onnx2mzi.passes.prune.thin import Metric, Thinned, settled
from onnx2mzi.passes.prune.thinning import real_tile
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.base import Bounded, Context, Effect, Pass, option
from onnx2mzi.pipeline.spec import suggestion

STEPS = 25
DAMPING = 1e-3
# A step must gain this share of the error, or the search is over.
LEAST_GAIN = 1e-3
_ID = re.compile(
    r"(?P<layer>.+)\.g(?P<grid>\d+)\.t(?P<tile>\d+)\.(?P<block>[vsu])"
    r"\.c(?P<column>\d+)\.p(?P<port>\d+)\.(?P<kind>theta|phi|sigma|out)"
)


@dataclass(frozen=True, slots=True)
class BrokenHeater:
    """A heater by its id in phases.csv."""

    id: str
    layer: str
    grid: int
    tile: int
    block: str
    column: int
    port: int
    kind: str


def parsed(text: str) -> BrokenHeater:
    """The heater of an id. Raises UsageError for what is none."""
    found = _ID.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"'{text}' is no id of a heater", where="broken", hint="as fc1.g0.t0.u.c3.p2.theta"
        )
    part = found.groupdict()
    return BrokenHeater(
        text.strip(),
        part["layer"],
        int(part["grid"]),
        int(part["tile"]),
        part["block"],
        int(part["column"]),
        int(part["port"]),
        part["kind"],
    )


@dataclass(frozen=True, slots=True)
class Places:
    """The broken ones of a tile: MZIs of V and of U, and channels, by index."""

    v: tuple[int, ...]
    u: tuple[int, ...]
    sigma: tuple[int, ...]

    def theta_rad(self, tile: BalancedTile) -> Real:
        """Their thetas."""
        return np.concatenate([tile.v.theta[list(self.v)], tile.u.theta[list(self.u)]])


def places_of(tile: MeshTile, heaters: Sequence[BrokenHeater]) -> Places:
    """Where the heaters are. Raises UsageError for a place without one, FitError for a phi."""
    found: dict[str, list[int]] = {"v": [], "u": [], "s": []}
    for heater in heaters:
        if heater.kind in ("phi", "out"):
            raise FitError(
                f"what {heater.id} makes cannot be made elsewhere",
                where="broken",
                hint="real layers need no such heaters: --passive common, detection = iq",
            )
        if heater.block == "s":
            k, state = heater.port, tile.sigma.state
            there = heater.column == 0 and k < len(state)
        else:
            mesh = {"v": tile.v, "u": tile.u}[heater.block]
            k, state = _index(mesh, heater), mesh.theta_state
            there = k >= 0
        if not there or state[k] != ShifterState.ACTIVE:
            what = "holds no heater" if there else "is no place of the chip"
            raise UsageError(f"{heater.id} {what}", where="broken", hint="ids are in phases.csv")
        found[heater.block].append(k)
    return Places(tuple(found["v"]), tuple(found["u"]), tuple(found["s"]))


def _index(mesh: Mesh, heater: BrokenHeater) -> int:
    at = np.flatnonzero((mesh.column == heater.column) & (mesh.port == heater.port))
    return int(at[0]) if len(at) else -1


def orders_of(tile: MeshTile, matrix: Real, trials: int, seed: int) -> Iterator[BalancedTile]:
    """The tile with its inputs, outputs and channels in random orders, as far as MZIs stay."""
    rng = np.random.default_rng(seed)
    u, s, vh = factored(matrix, NEGLIGIBLE * float(np.abs(matrix).max(initial=0.0)))
    if len(s) != len(tile.sigma) or not len(s):
        return
    for _ in range(trials):
        rows, columns = rng.permutation(len(u)), rng.permutation(vh.shape[1])
        channels = rng.permutation(len(s))
        made = isometry_tile(
            tile.outputs[rows],
            tile.inputs[columns],
            u[rows][:, channels],
            s[channels],
            vh[channels][:, columns],
        )
        if not (_alike(made.u, tile.u) and _alike(made.v, tile.v)):
            return
        yield made


def _alike(made: object, mesh: Mesh) -> bool:
    return all(
        np.array_equal(getattr(made, name), getattr(mesh, name)) for name in ("column", "port")
    )


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """A tile without its broken heaters, and its squared errors: at first, and in the end."""

    tile: BalancedTile
    before: float
    after: float


def repaired(
    tile: MeshTile, places: Places, matrix: Real, *, trials: int, seed: int
) -> Repaired | None:
    """The tile that makes `matrix` (m, n) most nearly without those heaters.

    None if it is complex, or single phases of it are fixed.
    """
    whole = balanced_tile(tile)
    if real_tile(whole) is None or whole.fixed_u is not None or whole.fixed_v is not None:
        return None
    before = _without(whole, places, matrix, steps=0).error
    candidates = [whole, *orders_of(tile, matrix, trials, seed)]
    found = []
    for candidate in sorted(candidates, key=lambda one: _missing(one, places))[:2]:
        rows = np.searchsorted(np.sort(tile.outputs), candidate.outputs)
        columns = np.searchsorted(np.sort(tile.inputs), candidate.inputs)
        order = np.argsort(tile.outputs)[rows], np.argsort(tile.inputs)[columns]
        done = _without(candidate, places, matrix[np.ix_(*order)], steps=STEPS)
        found.append((done.error, candidate, done.tile))
    error, candidate, best = min(found, key=lambda one: one[0])
    return Repaired(settled_tile(best, candidate.outputs, candidate.inputs), before, error)


def _missing(tile: BalancedTile, places: Places) -> float:
    """How far the phases are from those that broken heaters leave."""
    amplitude = tile.amplitude[list(places.sigma)]
    return float((places.theta_rad(tile) ** 2).sum() + 4 * ((1 - amplitude) ** 2).sum())


def _without(tile: BalancedTile, places: Places, matrix: Real, *, steps: int) -> Thinned:
    """The tile with the broken phases at nothing, the others settled."""
    start = real_tile(tile)
    assert start is not None
    theta = start.theta
    gone = np.array([*places.v, *(start.v.count + k for k in places.u)], np.int64)
    alive = theta != 0.0
    alive[gone] = False
    theta[gone] = 0.0
    metric = Metric(matrix, np.eye(len(matrix)), np.eye(matrix.shape[1]))
    open_ = list(places.sigma)
    made = start.moved(theta, _opened(start.s, open_))
    here = Thinned(made, alive, metric.error(made.matrix))
    if steps:
        here, _ = settled(here, metric, steps=steps, damping=DAMPING, least=LEAST_GAIN)
    if open_:
        # Amplitudes were free: the open channels are the strongest again, and thetas follow.
        made = here.tile.moved(here.tile.theta, _opened(here.tile.s, open_))
        here = Thinned(made, alive, metric.error(made.matrix))
    return here


def _opened(s: Real, channels: list[int]) -> Real:
    """Amplitudes of which those of `channels` are the largest."""
    if not channels:
        return s
    largest = float(np.abs(s[channels]).max())
    held = np.clip(s, -largest, largest)
    held[channels] = np.copysign(largest, s[channels])
    return held


@dataclass(frozen=True, slots=True)
class Broken(Pass):
    """Work around heaters that do not work: the other phases make up for theirs."""

    name: ClassVar[str] = "broken"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH
    moves_phases: ClassVar[bool] = True

    ids: tuple[str, ...] = option((), "heaters that do not work, ids as in phases.csv")
    trials: int = option(64, "orders of a tile's inputs, outputs and channels to try", low=0)
    most_error: float = option(
        0.5, "largest relative error of a layer's matrix (Frobenius); more is refused", low=0.0
    )

    def effect(self, program: Program) -> Effect:
        return Bounded(self.most_error)

    def run(self, program: Program, context: Context) -> Program:
        heaters = [parsed(text) for text in self.ids]
        names = [layer.name for layer in program.layers]
        for heater in heaters:
            if heater.layer not in names:
                raise UsageError(
                    f"{heater.id}: there is no layer '{heater.layer}'",
                    where="broken",
                    hint=suggestion(heater.layer, names, "layers"),
                )
        rules = drawing_rules(context)
        layers = []
        for layer in program.layers:
            mine = [heater for heater in heaters if heater.layer == layer.name]
            layers.append(self._repaired(layer, mine, rules, context) if mine else layer)
        return replace(program, layers=tuple(layers))

    def _repaired(
        self,
        layer: LinearLayer,
        heaters: list[BrokenHeater],
        rules: DrawingRules,
        context: Context,
    ) -> LinearLayer:
        before = after = 0.0
        made: dict[tuple[int, int], MeshTile] = {}
        for where in sorted({(heater.grid, heater.tile) for heater in heaters}):
            here = [heater for heater in heaters if (heater.grid, heater.tile) == where]
            tile = _tile(layer, here[0])
            found = repaired(
                tile,
                places_of(tile, here),
                np.ascontiguousarray(tile_matrix(tile).real),
                trials=self.trials,
                seed=context.seed,
            )
            if found is None:
                raise FitError(
                    f"{here[0].id} is in a mesh of complex or fixed phases, which do not make up "
                    "for it",
                    where="broken",
                    hint="real weights and --passive common only",
                )
            made[where] = drawn_tile(found.tile, rules)
            before, after = before + found.before, after + found.after
        scale = float(np.linalg.norm(layer.weight)) or 1.0
        error = float(np.sqrt(max(after, 0.0))) / scale
        context.log(
            f"broken: {layer.name}: {len(heaters)} heaters are not used; relative error of the "
            f"matrix {error:.2e} ({np.sqrt(max(before, 0.0)) / scale:.2e} if they were only off)"
        )
        if error > self.most_error:
            raise FitError(
                f"without {heaters[0].id} the matrix of '{layer.name}' is off by {error:.0%}",
                where="broken",
                hint=f"at most {self.most_error:.0%}: broken{{most_error=...}} allows more",
            )
        grids = tuple(
            replace(
                grid,
                tiles=tuple(made.get((g, t), tile) for t, tile in enumerate(grid.tiles)),
            )
            for g, grid in enumerate(layer.grids)
        )
        return replace(layer, grids=grids)


def _tile(layer: LinearLayer, heater: BrokenHeater) -> MeshTile:
    tile: Tile | None = None
    if heater.grid < len(layer.grids):
        tiles = layer.grids[heater.grid].tiles
        tile = tiles[heater.tile] if heater.tile < len(tiles) else None
    if not isinstance(tile, MeshTile):
        raise UsageError(
            f"{heater.id} is no place of the chip", where="broken", hint="ids are in phases.csv"
        )
    return tile
