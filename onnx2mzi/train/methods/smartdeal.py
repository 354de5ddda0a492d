"""`smartdeal`: singular values as powers of two.

SmartDeal (arXiv 2101.01163) writes a matrix as a small basis times coefficients 0 or +-2^-k. Here
the unitaries are the bases, and the attenuators, the coefficients, are set to amplitudes 2^-k:
taps of fixed couplers, the same everywhere. Phases are pruned by magnitude between; attenuators
move to the nearest power a share of them at a time while the rest is trained.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task
from onnx2mzi.train.methods.soft import SoftL1

# The smallest amplitude is 2^-LAST.
LAST = 6
PRUNE = 0.6


def powers() -> torch.Tensor:
    """The thetas (rad) of attenuators with amplitudes 1, 1/2, ..., 2^-LAST."""
    return torch.from_numpy(2 * np.arccos(2.0 ** -np.arange(LAST + 1)))


def nearest(theta: torch.Tensor) -> torch.Tensor:
    """The theta of the nearest power of two, by ratio of amplitudes."""
    amplitude = torch.cos(theta / 2).abs().clamp_min(2.0 ** -(LAST + 1))
    return powers()[torch.round(-torch.log2(amplitude)).clamp(0, LAST).long()]


@dataclass
class SmartDeal:
    """See the module. Attenuators are fixed, so they are not among the heaters that are kept."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network = trainer.network
        sigma = network.kinds() == 2
        before = replace(task, epochs=PRUNE * task.epochs)
        SoftL1(spare=(2,)).shrink(trainer, before, keep)
        memory = {"fixed": torch.zeros_like(network.alive)}

        def hook(trainer: Trainer, at: At) -> None:
            goal = nearest(network.phase.detach())
            off = (network.phase.detach() - goal).abs()
            off = torch.where(sigma & network.alive, off, torch.full_like(off, torch.inf))
            # Half of the training takes the nearest first, the other half has them all.
            count = min(2 * at.share, 1.0) * int((sigma & network.alive).sum())
            now = memory["fixed"].clone()
            now[torch.topk(off, round(count), largest=False).indices] = True
            memory["fixed"] = fixed = now & network.alive & sigma
            with torch.no_grad():
                network.phase[fixed] = goal[fixed]

        trainer.fit(
            (1 - PRUNE) * task.epochs, hook=hook, memory=memory, what=f"smartdeal at {keep}"
        )
        with torch.no_grad():
            there = sigma & network.alive
            network.phase[there] = nearest(network.phase.detach())[there]
        network.fixed |= there
        # An amplitude of 1 needs no attenuator.
        trainer.keep(network.alive & ~(sigma & (network.phase.detach() == 0.0)))
