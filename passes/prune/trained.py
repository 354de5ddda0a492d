"""Between programs and training on phases: what goes in, what comes back, how far it goes.

The room `onnx2mzi.train` does the work; it is imported here, and only when a method trains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from onnx2mzi.emulate.network import Network
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import MeshTile, Program, TileGrid
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.drawing import BalancedTile, DrawingRules, balanced_tile, drawn_tile
from onnx2mzi.passes.prune.links import readers
from onnx2mzi.passes.prune.settle import settled_tile
from onnx2mzi.passes.prune.thetas import RealTile
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.base import Context
from onnx2mzi.train import extra
from onnx2mzi.train.methods import TABLE
from onnx2mzi.train.tiles import GridStart, LayerStart, TileStart, near_zero_tile

METHODS = tuple(TABLE)
# Deviation of phases that start near zero, for narrow tiles; wide ones add up more of them.
SPREAD_RAD = 0.2
NARROW = 64
# Unless said otherwise: epochs, but no fewer steps than these.
EPOCHS = 10.0
STEPS = 1200


@dataclass(frozen=True, slots=True)
class Recipe:
    """What `prune` says about training; see its options."""

    method: str
    max_drop: float
    keep: int | None
    start: str
    epochs: float | None
    batch: int | None
    lr: float
    objective: str
    floor: float
    levels: int
    l1: float
    distil: float
    time_limit_s: float | None


def pruned(program: Program, context: Context, recipe: Recipe) -> Program:
    """The program with the phases that training leaves.

    Raises UsageError without the extra `train` or without data.
    """
    extra.need(f"prune{{method={recipe.method}}}")
    network = context.network
    if network is None:
        raise UsageError(
            "trains on phases, which needs samples",
            where=f"prune{{method={recipe.method}}}",
            hint="give --data FILE.npz (labels are not needed), or prune{method=obs}",
        )
    from onnx2mzi.train.graph import HostGraph
    from onnx2mzi.train.loop import Settings, Trainer
    from onnx2mzi.train.methods.base import Objective, Task, method
    from onnx2mzi.train.network import PhaseNetwork
    from onnx2mzi.train.samples import aim, samples
    from onnx2mzi.train.walk import Point, Walk

    begun = perf_counter()
    asked = {layer.name: layer.weight for layer in network.layers}
    teacher = network.outputs(asked, network.fit)
    goal = aim(teacher, distil=recipe.distil)
    zero = recipe.start == "zero" or (recipe.start == "auto" and recipe.method in _FROM_ZERO)
    starts = zero_starts(program, network, context.seed) if zero else program_starts(program)
    host = program.host
    if host is None:
        raise UsageError("a program without a host graph cannot be trained", where="prune")
    model = PhaseNetwork.on_host(starts, HostGraph(host, program.layers))
    batch, epochs = _sizes(recipe, len(network.fit))
    trainer = Trainer(
        model,
        goal,
        samples(network.fit, teacher, goal.output),
        samples(network.held, network.original, goal.output),
        Settings(lr=recipe.lr, lr_electronic=recipe.lr, batch=batch, seed=context.seed),
        deadline=None if recipe.time_limit_s is None else begun + recipe.time_limit_s,
        tell=lambda what, done, total: context.progress(f"prune: {what}", done, total),
    )
    rules = drawing_rules(context)

    def written() -> Program:
        return with_phases(
            program, trainer.network.starts(), rules, taps=recipe.method == "smartdeal"
        )

    def told(point: Point) -> None:
        right = "" if point.accuracy is None else f", {point.accuracy:.2%} right"
        context.log(
            f"prune: {point.heaters} heaters, {point.power_rad / np.pi:.1f} P_pi{right}"
            + ("" if point.kept else " (too bad)")
        )

    task = Task(
        epochs=epochs,
        objective=Objective(recipe.objective),
        floor=recipe.floor,
        l1=recipe.l1,
        levels=recipe.levels,
        readers=_readers(network, context.seed) if recipe.method == "filter" else {},
    )
    walk = Walk(trainer, method(recipe.method), task, told)
    if zero and recipe.method not in ("grow",):
        trainer.fit(epochs, what="dense")
    if recipe.keep is not None:
        walk.to(recipe.keep)
        return written()

    def accepted() -> bool:
        return network.distance(matrices_of(trainer.network)) <= recipe.max_drop

    if not walk.within(accepted):
        context.log("prune: training found nothing that keeps the budget; the phases stay")
        return program
    return written()


def _sizes(recipe: Recipe, samples: int) -> tuple[int, float]:
    """Samples a step, and epochs a level."""
    batch = recipe.batch or min(max(samples // 20, 32), 500)
    if recipe.epochs is not None:
        return batch, recipe.epochs
    return batch, max(EPOCHS, STEPS * batch / max(samples, 1))


# Methods that do better from nearly no phases than from those of the decomposition.
_FROM_ZERO = (
    "soft-l1",
    "grow",
    "one-cycle",
    "lth",
    "colt",
    "snip",
    "two-well",
    "fedtiny",
    "smartdeal",
    "cluster",
)


def _readers(network: Network, seed: int) -> dict[str, str]:
    """By layer the layer that alone reads its outputs."""
    names = [layer.name for layer in network.layers]
    found = readers(network, names, seed)
    return {a: names[b] for a, b in zip(names, found, strict=True) if b is not None}


def matrices_of(model: object) -> Mapping[str, Matrix]:
    """What the layers of a `PhaseNetwork` multiply by now."""
    import torch

    from onnx2mzi.train.network import PhaseNetwork

    assert isinstance(model, PhaseNetwork)
    with torch.no_grad():
        return {name: w.numpy() for name, w in model.matrices().items()}


def program_starts(program: Program) -> list[LayerStart]:
    """The layers of a program with the phases that they have, in the balanced gauge."""
    found = []
    for layer in program.layers:
        grids = tuple(
            GridStart(
                grid.rows,
                grid.columns,
                tuple(
                    _tile_start(balanced_tile(tile))
                    for tile in grid.tiles
                    if isinstance(tile, MeshTile)
                ),
            )
            for grid in layer.grids
        )
        found.append(LayerStart(layer.name, grids, not np.iscomplexobj(layer.weight)))
    return found


def _tile_start(tile: BalancedTile) -> TileStart:
    """V's output phases of a complex tile are in U's phi already (see `balanced_tile`)."""
    return TileStart(tile.outputs, tile.inputs, tile.u, tile.amplitude, tile.v, tile.gain)


def zero_starts(program: Program, network: Network, seed: int) -> list[LayerStart]:
    """Layers on the guides of the program's tiles, with phases near zero.

    A nearly heater-free V sends its last guides to the channels, so the inputs that vary most
    lie there.
    """
    rng = np.random.default_rng(seed)
    inputs = network.layer_inputs()
    found = []
    for layer in program.layers:
        real = not np.iscomplexobj(layer.weight)
        spread = np.asarray(np.abs(inputs[layer.name]).std(axis=1))
        grids = []
        for grid in layer.grids:
            tiles = []
            for tile in (t for t in grid.tiles if isinstance(t, MeshTile)):
                m, n = len(tile.outputs), len(tile.inputs)
                # Behind a first grid nothing is known of what comes in.
                known = spread[tile.inputs] if grid is layer.grids[0] else np.zeros(n)
                order = np.argsort(known, kind="stable")
                tiles.append(
                    near_zero_tile(
                        (m, n),
                        rank=len(tile.sigma),
                        norm=tile.gain * float(np.sqrt(len(tile.sigma))) / 2,
                        real=real,
                        spread_rad=SPREAD_RAD * float(np.sqrt(min(1.0, NARROW / max(m, n)))),
                        rng=rng,
                        inputs=tile.inputs[order],
                        outputs=tile.outputs,
                    )
                )
            grids.append(GridStart(grid.rows, grid.columns, tuple(tiles)))
        found.append(LayerStart(layer.name, tuple(grids), real))
    return found


def with_phases(
    program: Program, starts: Sequence[LayerStart], rules: DrawingRules, *, taps: bool = False
) -> Program:
    """The program with meshes of these phases; what is 0 has no heater. With `taps` attenuators
    are fixed couplers."""
    grids = {start.name: start.grids for start in starts}
    return replace(
        program,
        layers=tuple(
            replace(
                layer,
                grids=tuple(
                    TileGrid(
                        grid.rows,
                        grid.columns,
                        tuple(drawn_tile(_balanced(tile, taps), rules) for tile in grid.tiles),
                    )
                    for grid in grids[layer.name]
                ),
            )
            for layer in program.layers
        ),
    )


def _balanced(tile: TileStart, taps: bool) -> BalancedTile:
    fixed = np.full(len(tile.amplitude), taps, np.uint8)
    if tile.is_real:
        real = RealTile(tile.u, tile.gain * tile.amplitude, tile.v)
        return replace(settled_tile(real, tile.outputs, tile.inputs), taps=fixed)
    largest = float(tile.amplitude.max(initial=0.0))
    scale = largest if largest > 0 else 1.0
    return BalancedTile(
        outputs=tile.outputs,
        inputs=tile.inputs,
        u=tile.u,
        amplitude=tile.amplitude / scale,
        v=tile.v,
        gain=tile.gain * scale,
        taps=fixed,
    )
