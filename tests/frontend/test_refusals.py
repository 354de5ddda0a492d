"""Bad files are refused in one sentence that names the place; nothing else is ever raised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model

MakeModel = Callable[..., onnx.ModelProto]
Damage = Callable[[onnx.ModelProto], None]
NODE = helper.make_node
MARK = "SPOIL ME"


@pytest.fixture
def model(make_onnx: MakeModel) -> onnx.ModelProto:
    nodes = [
        NODE("Gemm", ["x", "w", "c"], ["h"], name="fc1", transB=1),
        NODE("Relu", ["h"], ["r"], name="relu"),
        NODE("MatMul", ["r", "v"], ["y"], name="fc2"),
    ]
    weights = {
        "w": np.ones((4, 3), np.float32),
        "c": np.zeros(4, np.float32),
        "v": np.ones((4, 2), np.float32),
    }
    return make_onnx(nodes, {"x": ["N", 3]}, ["y"], weights)


def put(name: str, array: np.ndarray) -> Damage:
    def damage(model: onnx.ModelProto) -> None:
        (tensor,) = (t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    return damage


def weight(model: onnx.ModelProto) -> TensorProto:
    tensor: TensorProto = model.graph.initializer[0]
    return tensor


def spoiled(value: float) -> np.ndarray:
    array = np.ones((4, 3), np.float32)
    array[2, 1] = value
    return array


def set_attribute(name: str, value: float) -> Damage:
    def damage(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute(name, value))

    return damage


def no_nodes(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


def no_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def no_graph(model: onnx.ModelProto) -> None:
    model.ClearField("graph")


def opset(version: int) -> Damage:
    def damage(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return damage


def opset_twice(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 13))


def no_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


def unknown_domain(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "nowhere"


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Relo"


def circle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "y"


def self_circle(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "r"


def dangling(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nothing"


def dangling_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nothing"


def value_twice(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "h"


def weight_twice(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(weight(model))


def input_twice(model: onnx.ModelProto) -> None:
    model.graph.input.append(model.graph.input[0])


def bias_behind(model: onnx.ModelProto) -> None:
    model.graph.node[2].output[0] = "p"
    model.graph.node.append(NODE("Add", ["p", "late"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.full(2, np.nan, "f4"), "late"))


def short_data(model: onnx.ModelProto) -> None:
    weight(model).raw_data = weight(model).raw_data[:-1]


def long_data(model: onnx.ModelProto) -> None:
    weight(model).raw_data += b"\0\0\0\0"


def short_floats(model: onnx.ModelProto) -> None:
    weight(model).ClearField("raw_data")
    weight(model).float_data.extend([1.0] * 11)


def huge(model: onnx.ModelProto) -> None:
    weight(model).dims[:] = [10**9, 10**9]


def negative(model: onnx.ModelProto) -> None:
    weight(model).dims[:] = [-4, -3]


def no_type(model: onnx.ModelProto) -> None:
    weight(model).data_type = 0


def unknown_type(model: onnx.ModelProto) -> None:
    weight(model).data_type = 99


def strings(model: onnx.ModelProto) -> None:
    words: Any = [b"a"] * 12
    weight(model).CopyFrom(helper.make_tensor("w", TensorProto.STRING, [4, 3], words))


def sparse(model: onnx.ModelProto) -> None:
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [9]))


def external(location: str, **info: str) -> Damage:
    def damage(model: onnx.ModelProto) -> None:
        tensor = weight(model)
        external_data_helper.set_external_data(tensor, location)
        for key, value in info.items():
            tensor.external_data.add(key=key, value=value)
        tensor.ClearField("raw_data")

    return damage


def one_input(model: onnx.ModelProto) -> None:
    del model.graph.node[2].input[1]


def cube(model: onnx.ModelProto) -> None:
    weight(model).dims[:] = [4, 3, 1]


def encoded(attribute: str) -> Damage:
    """Spoils a text; done on the bytes, for protobuf does not write such a text."""

    def damage(model: onnx.ModelProto) -> None:
        if attribute == "graph":
            model.graph.name = MARK
        elif attribute == "node":
            model.graph.node[1].name = MARK
        elif attribute == "dimension":
            model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = MARK
        else:
            model.graph.node[1].attribute.append(helper.make_attribute(MARK, 1))

    return damage


def nameless_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = ""


BAD: dict[str, tuple[Damage, str]] = {
    "NaN in the weight": (put("w", spoiled(np.nan)), "net.onnx: node 'fc1' .* NaN or infinite"),
    "Inf in the weight": (put("w", spoiled(np.inf)), "NaN or infinite"),
    "NaN in the bias": (put("c", np.full(4, np.nan, np.float32)), "bias 'c' has NaN"),
    "NaN in a bias behind": (bias_behind, "tensor 'late': holds NaN"),
    "NaN in alpha": (set_attribute("alpha", np.nan), "alpha is nan"),
    "Inf in beta": (set_attribute("beta", np.inf), "beta is inf"),
    "wrong bias": (put("c", np.zeros(5, np.float32)), r"bias 'c' has shape \[5\] for 4 outputs"),
    "weights that do not follow": (put("v", np.ones((5, 2), np.float32)), "onnxruntime refuses"),
    "weight of three dimensions": (cube, "not two dimensions"),
    "one operand": (one_input, "a MatMul has two inputs"),
    "graph name": (encoded("graph"), "is not text in UTF-8"),
    "node name": (encoded("node"), "is not text in UTF-8"),
    "dimension": (encoded("dimension"), "is not text in UTF-8"),
    "attribute name": (encoded("attribute"), "is not text in UTF-8"),
    "no nodes": (no_nodes, "no nodes"),
    "no outputs": (no_outputs, "no outputs"),
    "no graph": (no_graph, "no graph"),
    "opset 6": (opset(6), "opset 6 is not known; 7 to 26 are"),
    "opset 999": (opset(999), "opset 999 is not known"),
    "opset twice": (opset_twice, "'ai.onnx' is imported 2 times"),
    "no opset": (no_opset, "which opset"),
    "unknown domain": (unknown_domain, "onnxruntime refuses the model: .*nowhere"),
    "unknown operator": (unknown_operator, "onnxruntime refuses the model: .*Relo"),
    "circle": (circle, "the graph runs in a circle"),
    "circle of one": (self_circle, "node 'relu' .*the graph runs in a circle"),
    "dangling input": (dangling, "node 'relu' .*reads 'nothing', which nothing makes"),
    "dangling output": (dangling_output, "nothing makes the output 'nothing'"),
    "value twice": (value_twice, "2 values are called 'h'"),
    "weight twice": (weight_twice, "2 initializers are called 'w'"),
    "input twice": (input_twice, "2 graph inputs are called 'x'"),
    "input without a name": (nameless_input, "has no name|which nothing makes"),
    "short data": (short_data, r"'w': holds 47 bytes, its shape \[4, 3\] needs 48"),
    "long data": (long_data, "'w': holds 52 bytes"),
    "short floats": (short_floats, "do not fit its shape"),
    "huge shape": (huge, "is 1000000000000000000 entries"),
    "negative shape": (negative, "is negative"),
    "no type": (no_type, "its type 0 is unknown"),
    "unknown type": (unknown_type, "its type 99 is unknown"),
    "strings": (strings, "onnxruntime refuses"),
    "sparse": (sparse, "weight 's' is sparse"),
    "external data missing": (external("gone.bin"), "'gone.bin' are missing"),
    "external data above": (external("../w.bin"), "no plain file beside the model"),
    "external data in a folder above": (external("a/../../w.bin"), "no plain file"),
    "external data of Windows above": (external("..\\w.bin"), "no plain file"),
    "external data absolute": (external("/etc/passwd"), "no plain file"),
    "external data on a drive": (external("C:\\w.bin"), "no plain file"),
    "external data on a device": (external("/dev/zero"), "no plain file"),
    "external data with NUL": (external("w\0.bin"), "no plain file"),
    "external data without a name": (external(""), "no plain file"),
    "external data in a folder": (external("."), "no plain file"),
    "external data by a link": (external("link.bin"), "no plain file"),
    "external data behind a link": (external("linked/w.bin"), "no plain file"),
    "external data too short": (external("w.bin", offset="8"), "end at byte 56, the file at 48"),
    "external data of another length": (external("w.bin", length="44"), "holds 44 bytes"),
    "external data at a negative offset": (external("w.bin", offset="-8"), "the file at 48"),
    "external data at no offset": (external("w.bin", offset="two"), "offset or length"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_models_are_refused(model: onnx.ModelProto, tmp_path: Path, name: str) -> None:
    damage, message = BAD[name]
    (tmp_path / "w.bin").write_bytes(np.ones((4, 3), np.float32).tobytes())
    (tmp_path / "link.bin").symlink_to(tmp_path / "w.bin")
    (tmp_path / "linked").symlink_to(tmp_path)
    damage(model)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString().replace(MARK.encode(), b"SPO\xff\xfe ME"))
    with pytest.raises(InputError, match=message) as caught:
        import_model(path)
    assert "\n" not in str(caught.value)
    assert "net.onnx" in caught.value.where


def test_the_model_of_these_tests_is_good(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    assert len(import_model(path).layers) == 2


def test_external_data_are_read(model: onnx.ModelProto, tmp_path: Path) -> None:
    expected = import_model(model)
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    program = import_model(path)
    for layer, other in zip(program.layers, expected.layers, strict=True):
        assert np.array_equal(layer.weight, other.weight)
    assert program.host is not None and b"w.bin" not in program.host.model
    with pytest.raises(InputError, match="in another file"):
        import_model(path.read_bytes())


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "text": (b"hello, this is no model", "no ONNX model"),
    "zeros": (bytes(100), "no ONNX model"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "PyTorch": (b"PK\x03\x04rest", "torch.onnx.export"),
    "not UTF-8": (b"\x08\x08\x3a\x05\x12\x03\xff\xfe\xfd", "no|not"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_models(tmp_path: Path, name: str) -> None:
    data, message = FILES[name]
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        import_model(path)
    assert str(path) in str(caught.value)


def test_every_truncation_is_refused(model: onnx.ModelProto) -> None:
    data = model.SerializeToString()
    for size in range(0, len(data) - 1, 7):
        with pytest.raises(InputError):
            import_model(data[:size])


def test_every_flipped_byte_is_taken_or_refused(model: onnx.ModelProto) -> None:
    data = model.SerializeToString()
    refused = 0
    for k in range(len(data)):
        spoiled = bytearray(data)
        spoiled[k] ^= 0x15
        try:
            import_model(bytes(spoiled))
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > len(data) // 4


def test_places_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        import_model(tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="is a folder"):
        import_model(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        import_model("bad\0name.onnx")
    with pytest.raises(InputError, match="no regular file"):
        import_model("/dev/zero")


def test_a_file_over_2_gb_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(InputError, match="ONNX file can hold 2 GB"):
        import_model(path)


def test_a_newer_ir_version_is_taken(model: onnx.ModelProto) -> None:
    model.ir_version = 99
    program = import_model(model)
    assert program.host is not None
    assert onnx.load_model_from_string(program.host.model).ir_version == 13
