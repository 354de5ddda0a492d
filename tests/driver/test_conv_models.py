"""Real convolutional models, where they are at hand, and one of our own: compiled, saved, run."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

import onnx2mzi
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import reference_run

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
NODE = helper.make_node
# How often every layer is used.
USES = {
    "marabou_cnn_max_mnist2_keras": [625, 484, 1, 1],
    "marabou_gtsrb_tf": [1024, 1024, 1, 1],
    "marabou_tinytaxinet_tf15": [2, 1, 1, 1],
    "winml_image_classifier": [900, 784, 144, 100, 1],
}


@pytest.mark.parametrize("name", USES)
def test_a_compiled_network_gives_its_expected_outputs(name: str) -> None:
    path = MODELS / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not at hand")
    compiled = onnx2mzi.compile(path, 1)
    with np.load(MODELS / "expected" / f"{name}.npz") as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays if key.startswith("in:")}
        outputs = {key[4:]: arrays[key] for key in arrays if key.startswith("out:")}
    assert relative_error(compiled.run(inputs), outputs) < 1e-4
    assert compiled.report["electronic"] == []
    assert [layer["uses"] for layer in compiled.report["layers"]] == USES[name]


def separable() -> bytes:
    """A depthwise and a pointwise convolution, and a transposed one in two groups."""
    rng = np.random.default_rng(3)
    shapes = {"dw": (6, 1, 3, 3), "pw": (8, 6, 1, 1), "up": (8, 2, 2, 2), "b": (4,)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        NODE("Conv", ["x", "dw"], ["h1"], name="depth", group=6, pads=[1, 0, 0, 1]),
        NODE("Relu", ["h1"], ["h2"]),
        NODE("Conv", ["h2", "pw"], ["h3"], name="point"),
        NODE("ConvTranspose", ["h3", "up", "b"], ["y"], name="up", group=2, strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "separable",
        [helper.make_tensor_value_info("x", 1, ["N", 6, 7, 7])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_every_group_has_its_own_meshes_in_all_files(tmp_path: Path) -> None:
    data = separable()
    compiled = onnx2mzi.compile(data, 1, ports=8)
    x = {"x": np.random.default_rng(4).normal(size=(3, 6, 7, 7)).astype(np.float32)}
    expected = reference_run(data, x)
    assert relative_error(compiled.run(x), expected) < 1e-5
    rows = compiled.report["layers"]
    assert [row["name"] for row in rows] == [
        *(f"depth__{k}" for k in range(6)),
        "point",
        "up__0",
        "up__1",
    ]
    # One row of nine in tiles of 8 and 1, not a block of six rows and 54 columns.
    assert {(row["rows"], row["columns"], row["tiles"]) for row in rows[:6]} == {(1, 9, 2)}
    assert [row["mzis_reference"] for row in rows[:6]] == [8 * 7 // 2 + 1 + 1] * 6
    assert [row["uses"] for row in rows] == [36] * 9
    files = compiled.save(tmp_path / "out")
    report = json.loads(files["report.json"].read_text())
    assert [row["uses"] for row in report["layers"]] == [36] * 9
    photonic = next(path for name, path in files.items() if name.endswith("_photonic.onnx"))
    assert relative_error(reference_run(photonic, x), expected) < 1e-5
    loaded = onnx2mzi.load(tmp_path / "out")
    assert relative_error(loaded.run(x), expected) < 1e-5
    table = files["phases.csv"].read_text()
    assert all(f"\n{row['name']}." in table or f",{row['name']}," in table for row in rows)
