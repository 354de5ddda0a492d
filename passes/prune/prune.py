"""`prune`: as few heaters as an error budget allows, without training.

Method `obs`, with data: inputs of a layer go dark and its rank falls, one step at a time over
the whole network, always the step that saves most phases for the margin that it takes from the
answers; what is left makes up for what is gone, in the metric of the layer's inputs (optimal
brain surgeon on columns, Hassibi and Stork 1993, arXiv 2208.11580; weighted low rank). A matrix
of many tiles and low rank becomes two matrices in sequence with detection in between. The
answers on inputs that were kept back say when to stop. Without data each matrix is kept within
a relative Frobenius error, by singular values and by single phases.

Methods `truncate` and `magnitude` are what everybody tries first, for comparison. The methods of
`onnx2mzi.train.methods` train on phases.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from onnx2mzi.emulate.accuracy import score_output
from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import LinearLayer, MeshTile, Program, Stage
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.passes.prune.baselines import (
    theta_threshold,
    without_small_singular_values,
    without_small_thetas,
)
from onnx2mzi.passes.prune.better import Wish, census
from onnx2mzi.passes.prune.blind import by_weights, drawn
from onnx2mzi.passes.prune.fitting import Goal, acceptable, fit
from onnx2mzi.passes.prune.moments import plain
from onnx2mzi.passes.prune.searched import searched
from onnx2mzi.passes.prune.split import Sheet, sheets
from onnx2mzi.passes.prune.thinning import product
from onnx2mzi.passes.prune.trained import METHODS, Recipe, pruned
from onnx2mzi.passes.prune.unread import without_unread
from onnx2mzi.passes.trim import trimmed
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.shifter import Passive
from onnx2mzi.pipeline.base import BoundedDrop, Budgeted, Context, Effect, Pass, option
from onnx2mzi.pipeline.census import reference_phases
from onnx2mzi.pipeline.contracts import bounded_move

# Bisections of the share that a baseline removes: a resolution of 1/1024.
HALVINGS = 10
# Methods whose choice of heaters does not depend on noise.
DEAF = ("ports", "truncate", "magnitude")
# Options of training. A time limit may be for another pass of the pipeline.
TRAINING = (
    "epochs",
    "batch",
    "lr",
    "dense_epochs",
    "dense_lr",
    "start",
    "objective",
    "floor",
    "levels",
    "share",
    "rail",
    "l1",
    "distil",
    "biases",
    "port_factors",
)


def fitted_layers(
    program: Program, matrices: Mapping[str, Matrix], ranks: Mapping[str, int], rules: DrawingRules
) -> tuple[LinearLayer, ...]:
    """The layers with the grids of these matrices."""
    return tuple(
        replace(
            layer,
            grids=drawn(
                sheets(matrices[layer.name], rank=ranks[layer.name], ports=program.ports), rules
            ),
        )
        for layer in program.layers
    )


def fewest(accepted: Callable[[float], bool]) -> float:
    """The largest share in [0, 1] that is accepted, if what is above it is not; 0 if none is."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if accepted(middle) else (low, middle)
    return low


def small_singular_values_gone(program: Program, accept: "Accept", rules: DrawingRules) -> Program:
    """Baseline: the smallest singular values of all tiles go, as many as are accepted."""
    given = program_matrices(program)
    names, weights = list(given), [plain(w) for w in given.values()]

    def cut(share: float) -> dict[str, Matrix]:
        found = without_small_singular_values(weights, share, program.ports)
        return dict(zip(names, found, strict=True))

    share = fewest(lambda share: accept(cut(share)))
    if share == 0.0:
        return program
    found = cut(share)
    ranks = {name: min(w.shape) for name, w in found.items()}
    return replace(program, layers=fitted_layers(program, found, ranks, rules))


