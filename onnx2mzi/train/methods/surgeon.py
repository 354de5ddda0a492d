"""`surgeon`: soft-l1 as far as it goes well, then a few phases at a time that the loss feels least.

Below about a tenth of the phases magnitude picks the wrong ones, and removing many at once costs
more than training gives back. From there 3 % go every so many steps while training goes on: those
with the least (phase - goal)^2 F, F the mean square of their gradients (the diagonal of the
empirical Fisher matrix, which Adam keeps anyway), as in optimal brain damage (LeCun, Denker and
Solla 1990). The goal of a real mesh's theta is the nearer of a crossing (0) and two guides (+-pi).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task, highest
from onnx2mzi.train.methods.soft import SoftL1
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.schedules import hold_then_cosine

# Share of all phases down to which soft-l1 is left to it, and a number below which each counts.
COARSE = 0.12
FEW = 500
# Epochs behind that, in those of the task; the share of them in which phases go; and the share of
# the phases that goes at a time.
LONGER = 3.0
CUT = 0.6
RATE = 0.03


@dataclass
class Surgeon:
    """See the module."""

    coarse: SoftL1 = field(default_factory=SoftL1)

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network = trainer.network
        first = max(keep, round(COARSE * len(network.phase)), FEW)
        if network.phases_active > first:
            self.coarse.shrink(trainer, task, first)
        if network.phases_active > keep:
            self._fine(trainer, task, keep)

    def _fine(self, trainer: Trainer, task: Task, keep: int) -> None:
        floors = task.floors(trainer.network)
        now, least = trainer.network.phases_active, max(keep, sum(floors.values()))

        def hook(trainer: Trainer, at: At) -> None:
            # The first gradients of a training say little.
            begun = min(0.05, 100 / at.steps)
            share = min(max((at.share - begun) / (CUT - begun), 0.0), 1.0)
            count = round(now * (keep / now) ** share)
            there = trainer.network.phases_active
            if there > least and (count <= (1 - RATE) * there or share >= 1.0):
                self.cut(trainer, count, floors)

        trainer.fit(
            LONGER * task.epochs,
            schedule=hold_then_cosine(CUT),
            hook=hook,
            what=f"surgeon to {keep}",
        )
        if trainer.network.phases_active > least:
            self.cut(trainer, keep, floors)

    def cut(self, trainer: Trainer, keep: int, floors: dict[str, int]) -> None:
        """All but `keep` heaters go."""
        remove(trainer, keep, floors)


def remove(trainer: Trainer, keep: int, floors: dict[str, int]) -> None:
    """All but `keep` heaters go, where the loss feels it least."""
    network = trainer.network
    aims = goals(network)
    way = (network.phase.detach() - aims).abs()
    state = {} if trainer.optimizer is None else trainer.optimizer.state.get(network.phase, {})
    felt = state.get("exp_avg_sq")
    score = way if felt is None else way * (felt + 1e-20).sqrt()
    score = torch.where(network.alive, score, torch.full_like(score, -1.0))
    alive = highest(score, keep, network, floors) & network.alive
    gone = network.alive & ~alive
    network.rest[gone] = aims[gone]
    trainer.keep(alive)


def goals(network: PhaseNetwork) -> Tensor:
    """Where each phase (P,) would rest: 0, or for thetas of real meshes the nearer of 0, +-pi."""
    phase = network.phase.detach()
    found = torch.zeros_like(phase)
    kinds = network.kinds()
    for segment in network.segments:
        if segment.kind == "theta" and network.real[segment.layer]:
            here = phase[segment.slice]
            turns = torch.round(here / torch.pi).clamp(-1, 1)
            found[segment.slice] = turns * torch.pi
    found[kinds == 2] = 0.0
    return found
