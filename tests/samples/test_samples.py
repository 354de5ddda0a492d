"""The shipped samples are what their scripts say, and the scripts run."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_model_is_as_described() -> None:
    model = onnx.load(SAMPLES / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 10
    assert [(i.domain, i.version) for i in model.opset_import] == [("", 17)]
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm"]
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    assert shapes == {
        "fc1.weight": (64, 64),
        "fc1.bias": (64,),
        "fc2.weight": (10, 64),
        "fc2.bias": (10,),
    }


@pytest.mark.parametrize(("name", "count", "least"), [("train", 1347, 0.99), ("test", 450, 0.97)])
def test_digits_data_fit_the_model(name: str, count: int, least: float) -> None:
    path = SAMPLES / f"digits_{name}.npz"
    assert path.stat().st_size < 1_000_000
    data = np.load(path)
    assert (data["x"].dtype, data["y"].dtype) == (np.float32, np.int64)
    assert data["x"].shape == (count, 64)
    assert data["x"].min() == 0.0 and data["x"].max() == 1.0
    session = onnxruntime.InferenceSession(SAMPLES / "digits.onnx")
    (logits,) = session.run(None, {"x": data["x"]})
    assert np.mean(logits.argmax(axis=1) == data["y"]) >= least


def test_digits_data_are_the_scripts_split() -> None:
    pytest.importorskip("sklearn")
    x_train, y_train, x_test, y_test = _script("train_digits").digits()
    for name, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        stored = np.load(SAMPLES / f"digits_{name}.npz")
        np.testing.assert_array_equal(stored["x"], x)
        np.testing.assert_array_equal(stored["y"], y)


def test_shifted_copies_move_by_half_a_pixel() -> None:
    pytest.importorskip("sklearn")
    image = np.zeros((1, 64), np.float32)
    image[0, 3 * 8 + 4] = 1.0
    copies, labels = _script("train_digits").with_shifts(image, np.array([7]))
    assert labels.tolist() == [7] * 5
    centres = [np.argwhere(copy.reshape(8, 8)).mean(axis=0).tolist() for copy in copies]
    assert centres == [[3, 4], [3.5, 4], [2.5, 4], [3, 4.5], [3, 3.5]]


def test_script_pipeline_runs_with_its_own_pass(tmp_path: Path) -> None:
    """In a process of its own: the pass that it registers must not reach other tests."""
    done = subprocess.run(
        [sys.executable, "-W", "error", SAMPLES / "script_pipeline.py", tmp_path / "chip"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "low-rank{error=0.15}" in done.stdout
    mzis = {
        line.split(":")[0]: int(line.split()[1])
        for line in done.stdout.splitlines()
        if " MZIs, " in line
    }
    assert mzis["low-rank"] < mzis["lossless"]
    assert (tmp_path / "chip" / "manifest.json").is_file()
    assert (tmp_path / "chip" / "design.gds").is_file()


def test_the_pass_of_the_script_says_where_it_belongs(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "onnx2mzi", SAMPLES / "digits.onnx", "-o", tmp_path / "chip"),
            *("--plugin", SAMPLES / "script_pipeline.py", "-O", "low-rank{error=0.15}"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith(
        "low-rank: tiles have no singular values yet (put svd before low-rank)\n"
    )