def small_thetas_gone(program: Program, accept: "Accept", rules: DrawingRules) -> Program:
    """Baseline: the smallest thetas of all meshes become crossings, as many as are accepted."""
    tiles: dict[tuple[int, int, int], BalancedTile] = {
        (i, j, k): balanced_tile(tile)
        for i, layer in enumerate(program.layers)
        for j, grid in enumerate(layer.grids)
        for k, tile in enumerate(grid.tiles)
        if isinstance(tile, MeshTile)
    }

    def threshold(share: float) -> float:
        return theta_threshold(list(tiles.values()), share)

    def matrices(share: float) -> dict[str, Matrix]:
        limit = threshold(share)
        found: dict[str, Matrix] = {}
        for i, layer in enumerate(program.layers):
            cut = [
                Sheet(
                    grid.rows,
                    grid.columns,
                    tuple(
                        without_small_thetas(tiles[i, j, k], limit) for k in range(len(grid.tiles))
                    ),
                )
                for j, grid in enumerate(layer.grids)
            ]
            found[layer.name] = product(cut, layer.weight.dtype)
        return found

    limit = threshold(fewest(lambda share: accept(matrices(share))))
    layers = []
    for i, layer in enumerate(program.layers):
        drawn = [
            tuple(
                drawn_tile(without_small_thetas(tiles[i, j, k], limit), rules)
                for k in range(len(grid.tiles))
            )
            for j, grid in enumerate(layer.grids)
        ]
        layers.append(
            replace(
                layer,
                grids=tuple(
                    replace(grid, tiles=new) for grid, new in zip(layer.grids, drawn, strict=True)
                ),
            )
        )
    return replace(program, layers=tuple(layers))


Accept = Callable[[Mapping[str, Matrix]], bool]


def within_budget(program: Program, budget: float) -> Accept:
    """Whether every matrix is within the relative Frobenius error of what the program's is."""
    given = program_matrices(program)

    def accepted(found: Mapping[str, Matrix]) -> bool:
        return all(bounded_move(given[name], found[name]) <= budget for name in given)

    return accepted


def judged_by(network: Network, step: "Prune") -> str:
    """How the budget of `step` is judged on these data, for the user."""
    if step.target and step.method in ("obs", "ports", *METHODS, "search"):
        return f"to {1 - step.target:.2%} of the reference phases, whatever is lost"
    if not network.classifies:
        what = f"the outputs' relative error (no class scores) at most {step.max_drop:g}"
    elif network.held.labels is None:
        what = f"changed answers (no labels) at most {step.max_drop:.2%}"
    else:
        what = f"lost accuracy and changed answers at most {step.max_drop:.2%} each"
    scores = score_output(network.original)
    others = [
        f"'{name}'"
        for name, array in network.original.items()
        if scores is not None and name != scores and array.dtype.kind in "fc"
    ]
    unseen = f"; by '{scores}' alone, not {', '.join(others)}" if others else ""
    return f"{what}, on {len(network.held)} samples kept back{unseen}"


