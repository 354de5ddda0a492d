"""The compiler as an ONNX backend: models run on the emulated chip.

`prepare`, `run_model`, `run_node` and `supports_device` are what `onnx.backend.test.BackendTest`
and other tools expect of a backend module. Every linear operator goes through meshes without
imperfections; the rest of the model runs on onnx's reference evaluator.
"""

import unittest
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.backend.base import Backend, BackendRep
from onnx.reference import ReferenceEvaluator

from onnx2mzi.driver.options import DEFAULT_PORTS
from onnx2mzi.driver.plugins import PASSES, technology
from onnx2mzi.emulate.host import bindings
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.frontend.electronic import linear, operator
from onnx2mzi.frontend.validate import NEWEST_OPSET, OLDEST_OPSET
from onnx2mzi.ir import Program
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.manager import Pipeline

# The lossless passes, without places that nothing here asks for.
PASSES_TEXT = "tile,svd,decompose,canonicalize"

# Which inputs of an operator are weights, and what tells the numbers that they stand for.
WEIGHTS: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("", "Conv"): (1,),
    ("", "ConvInteger"): (1, 3),
    ("", "ConvTranspose"): (1,),
    ("", "Einsum"): (1,),
    ("", "GRU"): (1, 2),
    ("", "Gemm"): (1,),
    ("", "LSTM"): (1, 2),
    ("", "MatMul"): (1,),
    ("", "MatMulInteger"): (1, 3),
    ("", "QLinearConv"): (3, 4, 5),
    ("", "QLinearMatMul"): (3, 4, 5),
    ("", "RNN"): (1, 2),
}


class ChipRep(BackendRep):
    """A model made ready. `program` is the chip of the last run, None if none has a mesh."""

    def __init__(self, model: ModelProto, *, ports: int = DEFAULT_PORTS) -> None:
        constant = {tensor.name for tensor in model.graph.initializer}
        self._model, self._ports = model, ports
        self._names = [v.name for v in model.graph.input if v.name not in constant]
        self._weights = weight_inputs(model.graph)
        self._known: dict[str, np.ndarray] | None = None
        self._matrices: dict[str, np.ndarray] = {}
        self.program: Program | None = None
        try:
            self._evaluator = ReferenceEvaluator(model)
        except NotImplementedError as error:
            raise unittest.SkipTest(str(error)) from None

    def run(self, inputs: Any, **options: Any) -> tuple[Any, ...]:
        """The outputs for inputs in the order of the graph (or by name).

        Inputs that are weights are compiled with the rest; the chip is kept while they stay
        the same.
        """
        feeds = self._named(inputs)
        weights = {name: np.asarray(feeds[name]) for name in self._weights if name in feeds}
        if self._known is None or not _same(weights, self._known):
            self._compile(weights)
            self._known = weights
        if self.program is not None:
            feeds = {name: value for name, value in feeds.items() if name not in weights}
        outputs = [value.name for value in self._model.graph.output]
        return tuple(self._evaluator.run(outputs, {**feeds, **self._matrices}))

    def _named(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            return dict(inputs)
        values = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        return dict(zip(self._names, values, strict=len(values) > len(self._names)))

    def _compile(self, weights: Mapping[str, np.ndarray]) -> None:
        try:
            program = imported(bound(self._model, weights), self._ports)
        except InputError:
            self.program, self._matrices = None, {}
            self._evaluator = ReferenceEvaluator(self._model)
            return
        context = Context(technology=technology(None))
        result = Pipeline(PASSES.parse(PASSES_TEXT)).run(program, context)
        self.program = result.program
        self._matrices = bindings(result.program.layers, result.matrices)
        assert program.host is not None
        host = ModelProto.FromString(program.host.model)
        del host.opset_import[:]
        host.opset_import.extend(self._model.opset_import)
        self._evaluator = ReferenceEvaluator(host)


class ChipBackend(Backend):
    """Compiles and runs models on the emulated chip, on the device "CPU"."""

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **options: Any) -> ChipRep:
        """The model made ready; `ports` is the widest tile, other options are ignored.

        Raises unittest.SkipTest for another device and for operators that nothing here runs.
        """
        if not cls.supports_device(device):
            raise unittest.SkipTest(f"no chip is emulated on device {device}")
        return ChipRep(model, ports=int(options.get("ports", DEFAULT_PORTS)))

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **options: Any
    ) -> tuple[Any, ...]:
        """The outputs of the model for inputs in its order."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **options: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node; `opset_version` says which opset it is written in."""
        arrays = [np.asarray(value) for value in inputs]
        given = [name for name in node.input if name]
        opset = int(options.get("opset_version", NEWEST_OPSET))
        graph = helper.make_graph(
            [node],
            "node",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
                )
                for name, array in zip(given, arrays, strict=True)
            ],
            [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)])
        return cls.run_model(model, arrays, device, **options)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether the device is the CPU, on which chips are emulated."""
        return device.partition(":")[0].upper() == "CPU"


def weight_inputs(graph: GraphProto) -> list[str]:
    """Graph inputs that linear nodes use as weights, and no node as anything else."""
    constant = {tensor.name for tensor in graph.initializer}
    inputs = {value.name for value in graph.input} - constant
    found: dict[str, None] = {}
    other: set[str] = {value.name for value in graph.output}
    for node in graph.node:
        places = WEIGHTS.get(operator(node), ())
        for k, name in enumerate(node.input):
            if name in inputs and k in places:
                found[name] = None
            else:
                other.add(name)
    return [name for name in found if name not in other]


def bound(model: ModelProto, weights: Mapping[str, np.ndarray]) -> ModelProto:
    """A copy of the model with the inputs `weights` as constants."""
    copy = ModelProto()
    copy.CopyFrom(model)
    inputs = [value for value in model.graph.input if value.name not in weights]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    copy.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in weights.items())
    return copy


def imported(model: ModelProto, ports: int) -> Program:
    """The model's program. Raises InputError if it has no linear layer or cannot be taken.

    Operators of an opset that the compiler does not know are taken as those of the nearest one
    that it knows; the reference evaluator then runs the host by the model's own opset.
    """
    if not any(linear(node) for node in model.graph.node):
        raise InputError("no linear layer")
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = min(max(entry.version, OLDEST_OPSET), NEWEST_OPSET)
    return import_model(model, ports=ports, runnable=False)


def _same(some: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return all(
        array.dtype == other[name].dtype and np.array_equal(array, other[name])
        for name, array in some.items()
    )


prepare = ChipBackend.prepare
run = ChipBackend.run_model
run_model = ChipBackend.run_model
run_node = ChipBackend.run_node
supports_device = ChipBackend.supports_device
is_compatible = ChipBackend.is_compatible
