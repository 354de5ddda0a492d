"""What compensation keeps: the network's answers where there are data, else every layer's outputs.

With a network that gives class scores the loss is the mean Kullback-Leibler divergence of its
warm answers from its cold ones; no labels are needed. A layer that meets one vector a sample is
seen through the whole network; one that meets several (a convolution) through its own outputs,
weighted by what their errors cost the network. Without data a layer's outputs count for
random inputs, relative to their size.
"""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from onnx2mzi.emulate.heat import BalancedTile
from onnx2mzi.emulate.heat_layout import HeatLayout
from onnx2mzi.emulate.heat_metric import Rows, layer_rows
from onnx2mzi.emulate.heat_task import Task, divergence, output_slopes, softmax
from onnx2mzi.emulate.heated import balanced_tiles, heated_matrices
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import Program
from onnx2mzi.physics.arrays import Complex, Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """The loss near some phases: `gradient` (phases,), and roots R with F = sum R^T R.

    A root is (columns, R): R has a column for each of these phases.
    """

    gradient: Real
    roots: tuple[tuple[npt.NDArray[np.int64], Real], ...]

    def diagonal(self, push: sp.csr_array) -> Real:
        """diag(P^T F P) for a sparse P (phases, n), shape (n,)."""
        total: Real | None = None
        for columns, root in self.roots:
            rows = push[columns]
            for start in range(0, len(root), 500):
                seen = (rows.T @ root[start : start + 500].T) ** 2
                total = seen.sum(axis=1) if total is None else total + seen.sum(axis=1)
        assert total is not None
        return np.asarray(total)


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """What to keep of a placed program; made by `aim_of`.

    `wanted` (B, C) are the cold network's beliefs, None without a network; `inputs` and
    `weight` those of layers that are judged by their own outputs.
    """

    program: Program
    layout: HeatLayout
    task: Task | None
    recalibrated: bool
    cold: tuple[BalancedTile, ...]
    matrices: dict[str, Matrix]
    wanted: Real | None
    through: tuple[str, ...]
    inputs: dict[str, Matrix] = field(default_factory=dict)
    weight: dict[str, float] = field(default_factory=dict)

    def warm(self, error_rad: Real) -> dict[str, Matrix]:
        """The layers' matrices when balanced phases are off by `error_rad`."""
        return heated_matrices(
            program=self.program,
            layout=self.layout,
            error_rad=error_rad,
            recalibrated=self.recalibrated,
            cold=self.cold,
        )

    def loss(self, error_rad: Real) -> float:
        """What the errors cost, 0 without any."""
        warm = self.warm(error_rad)
        if self.task is not None and self.wanted is not None:
            return divergence(self.wanted, self.task.scores(warm))
        return sum(self._own_loss(name, warm[name]) for name in self.inputs)

    def _own_loss(self, name: str, warm: Matrix) -> float:
        moved = (warm - self.matrices[name]) @ self.inputs[name]
        return 0.5 * self.weight[name] * float(np.linalg.norm(moved) ** 2)

    def metric(self, error_rad: Real) -> Metric:
        """Fisher's metric (or Gauss and Newton's) and the gradient at `error_rad`."""
        rows: dict[str, Rows] = {}
        warm = self.warm(error_rad)
        if self.task is not None and self.wanted is not None:
            rows |= self._task_rows(warm)
        for name in self.inputs:
            rows[name] = self._own_rows(name, warm[name])
        made = layer_rows(
            program=self.program,
            layout=self.layout,
            cold=self.cold,
            error_rad=error_rad,
            rows=rows,
            recalibrated=self.recalibrated,
        )
        gradient = np.zeros(len(error_rad))
        roots: list[tuple[npt.NDArray[np.int64], Real]] = []
        shared: list[tuple[npt.NDArray[np.int64], Real]] = []
        owner = [placed.layer for placed in self.layout.tiles if placed.layer in rows]
        for name, (part, values) in zip(owner, made, strict=True):
            ways = rows[name].slopes.shape[1]
            columns = np.arange(part.start, part.stop)
            # The last direction of every sample is the gradient's.
            last = values[ways - 1 :: ways]
            gradient[part] += last.sum(axis=0)
            keep = np.ones(len(values), bool)
            keep[ways - 1 :: ways] = False
            (shared if name in self.through else roots).append((columns, values[keep]))
        if shared:
            joined = np.concatenate([root for _, root in shared], axis=1)
            roots.append((np.concatenate([columns for columns, _ in shared]), joined))
        return Metric(gradient, tuple(roots))

    def _task_rows(self, warm: dict[str, Matrix]) -> dict[str, Rows]:
        assert self.task is not None and self.wanted is not None
        p = softmax(self.task.scores(warm))
        seen = self.task.layer_inputs(warm)
        found = {}
        for name in self.through:
            slopes = output_slopes(self.task, warm, name, seen[name])
            assert slopes is not None
            mean = np.einsum("bc,bcm->bm", p, slopes)
            root = np.sqrt(p / len(p))[:, :, None] * (slopes - mean[:, None])
            pull = np.einsum("bc,bcm->bm", (p - self.wanted) / len(p), slopes)
            found[name] = Rows(seen[name], np.concatenate([root, pull[:, None]], axis=1))
        return found

    def _own_rows(self, name: str, warm: Matrix) -> Rows:
        inputs = self.inputs[name]
        m = len(warm)
        scale = np.sqrt(self.weight[name])
        each: Complex = np.eye(m, dtype=complex) * scale
        if np.iscomplexobj(self.matrices[name]):
            each = np.concatenate([each, -1j * each])
        moved = (warm - self.matrices[name]) @ inputs
        # Re(conj(moved) . dy) is the gradient of |moved|^2 / 2.
        pull = self.weight[name] * moved.conj().T
        slopes = np.broadcast_to(each, (inputs.shape[1], *each.shape))
        return Rows(inputs, np.concatenate([slopes, pull[:, None]], axis=1))