@dataclass(frozen=True, slots=True)
class Prune(Pass):
    """Remove heaters within an error budget: no training, labels or data needed."""

    name: ClassVar[str] = "prune"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH
    moves_phases: ClassVar[bool] = True

    method: str = option(
        "obs",
        "obs: ports, rank and single phases, compensated; ports: without single phases (faster); "
        "truncate, magnitude: plain baselines; search: several trainings, the best chip; the "
        "others train on phases (extra train, --data)",
        choices=("obs", "ports", "truncate", "magnitude", *METHODS, "search"),
    )
    max_drop: float = option(
        0.005,
        "with data: accuracy that may be lost (no labels: share of changed answers)",
        low=0.0,
        high=1.0,
    )
    budget: float = option(
        1e-2, "without data: relative error of each matrix (Frobenius)", low=0.0, high=1.0
    )
    target: float = option(
        0.0,
        "share of the reference phases to remove, whatever is lost (without data: method obs); "
        "0 = by max_drop or budget",
        low=0.0,
        high=0.9999,
    )

    most_tiles: int = option(
        200,
        "a chip with more tiles than this is not thinned phase by phase, which takes seconds each",
        low=0,
    )

    keep_trim: float = option(
        0.0,
        "share of the MZIs left that keep a heater to undo static errors (the pass trim)",
        low=0.0,
        high=1.0,
    )

    noise: float = option(
        0.0,
        "heaters are off by this: counts in what is removed; methods that train see another chip "
        "at every step, its couplers off as well",
        unit="rad",
        low=0.0,
    )

    epochs: float | None = option(
        None, "training: passes through the data a level; none: 10, more of few samples", low=0.0
    )
    batch: int | None = option(
        None, "training: samples a step; none: a twentieth of the samples, 32 to 500", low=1
    )
    lr: float = option(0.02, "training: peak rate of the phases", unit="rad", low=1e-9)
    dense_epochs: float | None = option(
        None,
        "training from nearly no phases: epochs before phases go; none: epochs",
        low=0.0,
    )
    dense_lr: float | None = option(
        None, "training from nearly no phases: peak rate of these; none: lr", unit="rad", low=1e-9
    )
    start: str = option(
        "auto",
        "training: from the phases of the decomposition, from nearly none, or as suits the method",
        choices=("auto", "program", "zero"),
    )
    objective: str = option(
        "heaters",
        "training: what is to become less; drivers: heaters share `levels` phases a layer",
        choices=("heaters", "power", "drivers"),
    )
    floor: float = option(
        0.002, "training: share of each layer's phases that stays", low=0.0, high=1.0
    )
    levels: int = option(16, "phases (drivers) that heaters of a layer share", low=1)
    share: str = option(
        "none",
        "training: tiles of a row have one U, tiles of a column one V: their heaters share drivers",
        choices=("none", "u", "v", "both"),
    )
    rail: bool = option(
        False,
        "two-well: what would go is at +- its layer's mean instead, all on one driver; what is "
        "kept are drivers",
    )
    l1: float = option(0.05, "training: L1 norm on phases, a step and unit of lr", low=0.0)
    distil: float = option(
        0.5, "training: weight of the original's answers beside the labels", low=0.0, high=1.0
    )
    biases: bool = option(True, "training: biases are trained as well; they are electronic")
    port_factors: bool = option(
        False,
        "training: each input and output of a layer has an electronic factor of its own, each "
        "output an offset",
    )
    time_limit: float | None = option(
        None,
        "training: ends so long after the start of the compile, with the best chip so far",
        unit="s",
        low=0.0,
    )

    def effect(self, program: Program) -> Effect:
        if self.method in METHODS:
            return BoundedDrop(math.inf if self.target else self.max_drop)
        whatever = bool(self.target)
        if self.method == "search":
            return Budgeted(error=0.0, drop=math.inf if whatever else self.max_drop)
        error = math.inf if whatever and self.method == "obs" else self.budget
        return Budgeted(error=error, drop=math.inf if whatever else self.max_drop)

    def run(self, program: Program, context: Context) -> Program:
        found = self._pruned(program, context)
        if context.network is not None and self.method in (*METHODS, "search"):
            found = without_unread(found, context.network, drawing_rules(context), context.seed)
        made = trimmed(found, context, share=self.keep_trim)
        keep = self._keep(program)
        if keep is not None:
            _tell_more(keep, found, made, context)
        return made

    def _pruned(self, program: Program, context: Context) -> Program:
        rules = drawing_rules(context)
        if context.network is not None:
            context.log(f"prune: {self.method}, {judged_by(context.network, self)}")
        blind = self.method == "obs" and context.network is None
        if self.noise > 0 and (blind or self.method in DEAF):
            raise UsageError(
                f"method={self.method} knows no noise{' without data' if blind else ''}",
                where="prune{noise=...}",
                hint="give --data FILE.npz" if blind else "take method=obs, or one that trains",
            )
        by_error = self.method in ("truncate", "magnitude")
        if self.target > 0 and (by_error or (self.method == "ports" and context.network is None)):
            raise UsageError(
                f"method={self.method} takes no target{'' if by_error else ' without data'}",
                where="prune{target=...}",
                hint="take method=obs" if by_error else "take method=obs, or give --data FILE.npz",
            )
        usual = Prune()
        given = [name for name in TRAINING if getattr(self, name) != getattr(usual, name)]
        if given and self.method not in (*METHODS, "search"):
            raise UsageError(
                f"method={self.method} does not train and knows no {given[0]}",
                where=f"prune{{{given[0]}=...}}",
                hint="take a method that trains, like soft-l1 or surgeon, or leave it out",
            )
        if self.method in (*METHODS, "search"):
            recipe = self._recipe(program, context)
            for name in given:
                if name in recipe.unread:
                    context.log(f"prune: method={self.method} does not look at {name}=")
            way = searched if self.method == "search" else pruned
            return way(program, context, recipe)
        if self.method in ("truncate", "magnitude"):
            accept = (
                within_budget(program, self.budget)
                if context.network is None
                else acceptable(context.network, self.max_drop)
            )
            baseline = (
                small_singular_values_gone if self.method == "truncate" else small_thetas_gone
            )
            return baseline(program, accept, rules)
        if context.network is None:
            return by_weights(
                program,
                context,
                method=self.method,
                budget=self.budget,
                target=self.target,
                most_tiles=self.most_tiles,
            )
        keep = self._keep(program)
        goal = Goal(
            limit=self.max_drop,
            most_phases=keep,
            most_tiles=self.most_tiles if self.method == "obs" else 0,
            noise_rad=self.noise,
        )
        found = fit(
            context.network,
            goal,
            ports=program.ports,
            seed=context.seed,
            progress=context.progress,
        )
        if found is None:
            context.log("prune: nothing can go without changing too many answers")
            return program
        new = replace(
            program,
            layers=tuple(
                replace(layer, grids=drawn(found[layer.name], rules)) for layer in program.layers
            ),
        )
        # It starts from the model's matrices, whatever passes before this one saved.
        if not Wish(self.max_drop, keep).better(new, program, context, context.network):
            context.log("prune: the chip as it is does as well; the phases stay")
            return program
        return new

    def _keep(self, program: Program) -> int | None:
        """Heaters that the target leaves."""
        if not self.target:
            return None
        reference = sum(
            reference_phases(_shape(layer.weight), program.ports) for layer in program.layers
        )
        return max(int((1 - self.target) * reference + 1e-6), 1)

    def _recipe(self, program: Program, context: Context) -> Recipe:
        return Recipe(
            method=self.method,
            max_drop=self.max_drop,
            keep=self._keep(program),
            start=self.start,
            epochs=self.epochs,
            batch=self.batch,
            lr=self.lr,
            objective=self.objective,
            floor=self.floor,
            levels=self.levels,
            l1=self.l1,
            distil=self.distil,
            biases=self.biases,
            noise_rad=self.noise,
            share=self.share,
            rail=self.rail,
            port_factors=self.port_factors,
            dense_epochs=self.dense_epochs,
            dense_lr=self.dense_lr,
            deadline=None if self.time_limit is None else context.begun + self.time_limit,
        )


def _tell_more(keep: int, found: Program, made: Program, context: Context) -> None:
    """What is drawn beyond the target, without trims and with them."""
    left, now = (census(program, context).phases_active for program in (found, made))
    if left > keep and context.passive is Passive.NONE:
        context.log(
            f"prune: {left:,} heaters are drawn, not {keep:,}: with --passive none those are "
            "heaters too that undo common phases of the arms"
        )
    if now > max(left, keep):
        context.log(f"prune: {now:,} heaters with those that keep_trim= keeps")


def _shape(w: Matrix) -> tuple[int, int]:
    m, n = w.shape
    return int(m), int(n)
