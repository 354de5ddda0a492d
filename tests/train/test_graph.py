"""The host graph in torch says what onnxruntime says."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch: Any = pytest.importorskip("torch")

from onnx2mzi.emulate.host import HostRunner, random_inputs  # noqa: E402
from onnx2mzi.emulate.parts import real_form  # noqa: E402
from onnx2mzi.errors import InputError  # noqa: E402
from onnx2mzi.frontend import import_model  # noqa: E402
from onnx2mzi.train.graph import HostGraph  # noqa: E402

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "models"


def agreement(model: Any) -> float:
    """The largest difference of an output of the host in torch, relative."""
    program = import_model(model, ports=16)
    assert program.host is not None
    inputs = random_inputs(program.host)
    want = HostRunner(program.host).run({}, program.layers, inputs)
    found = HostGraph(program.host, program.layers)(
        {layer.name: torch.tensor(np.array(layer.weight)) for layer in program.layers},
        {name: torch.tensor(np.array(x)) for name, x in inputs.items()},
    )
    want = {name: array for name, array in want.items() if array.dtype.kind in "fc"}
    assert list(found) == list(want)
    return max(
        float(np.abs(found[k].numpy() - want[k]).max() / np.abs(want[k]).max()) for k in want
    )


def network(nodes: list[Any], weights: dict[str, Any], x: list[Any], opset: int = 17) -> bytes:
    rng = np.random.default_rng(1)
    tensors = [
        numpy_helper.from_array(
            rng.standard_normal(w).astype(np.float32) if isinstance(w, tuple) else np.array(w),
            name,
        )
        for name, w in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("parts", ["stacked", "interleaved"])
def test_complex_layers(parts: str) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 2)) + 1j * rng.standard_normal((3, 2))
    weights = {"w": real_form(weight, parts).astype(np.float32)}
    data = network([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], weights, ["N", 4])
    assert np.iscomplexobj(import_model(data).layers[0].weight)
    assert agreement(data) < 1e-6


def test_convolutions_pools_and_shapes() -> None:
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "k", "b"], ["a"], strides=[2, 1], pads=[1, 0, 2, 1]),
        make("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"]),
        make("LeakyRelu", ["n"], ["r"], alpha=0.2),
        make("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[1, 2], pads=[0, 1, 1, 0]),
        make("AveragePool", ["p"], ["q"], kernel_shape=[3, 2], auto_pad="SAME_UPPER"),
        make("Shape", ["q"], ["size"]),
        make("Gather", ["size", "zero"], ["first"]),
        make("Unsqueeze", ["first", "axes"], ["row"]),
        make("Concat", ["row", "rest"], ["shape"], axis=0),
        make("Reshape", ["q", "shape"], ["f"]),
        make("Slice", ["f", "from", "to", "axis"], ["c"]),
        make("Split", ["c"], ["left", "right"], axis=1),
        make("Mul", ["left", "right"], ["h"]),
        make("MatMul", ["h", "w"], ["z"]),
        make("Add", ["z", "c"], ["t"]),
        make("ReduceMean", ["t"], ["mean"], axes=[1]),
        make("Sub", ["t", "mean"], ["u"]),
        make("Softmax", ["u"], ["y"], axis=1),
    ]
    nodes[14] = make("Add", ["z", "d"], ["t"])
    weights = {
        "k": (4, 3, 3, 2),
        "b": (4,),
        "s": (4,),
        "m": (4,),
        "v": np.array([1, 2, 3, 4], np.float32),
        "zero": np.array(0),
        "axes": np.array([0]),
        "rest": np.array([-1]),
        "from": np.array([-24]),
        "to": np.array([2**31]),
        "axis": np.array([1]),
        "w": (12, 5),
        "d": (5,),
    }
    assert agreement(network(nodes, weights, ["N", 3, 9, 8])) < 1e-5


def test_no_window_of_a_pool_begins_behind_the_last_value() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"]),
        helper.make_node(
            "MaxPool",
            ["c"],
            ["y"],
            kernel_shape=[3, 2],
            strides=[3, 3],
            pads=[0, 0, 2, 1],
            ceil_mode=1,
        ),
    ]
    assert agreement(network(nodes, {"k": (2, 3, 1, 1)}, ["N", 3, 7, 6])) < 1e-5


def test_selu_has_numbers_of_its_own() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Selu", ["a"], ["b"], alpha=0.5, gamma=3.0),
        helper.make_node("Selu", ["b"], ["y"]),
    ]
    assert agreement(network(nodes, {"w": (4, 3)}, ["N", 4])) < 1e-5


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_networks(kind: str, direction: str) -> None:
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 1 + (direction == "bidirectional")
    node = helper.make_node(kind, ["x", "w", "r", "b"], ["s"], hidden_size=5, direction=direction)
    weights = {"w": (ways, gates * 5, 3), "r": (ways, gates * 5, 5), "b": (ways, 2 * gates * 5)}
    model = network([node, helper.make_node("Tanh", ["s"], ["y"])], weights, [7, 2, 3])
    assert agreement(model) < 1e-5


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared models are not here")
@pytest.mark.parametrize("name", sorted(p.name for p in SHARED.glob("*.onnx")))
def test_real_models(name: str) -> None:
    assert agreement(SHARED / name) < 1e-4


def test_biases_are_found(tiny_onnx: bytes) -> None:
    program = import_model(tiny_onnx, ports=8)
    assert program.host is not None
    assert HostGraph(program.host, program.layers).biases == ("b1", "b2")


def test_an_operator_that_training_cannot_run_is_named_with_its_node() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "fc", transB=1),
        helper.make_node("TopK", ["a", "k"], ["y", "at"], "best"),
    ]
    program = import_model(network(nodes, {"w": (4, 3), "k": np.array([2])}, ["N", 3]), ports=8)
    assert program.host is not None
    with pytest.raises(InputError, match="TopK") as error:
        HostGraph(program.host, program.layers)
    assert "best" in error.value.where and error.value.hint


def with_words(shaped: bool) -> bytes:
    """A layer whose best class is told as a word; with `shaped` words say the shape of scores."""
    last = [
        helper.make_node("Shape", ["words"], ["size"]),
        helper.make_node("Concat", ["rows", "size"], ["shape"], axis=0),
        helper.make_node("Reshape", ["a", "shape"], ["y"]),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        *(last if shaped else [helper.make_node("Tanh", ["a"], ["y"])]),
        helper.make_node("ArgMax", ["y"], ["best"], axis=1, keepdims=0),
        helper.make_node("Gather", ["words", "best"], ["word"]),
    ]
    shape = {"rows": np.array([-1])} if shaped else {}
    graph = onnx.load_from_string(network(nodes, {"w": (3, 4), **shape}, ["N", 3]))
    words = numpy_helper.from_array(np.array(["a", "b", "c", "d"], object), "words")
    graph.graph.initializer.append(words)
    graph.graph.output.append(helper.make_tensor_value_info("word", TensorProto.STRING, ["N"]))
    return bytes(graph.SerializeToString())


def test_words_beside_the_numbers_are_left_out() -> None:
    data = with_words(shaped=False)
    assert agreement(data) < 1e-6
    program = import_model(data)
    assert program.host is not None
    graph = HostGraph(program.host, program.layers)
    assert graph.outputs == ("y",) and not {"ArgMax", "Gather"} & {node.op for node in graph.nodes}


def test_a_type_that_torch_has_not_is_refused() -> None:
    program = import_model(with_words(shaped=True))
    assert program.host is not None
    with pytest.raises(InputError, match="type string") as error:
        HostGraph(program.host, program.layers)
    assert error.value.where == "constant 'words'" and error.value.hint
