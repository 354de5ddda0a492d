"""`one-cycle`: the sparsity rises inside a single training (Hubens et al., arXiv 2107.02086).

s(t) = s_i + (s_f - s_i) (1 + e^(b - a)) / (1 + e^(b - a t)), a = 14, b = 6, with the smallest
phases cut whenever it has risen, under a one-cycle learning rate.
"""

import math
from dataclasses import dataclass

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task, highest, layer_adaptive

A, B = 14.0, 6.0
EVERY = 10


def sparsity(t: float, first: float, last: float) -> float:
    """The share that is gone when the share t of the training is behind."""
    return first + (last - first) * (1 + math.exp(B - A)) / (1 + math.exp(B - A * t))


@dataclass
class OneCycle:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        now = network.phases_active
        last = 1 - keep / now

        def cut(count: int) -> None:
            if count < network.phases_active:
                mask = highest(layer_adaptive(network), count, network, floors)
                trainer.keep(mask & network.alive)

        def hook(trainer: Trainer, at: At) -> None:
            if at.step % EVERY and at.step != at.steps - 1:
                return
            cut(max(round(now * (1 - sparsity(at.share, 0.0, last))), keep))

        trainer.fit(task.epochs, hook=hook, what=f"one-cycle to {keep}")
        cut(keep)
