"""Names of layers, --only and --exclude, --input-shape, and what stays electronic."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.frontend import import_model
from onnx2mzi.frontend.names import layer_name
from onnx2mzi.ir import Program

MakeModel = Callable[..., onnx.ModelProto]
NODE = helper.make_node
SQUARE = np.eye(3, dtype=np.float32)


@pytest.fixture
def chain(make_onnx: MakeModel) -> onnx.ModelProto:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="/net/0/MatMul"),
        NODE("MatMul", ["a", "w"], ["b"], name="/net/1/MatMul"),
        NODE("MatMul", ["b", "w"], ["y"], name="head"),
    ]
    return make_onnx(nodes, {"x": ["N", 3]}, ["y"], {"w": SQUARE})


def names(program: Program) -> list[str]:
    return [layer.name for layer in program.layers]


def left(program: Program) -> list[tuple[str, str]]:
    assert program.host is not None
    return [(item.loc.node, item.why) for item in program.host.electronic]


def test_layers_are_called_as_their_nodes(chain: onnx.ModelProto) -> None:
    assert names(import_model(chain)) == ["net_0_MatMul", "net_1_MatMul", "head"]


def test_excluded_nodes_stay_and_are_listed(chain: onnx.ModelProto) -> None:
    program = import_model(chain, exclude=["head", "/net/0/*"])
    assert names(program) == ["net_1_MatMul"]
    why = "excluded by --exclude"
    assert left(program) == [("/net/0/MatMul", why), ("head", why)]


def test_only_some(chain: onnx.ModelProto) -> None:
    program = import_model(chain, only=["net_0_MatMul", "/net/1/MatMul"], exclude=["net_1_MatMul"])
    assert names(program) == ["net_0_MatMul"]
    assert left(program) == [
        ("/net/1/MatMul", "excluded by --exclude"),
        ("head", "not among --only"),
    ]


def test_a_name_that_is_not_there_is_an_error_with_a_suggestion(chain: onnx.ModelProto) -> None:
    with pytest.raises(UsageError, match=r"no linear node is called 'haed' \(did you mean 'head'"):
        import_model(chain, exclude=["haed"])


def test_names_joined_by_commas_are_told_apart(chain: onnx.ModelProto) -> None:
    hint = r"\(once for each node: --only head --only net_0_MatMul\)"
    with pytest.raises(UsageError, match=hint):
        import_model(chain, only=["head, net_0_MatMul"])
    with pytest.raises(UsageError, match=r"is called 'a,b' \(did you mean"):
        import_model(chain, exclude=["a,b"])


def test_what_stays_electronic_says_why(make_onnx: MakeModel) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("MatMul", ["a", "a"], ["square"], name="scores"),
        NODE("ConstantOfShape", ["s"], ["zeros"]),
        NODE("MatMul", ["square", "zeros"], ["b"], name="unfolded"),
        NODE("MatMul", ["b", "stack"], ["c"], name="stacked"),
        NODE("Relu", ["k"], ["k2"]),
        NODE("Conv", ["c", "k2"], ["d"], name="conv"),
        NODE("Conv", ["d", "d"], ["e"], name="correlation"),
        NODE("Einsum", ["b", "b"], ["f"], name="gram", equation="ij,kj->ik"),
        NODE("Einsum", ["b", "w"], ["g"], name="scale", equation="ij,ij->ij"),
        NODE("Einsum", ["b", "w"], ["h"], name="trace", equation="ij,kk->ij"),
        NODE("Einsum", ["b", "w", "w"], ["i"], name="three", equation="ij,jk,kl->il"),
    ]
    weights = {
        "w": SQUARE,
        "s": np.array([3, 3], np.int64),
        "stack": np.ones((4097, 3, 3), np.float32),
        "k": np.ones((1, 3, 1), np.float32),
    }
    program = import_model(make_onnx(nodes, {"x": [3, 3]}, [*"cdefghi"], weights))
    assert names(program) == ["MatMul_a"]
    assert dict(left(program)) == {
        "scores": "both operands are computed at run time",
        "unfolded": "its weight 'zeros' comes through ConstantOfShape, which is not folded",
        "stacked": "its weight is a stack of 4097 matrices, more than 4096",
        "conv": "its weight 'k2' comes through Relu, which is not folded",
        "correlation": "its kernel is computed at run time",
        "gram": "both operands are computed at run time",
        "scale": "it sums over nothing that both operands have",
        "trace": "it takes the diagonal of an operand",
        "three": "it multiplies 3 operands at once",
    }


def test_no_linear_layer_at_all(make_onnx: MakeModel) -> None:
    model = make_onnx([NODE("MatMul", ["x", "x"], ["y"])], {"x": [3, 3]}, ["y"], {})
    with pytest.raises(InputError, match="no linear layer can be compiled") as caught:
        import_model(model)
    assert "1 MatMul: both operands are computed at run time" in caught.value.message
    assert caught.value.hint


def test_input_shapes_fill_what_is_unknown_but_the_batch(make_onnx: MakeModel) -> None:
    nodes = [NODE("Flatten", ["x"], ["f"]), NODE("MatMul", ["f", "w"], ["y"])]
    model = make_onnx(nodes, {"x": ["N", "H", "W"]}, ["y"], {"w": np.ones((12, 2), np.float32)})
    program = import_model(model, input_shapes={"x": (1, 3, 4)})
    assert program.host is not None
    assert program.host.inputs[0].shape == ("N", 3, 4)
    with pytest.raises(UsageError, match="no input 'z'"):
        import_model(model, input_shapes={"z": (1, 3, 4)})
    for wrong in ((1, 3), (1, 0, 4)):
        with pytest.raises(UsageError, match="cannot be"):
            import_model(model, input_shapes={"x": wrong})


@given(st.lists(st.text(max_size=80), max_size=8))
def test_layer_names_are_identifiers_and_unlike(labels: list[str]) -> None:
    taken: set[str] = set()
    made = [layer_name(label, "Gemm", taken) for label in labels]
    assert all(name.isidentifier() and name.isascii() and len(name) < 70 for name in made)
    assert len({name.casefold() for name in made}) == len(made)


def test_layer_names_are_readable() -> None:
    long = (
        "StatefulPartitionedCall/a_long_name_of_a_model_that_goes_on/sequential_11/dense_22/MatMul"
    )
    assert layer_name("/model/fc1/Gemm", "Gemm", set()) == "model_fc1_Gemm"
    assert layer_name("class", "Gemm", set()) == "class_"
    assert layer_name("47", "Gemm", set()) == "Gemm_47"
    assert layer_name("::", "Gemm", set()) == "Gemm"
    assert layer_name("FC", "Gemm", {"fc"}) == "FC_2"
    assert layer_name(long, "Gemm", set()).endswith("sequential_11_dense_22_MatMul")
