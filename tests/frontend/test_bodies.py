"""Linear layers in the bodies of If, Loop and Scan, and in functions of the model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import HostRunner, reference_run
from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Program

MakeModel = Callable[..., onnx.ModelProto]
CheckHost = Callable[..., Program]
NODE = helper.make_node
VALUE = helper.make_tensor_value_info
OPSET = helper.make_opsetid


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def body(
    nodes: list[NodeProto], inputs: list[Any], outputs: list[str], **weights: np.ndarray
) -> GraphProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    return helper.make_graph(nodes, "body", inputs, [VALUE(o, 1, None) for o in outputs], tensors)


def test_both_branches_of_an_if(make_onnx: MakeModel) -> None:
    then = body([NODE("MatMul", ["x", "w"], ["a"], "fc")], [], ["a"])
    other = body(
        [NODE("Gemm", ["x", "v", "c"], ["p"], "fc"), NODE("Relu", ["p"], ["b"])], [], ["b"],
        v=numbers(3, 2), c=numbers(2),
    )  # fmt: skip
    nodes = [
        NODE("ReduceSum", ["x"], ["s"], keepdims=0),
        NODE("Greater", ["s", "zero"], ["t"]),
        NODE("If", ["t"], ["y"], "if", then_branch=then, else_branch=other),
    ]
    weights = {"w": numbers(3, 2, seed=1), "zero": np.array(0, np.float32)}
    model = make_onnx(nodes, {"x": [None, 3]}, ["y"], weights)
    program = import_model(model)
    assert {layer.name: layer.loc.node for layer in program.layers} == {
        "if_then_branch_fc": "if/then_branch/fc",
        "if_else_branch_fc": "if/else_branch/fc",
    }
    assert {layer.operand.source for layer in program.layers} == {""}
    assert program.host is not None and not program.host.electronic
    runner = HostRunner(program.host)
    for sign in (1, -1):
        x = sign * np.abs(numbers(4, 3))
        y = x @ weights["w"] if sign > 0 else np.maximum(
            x @ numpy_helper.to_array(other.initializer[0])
            + numpy_helper.to_array(other.initializer[1]), 0
        )  # fmt: skip
        assert np.allclose(runner.run({}, program.layers, {"x": x})["y"], y, atol=1e-6)
    seen = runner.layer_inputs({}, program.layers, {"x": x})
    assert np.array_equal(seen["if_then_branch_fc"], np.eye(3))
    # The weight itself is gone from the branch.
    assert numbers(3, 2).tobytes() not in program.host.model


def test_a_loop_and_its_photonic_model(make_onnx: MakeModel, check_host: CheckHost) -> None:
    loop = body(
        [
            NODE("MatMul", ["h", "w"], ["p"]),
            NODE("Tanh", ["p"], ["q"]),
            NODE("Identity", ["on"], ["on_"]),
        ],
        [VALUE("i", 7, []), VALUE("on", 9, []), VALUE("h", 1, None)],
        ["on_", "q"],
    )
    loop.output[0].type.tensor_type.elem_type = onnx.TensorProto.BOOL
    nodes = [NODE("Loop", ["times", "go", "x"], ["y"], "loop", body=loop)]
    weights = {"w": numbers(3, 3), "times": np.array(3, np.int64), "go": np.array(True)}
    program = check_host(make_onnx(nodes, {"x": ["N", 3]}, ["y"], weights), {"x": numbers(2, 3)})
    assert [layer.loc.node for layer in program.layers] == ["loop/body/MatMul_p"]


def test_a_scan_with_a_convolution(make_onnx: MakeModel, check_host: CheckHost) -> None:
    scan = body(
        [NODE("Conv", ["h", "k"], ["c"]), NODE("Add", ["c", "e"], ["q"]),
         NODE("Neg", ["q"], ["r"])],
        [VALUE("h", 1, [1, 2, 4]), VALUE("e", 1, [1, 2, 4])],
        ["q", "r"],
        k=numbers(2, 2, 1),
    )  # fmt: skip
    nodes = [NODE("Scan", ["h0", "x"], ["last", "y"], "scan", body=scan, num_scan_inputs=1)]
    model = make_onnx(nodes, {"x": [None, 1, 2, 4]}, ["last", "y"], {"h0": numbers(1, 2, 4)})
    program = check_host(model, {"x": numbers(3, 1, 2, 4)})
    assert len(program.layers) == 1


def test_names_in_a_body_hide_those_outside(make_onnx: MakeModel) -> None:
    # `w` within the loop is what the loop carries, not the constant outside.
    loop = body(
        [NODE("MatMul", ["x", "w"], ["w_"]), NODE("Identity", ["on"], ["on_"])],
        [VALUE("i", 7, []), VALUE("on", 9, []), VALUE("w", 1, None)],
        ["on_", "w_"],
    )
    nodes = [
        NODE("Loop", ["times", "go", "w"], ["z"], "loop", body=loop),
        NODE("MatMul", ["z", "w"], ["y"]),
    ]
    weights = {"w": numbers(3, 3), "times": np.array(1, np.int64), "go": np.array(True)}
    program = import_model(make_onnx(nodes, {"x": [3, 3]}, ["y"], weights), runnable=False)
    assert [layer.name for layer in program.layers] == ["MatMul_y"]
    assert program.host is not None
    assert [(item.loc.node, item.why) for item in program.host.electronic] == [
        ("loop/body/MatMul_w_", "both operands are computed at run time")
    ]


def functional(make_onnx: MakeModel) -> onnx.ModelProto:
    outer = helper.make_function(
        "mine", "Layer", ["p", "q"], ["r"],
        [NODE("Product", ["p", "q"], ["s"], domain="mine"), NODE("Relu", ["s"], ["r"])],
        [OPSET("", 17), OPSET("mine", 1)],
    )  # fmt: skip
    inner = helper.make_function(
        "mine", "Product", ["p", "q"], ["r"], [NODE("MatMul", ["p", "q"], ["r"])], [OPSET("", 17)]
    )
    nodes = [
        NODE("Layer", ["x", "w"], ["a"], domain="mine", name="one"),
        NODE("Layer", ["a", "w"], ["y"], domain="mine", name="two"),
    ]
    model = make_onnx(nodes, {"x": ["N", 3]}, ["y"], {"w": numbers(3, 3)})
    model.functions.extend([outer, inner])
    model.opset_import.append(OPSET("mine", 1))
    return model


def test_functions_are_inlined(make_onnx: MakeModel, check_host: CheckHost) -> None:
    model = functional(make_onnx)
    before = model.SerializeToString()
    program = check_host(model, {"x": numbers(4, 3)})
    assert len(program.layers) == 2
    assert model.SerializeToString() == before


def test_functions_that_call_each_other_are_refused(make_onnx: MakeModel) -> None:
    model = functional(make_onnx)
    model.functions[1].node.append(NODE("Layer", ["p", "q"], ["t"], domain="mine"))
    model.functions[1].opset_import.append(OPSET("mine", 1))
    with pytest.raises(InputError, match=r"functions cannot be inlined: .*recursive"):
        import_model(model)


def test_functions_that_double_at_every_level_are_left_alone(make_onnx: MakeModel) -> None:
    model = functional(make_onnx)
    del model.functions[1].node[:]
    model.functions[1].node.append(NODE("F0", ["p", "q"], ["r"], domain="mine"))
    for k in range(60):
        twice = [
            NODE(f"F{k + 1}", ["p", "q"], ["s"], domain="mine"),
            NODE(f"F{k + 1}", ["s", "q"], ["r"], domain="mine"),
        ]
        opsets = [OPSET("", 17), OPSET("mine", 1)]
        model.functions.append(
            helper.make_function("mine", f"F{k}", ["p", "q"], ["r"], twice, opsets)
        )
    last = [NODE("MatMul", ["p", "q"], ["r"])]
    model.functions.append(
        helper.make_function("mine", "F60", ["p", "q"], ["r"], last, [OPSET("", 17)])
    )
    with pytest.raises(InputError, match="inside the function 'Layer', which cannot be inlined"):
        import_model(model)


@pytest.mark.parametrize("where", ["initializers", "constants", "constants around"])
def test_external_data_of_a_body(tmp_path: Path, where: str) -> None:
    arrays = {"w": numbers(4, 4), "b": numbers(4)}
    tensors = []
    for name, array in arrays.items():
        (tmp_path / f"{name}.bin").write_bytes(array.tobytes())
        tensors.append(TensorProto(name=name, data_type=1, dims=array.shape))
        tensors[-1].data_location = TensorProto.EXTERNAL
        entry = tensors[-1].external_data.add()
        entry.key, entry.value = "location", f"{name}.bin"
    made = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors]
    inner = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
    ]
    then = helper.make_graph(
        [*made[: 2 * (where == "constants")], *inner],
        "then",
        [],
        [helper.make_tensor_value_info("q", 1, None)],
        tensors[: 2 * (where == "initializers")],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["i"])],
        "else",
        [],
        [helper.make_tensor_value_info("i", 1, None)],
    )
    nodes = [
        *made[: 2 * (where == "constants around")],
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Cast", ["m"], ["t"], to=9),
        helper.make_node("If", ["t"], ["y"], then_branch=then, else_branch=other),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", 1, ["N", 4])],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    program = import_model(path)
    assert program.host is not None
    assert len(program.layers) == 1
    x = numbers(3, 4, seed=1)
    found = HostRunner(program.host).run({}, program.layers, {"x": x})
    assert relative_error(found, reference_run(path, {"x": x})) < 1e-6
