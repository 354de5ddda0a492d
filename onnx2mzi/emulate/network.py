"""The network on the user's data: what reaches each layer, and how far a chip is from it."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field

import numpy as np

from onnx2mzi.emulate.accuracy import accuracy, disagreement, relative_error, score_output
from onnx2mzi.emulate.data import Dataset
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.ir import Host, LinearLayer
from onnx2mzi.physics.arrays import Matrix

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Network:
    """A host graph, its layers, and two halves of the data.

    Passes fit on `fit` and are judged on `held`, which they must not fit. `first` is the model
    as it was asked for, `original` its outputs on `held`.
    """

    runner: HostRunner
    layers: tuple[LinearLayer, ...]
    fit: Dataset
    held: Dataset
    first: HostRunner = field(init=False)
    original: Outputs = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", self.runner)
        object.__setattr__(self, "original", self.wanted(self.held))

    def outputs(self, matrices: Mapping[str, Matrix], data: Dataset) -> Outputs:
        """The network's outputs on `data` when its layers compute `matrices`."""
        return self.runner.run(matrices, self.layers, data.inputs)

    def wanted(self, data: Dataset) -> Outputs:
        """The outputs of the model as it was asked for, whatever was trained since (see `on`)."""
        asked = {layer.name: layer.weight for layer in self.layers}
        return self.first.run(asked, self.layers, data.inputs)

    def layer_inputs(
        self, matrices: Mapping[str, Matrix] | None = None, data: Dataset | None = None
    ) -> dict[str, Matrix]:
        """Input vectors of every layer as columns, shape (n, B), on `data` (default `fit`).

        `matrices` are the layers in force (default: those that the ONNX model asks for).
        """
        if matrices is None:
            matrices = {layer.name: layer.weight for layer in self.layers}
        return self.runner.layer_inputs(matrices, self.layers, (data or self.fit).inputs)

    def on(self, host: Host | None) -> "Network":
        """The same data and the same original, around another host graph."""
        if host is None or host is self.runner.host:
            return self
        other = copy(self)
        object.__setattr__(other, "runner", HostRunner(host))
        return other

    @property
    def classifies(self) -> bool:
        """Whether the outputs are class scores, so that a top-1 answer can be compared."""
        return score_output(self.original) is not None

    def distance(self, matrices: Mapping[str, Matrix]) -> float:
        """How much worse the network is on `held` with `matrices` than as it was asked for.

        With labels the fall in accuracy; without, the share of inputs whose top-1 answer
        changes (which bounds the fall), or the relative error if outputs are no class scores.
        """
        outputs = self.outputs(matrices, self.held)
        if not self.classifies:
            return relative_error(outputs, self.original)
        if self.held.labels is None:
            return disagreement(outputs, self.original)
        return accuracy(self.original, self.held.labels) - accuracy(outputs, self.held.labels)
