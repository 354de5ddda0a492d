"""Noise of samples: sizes, who it belongs to, and which graphs take it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx2mzi.emulate import noise
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.imperfect import How, Region
from onnx2mzi.emulate.noise import NoisyRunner
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Host, LinearLayer
from onnx2mzi.kernels import native_available
from onnx2mzi.physics.imperfection import Imperfections

QUIET = Imperfections()
Made = tuple[Host, tuple[LinearLayer, ...], np.ndarray]


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def imported(nodes: list[onnx.NodeProto], shape: list[int | str], **constants: np.ndarray) -> Made:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    program = import_model(model.SerializeToString())
    assert program.host is not None
    sizes = [6 if isinstance(d, str) else d for d in shape]
    return program.host, program.layers, weights(*sizes, seed=5)


def gemm(first: int | str = "n") -> Made:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)]
    return imported(nodes, [first, 4], w=weights(3, 4), b=weights(3, seed=1))


def conv() -> Made:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    return imported(nodes, ["n", 2, 4, 4], w=weights(3, 2, 3, 3), v=weights(48, 5, seed=1))


def noisy(made: Made, sizes: Imperfections, copy: int = 0, rows: int | None = None) -> np.ndarray:
    host, layers, x = made
    runner = NoisyRunner(host, layers, {"x": x}, {})
    assert runner.without == ()
    return runner.run({}, {"x": x[:rows]}, How(sizes, seed=3), copy)["y"]


def clean(made: Made) -> np.ndarray:
    host, layers, x = made
    return HostRunner(host).run({}, layers, {"x": x})["y"]


@pytest.mark.parametrize("make", [gemm, conv])
def test_no_noise_is_the_network(make: Callable[[], Made]) -> None:
    made = make()
    assert np.array_equal(noisy(made, QUIET), clean(made))
    everything = Imperfections(input_noise=0.01, output_noise=0.01, shot_noise=0.01)
    off = np.linalg.norm(noisy(made, everything) - clean(made)) / np.linalg.norm(clean(made))
    assert 1e-3 < off < 0.3


def many(rows: int) -> Made:
    host, layers, _ = gemm()
    return host, layers, np.tile(weights(1, 4, seed=5), (rows, 1))


def test_noise_of_detectors_has_its_size() -> None:
    made = many(4000)
    ideal = clean(made)
    scale = np.abs(ideal).max()
    for sizes, sigma in (
        (Imperfections(output_noise=0.01), np.full(3, 0.01 * scale)),
        (Imperfections(shot_noise=0.02), 0.02 * np.sqrt(scale * np.abs(ideal[0]))),
        (
            Imperfections(output_noise=0.01, shot_noise=0.02),
            np.hypot(0.01 * scale, 0.02 * np.sqrt(scale * np.abs(ideal[0]))),
        ),
    ):
        off = noisy(made, sizes) - ideal
        assert np.allclose(off.std(axis=0), sigma, rtol=0.06)
        assert np.all(np.abs(off.mean(axis=0)) < 5 * sigma / np.sqrt(len(off)))


def test_noise_of_modulators_passes_the_layer() -> None:
    made = many(4000)
    (layer,) = made[1]
    off = noisy(made, Imperfections(input_noise=0.01)) - clean(made)
    scale = np.abs(made[2]).max()
    wanted = (0.01 * scale) ** 2 * layer.weight @ layer.weight.T
    assert np.allclose(np.cov(off.T), wanted, atol=0.08 * np.abs(wanted).max())


@pytest.mark.parametrize("make", [gemm, conv])
def test_noise_belongs_to_copy_and_sample(make: Callable[[], Made]) -> None:
    made = make()
    sizes = Imperfections(input_noise=0.01, output_noise=0.01)
    whole = noisy(made, sizes)
    assert np.allclose(noisy(made, sizes, rows=2), whole[:2], atol=1e-5)
    assert np.abs(noisy(made, sizes, copy=1) - whole).max() > 1e-3


@pytest.mark.parametrize("first", [1, 2, 6])
def test_fixed_batches_have_the_same_noise(first: int) -> None:
    free, (host, layers, _) = gemm(), gemm(first)
    sizes = Imperfections(input_noise=0.01, shot_noise=0.01)
    assert np.allclose(noisy((host, layers, free[2]), sizes), noisy(free, sizes), atol=1e-5)


def test_data_in_pieces_have_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    made, sizes = many(50), Imperfections(input_noise=0.01, output_noise=0.01)
    whole = noisy(made, sizes)
    monkeypatch.setattr(noise, "_AT_ONCE", 64)
    assert np.allclose(noisy(made, sizes), whole, atol=1e-5)


def test_numpy_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if not native_available():
        pytest.skip("there is one way only")
    sizes = Imperfections(input_noise=0.1, output_noise=0.1)
    compiled = noisy(gemm(), sizes)
    monkeypatch.setenv("ONNX2MZI_KERNELS", "numpy")
    assert np.allclose(noisy(gemm(), sizes), compiled, atol=1e-5)


def test_a_region_is_noisy_alone() -> None:
    host, layers, x = made = conv()
    runner = NoisyRunner(host, layers, {"x": x}, {})
    how = How(Imperfections(input_noise=0.01, output_noise=0.01), seed=3)
    nowhere = runner.run({}, {"x": x}, replace(how, region=Region("none")), 0)["y"]
    assert np.array_equal(nowhere, clean(made))
    last = runner.run({}, {"x": x}, replace(how, region=Region(layers[1].name, "u")), 0)["y"]
    off = last - clean(made)
    assert np.isclose(off.std(), 0.01 * np.abs(clean(made)).max(), rtol=0.5)


def test_recurrent_layers_are_told() -> None:
    w, r = weights(1, 8, 4), weights(1, 8, 2, seed=1)
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["h", "", ""], hidden_size=2)]
    nodes.append(helper.make_node("Identity", ["h"], ["y"]))
    host, layers, x = imported(nodes, [3, "n", 4], w=w, r=r)
    runner = NoisyRunner(host, layers, {"x": x}, {})
    assert set(runner.without) == {layer.name for layer in layers} and not runner.taps
    assert runner.run({}, {"x": x}, How(Imperfections(input_noise=1.0)), 0)["y"].shape
