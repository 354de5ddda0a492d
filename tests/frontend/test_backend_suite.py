"""ONNX's own backend suite on the emulated chip, against its bare reference evaluator."""

import unittest
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test import BackendTest
from onnx.reference import ReferenceEvaluator

from onnx2mzi import onnx_backend
from onnx2mzi.onnx_backend import ChipBackend, ChipRep

# Cases with at least one linear operator on a mesh, by operator (onnx 1.23; a later one has
# more). A case with two operators counts for both.
LEAST = {
    "Conv": 33,
    "ConvTranspose": 14,
    "ConvInteger": 2,
    "Einsum": 2,
    "GRU": 6,
    "Gemm": 14,
    "LSTM": 6,
    "MatMul": 8,
    "MatMulInteger": 1,
    "QLinearConv": 1,
    "QLinearMatMul": 8,
    "RNN": 6,
}
CASES = 101
# Networks of full size; their weights are made at run time, so that nothing of them is compiled.
LARGE = "OnnxBackendRealModelTest"
# What comes out is random.
RANDOM = "test_bernoulli"


class BareRep(BackendRep):
    def __init__(self, model: ModelProto) -> None:
        self.evaluator = ReferenceEvaluator(model)
        constant = {tensor.name for tensor in model.graph.initializer}
        self.names = [v.name for v in model.graph.input if v.name not in constant]

    def run(self, inputs: Any, **options: Any) -> tuple[Any, ...]:
        return tuple(self.evaluator.run(None, dict(zip(self.names, inputs, strict=False))))


class BareBackend(Backend):
    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **options: Any) -> BareRep:
        return BareRep(model)


@dataclass
class Outcome:
    """What failed here, what was not tried, and the cases that had meshes."""

    passed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    meshed: dict[str, set[str]] = field(default_factory=dict)


class Counting:
    """A backend class that remembers what it made ready."""

    def __init__(self) -> None:
        made: list[ChipRep] = []
        self.made = made

        class Remembering(ChipBackend):
            @classmethod
            def prepare(cls, model: ModelProto, device: str = "CPU", **options: Any) -> ChipRep:
                made.append(super().prepare(model, device, **options))
                return made[-1]

        self.backend = Remembering


def cases(backend: type[Backend], *, large: bool) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """The suite's cases for the CPU; made with warnings of its own."""
    for category, group in sorted(BackendTest(backend).test_cases.items()):
        for name in sorted(vars(group)):
            if name.startswith("test_") and name.endswith("_cpu") and (category == LARGE) == large:
                yield name, getattr(group, name)


def outcome(*, large: bool) -> Outcome:
    found = Outcome()
    counting = Counting()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, case in cases(counting.backend, large=large):
            counting.made.clear()
            try:
                case(None)
                found.passed += 1
            except unittest.SkipTest as skip:
                found.skipped[name] = str(skip)
            except Exception as error:
                found.failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            layers = [x for rep in counting.made if rep.program for x in rep.program.layers]
            if layers:
                found.meshed[name] = {layer.loc.op for layer in layers}
        bare = dict(cases(BareBackend, large=large)) if found.failed or found.skipped else {}
        for name in [*found.failed, *found.skipped]:
            try:
                bare[name](None)
            except Exception:
                # The evaluator itself cannot.
                found.failed.pop(name, None)
                found.skipped.pop(name, None)
    return found


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNX_HOME", str(tmp_path_factory.mktemp("onnx")))
        yield outcome(large=False)


def test_every_case_that_the_bare_evaluator_passes_passes_on_the_chip(suite: Outcome) -> None:
    failed = {name: why for name, why in suite.failed.items() if not name.startswith(RANDOM)}
    assert not failed
    assert not suite.skipped
    assert suite.passed > 1900


def test_so_many_cases_go_through_meshes(
    suite: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    by_op = Counter(op for ops in suite.meshed.values() for op in ops)
    told = ", ".join(f"{op} {count}" for op, count in sorted(by_op.items()))
    with capsys.disabled():
        print(f"\nONNX backend suite: {len(suite.meshed)} cases on meshes: {told}")
    assert {op: count for op, count in LEAST.items() if by_op[op] < count} == {}
    assert len(suite.meshed) >= CASES
    assert not [name for name in suite.meshed if name in suite.failed]


@pytest.mark.whole
def test_networks_of_full_size(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNX_HOME", str(tmp_path_factory.mktemp("onnx")))
    found = outcome(large=True)
    assert not found.failed and not found.skipped


def gemm() -> ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["a", "b"], ["y"])],
        "gemm",
        [value("a", 1, ["N", 3]), value("b", 1, [3, 2])],
        [value("y", 1, ["N", 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_weights_among_the_inputs_are_compiled_again_when_they_change() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 3)).astype("f4"), rng.normal(size=(3, 2)).astype("f4")
    rep = onnx_backend.prepare(gemm(), "CPU", anything=True)
    assert np.allclose(rep.run([a, b])[0], a @ b, atol=1e-6)
    first = rep.program
    assert first is not None and len(first.layers) == 1
    assert np.allclose(rep.run({"a": a + 1, "b": b})[0], (a + 1) @ b, atol=1e-6)
    assert rep.program is first
    assert np.allclose(rep.run([a, 2 * b])[0], 2 * a @ b, atol=1e-6)
    assert rep.program is not first


def test_the_chip_is_as_wide_as_asked() -> None:
    rep = onnx_backend.prepare(gemm(), ports=2)
    rep.run([np.ones((1, 3), np.float32), np.ones((3, 2), np.float32)])
    assert rep.program is not None
    assert rep.program.ports == 2
    assert len(rep.program.layers[0].grids[0].tiles) == 2


def test_one_node_and_one_model() -> None:
    node = helper.make_node("MatMul", ["a", "b"], ["y"])
    a, b = np.eye(3, dtype=np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)
    (y,) = onnx_backend.run_node(node, [a, b], opset_version=13)
    assert np.allclose(y, b, atol=1e-6)
    (y,) = onnx_backend.run(gemm(), [a, b])
    assert np.allclose(y, b, atol=1e-6)


def test_other_devices_are_skipped() -> None:
    assert onnx_backend.supports_device("CPU")
    assert not onnx_backend.supports_device("CUDA:1")
    with pytest.raises(unittest.SkipTest):
        onnx_backend.prepare(gemm(), "CUDA")


def test_what_the_evaluator_cannot_run_is_skipped() -> None:
    model = gemm()
    model.graph.node[0].op_type = "Gradient"
    model.graph.node[0].domain = "ai.onnx.preview"
    model.opset_import.append(helper.make_opsetid("ai.onnx.preview", 1))
    with pytest.raises(unittest.SkipTest):
        onnx_backend.prepare(model)
