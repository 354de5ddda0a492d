"""`quantize`: every heater is set to a code that its driver has.

Rounding `nearest` moves every heater to the nearest code. `sequential` rounds the thetas and
attenuators of a real layer's tile one by one and lets those still free make up for it (see
`passes.rounding`), in the metric of the layer's inputs where there are data. `mixed` gives
layers that matter more bits and others fewer (see `passes.bits`). Passive phases that
compensate common phases are drawn for the rounded thetas, so they add no error.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.transfer import grid_matrix, layer_matrix, tile_matrix
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import (
    Attenuators,
    LinearLayer,
    Mesh,
    MeshTile,
    Program,
    Stage,
    Tile,
    TileGrid,
)
from onnx2mzi.passes.bits import Rounder, fewest, heaters, mixed_layers
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.drawing import (
    BalancedTile,
    DrawingRules,
    Trims,
    balanced_tile,
    drawn_tile,
    trims_of,
)
from onnx2mzi.passes.finetune import Tuning, tuned
from onnx2mzi.passes.prune.thetas import RealTile
from onnx2mzi.passes.prune.thin import Metric
from onnx2mzi.passes.rounding import rounded_amplitudes, rounded_thetas
from onnx2mzi.passes.taps import tap_error, tapped_grid
from onnx2mzi.physics.arrays import Flags, Matrix, Real, within_pi, wrapped
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive, Passive, ShifterState
from onnx2mzi.pipeline.base import Bounded, BoundedDrop, Context, Effect, Pass, option


class Rounding(StrEnum):
    """How phases find their codes."""

    NEAREST = "nearest"
    SEQUENTIAL = "sequential"
    TRAINED = "trained"


def _rounded(phase_rad: Real, state: Flags, code: DriveCode, drive: Drive) -> Real:
    # The way round matters: M(theta + 2 pi) = -M(theta), so theta may leave [-pi, pi] here.
    step_rad = wrapped(code.nearest_rad(phase_rad, drive) - phase_rad)
    return np.where(state == ShifterState.ACTIVE, phase_rad + step_rad, phase_rad)


def rounded_tile(tile: MeshTile, code: DriveCode, rules: DrawingRules) -> MeshTile:
    """The tile with every active phase on the nearest code: thetas and attenuators, then phi."""
    drive, balanced = tile.u.drive, balanced_tile(tile)
    return _redrawn(
        replace(
            balanced,
            u=replace(
                balanced.u, theta=_rounded(balanced.u.theta, tile.u.theta_state, code, drive)
            ),
            v=replace(
                balanced.v, theta=_rounded(balanced.v.theta, tile.v.theta_state, code, drive)
            ),
        ),
        _rounded_attenuators(tile.sigma, code),
        code,
        rules,
        trims_of(tile, balanced),
    )


def sequential_tile(
    tile: MeshTile, moment: Real, code: DriveCode, rules: DrawingRules, asked: MeshTile
) -> MeshTile | None:
    """The real tile rounded one phase after the other; None if it is not real.

    `moment`, shape (n, n), is the second moment of what enters the tile, `asked` what the result
    shall be near to. Attenuators that are fixed couplers stay. Never worse in that metric than
    `rounded_tile`, which it then returns.
    """
    balanced = balanced_tile(tile)
    if balanced.u.phi.any() or balanced.v.phi.any() or _fixed_thetas(tile):
        return None
    drive = tile.u.drive
    real = RealTile(balanced.u, balanced.gain * balanced.amplitude, balanced.v)
    metric = Metric(tile_matrix(asked).real, np.eye(balanced.u.ports), moment)
    taps = asked is not tile or _tapped(tile)

    def nearest(theta: Real) -> Real:
        return np.asarray(theta + wrapped(code.nearest_rad(within_pi(theta), drive) - theta))

    moved = rounded_thetas(real, metric, nearest, fixed=taps)
    gain = float(np.abs(moved.s).max(initial=0.0))
    best = rounded_tile(tile, code, rules)
    if taps:
        bare = replace(balanced, u=moved.u, v=moved.v)
        found = _redrawn(bare, tile.sigma.theta_rad, code, rules, trims_of(tile, balanced))
        best = min((_regained(t, metric) for t in (best, found)), key=lambda t: _error(t, metric))
    elif gain > 0:
        levels = _attenuator_levels(code, drive)
        amplitudes = gain * attenuation(theta_rad=levels)
        s = rounded_amplitudes(
            moved, metric, lambda s: amplitudes[np.abs(s[:, None] - amplitudes).argmin(axis=1)]
        )
        theta = levels[np.abs(s[:, None] - amplitudes).argmin(axis=1)]
        bare = replace(balanced, u=moved.u, v=moved.v, gain=gain)
        found = _redrawn(bare, theta, code, rules, trims_of(tile, balanced))
        best = min(best, found, key=lambda t: _error(t, metric))
    return best


def _error(tile: MeshTile, metric: Metric) -> float:
    return metric.error(tile_matrix(tile).real)


def _tapped(tile: MeshTile) -> bool:
    """Whether attenuators are fixed couplers."""
    state = tile.sigma.state
    return bool(np.any(state == ShifterState.PASSIVE) and np.all(state != ShifterState.ACTIVE))


def _regained(tile: MeshTile, metric: Metric) -> MeshTile:
    """The tile with the electronic gain that suits the metric best."""
    matrix = tile_matrix(tile).real
    there = metric.p @ matrix @ metric.c
    whole = float((matrix * there).sum())
    factor = float((metric.target * there).sum()) / whole if whole > 0 else 1.0
    return replace(tile, gain=factor * tile.gain) if factor > 0 else tile


def _fixed_thetas(tile: MeshTile) -> bool:
    """Whether a theta is passive, and so cannot be moved to a code."""
    return any(bool(np.any(m.theta_state == ShifterState.PASSIVE)) for m in (tile.u, tile.v))


def _redrawn(
    tile: BalancedTile, sigma_theta: Real, code: DriveCode, rules: DrawingRules, trims: Trims
) -> MeshTile:
    """The tile drawn with these attenuators, and the phi that are left on codes as well."""
    tile = replace(tile, amplitude=attenuation(theta_rad=sigma_theta))
    drawn = drawn_tile(tile, rules, trims=trims)
    return replace(
        drawn,
        u=_rounded_phi(drawn.u, code, trims[1]),
        sigma=Attenuators(sigma_theta, drawn.sigma.state, rules.drive),
        v=_rounded_phi(drawn.v, code, trims[0]),
    )


def _rounded_attenuators(sigma: Attenuators, code: DriveCode) -> Real:
    """Nearest codes up to pi: an attenuator beyond pi would let light through again."""
    levels = _attenuator_levels(code, sigma.drive)
    nearest = levels[np.abs(sigma.theta_rad[:, None] - levels).argmin(axis=1)]
    return np.where(sigma.state == ShifterState.ACTIVE, nearest, sigma.theta_rad)


def _attenuator_levels(code: DriveCode, drive: Drive) -> Real:
    levels = code.levels_rad(drive)
    return np.asarray(levels[levels <= np.pi])


def _rounded_phi(mesh: Mesh, code: DriveCode, trims: npt.NDArray[np.bool_]) -> Mesh:
    phi = within_pi(_rounded(mesh.phi_rad, mesh.phi_state, code, mesh.drive))
    out = within_pi(_rounded(mesh.out_rad, mesh.out_state, code, Drive.UPPER_ARM))
    return replace(
        mesh,
        phi_rad=phi,
        phi_state=np.where(trims, mesh.phi_state, _off(phi, mesh.phi_state)),
        out_rad=out,
        out_state=_off(out, mesh.out_state),
    )


def _off(phase_rad: Real, state: Flags) -> Flags:
    return np.where(phase_rad == 0.0, np.uint8(ShifterState.REMOVED), state)


def worst_layer_error(layer: LinearLayer, code: DriveCode, *, taps: bool = False) -> float:
    """Bound of |dW|_F / |W|_F if every active phase errs by half a code, `taps` if amplitudes
    become powers of two before.

    A cell moves by at most half of theta's error plus phi's in the spectral norm, a column by
    its worst cell, a mesh by the sum of its columns; tiles lie on different entries, so their
    squares add. For grids A, B in sequence |d(BA)| <= |dB||A| + |B||dA| + |dB||dA|.
    """
    error, norm = 0.0, 1.0
    for grid in layer.grids:
        grid_error = _grid_error(grid, code, taps)
        real = not np.iscomplexobj(layer.weight)
        grid_norm = float(np.linalg.norm(grid_matrix(grid, real=real)))
        error = grid_error * norm + grid_norm * error + grid_error * error
        norm *= grid_norm
    whole = float(np.linalg.norm(layer_matrix(layer)))
    return error / whole if whole > 0 else 0.0


def _grid_error(grid: TileGrid, code: DriveCode, taps: bool) -> float:
    tiles = [tile_error(t, code, taps=taps) for t in grid.tiles if isinstance(t, MeshTile)]
    return float(np.linalg.norm(tiles))


def tile_error(tile: MeshTile, code: DriveCode, *, taps: bool = False) -> float:
    """Bound of |dW|_F of one tile, as in `worst_layer_error`."""
    error_rad = code.worst_error_rad(tile.u.drive)
    norm = tile.gain * float(np.linalg.norm(attenuation(theta_rad=tile.sigma.theta_rad)))
    active = np.count_nonzero(tile.sigma.state == ShifterState.ACTIVE)
    # Up to a whole gap where pi lies between two codes.
    sigma = tile.gain * error_rad * np.sqrt(active)
    meshes = (1 + _mesh_error(tile.u, error_rad)) * (1 + _mesh_error(tile.v, error_rad))
    if taps:
        # What amplitudes move by comes first, the meshes err behind that.
        tapped = tap_error(tile)
        return float(meshes * (norm + tapped) - norm)
    return float(meshes * (norm + sigma) - norm)


def _mesh_error(mesh: Mesh, error_rad: float) -> float:
    theta = mesh.theta_state == ShifterState.ACTIVE
    phi = mesh.phi_state == ShifterState.ACTIVE
    cell = error_rad * (theta / 2 + phi)
    worst = np.zeros(mesh.columns)
    np.maximum.at(worst, mesh.column, cell)
    out = error_rad if np.any(mesh.out_state == ShifterState.ACTIVE) else 0.0
    return float(worst.sum() + out)


def rounded_layer(
    layer: LinearLayer,
    code: DriveCode,
    rules: DrawingRules,
    rounding: Rounding,
    inputs: Matrix,
    *,
    asked: LinearLayer | None = None,
) -> LinearLayer:
    """The layer on codes. `inputs`, shape (n, B), are what `sequential` rounds for, near to
    `asked`, the same layer before its amplitudes became powers of two.

    A tile that sequential rounding would move by more than `tile_error` is rounded to nearest.
    """
    grids = []
    asked = asked or layer
    for grid, whole in zip(layer.grids, asked.grids, strict=True):
        tiles: list[Tile] = []
        for tile, aim in zip(grid.tiles, whole.tiles, strict=True):
            found = tile
            if isinstance(tile, MeshTile) and isinstance(aim, MeshTile):
                found = rounded_tile(tile, code, rules)
                if rounding is Rounding.SEQUENTIAL and not np.iscomplexobj(layer.weight):
                    entering = np.asarray(inputs[tile.inputs], np.float64)
                    moment = entering @ entering.T / entering.shape[1]
                    other = sequential_tile(tile, moment, code, rules, aim)
                    limit = tile_error(aim, code, taps=aim is not tile)
                    if other is not None and _moved(aim, other) <= limit:
                        found = other
            tiles.append(found)
        grids.append(replace(grid, tiles=tuple(tiles)))
        inputs = grid_matrix(whole, real=not np.iscomplexobj(layer.weight)) @ inputs
    return replace(layer, grids=tuple(grids))


def _relative(moved: Matrix, before: Matrix) -> float:
    whole = float(np.linalg.norm(before))
    return float(np.linalg.norm(moved - before)) / whole if whole > 0 else 0.0


def _moved(before: MeshTile, after: MeshTile) -> float:
    return float(np.linalg.norm(tile_matrix(after) - tile_matrix(before)))


class Sigma(StrEnum):
    """What attenuators are."""

    CODES = "codes"
    POWERS = "power-of-two"


@dataclass(frozen=True, slots=True)
class Quantize(Pass):
    """Set every active phase to a code of a b-bit driver."""

    name: ClassVar[str] = "quantize"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH

    bits: int = option(8, "resolution of each heater's driver", unit="bit", low=1, high=16)
    law: CodeLaw = option(
        CodeLaw.PHASE,
        "what is uniform in the code: the phase, or the voltage (phase goes with its square)",
    )
    rounding: Rounding = option(
        Rounding.NEAREST,
        "nearest code; sequential: phases still free make up for those rounded; trained: by "
        "gradients through the codes (extra train, --data)",
    )
    sigma: Sigma = option(
        Sigma.CODES, "attenuators: heaters on codes, or fixed couplers of 1, 1/2, 1/4, ..."
    )
    mixed: bool = option(
        False, "bits a layer by what it does to the outputs; `bits` is then the mean of heaters"
    )
    epochs: float | None = option(
        None, "trained: passes through the data; none: 6, more of few samples", low=0.0
    )
    lr: float = option(2e-3, "trained: peak rate of the phases", unit="rad", low=0.0)
    max_drop: float = option(
        0.05, "trained: accuracy that may be lost (no labels: changed answers)", low=0.0, high=1.0
    )

    @property
    def code(self) -> DriveCode:
        """The driver that the options describe."""
        return DriveCode(self.bits, self.law)

    def effect(self, program: Program) -> Effect:
        if self.rounding is Rounding.TRAINED:
            return BoundedDrop(self.max_drop)
        code = DriveCode(fewest(self.bits), self.law) if self.mixed else self.code
        taps = self.sigma is Sigma.POWERS
        errors = (worst_layer_error(x, code, taps=taps) for x in program.layers)
        return Bounded(max(errors, default=0.0))

    def run(self, program: Program, context: Context) -> Program:
        rules = drawing_rules(context)
        if self.mixed and self.rounding is Rounding.TRAINED:
            raise UsageError(
                "training knows one number of bits for all layers",
                where="quantize{mixed=true rounding=trained}",
                hint="take rounding=sequential",
            )
        asked = program
        if self.sigma is Sigma.POWERS:
            program = self._tapped(program, context, rules)
        if self.rounding is Rounding.TRAINED:
            tuning = Tuning(
                where="quantize{rounding=trained}", epochs=self.epochs, lr=self.lr, code=self.code
            )
            program = asked = tuned(program, context, tuning)
        known: dict[str, Matrix] = {}
        if context.network is not None and (self.mixed or self.rounding is Rounding.SEQUENTIAL):
            known = dict(context.network.layer_inputs())
        # A layer that no data reach is rounded for all vectors.
        known = {name: x for name, x in known.items() if x.any()}

        def on_codes(k: int, bits: int) -> LinearLayer:
            layer = program.layers[k]
            inputs = known.get(layer.name, np.eye(layer.weight.shape[1]))
            code = DriveCode(bits, self.law)
            return rounded_layer(layer, code, rules, self.rounding, inputs, asked=asked.layers[k])

        if self.mixed:
            return self._mixed(program, context, known, on_codes, asked)
        layers = []
        for done in range(len(program.layers)):
            context.progress("quantize", done, len(program.layers))
            layers.append(on_codes(done, self.bits))
        return replace(program, layers=tuple(layers), drive_code=self.code)

    def _tapped(self, program: Program, context: Context, rules: DrawingRules) -> Program:
        if rules.passive is Passive.NONE:
            raise UsageError(
                "fixed couplers are passive phases, which are not allowed here",
                where="quantize{sigma=power-of-two}",
                hint="allow them: --passive common",
            )
        layers = tuple(
            replace(x, grids=tuple(tapped_grid(grid, rules) for grid in x.grids))
            for x in program.layers
        )
        pairs = list(zip(layers, program.layers, strict=True))
        errors = ((x.name, _relative(layer_matrix(x), layer_matrix(y))) for x, y in pairs)
        context.log(
            "quantize: singular values as powers of two; error of matrices by that: "
            + ", ".join(f"{name} {error:.1%}" for name, error in errors)
        )
        return replace(program, layers=layers)

    def _mixed(
        self,
        program: Program,
        context: Context,
        known: dict[str, Matrix],
        on_codes: Rounder,
        asked: Program,
    ) -> Program:
        layers, bits, uniform, mixed = mixed_layers(
            program, context.technology, context.network, known, self.code, on_codes, asked
        )
        counts = [heaters(layer) for layer in program.layers]
        mean = float(np.dot(bits, counts)) / max(sum(counts), 1)
        each = ", ".join(f"{x.name} {b}" for x, b in zip(layers, bits, strict=True))
        context.log(
            f"quantize: bits a layer: {each}; {mean:.2f} bits a heater on average; error "
            f"{mixed:.2%}, with {self.bits} bits everywhere {uniform:.2%}"
        )
        return replace(program, layers=layers, drive_code=self.code)
