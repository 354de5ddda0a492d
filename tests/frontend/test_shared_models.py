"""Real models, where they are at hand: the host gives their expected outputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnx2mzi
from onnx2mzi.backends.onnx_model import photonic_model
from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import HostRunner, random_inputs, reference_run
from onnx2mzi.frontend import import_model

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"
# Layers, and operators that stay electronic.
EXPECTED: dict[str, tuple[int, list[str]]] = {
    "burn_lstm_bidir": (4, []),
    "burn_sine_tf": (3, []),
    "marabou_cnn_max_mnist2_keras": (4, []),
    "marabou_gtsrb_tf": (4, []),
    "marabou_mnist2x10": (3, []),
    "marabou_tinytaxinet_tf15": (4, []),
    "mnist_fc_256x2": (3, []),
    "mujoco_apollo_policy": (4, []),
    "rl_lunarlander": (3, []),
    "winml_image_classifier": (5, []),
}


def path_of(name: str) -> Path:
    path = MODELS / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not at hand")
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_the_host_is_the_model(name: str) -> None:
    path = path_of(name)
    program = import_model(path)
    host = program.host
    assert host is not None
    count, electronic = EXPECTED[name]
    assert len(program.layers) == count
    assert [item.loc.op for item in host.electronic] == electronic
    with np.load(MODELS / "expected" / f"{name}.npz") as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays if key.startswith("in:")}
        outputs = {key[4:]: arrays[key] for key in arrays if key.startswith("out:")}
    runner = HostRunner(host)
    assert relative_error(runner.run({}, program.layers, inputs), outputs) < 1e-5
    matrices = {layer.name: layer.weight for layer in program.layers}
    photonic = photonic_model(host, program.layers, matrices)
    onnx.checker.check_model(photonic)
    probes = random_inputs(host, batch=3)
    assert relative_error(reference_run(photonic, probes), reference_run(path, probes)) < 1e-5
    assert [spec.name for spec in import_model(photonic).layers] == list(matrices)


@pytest.mark.whole
@pytest.mark.parametrize("name", EXPECTED)
def test_the_chip_is_the_model(name: str) -> None:
    path = path_of(name)
    chip = onnx2mzi.compile(path, 1)
    with np.load(MODELS / "expected" / f"{name}.npz") as arrays:
        inputs = {key[3:]: arrays[key] for key in arrays if key.startswith("in:")}
        outputs = {key[4:]: arrays[key] for key in arrays if key.startswith("out:")}
    error = relative_error(chip.run(inputs), outputs)
    dense = all(layer.loc.op in ("Gemm", "MatMul") for layer in chip.program.layers)
    assert error < (1e-5 if dense else 1e-4)
    assert [row["op"] for row in chip.report["electronic"]] == EXPECTED[name][1]
