"""`mixed`: few phases stay tunable, the others become waveguide lengths.

MixedTrn (Gu et al., AAAI 2021) splits phases into active ones and passive ones that are fixed when
the chip is made. Which stay active is decided by how much the loss feels them, |dL/dphase| as a
root mean square over groups of samples: those are worth most when a made chip has to be set right.
Nothing is removed, so nothing is lost; the chip computes one function, and what is passive keeps
its fabrication error.
"""

from dataclasses import dataclass

import torch

from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods.base import Task, highest

GROUPS = 8


@dataclass
class Mixed:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network = trainer.network
        tunable = network.alive & ~network.fixed
        if keep >= int(tunable.sum()):
            return
        felt = torch.zeros_like(network.phase.detach())
        for rows in torch.arange(len(trainer.fit_on)).chunk(GROUPS):
            felt += trainer.gradient(rows, most=1000).square()
        score = torch.where(tunable, felt.sqrt(), torch.full_like(felt, -1.0))
        stays = highest(score, keep, network, task.floors(network))
        network.fixed |= tunable & ~stays