def aim_of(
    program: Program,
    layout: HeatLayout,
    task: Task | None,
    *,
    recalibrated: bool = True,
    seed: int = 0,
) -> Aim:
    """What to keep of a placed program whose network is `task`."""
    matrices = program_matrices(program)
    wanted = None
    through: tuple[str, ...] = ()
    inputs: dict[str, Matrix] = {}
    weight: dict[str, float] = {}
    placed = {tile.layer for tile in layout.tiles}
    if task is not None:
        base = task.scores(matrices)
        wanted = softmax(base)
        seen = task.layer_inputs(matrices)
        through = tuple(name for name in matrices if name in placed and _single(seen, name, base))
        for name in placed.difference(through):
            inputs[name] = _compressed(seen[name])
            weight[name] = _cost(task, matrices, name, wanted, inputs[name], seed)
    else:
        for name in placed:
            inputs[name] = np.eye(matrices[name].shape[1])
            size = float(np.linalg.norm(matrices[name]) ** 2)
            weight[name] = 1 / size if size > 0 else 0.0
    return Aim(
        program,
        layout,
        task,
        recalibrated,
        balanced_tiles(program),
        matrices,
        wanted,
        through,
        inputs,
        weight,
    )


def _single(seen: dict[str, Matrix], name: str, base: Real) -> bool:
    return bool(seen[name].shape[1] == len(base))


def _compressed(x: Matrix) -> Matrix:
    """At most n columns with the same moments x x^H / B and, if x is real, x x^T / B."""
    n, count = x.shape
    scaled = x / np.sqrt(max(count, 1))
    if count <= n:
        return cast(Matrix, scaled)
    factor = np.asarray(np.linalg.qr(scaled.T, mode="r"), x.dtype)
    return cast(Matrix, np.ascontiguousarray(factor.T))


def _cost(
    task: Task,
    matrices: dict[str, Matrix],
    name: str,
    wanted: Real,
    inputs: Matrix,
    seed: int,
) -> float:
    """Loss per half squared error of a layer's output, by random errors of 3 %."""
    rng = np.random.default_rng(seed)
    weight = matrices[name]
    total = 0.0
    for _ in range(4):
        off = rng.normal(size=weight.shape) * 0.03 * np.sqrt(np.mean(np.abs(weight) ** 2))
        moved = float(np.linalg.norm(off @ inputs) ** 2)
        if moved > 0:
            total += divergence(wanted, task.scores({**matrices, name: weight + off})) / moved
    return max(2 * total / 4, 1e-12)
