"""`finetune`: heaters are set by training the network as it will be made and driven.

Gradients go through the meshes (room `train`): with noise, every step sees other couplers and
heaters, so phases move to where errors hurt little; with a driver's codes, light meets the
nearest codes and gradients pass as if it met the phases (straight-through estimator, Bengio et
al., arXiv 1308.3432). Heaters neither come nor go. `quantize{rounding=trained}` is the latter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.prune.starts import program_starts, with_phases
from onnx2mzi.physics.arrays import Real, within_pi, wrapped
from onnx2mzi.physics.quantization import DriveCode
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.base import BoundedDrop, Context, Effect, Pass, option
from onnx2mzi.train import extra

if TYPE_CHECKING:
    from torch import Tensor

# Unless said otherwise no fewer steps than these.
STEPS = 600
EPOCHS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How phases are trained. `code` None: they are not rounded."""

    where: str
    epochs: float | None = None
    batch: int | None = None
    lr: float = 2e-3
    distil: float = 0.5
    phase_rad: float = 0.0
    split_rad: float = 0.0
    code: DriveCode | None = None


def tuned(program: Program, context: Context, tuning: Tuning) -> Program:
    """The program with the phases that training finds, the same heaters as before.

    Raises UsageError without the extra `train` or without data.
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
    model = PhaseNetwork.on_host(program_starts(program), graph)
    if tuning.phase_rad + tuning.split_rad > 0:
        model = noisy(model, Noise(tuning.phase_rad, tuning.split_rad), context.seed)
    if tuning.code is not None:
        model.transform = straight_through(
            tuning.code, context.technology.drive, model.kinds().numpy() == 2, model.alive.numpy()
        )
    count = len(network.fit)
    batch = tuning.batch or min(max(count // 20, 32), 500)
    epochs = tuning.epochs or max(EPOCHS, STEPS * batch / max(count, 1))
    trainer = Trainer(
        model,
        goal,
        samples(network.fit, teacher, goal.output),
        samples(network.held, network.original, goal.output),
        Settings(lr=tuning.lr, lr_electronic=tuning.lr / 4, batch=batch, seed=context.seed),
        tell=lambda what, done, total: context.progress(f"finetune: {what}", done, total),
    )
    trainer.fit(epochs, what="finetune")
    if model.transform is not None:
        import torch

        with torch.no_grad():
            model.phase.copy_(model.effective())
    return with_phases(program, model.starts(), drawing_rules(context))


def straight_through(
    code: DriveCode, drive: Drive, attenuator: np.ndarray, alive: np.ndarray
) -> "Callable[[Tensor], Tensor]":
    """Phases (P,) to the nearest codes, the gradient as if they stayed. Attenuators, where
    `attenuator`, have the codes up to pi; phases that are not `alive` stay."""
    import torch

    levels = code.levels_rad(drive)
    levels = np.asarray(levels[levels <= np.pi])
    middles = (levels[1:] + levels[:-1]) / 2

    def nearest(phase: Real) -> Real:
        near = within_pi(phase)
        there = phase + wrapped(code.nearest_rad(near, drive) - near)
        lossy = levels[np.searchsorted(middles, np.abs(near))]
        return np.where(alive, np.where(attenuator, lossy, there), phase)

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
        )
        return tuned(program, context, tuning)
