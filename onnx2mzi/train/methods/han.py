"""`han`: thresholds of quality x sigma (Han, Pool, Tran and Dally, arXiv 1506.02626).

In every layer what is below `quality` standard deviations of its phases goes; the rest is
retrained at a lower rate; the quality rises from round to round.
"""

from dataclasses import dataclass

import torch

from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods.base import Task, highest, levels, magnitude

SHARE = 0.7
# Share of the rate that retraining has.
RATE = 0.5


@dataclass
class Han:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        rounds = list(levels(network.phases_active, keep, SHARE))
        for k, count in enumerate(rounds):
            # One quality for all layers that leaves so many is one threshold on |phase| / sigma.
            score = magnitude(network)
            for spot in network.spots.values():
                there = network.alive[spot]
                if int(there.sum()) > 1:
                    sigma = network.phase.detach()[spot][there].std()
                    score[spot] = score[spot] / torch.clamp(sigma, min=1e-12)
            score = torch.where(network.alive, score, torch.full_like(score, -1.0))
            trainer.keep(highest(score, count, network, floors))
            epochs = task.epochs / len(rounds)
            trainer.fit(epochs, lr=RATE * trainer.settings.lr, what=f"han {k + 1}/{len(rounds)}")
