"""`grow`: from nearly no heaters, those come that the gradient asks for.

A fixed number of heaters; every few steps the smallest go and as many come where |dL/dphase| is
largest, fewer and fewer until 70 % of a training (RigL: Evci et al., arXiv 1911.11134; here on
phases around the heater-free mesh, where every phase but a stationary one has a gradient).
"""

import math
from dataclasses import dataclass

import torch

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task, highest, magnitude

EVERY = 30
SWAPPED = 0.3
UNTIL = 0.7
# Samples for the gradient that decides what comes.
ASKED = 2000


@dataclass
class Grow:
    """See the module. The first call forgets the network's phases but for attenuators."""

    begun: bool = False

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        if not self.begun:
            self.begun = True
            self._begin(trainer, task, keep)
        elif keep < network.phases_active:
            trainer.keep(highest(magnitude(network), keep, network, floors) & network.alive)
        count = network.phases_active

        def hook(trainer: Trainer, at: At) -> None:
            if at.step % EVERY or not 0 < at.share < UNTIL:
                return
            share = SWAPPED * 0.5 * (1 + math.cos(math.pi * at.share / UNTIL))
            some = trainer.some(ASKED, at)
            self._swap(trainer, floors, count, max(1, round(share * count)), some)

        trainer.fit(task.epochs, lr=2 * trainer.settings.lr, hook=hook, what=f"grow {count}")

    def _begin(self, trainer: Trainer, task: Task, keep: int) -> None:
        """Every theta and phi at rest, and the `keep` with the largest gradients there."""
        network = trainer.network
        sigma = network.kinds() == 2
        alive = network.alive & sigma
        trainer.keep(alive)
        # What comes back is a heater.
        network.fixed &= alive
        slope = trainer.gradient().abs()
        slope[alive] = slope.max() + 1.0
        trainer.keep(highest(slope, keep, network, task.floors(network)))

    def _swap(
        self,
        trainer: Trainer,
        floors: dict[str, int],
        count: int,
        swapped: int,
        rows: torch.Tensor,
    ) -> None:
        network = trainer.network
        slope = trainer.gradient(rows).abs()
        size = magnitude(network) + 1e-9
        size = torch.where(network.alive, size, torch.full_like(size, -1.0))
        stays = highest(size, count - swapped, network, floors) & network.alive
        slope[stays] = torch.inf
        # What has just gone does not come back at once.
        slope[network.alive & ~stays] = 0.0
        comes = torch.zeros_like(stays)
        comes[torch.topk(slope, count + int(network.fixed.sum())).indices] = True
        trainer.keep(comes)
