"""`snip`: one shot before training, by what a phase and its gradient together say.

Saliency |phase dL/dphase| (SNIP: Lee, Ajanthan and Torr, arXiv 1810.02340) on the samples, with a
floor for every layer (taken over all layers at once the score empties some); then one training.
"""

from dataclasses import dataclass

import torch

from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods.base import Task, highest


@dataclass
class Snip:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network = trainer.network
        if keep < network.phases_active:
            score = (network.phase.detach() * trainer.gradient()).abs()
            score = torch.where(network.alive, score, torch.full_like(score, -1.0))
            trainer.keep(highest(score, keep, network, task.floors(network)))
        trainer.fit(task.epochs, what=f"snip to {keep}")
