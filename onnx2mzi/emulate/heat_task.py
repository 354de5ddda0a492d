"""What the network makes of its layers, as compensation sees it: scores, and their slopes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from onnx2mzi.emulate.accuracy import score_output
from onnx2mzi.emulate.data import Dataset
from onnx2mzi.emulate.network import Network
from onnx2mzi.physics.arrays import Complex, Matrix, Real

Matrices = Mapping[str, Matrix]

# Vectors by which a layer's matrix is moved: of several, the one that a sample sees best counts.
_PROBES = 3
# How far outputs of a layer are moved, relative to their mean size.
_STEP = 1e-2


class Task(Protocol):
    """A network around the layers, on some samples."""

    def scores(self, matrices: Matrices) -> Real:
        """Class scores (logits), shape (B, C)."""

    def layer_inputs(self, matrices: Matrices) -> dict[str, Matrix]:
        """The vectors that every layer meets, as columns, (n, B x uses)."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkTask:
    """The user's network on some samples; its outputs must hold class scores."""

    network: Network
    data: Dataset

    def scores(self, matrices: Matrices) -> Real:
        outputs = self.network.outputs(dict(matrices), self.data)
        name = score_output(outputs)
        assert name is not None
        return as_logits(np.asarray(outputs[name], float))

    def layer_inputs(self, matrices: Matrices) -> dict[str, Matrix]:
        return self.network.layer_inputs(dict(matrices), self.data)


def as_logits(scores: Real) -> Real:
    """Scores (B, C) whose softmax is the network's belief: the logarithm of probabilities."""
    sums = scores.sum(axis=1)
    if (scores >= 0).all() and np.allclose(sums, 1.0, atol=1e-3):
        return np.asarray(np.log(np.maximum(scores, 1e-12)))
    return scores


def task_of(network: Network | None, *, samples: int) -> NetworkTask | None:
    """The network on at most `samples` of the data for fitting; None if it gives no scores."""
    if network is None or not network.classifies:
        return None
    rows = np.linspace(0, len(network.fit) - 1, min(samples, len(network.fit))).astype(np.int64)
    return NetworkTask(network, network.fit.take(rows))


def softmax(scores: Real) -> Real:
    """Probabilities, (B, C)."""
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def divergence(wanted: Real, scores: Real) -> float:
    """Mean Kullback-Leibler divergence of softmax(scores) from the probabilities `wanted`."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_wanted = np.log(np.maximum(wanted, 1e-300))
    return float((wanted * (log_wanted - log_p)).sum(axis=1).mean())


def output_slopes(
    task: Task, matrices: Matrices, name: str, inputs: Matrix, *, seed: int = 0
) -> Complex | None:
    """S (B, C, m) with d scores = Re(S . dy) for changes dy (m,) of a layer's outputs.

    By central differences: W moves by e_i a^T, which moves output i of a sample with input x by
    a x. `inputs` is (n, B), one vector a sample; None if a sample has several, for then they
    cannot be told apart.
    """
    weight = np.asarray(matrices[name])
    base = task.scores(matrices)
    if inputs.shape[1] != len(base):
        return None
    m = len(weight)
    real = not np.iscomplexobj(weight)
    rng = np.random.default_rng(seed)
    size = np.sqrt(np.mean(np.abs(weight @ inputs) ** 2)) + 1e-300
    slopes = np.zeros((len(base), base.shape[1], m), complex)
    best = np.zeros(len(base))
    for probe in _probes(inputs, rng, real):
        seen = probe @ inputs
        reach = np.sqrt(np.mean(np.abs(seen) ** 2))
        better = np.abs(seen) > best
        if reach == 0 or not better.any():
            continue
        step = _STEP * size / reach
        change = np.zeros(weight.shape, complex)
        for i in range(m):
            ways = []
            for turn in (1.0,) if real else (1.0, 1j):
                change[i] = probe * (turn * step)
                move = change.real if real else change
                ahead = task.scores({**matrices, name: weight + move})
                behind = task.scores({**matrices, name: weight - move})
                ways.append((ahead - behind) / (2 * step))
            change[i] = 0.0
            along = ways[0] if real else ways[0] - 1j * ways[1]
            slopes[better, :, i] = along[better] / seen[better, None]
        best = np.where(better, np.abs(seen), best)
    return slopes


def _probes(inputs: Matrix, rng: np.random.Generator, real: bool) -> list[Matrix]:
    """Rows a (n,) for which |a x| is small for few samples x."""
    n = len(inputs)
    mean = inputs.mean(axis=1).conj()
    length = float(np.linalg.norm(mean))
    probes: list[Matrix] = [mean / length] if length > 0 else []
    while len(probes) < _PROBES:
        row = rng.normal(size=n) + (0 if real else 1j) * rng.normal(size=n)
        probes.append(np.asarray(row / np.sqrt(n)))
    return [probe.real if real else probe for probe in probes]
