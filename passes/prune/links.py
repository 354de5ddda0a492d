"""Which layer reads another's outputs one by one: found out by asking the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.network import Network
from onnx2mzi.physics.arrays import Matrix

# Outputs of a network that agree to this are the same but for float32 sums in another order.
SAME = 1e-5


@dataclass(frozen=True, slots=True)
class _Probe:
    network: Network
    matrices: Mapping[str, Matrix]

    def outputs(self, changed: Mapping[str, Matrix]) -> list[np.ndarray]:
        out = self.network.outputs({**self.matrices, **changed}, self.network.fit)
        arrays = [np.asarray(value) for value in out.values()]
        return [array for array in arrays if array.dtype.kind in "fciub"]


def readers(network: Network, names: Sequence[str], seed: int = 0) -> list[int | None]:
    """For each layer the one whose input j is its output j and nothing else's, or None.

    Then an output is useless once the reader's input is dark. Tested, not read off the graph: for
    a random half of the outputs, the reader's inputs go dark and the rows are replaced by other
    weights; if nothing changes at the network's outputs, nobody else was reading.
    """
    matrices = {layer.name: layer.weight for layer in network.layers}
    # Groups of one convolution, which feed one host input, never read each other.
    nodes = {layer.name: layer.operand.binding for layer in network.layers}
    probe = _Probe(network, matrices)
    rng = np.random.default_rng(seed)
    found: list[int | None] = []
    taken: set[int] = set()
    for name in names:
        m = matrices[name].shape[0]
        reader = None
        for other in range(len(names)):
            if other in taken or matrices[names[other]].shape[1] != m or m < 2:
                continue
            if nodes[names[other]] == nodes[name]:
                continue
            if _reads(probe, name, names[other], rng):
                reader = other
                taken.add(other)
                break
        found.append(reader)
    return found


def _reads(probe: _Probe, name: str, other: str, rng: np.random.Generator) -> bool:
    w, v = probe.matrices[name], probe.matrices[other]
    half = rng.permutation(len(w))[: len(w) // 2]
    dark = v.copy()
    dark[:, half] = 0.0
    shuffled = w.copy()
    shuffled[half] = w[rng.permutation(half)] * rng.uniform(-2.0, 2.0, (len(half), 1))
    before = probe.outputs({other: dark})
    after = probe.outputs({other: dark, name: shuffled})
    return all(
        np.allclose(a, b, rtol=0.0, atol=SAME * max(float(np.abs(a).max(initial=0.0)), 1e-30))
        for a, b in zip(before, after, strict=True)
    )
