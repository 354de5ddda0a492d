"""`filter`: hidden ports go, a row of one layer with a column of the next.

Filters are ranked by the sum of their absolute weights (Li et al., arXiv 1608.08710), each
relative to its layer; the ports of U of one layer and of V of its reader go together, meshes are
decomposed anew and retrained. Inputs of the network are ranked by what their columns weigh times
how much they vary.
"""

from dataclasses import dataclass

import numpy as np
import torch

from onnx2mzi.physics.arrays import Flags
from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods.base import Task, levels
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.structure import masked, phases_of, rebuilt, tile_matrices

SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Port:
    """An input of a layer that may go, with the output of another that only it reads."""

    score: float
    layer: str
    index: int
    source: str | None


@dataclass
class Filters:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        rounds = list(levels(trainer.network.phases_active, keep, SHARE))
        for k, count in enumerate(rounds):
            trainer.network = _without_ports(trainer.network, task, count)
            trainer.fit(task.epochs / len(rounds), what=f"filter {k + 1}/{len(rounds)}")


def _without_ports(network: PhaseNetwork, task: Task, keep: int) -> PhaseNetwork:
    """The network without the ports that weigh least, at most `keep` heaters."""
    with torch.no_grad():
        whole = {name: w.numpy() for name, w in network.matrices().items()}
    sources = {reader: name for name, reader in task.readers.items()}
    ports = []
    for name, w in whole.items():
        weight = np.abs(w).sum(axis=0)
        source = sources.get(name)
        if source is not None:
            # What comes in is what the source's row makes of it.
            rows = np.abs(whole[source]).sum(axis=1)
            weight = weight / max(weight.max(), 1e-300) * rows / max(rows.max(), 1e-300)
        else:
            weight = weight / max(weight.max(), 1e-300)
        ports += [Port(float(weight[j]), name, j, source) for j in range(len(weight))]
    ports.sort(key=lambda port: port.score)
    parts = tile_matrices(network)
    columns = {name: np.ones(w.shape[1], np.uint8) for name, w in whole.items()}
    rows_of = {name: np.ones(w.shape[0], np.uint8) for name, w in whole.items()}

    def cut() -> dict[str, list[list[np.ndarray]]]:
        found = {}
        for name, grids in network.layers.items():
            found[name] = [
                [
                    _masked(w, tile.outputs, tile.inputs, rows_of[name], columns[name], g, grids)
                    for w, tile in zip(parts[name][g], grid.tiles, strict=True)
                ]
                for g, grid in enumerate(grids)
            ]
        return found

    def left() -> int:
        return sum(
            phases_of(
                int((np.abs(w).max(axis=1, initial=0) > 0).sum()),
                int((np.abs(w).max(axis=0, initial=0) > 0).sum()),
                min(w.shape),
                real=network.real[name],
            )
            for name, grids in cut().items()
            for grid in grids
            for w in grid
        )

    step = max(len(ports) // 64, 1)
    for start in range(0, len(ports), step):
        if left() <= keep:
            break
        for port in ports[start : start + step]:
            if columns[port.layer].sum() <= 1:
                continue
            columns[port.layer][port.index] = 0
            if port.source is not None:
                rows_of[port.source][port.index] = 0
    return rebuilt(network, cut())


def _masked(
    w: np.ndarray,
    outputs: np.ndarray,
    inputs: np.ndarray,
    rows: Flags,
    columns: Flags,
    grid: int,
    grids: tuple[object, ...],
) -> np.ndarray:
    """Columns of the first grid and rows of the last are the layer's."""
    top = rows[outputs] if grid == len(grids) - 1 else np.ones(len(outputs), np.uint8)
    left = columns[inputs] if grid == 0 else np.ones(len(inputs), np.uint8)
    return np.asarray(masked(w, top, left))
