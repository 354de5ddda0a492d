"""`lth`: lottery tickets (Frankle and Carbin, arXiv 1803.03635; on phases arXiv 2112.07485).

Train, remove the lowest share of every layer's phases, put the others back to where they
started, repeat; at last train what is left.
"""

from dataclasses import dataclass, field
from typing import Any

from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods.base import Task, by_layer, levels, magnitude

# Share of the heaters that a round leaves (the paper: 0.9 for ten rounds, then 0.75), and what
# a round's training is of the last one's.
SHARE = 0.75
ROUND = 0.4


@dataclass
class Lottery:
    """See the module. The start that survivors return to is the network as it first came."""

    start: dict[str, Any] | None = field(default=None)

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        if self.start is None:
            self.start = network.state()
        rounds = list(levels(network.phases_active, keep, SHARE))
        for k, count in enumerate(rounds):
            trainer.fit(ROUND * task.epochs, what=f"lth {k + 1}/{len(rounds)}")
            mask = by_layer(magnitude(network), count, network, floors)
            network.restore(self.start)
            trainer.keep(mask)
        trainer.fit(task.epochs, what="lth ticket")
