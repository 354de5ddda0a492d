"""`finetune`: heaters are set by training the network as it will be made and driven.

Gradients go through the meshes (room `train`): with noise, every step sees other couplers and
heaters, so phases move to where errors hurt little; with a driver's codes, light meets the
nearest codes and gradients pass as if it met the phases (straight-through estimator, Bengio et
al., arXiv 1308.3432). Heaters neither come nor go, those of one drive keep one driver, and
couplers of powers of two stay such. `quantize{rounding=trained}` is the latter.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.errors import UsageError, VerificationError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.held import as_made, with_trims_of
from onnx2mzi.passes.prune.starts import program_starts, with_phases
from onnx2mzi.physics.arrays import Real, within_pi, wrapped
from onnx2mzi.physics.quantization import DriveCode
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.base import BoundedDrop, Context, Effect, Pass, option
from onnx2mzi.pipeline.census import layer_drivers
from onnx2mzi.pipeline.contracts import SLACK
from onnx2mzi.train import extra
from onnx2mzi.train.tiles import LayerStart

if TYPE_CHECKING:
    from torch import Tensor

# Unless said otherwise no fewer steps than these.
STEPS = 600
EPOCHS = 6.0

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How phases are trained. `code` None: they are not rounded; `deadline`: a `perf_counter`
    time at which training ends."""

    where: str
    epochs: float | None = None
    batch: int | None = None
    lr: float = 2e-3
    distil: float = 0.5
    phase_rad: float = 0.0
    split_rad: float = 0.0
    code: DriveCode | None = None
    deadline: float | None = None

    def steps_of(self, count: int) -> tuple[int, float]:
        """(samples a step, epochs) with so many samples."""
        batch = min(self.batch or min(max(count // 20, 32), 500), max(count, 1))
        each = max(count // batch, 1)
        return batch, max(EPOCHS, STEPS / each) if self.epochs is None else self.epochs


def tuned(program: Program, context: Context, tuning: Tuning) -> Program:
    """The program with the phases that training finds, the same heaters as before.

    Raises UsageError without the extra `train`, without data, and for codes of complex layers.
    """
    extra.need(tuning.where)
    network, host = context.network, program.host
    if network is None or host is None:
        raise UsageError(
            "trains on phases, which needs samples",
            where=tuning.where,
            hint="give --data FILE.npz (labels are not needed)",
        )
    from onnx2mzi.train.alike import check_alike
    from onnx2mzi.train.graph import HostGraph
    from onnx2mzi.train.loop import Settings, Trainer
    from onnx2mzi.train.network import PhaseNetwork
    from onnx2mzi.train.noise import Noise, noisy
    from onnx2mzi.train.samples import aim, samples

    teacher = network.wanted(network.fit)
    goal = aim(teacher, distil=tuning.distil)
    graph = HostGraph(host, program.layers)
    check_alike(graph, network)
    starts = program_starts(program)
    if tuning.code is not None:
        check_real(starts, tuning.where)
    model = PhaseNetwork.on_host(starts, graph)
    if tuning.phase_rad + tuning.split_rad > 0:
        model = noisy(model, Noise(tuning.phase_rad, tuning.split_rad), context.seed)
    drive = context.technology.drive
    hook = as_made(model, drive)
    if tuning.code is not None:
        heated = (model.alive & ~model.fixed).numpy()
        attenuator = model.kinds().numpy() == 2
        model.transform = straight_through(tuning.code, drive, attenuator, heated)
    batch, epochs = tuning.steps_of(len(network.fit))
    trainer = Trainer(
        model,
        goal,
        samples(network.fit, teacher, goal.output),
        samples(network.held, network.original, goal.output),
        Settings(lr=tuning.lr, lr_electronic=tuning.lr / 4, batch=batch, seed=context.seed),
        deadline=tuning.deadline,
        folder=(lambda: None) if context.kept is None else context.kept.place,
        prefix=_named(program, tuning),
        tell=lambda what, done, total: context.progress(f"finetune: {what}", done, total),
    )
    trainer.fit(epochs, hook=hook, what="finetune")
    if trainer.expired:
        context.log(f"{tuning.where}: the time is up; phases as far as they are trained")
    if model.transform is not None:
        import torch

        with torch.no_grad():
            model.phase.copy_(model.effective())
    rules = drawing_rules(context)
    made = with_trims_of(program, with_phases(program, model.starts(), rules), rules)
    # Codes are shared anyway.
    if tuning.code is None:
        for before, after in zip(program.layers, made.layers, strict=True):
            was, now = layer_drivers(before), layer_drivers(after)
            if now > was:
                context.log(
                    f"{tuning.where}: layer '{before.name}' had {was:,} drivers, now {now:,}"
                )
    return made


def _named(program: Program, tuning: Tuning) -> str:
    """What the files of an interrupted training begin with."""
    text = repr((program.history, replace(tuning, deadline=None)))
    return f"tune-{hashlib.sha256(text.encode()).hexdigest()[:16]}-"


def check_real(starts: Sequence[LayerStart], where: str) -> None:
    """Raises UsageError if a mesh is complex: what is rounded there are drawn phis, which are not
    those that are trained."""
    for layer in starts:
        if not all(tile.is_real for grid in layer.grids for tile in grid.tiles):
            raise UsageError(
                f"cannot train the codes of layer '{layer.name}', which is complex",
                where=where,
                hint="take rounding=sequential",
            )


def distance(program: Program, network: Network) -> float:
    """How much worse the program leaves the network, on the samples kept back."""
    return network.distance(program_matrices(program))


def kept(lost: float, limit: float) -> bool:
    """Whether no more is lost than may be; what is no number is more."""
    return lost <= limit * (1 + SLACK)


def too_much(lost: float, limit: float, given: float, where: str, hint: str) -> VerificationError:
    """The error of a training that lost too much."""
    return VerificationError(
        f"leaves the network worse by {lost:.3g}, it may by {limit:.3g}; it was given one that is "
        f"worse by {given:.3g}",
        where=where,
        hint=hint,
    )


def straight_through(
    code: DriveCode, drive: Drive, attenuator: Mask, heated: Mask
) -> "Callable[[Tensor], Tensor]":
    """Phases (P,) to the nearest codes, the gradient as if they stayed. Attenuators, where
    `attenuator`, have the codes up to pi; phases that are not `heated` stay."""
    import torch

    levels = code.levels_rad(drive)
    levels = np.asarray(levels[levels <= np.pi])
    middles = (levels[1:] + levels[:-1]) / 2

    def nearest(phase: Real) -> Real:
        near = within_pi(phase)
        there = phase + wrapped(code.nearest_rad(near, drive) - near)
        lossy = levels[np.searchsorted(middles, np.abs(near))]
        return np.where(heated, np.where(attenuator, lossy, there), phase)

    def transform(phase: "Tensor") -> "Tensor":
        step = nearest(phase.detach().numpy()) - phase.detach().numpy()
        return phase + torch.from_numpy(step)

    return transform


@dataclass(frozen=True, slots=True)
class Finetune(Pass):
    """Train the phases that are left, with the noise of made chips if asked for."""

    name: ClassVar[str] = "finetune"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH
    moves_phases: ClassVar[bool] = True

    phase_noise: float = option(
        0.0, "deviation of what every heater makes, anew at every step", unit="rad", low=0.0
    )
    split_noise: float = option(
        0.0, "deviation of every coupler's angle, anew at every step", unit="rad", low=0.0
    )
    epochs: float | None = option(
        None, "passes through the data; none: 6, more of few samples", low=0.0
    )
    batch: int | None = option(None, "samples a step; none: a twentieth of them, 32 to 500", low=1)
    lr: float = option(2e-3, "peak rate of the phases", unit="rad", low=1e-9)
    distil: float = option(
        0.5, "weight of the original's answers beside the labels", low=0.0, high=1.0
    )
    max_drop: float = option(
        0.05,
        "accuracy that the ideal chip may lose (no labels: changed answers)",
        low=0.0,
        high=1.0,
    )
    time_limit: float | None = option(
        None,
        "ends so long after the start of the compile, with the phases as they are then",
        unit="s",
        low=0.0,
    )

    def effect(self, program: Program) -> Effect:
        return BoundedDrop(self.max_drop)

    def run(self, program: Program, context: Context) -> Program:
        tuning = Tuning(
            where="finetune",
            epochs=self.epochs,
            batch=self.batch,
            lr=self.lr,
            distil=self.distil,
            phase_rad=self.phase_noise,
            split_rad=self.split_noise,
            deadline=None if self.time_limit is None else context.begun + self.time_limit,
        )
        found = tuned(program, context, tuning)
        assert context.network is not None
        lost = distance(found, context.network)
        if kept(lost, self.max_drop):
            return found
        given = distance(program, context.network)
        noise = self.phase_noise + self.split_noise > 0
        if kept(given, self.max_drop) and not noise:
            context.log("finetune: training found nothing that keeps max_drop; the phases stay")
            return program
        fewer = "less noise, a lower lr" if noise else "a lower lr, more epochs"
        hint = f"give {fewer}, or a larger max_drop"
        raise too_much(lost, self.max_drop, given, "finetune", hint)
