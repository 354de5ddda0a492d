"""Rounding brings no heaters. Mixed bits: the budget, where bits go, and that they are no worse."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnx2mzi.backends.phases import placed_shifters
from onnx2mzi.emulate.data import Dataset
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.errors import UsageError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import MeshTile, Program, identical
from onnx2mzi.ir.parser import parse_program
from onnx2mzi.ir.printer import print_program
from onnx2mzi.passes.bits import fewest, heaters, shared_out
from onnx2mzi.passes.canonicalize import Canonicalize, drawing_rules
from onnx2mzi.passes.codes import Rounding
from onnx2mzi.passes.decompose import Decompose
from onnx2mzi.passes.drawing import balanced_tile, drawn_tile
from onnx2mzi.passes.quantize import Quantize
from onnx2mzi.passes.svd import Svd
from onnx2mzi.passes.tile import Tile
from onnx2mzi.physics.quantization import CodeLaw
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.tech import load_technology


@given(
    layers=st.lists(st.tuples(st.floats(0.0, 1e6), st.integers(0, 5000)), min_size=1, max_size=6),
    bits=st.integers(1, 16),
    law=st.sampled_from(CodeLaw),
)
def test_the_budget_holds(layers: list[tuple[float, int]], bits: int, law: CodeLaw) -> None:
    errors, counts = [e for e, _ in layers], [c for _, c in layers]
    found = shared_out(errors, counts, bits, law, Drive.ARM_CHOICE)
    assert np.dot(found, counts) <= bits * sum(counts)
    assert all(fewest(bits) <= b <= 16 for b in found)


def test_bits_go_where_they_pay() -> None:
    def share(errors: list[float], counts: list[int]) -> tuple[int, ...]:
        return shared_out(errors, counts, 5, CodeLaw.PHASE, Drive.ARM_CHOICE)

    assert share([1.0, 1.0], [40, 40]) == (5, 5)
    assert share([100.0, 1.0], [40, 40]) == (6, 4) or share([100.0, 1.0], [40, 40]) == (7, 3)
    # A small layer is cheap to make fine.
    few, many = share([1.0, 1.0], [10, 1000])
    assert few > many


def chip() -> tuple[Program, Network, Context]:
    """Two equal layers side by side, the second a twentieth of the output, on 60 samples."""
    rng = np.random.default_rng(4)
    weights = {"a": rng.normal(size=(10, 10)), "b": rng.normal(size=(10, 10)) / 20}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["g"], "fc1"),
            helper.make_node("MatMul", ["x", "b"], ["h"], "fc2"),
            helper.make_node("Add", ["g", "h"], ["y"], "sum"),
        ],
        "net",
        [value("x", TensorProto.FLOAT, ["N", 10])],
        [value("y", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    program = import_model(model.SerializeToString())
    assert program.host is not None
    data = [Dataset({"x": rng.normal(size=(60, 10)).astype(np.float32)}) for _ in range(2)]
    network = Network(HostRunner(program.host), program.layers, *data)
    ctx = Context(load_technology("cornerstone_si220"), network=network)
    for step in (Tile(), Svd(), Decompose(), Canonicalize()):
        program = step.run(program, ctx)
    return program, network, ctx


def off(program: Program, whole: Program, network: Network) -> float:
    made, asked = (network.outputs(program_matrices(p), network.fit)["y"] for p in (program, whole))
    return float(np.linalg.norm(made - asked) / np.linalg.norm(asked))


@pytest.mark.parametrize("rounding", [Rounding.NEAREST, Rounding.SEQUENTIAL])
@pytest.mark.parametrize("bits", [4, 6])
def test_the_layer_that_matters_gets_the_bits(rounding: Rounding, bits: int) -> None:
    program, network, ctx = chip()
    said: list[str] = []
    ctx = Context(ctx.technology, network=network, log=said.append)
    uniform = Quantize(bits=bits, rounding=rounding).run(program, ctx)
    step = Quantize(bits=bits, rounding=rounding, mixed=True)
    mixed = step.run(program, ctx)
    assert off(mixed, program, network) < 0.8 * off(uniform, program, network)
    given_bits = [layer.drive_code.bits for layer in mixed.layers if layer.drive_code]
    counts = [heaters(layer) for layer in program.layers]
    assert np.dot(given_bits, counts) <= bits * sum(counts)
    assert given_bits[0] > given_bits[1]
    assert all(f"{x.name} {b}" in said[0] for x, b in zip(mixed.layers, given_bits, strict=True))


def test_codes_and_text_follow_the_layer() -> None:
    program, _, ctx = chip()
    mixed = Quantize(bits=4, mixed=True).run(program, ctx)
    assert identical(parse_program(*print_program(mixed)), mixed)
    of = {layer.name: layer.drive_code for layer in mixed.layers}
    for block in placed_shifters(mixed, ctx.technology):
        code = of[block.layer]
        assert code is not None
        made = block.shifters
        active = made.code >= 0
        if active.any():
            drive = Drive.UPPER_ARM if block.block == "out" else ctx.technology.drive
            levels = code.levels_rad(drive)[made.code[active]]
            np.testing.assert_allclose(levels, made.drive_rad[active], atol=1e-9)


def test_without_data_and_with_training() -> None:
    program, _, ctx = chip()
    bare = Context(ctx.technology)
    mixed = Quantize(bits=5, mixed=True).run(program, bare)
    assert mixed.drive_code == Quantize(bits=5).code
    with pytest.raises(UsageError, match="one number of bits"):
        Quantize(mixed=True, rounding=Rounding.TRAINED).run(program, ctx)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("mixed", [False, True])
def test_rounding_brings_no_attenuator_back(bits: int, mixed: bool) -> None:
    program, network, ctx = chip()
    rules = drawing_rules(ctx)

    def bare(tile: MeshTile) -> MeshTile:
        """Attenuators gone besides the one of the largest value, and one a fixed coupler."""
        balanced = balanced_tile(tile)
        amplitude, taps = balanced.amplitude.copy(), np.zeros(len(balanced.amplitude), np.uint8)
        amplitude[[0, 3, 6]] = 1.0
        taps[4] = 1
        return drawn_tile(replace(balanced, amplitude=amplitude, taps=taps), rules)

    program = replace(
        program,
        layers=tuple(
            replace(
                layer,
                grids=tuple(
                    replace(g, tiles=tuple(bare(t) for t in g.tiles if isinstance(t, MeshTile)))
                    for g in layer.grids
                ),
            )
            for layer in program.layers
        ),
    )
    step = Quantize(bits=bits, rounding=Rounding.SEQUENTIAL, mixed=mixed)
    made = step.run(program, ctx)
    nearest = Quantize(bits=bits, mixed=mixed).run(program, ctx)
    assert off(made, program, network) < off(nearest, program, network)
    for old, new in zip(program.layers, made.layers, strict=True):
        assert heaters(new) <= heaters(old)
        was, now = (layer.grids[0].tiles[0] for layer in (old, new))
        assert isinstance(was, MeshTile) and isinstance(now, MeshTile)
        still = was.sigma.state != ShifterState.ACTIVE
        assert np.count_nonzero(still) >= 4
        np.testing.assert_array_equal(now.sigma.state[still], was.sigma.state[still])
        np.testing.assert_allclose(now.sigma.theta_rad[still], was.sigma.theta_rad[still])
