"""Methods that train on phases: from a program to a program, as far as a goal says.

The room `onnx2mzi.train` does the work; what needs torch is imported here, and only when a method
trains.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from onnx2mzi.emulate.accuracy import accuracy, disagreement
from onnx2mzi.emulate.network import Network
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Host, Program
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.prune.better import Wish, census, drivers
from onnx2mzi.passes.prune.links import readers
from onnx2mzi.passes.prune.starts import program_starts, with_phases, zero_starts
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.shifter import Passive
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.frontier import FrontierPoint
from onnx2mzi.train import extra
from onnx2mzi.train.biases import with_constants
from onnx2mzi.train.methods import TABLE
from onnx2mzi.train.ports import with_ports
from onnx2mzi.train.tiles import LayerStart

if TYPE_CHECKING:
    from onnx2mzi.train.loop import Trainer
    from onnx2mzi.train.walk import Point

METHODS = tuple(TABLE)
# Methods that do better from nearly no phases than from those of the decomposition.
FROM_ZERO = frozenset(METHODS) - {"imp", "han", "slimming", "filter", "mixed"}
# Those that fix phases, which are then passive.
FIXING = ("mixed", "smartdeal")
# Those that put other meshes in the place of the first.
REBUILDING = ("slimming", "filter")
# Those that need no dense training before.
WITHOUT_DENSE = ("grow",)
# Those that shrink phases by a norm.
WITH_NORM = ("soft-l1", "smartdeal", "cluster", "search")
# Unless said otherwise: epochs, but no fewer steps than these.
EPOCHS = 10.0
STEPS = 1200


@dataclass(frozen=True, slots=True)
class Recipe:
    """What `prune` says about training; see its options. `deadline` is a `perf_counter` time,
    `first` the number of heaters that a walk tries first, `noise_rad` what couplers and heaters
    are off by while it trains."""

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
    biases: bool
    deadline: float | None
    first: int | None = None
    noise_rad: float = 0.0
    share: str = "none"
    rail: bool = False
    port_factors: bool = False
    dense_epochs: float | None = None
    dense_lr: float | None = None

    @property
    def from_zero(self) -> bool:
        """Whether training starts from nearly no phases."""
        return self.start == "zero" or (self.start == "auto" and self.method in FROM_ZERO)

    @property
    def unread(self) -> frozenset[str]:
        """Options that its training does not look at."""
        dense = self.method == "search" or (self.from_zero and self.method not in WITHOUT_DENSE)
        names: set[str] = set() if dense else {"dense_epochs", "dense_lr"}
        if self.method not in WITH_NORM and self.objective != "power":
            names |= {"l1"}
        if self.method != "cluster" and self.objective != "drivers":
            names |= {"levels"}
        if self.method in REBUILDING:
            names |= {"floor"}
        return frozenset(names)

    @property
    def shares_drivers(self) -> bool:
        """Whether it is drivers that become fewer."""
        alike = self.method == "cluster" or self.share != "none" or self.rail
        return alike or self.objective == "drivers"

    @property
    def wish(self) -> Wish:
        """By what its chips are compared."""
        return Wish(self.max_drop, self.keep, self.objective, self.rail)

    @property
    def refusal(self) -> tuple[str, str]:
        """What it says that cannot be, and the remedy; nothing if all can be."""
        if self.rail and self.method != "two-well":
            return "rail= goes with method=two-well only", "add method=two-well, or leave rail out"
        if self.method == "search" and (self.share != "none" or self.start != "auto"):
            return (
                "search takes its own starts: it knows no share= and no start=",
                "name a method, as method=soft-l1, or leave them out",
            )
        if self.share != "none" and not self.from_zero:
            return (
                "share= needs meshes that can be alike from the start",
                "add start=zero, or take a method that starts from nearly no phases",
            )
        if self.share != "none" and self.method in REBUILDING:
            return f"method={self.method} makes each mesh anew, share= is lost", "take another"
        return "", ""


def pruned(program: Program, context: Context, recipe: Recipe) -> Program:
    """The program with the phases that training leaves, or as it is if that is better.

    Raises UsageError without the extra `train` or without data.
    """
    course = Course.of(program, context, recipe)
    found = course.run()
    if found is None:
        context.log("prune: training found nothing that keeps the budget; the phases stay")
        return program
    wish = recipe.wish
    fewer = recipe.shares_drivers and drivers(found) < drivers(program)
    cooler = recipe.objective == "power" and wish.cost(found, context) < wish.cost(program, context)
    if fewer or cooler or wish.better(found, program, context, course.network):
        return found
    context.log(
        "prune: training found no cheaper chip within the budget; the phases stay"
        if recipe.keep is None
        else "prune: the chip is as near to the target as training came, and nearer to the "
        "model; the phases stay"
    )
    return program


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One training of a program's layers, and what it leaves."""

    program: Program
    context: Context
    recipe: Recipe
    network: Network
    host: Host
    trainer: "Trainer"
    readers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program, context: Context, recipe: Recipe) -> "Course":
        """Everything that it takes; nothing is trained yet."""
        where = f"prune{{method={recipe.method}}}"
        extra.need(where)
        network, host = context.network, program.host
        if network is None:
            raise UsageError(
                "trains on phases, which needs samples",
                where=where,
                hint="give --data FILE.npz (labels are not needed), or prune{method=obs}",
            )
        if recipe.method in FIXING and context.passive is Passive.NONE:
            raise UsageError(
                "makes phases as waveguide lengths, which --passive none forbids",
                where=where,
                hint="give --passive common, or another method",
            )
        wrong, remedy = recipe.refusal
        if wrong:
            raise UsageError(wrong, where=where, hint=remedy)
        if recipe.rail and any(np.iscomplexobj(layer.weight) for layer in program.layers):
            raise UsageError(
                "rail= takes real layers: in complex ones a heater also undoes common phases of "
                "the arms, and hangs on no rail",
                where=where,
                hint="leave rail out",
            )
        if host is None:
            raise UsageError("a program without a host graph cannot be trained", where=where)
        if recipe.port_factors:
            program = with_ports(program)
            host = program.host or host
        from onnx2mzi.train.alike import check_alike
        from onnx2mzi.train.graph import HostGraph
        from onnx2mzi.train.loop import Settings, Trainer
        from onnx2mzi.train.network import PhaseNetwork
        from onnx2mzi.train.noise import Noise, noisy
        from onnx2mzi.train.samples import aim, samples
        from onnx2mzi.train.sharing import Share, share_meshes

        teacher = network.wanted(network.fit)
        goal = aim(teacher, distil=recipe.distil)
        numbers = [name for name, array in teacher.items() if array.dtype.kind == "f"]
        if not goal.classes and len(numbers) > 1:
            context.log(f"prune: trains for the output '{goal.output}' alone of {len(numbers)}")
        starts: Sequence[LayerStart] = (
            zero_starts(program, network, context.seed)
            if recipe.from_zero
            else program_starts(program)
        )
        graph = HostGraph(host, program.layers)
        check_alike(graph, network)
        model = PhaseNetwork.on_host(starts, graph, train_biases=recipe.biases)
        if recipe.noise_rad > 0:
            model = noisy(model, Noise(recipe.noise_rad, recipe.noise_rad), context.seed)
        if recipe.share != "none":
            share_meshes(model, Share(recipe.share))
        batch = recipe.batch or min(max(len(network.fit) // 20, 32), 500)
        trainer = Trainer(
            model,
            goal,
            samples(network.fit, teacher, goal.output),
            samples(network.held, network.original, goal.output),
            Settings(
                lr=recipe.lr,
                lr_electronic=recipe.lr,
                # Power is what the norm measures.
                l1=recipe.l1 if recipe.objective == "power" else 0.0,
                batch=batch,
                seed=context.seed,
            ),
            deadline=recipe.deadline,
            folder=(lambda: None) if context.kept is None else context.kept.place,
            prefix=_named(program, recipe),
            tell=lambda what, done, total: context.progress(f"prune: {what}", done, total),
        )
        links = _readers(network, context.seed) if recipe.method == "filter" else {}
        return cls(program, context, recipe, network, host, trainer, links)

    def run(self) -> Program | None:
        """The program at the goal; None if nothing keeps what may be lost."""
        from onnx2mzi.train.methods.base import Task, method
        from onnx2mzi.train.walk import Walk

        recipe = self.recipe
        task = Task(
            epochs=self.epochs,
            floor=recipe.floor,
            l1=recipe.l1,
            levels=recipe.levels,
            rail=recipe.rail,
            readers=self.readers,
        )
        walk = Walk(self.trainer, method(recipe.method), task, self._told, warned=self._warned)
        if recipe.from_zero and recipe.method not in WITHOUT_DENSE:
            epochs = self.epochs if recipe.dense_epochs is None else recipe.dense_epochs
            self.trainer.fit(epochs, lr=recipe.dense_lr, what="dense")
        if recipe.keep is not None:
            walk.to(recipe.keep)
            left = self.trainer.network.phases_own
            if left > recipe.keep:
                floors = sum(task.floors(self.trainer.network).values())
                why = f"layers keep floor={recipe.floor:g} of theirs"
                self.context.log(
                    f"prune: {left:,} heaters are left, not {recipe.keep:,}: "
                    + (why if floors > recipe.keep else f"{recipe.method} goes no further")
                )
        elif not walk.within(lambda: self.distance() <= recipe.max_drop, recipe.first):
            return None
        if recipe.objective == "drivers" and recipe.method != "cluster":
            self._share_drivers()
        found = self.written()
        if recipe.shares_drivers:
            heaters = census(found, self.context).phases_active
            self.context.log(f"prune: {heaters:,} heaters share {drivers(found):,} drivers")
        return found

    def _share_drivers(self) -> None:
        """Heaters of one phase share a driver, if no more is lost than may be."""
        from onnx2mzi.train.methods.cluster import shared

        trainer, recipe = self.trainer, self.recipe
        before = trainer.network.state()
        groups = shared(trainer, recipe.levels, self.epochs)
        if recipe.keep is None and self.distance() > recipe.max_drop:
            trainer.network.restore(before)
            self.context.log(
                f"prune: sharing {groups:,} drivers would lose too much: give more levels"
            )

    @property
    def epochs(self) -> float:
        """Epochs a level."""
        if self.recipe.epochs is not None:
            return self.recipe.epochs
        count = max(len(self.network.fit), 1)
        return max(EPOCHS, STEPS * min(self.trainer.settings.batch, count) / count)

    def distance(self) -> float:
        """How much worse the network is now, on the samples kept back (`Network.distance`).

        One standard error of it is added: of many chips one is accepted, and few samples flatter
        the one that is lucky on them.
        """
        network, matrices = self.network.on(self.host_now()), self.matrices()
        found = network.distance(matrices)
        if not network.classifies:
            return found
        outputs = network.outputs(matrices, network.held)
        changed = disagreement(outputs, network.original)
        return found + float(np.sqrt(changed * (1 - changed) / max(len(network.held), 1)))

    def matrices(self) -> dict[str, Matrix]:
        """What the layers multiply by now."""
        import torch

        with torch.no_grad():
            return {name: w.numpy() for name, w in self.trainer.network.matrices().items()}

    def host_now(self) -> Host:
        """The host with the biases as they are now."""
        values = self.trainer.network.constants()
        return with_constants(self.host, {k: v.detach().numpy() for k, v in values.items()})

    def written(self) -> Program:
        """The program with the phases and biases as they are now."""
        rules = drawing_rules(self.context)
        starts = self.trainer.network.starts()
        made = with_phases(self.program, starts, rules)
        return replace(made, host=self.host_now())

    def _told(self, point: "Point") -> None:
        # Drawn, since passive phases and complex layers need other heaters than are trained.
        there = census(self.written(), self.context)
        told(
            self.context,
            FrontierPoint(
                self.recipe.method,
                there.phases_active,
                there.power_mw,
                point.accuracy,
                point.kept,
            ),
        )

    def _warned(self, text: str) -> None:
        self.context.log(f"prune: {self.recipe.method}: {text}")


def _named(program: Program, recipe: Recipe) -> str:
    """What the files of an interrupted training begin with."""
    text = repr((program.history, replace(recipe, deadline=None)))
    return f"train-{hashlib.sha256(text.encode()).hexdigest()[:16]}-"


def told(context: Context, point: FrontierPoint) -> None:
    """Note a point of the frontier, and say it."""
    context.point(point)
    right = "" if point.right is None else f", {point.right:.2%} right on samples kept back"
    context.log(
        f"prune: {point.made_by}: {point.heaters:,} heaters, {point.power_mw:,.0f} mW{right}"
        + ("" if point.kept else " (loses too much)")
    )


def right_share(network: Network, matrices: dict[str, Matrix]) -> float | None:
    """Share of right answers on the samples kept back, or of those of the original."""
    if not network.classifies:
        return None
    outputs = network.outputs(matrices, network.held)
    if network.held.labels is None:
        return 1.0 - disagreement(outputs, network.original)
    return accuracy(outputs, np.asarray(network.held.labels))


def _readers(network: Network, seed: int) -> dict[str, str]:
    """By layer the layer that alone reads its outputs."""
    names = [layer.name for layer in network.layers]
    found = readers(network, names, seed)
    return {a: names[b] for a, b in zip(names, found, strict=True) if b is not None}
