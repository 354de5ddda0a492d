"""`imp`: iterative magnitude pruning of phases.

Magnitude pruning of the phases themselves follows CHAMP (arXiv 2112.06098); the retraining
between the cuts is adaptive linear restarting (ALLR: Zimmer, Spiegel and Pokutta, arXiv
2111.00843), whose peak follows how far the cut has moved the network.
"""

from dataclasses import dataclass

import torch

from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods.base import Task, highest, layer_adaptive, levels, norm_moved
from onnx2mzi.train.schedules import allr

# Share of the heaters that a round leaves, and of the epochs that the last round gets.
SHARE = 0.7
LAST = 0.4


@dataclass
class Imp:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        rounds = list(levels(network.phases_active, keep, SHARE))
        for k, count in enumerate(rounds):
            epochs = LAST * task.epochs if k == len(rounds) - 1 else 0.0
            epochs += (1 - LAST) * task.epochs / len(rounds)
            before, now = _matrices(trainer), network.phases_active
            trainer.keep(highest(layer_adaptive(network), count, network, floors))
            moved = norm_moved(before, _matrices(trainer))
            schedule = allr(moved, 1 - count / now, epochs, task.epochs)
            trainer.fit(epochs, schedule=schedule, what=f"imp {k + 1}/{len(rounds)}")


def _matrices(trainer: Trainer) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return trainer.network.matrices()
