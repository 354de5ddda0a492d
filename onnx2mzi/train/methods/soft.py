"""`soft-l1`: an L1 norm on the phases, and condemned phases that are shrunk rather than cut.

The number that may stay falls geometrically over the first half of a training; phases beyond it
(the smallest of their layers at the time) lose 5 % a step, and may come back by their gradient;
they are cut when the rate starts to fall. The norm is taken behind every step
(`Trainer.shrink`).
"""

from dataclasses import dataclass

import torch

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task, highest, layer_adaptive
from onnx2mzi.train.schedules import hold_then_cosine

# Shares of the training at which the number has fallen, and at which what is condemned is cut.
FALLEN = 0.5
CUT = 0.6
SHRINK = 0.95
EVERY = 5


@dataclass
class SoftL1:
    """See the module. `spare` kinds of phases (see `PhaseNetwork.kinds`) are neither pruned nor
    counted."""

    spare: tuple[int, ...] = ()

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        spared = torch.isin(network.kinds(), torch.tensor(self.spare, dtype=torch.uint8))
        spared &= network.alive
        # Those that are fixed cost no heater already.
        keep += int((spared & ~network.fixed).sum())
        now = network.phases_active
        memory = {"condemned": torch.zeros_like(network.alive)}

        def hook(trainer: Trainer, at: At) -> None:
            if at.share >= CUT:
                if network.phases_active > keep:
                    mask = highest(_score(trainer, spared), keep, network, floors)
                    trainer.keep(mask & network.alive)
                return
            count = round(now * (keep / now) ** min(at.share / FALLEN, 1.0))
            if at.step % EVERY == 0:
                stays = highest(_score(trainer, spared), count, network, floors)
                memory["condemned"] = ~stays & network.alive
            trainer.shrink(task.l1 * at.rate, spared)
            with torch.no_grad():
                network.phase[memory["condemned"]] *= SHRINK

        trainer.fit(
            task.epochs,
            schedule=hold_then_cosine(CUT),
            hook=hook,
            memory=memory,
            what=f"soft-l1 to {keep}",
        )
        if network.phases_active > keep:
            trainer.keep(highest(_score(trainer, spared), keep, network, floors) & network.alive)


def _score(trainer: Trainer, spared: torch.Tensor) -> torch.Tensor:
    network = trainer.network
    score = torch.where(spared, torch.inf, layer_adaptive(network))
    return torch.where(network.alive, score, torch.full_like(score, -1.0))
