"""`colt`: cyclic overlapping lottery tickets (arXiv 2212.12770).

The samples are split by class (by half without labels); both halves train the same network from
the same start, both are pruned, and only the phases that both keep stay; they go back to the
start, and the cycle begins again.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods.base import Task, highest, layer_adaptive, levels

SHARE = 0.7
ROUND = 0.4


@dataclass
class Colt:
    """See the module."""

    start: dict[str, Any] | None = field(default=None)

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        if self.start is None:
            self.start = network.state()
        halves = _halves(trainer)
        rounds = list(levels(network.phases_active, keep, SHARE))
        for k, count in enumerate(rounds):
            before = network.alive.clone()
            scores = []
            for half, rows in enumerate(halves):
                network.restore(self.start)
                trainer.keep(before)
                what = f"colt {k + 1}/{len(rounds)}, half {half + 1}"
                trainer.fit(ROUND * task.epochs, rows=rows, what=what)
                scores.append(layer_adaptive(network))
            network.restore(self.start)
            trainer.keep(before)
            trainer.keep(_common(scores, count, trainer, floors) & before)
        trainer.fit(task.epochs, what="colt ticket")


def _common(scores: list[Tensor], count: int, trainer: Trainer, floors: dict[str, int]) -> Tensor:
    """The intersection of both halves' masks that leaves about `count`: each keeps more."""
    network = trainer.network
    low, high = count, network.phases_active
    best = highest(scores[0], count, network, floors)
    while low <= high:
        middle = (low + high) // 2
        masks = [highest(score, middle, network, floors) for score in scores]
        common = masks[0] & masks[1]
        if int((common & ~network.fixed).sum()) <= count:
            best, low = common, middle + 1
        else:
            high = middle - 1
    return best


def _halves(trainer: Trainer) -> tuple[Tensor, Tensor]:
    labels = trainer.fit_on.labels
    rows = torch.arange(len(trainer.fit_on))
    if len(rows) < 2:
        return rows, rows
    if labels is None or len(classes := torch.unique(labels)) < 2:
        return rows[0::2], rows[1::2]
    first = torch.isin(labels, classes[0::2])
    return rows[first], rows[~first]
