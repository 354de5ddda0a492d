"""`prune` with methods that train: what it promises, what it writes, what it tells."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from onnx2mzi.emulate.data import Dataset  # noqa: E402
from onnx2mzi.emulate.host import HostRunner  # noqa: E402
from onnx2mzi.emulate.network import Network  # noqa: E402
from onnx2mzi.emulate.transfer import program_matrices  # noqa: E402
from onnx2mzi.errors import UsageError  # noqa: E402
from onnx2mzi.frontend import import_model  # noqa: E402
from onnx2mzi.ir import MeshTile, Program  # noqa: E402
from onnx2mzi.ir.verify import verify  # noqa: E402
from onnx2mzi.passes.canonicalize import Canonicalize, drawing_rules  # noqa: E402
from onnx2mzi.passes.decompose import Decompose  # noqa: E402
from onnx2mzi.passes.drawing import balanced_tile, drawn_tile  # noqa: E402
from onnx2mzi.passes.prune.prune import Prune  # noqa: E402
from onnx2mzi.passes.prune.starts import program_starts, with_phases, zero_starts  # noqa: E402
from onnx2mzi.passes.svd import Svd  # noqa: E402
from onnx2mzi.passes.tile import Tile  # noqa: E402
from onnx2mzi.physics.shifter import Drive, Passive  # noqa: E402
from onnx2mzi.pipeline.base import Context  # noqa: E402
from onnx2mzi.pipeline.census import layer_census, layer_drivers  # noqa: E402
from onnx2mzi.pipeline.frontier import FrontierPoint  # noqa: E402
from onnx2mzi.pipeline.manager import Pipeline  # noqa: E402
from onnx2mzi.tech import load_technology  # noqa: E402
from onnx2mzi.train.biases import original_host  # noqa: E402
from onnx2mzi.train.graph import HostGraph  # noqa: E402
from onnx2mzi.train.network import PhaseNetwork  # noqa: E402


def context(**more: Any) -> Context:
    return Context(load_technology("cornerstone_si220"), **more)


def active(program: Program) -> int:
    return sum(layer_census(layer, p_pi_mw=1.0).phases_active for layer in program.layers)


@pytest.fixture
def problem(tiny_onnx: bytes) -> tuple[Program, Network]:
    """The tiny network on meshes, and inputs with its own answers for labels."""
    linear = import_model(tiny_onnx, ports=8)
    assert linear.host is not None
    program = linear
    for step in (Tile(), Svd(), Decompose(), Canonicalize()):
        program = step.run(program, context())
    runner = HostRunner(linear.host)
    x = np.random.default_rng(0).standard_normal((600, 6)).astype(np.float32)
    y = runner.run({}, linear.layers, {"x": x})["y"].argmax(1)
    data = Dataset({"x": x}, y)
    halves = data.take(slice(0, None, 2)), data.take(slice(1, None, 2))
    return program, Network(runner, linear.layers, *halves)


@pytest.mark.parametrize("method", ["soft-l1", "smartdeal", "filter", "mixed"])
def test_a_target_is_met_and_the_program_is_what_was_trained(
    method: str, problem: tuple[Program, Network]
) -> None:
    program, network = problem
    points: list[FrontierPoint] = []
    step = Prune(method=method, target=0.68, epochs=20, lr=0.03)
    given = context(network=network, point=points.append)
    result = Pipeline((step,)).run(program, given)
    reference = 5 * 4 + 6 * 5 + 5 + 3 * 2 + 5 * 4 + 3
    # 26.88 heaters: 27 are too many.
    assert active(result.program) <= 0.32 * reference < active(program)
    assert not verify(result.program)
    on = network.on(result.program.host)
    right = 1 - on.distance(program_matrices(result.program))
    assert points[-1].right == pytest.approx(right, abs=0.02)
    assert right > 0.6


def test_training_under_noise_is_another_and_the_same_again(
    problem: tuple[Program, Network],
) -> None:
    program, network = problem
    found = []
    for noise in (0.0, 0.1, 0.1):
        step = Prune(method="soft-l1", target=0.6, epochs=3, lr=0.03, noise=noise)
        found.append(step.run(program, context(network=network)))
    plain, noisy, again = (program_matrices(x) for x in found)
    assert active(found[1]) <= active(found[0]) < active(program)
    for name, matrix in plain.items():
        assert np.array_equal(noisy[name], again[name])
        assert np.linalg.norm(noisy[name] - matrix) > 1e-2 * np.linalg.norm(matrix)


@pytest.mark.parametrize("method", ["ports", "truncate"])
def test_noise_is_not_for_all_methods(method: str, problem: tuple[Program, Network]) -> None:
    program, network = problem
    with pytest.raises(UsageError, match=f"{method} knows no noise"):
        Prune(method=method, noise=0.02).run(program, context(network=network))
    with pytest.raises(UsageError, match="no noise without data"):
        Prune(noise=0.02).run(program, context())


def test_a_budget_is_kept_on_what_was_kept_back(problem: tuple[Program, Network]) -> None:
    program, network = problem
    points: list[FrontierPoint] = []
    step = Prune(method="imp", max_drop=0.1, epochs=10, lr=0.03)
    given = context(network=network, point=points.append)
    result = Pipeline((step,)).run(program, given)
    assert active(result.program) < 0.8 * active(program)
    assert network.on(result.program.host).distance(result.matrices) <= 0.1
    assert {point.kept for point in points} == {True, False}


def test_biases_are_trained_and_the_model_s_own_are_kept(
    problem: tuple[Program, Network],
) -> None:
    program, network = problem
    assert program.host is not None
    step = Prune(method="soft-l1", target=0.7, epochs=5, lr=0.03)
    after = step.run(program, context(network=network))
    assert after.host is not None and after.host.model != program.host.model
    first = original_host(after.host)
    before = network.outputs({}, network.held)["y"]
    assert np.allclose(network.on(first).outputs({}, network.held)["y"], before, atol=1e-6)
    assert not np.allclose(network.on(after.host).outputs({}, network.held)["y"], before, atol=1e-3)
    still = replace(step, biases=False).run(program, context(network=network))
    assert still.host is not None and still.host.model == program.host.model


@pytest.mark.parametrize("drive", list(Drive))
def test_programs_become_networks_and_back(drive: Drive, problem: tuple[Program, Network]) -> None:
    program, network = problem
    assert program.host is not None
    technology = replace(load_technology("cornerstone_si220"), drive=drive)
    rules = drawing_rules(Context(technology, passive=Passive.COMMON))
    for starts in (program_starts(program), zero_starts(program, network, 0)):
        model = PhaseNetwork.on_host(starts, HostGraph(program.host, program.layers))
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            shake = torch.randn(len(model.phase), generator=rng, dtype=torch.float64)
            model.phase.add_(2.0 * shake)
            model.alive &= torch.rand(len(model.phase), generator=rng) > 0.5
        model.project()
        want = {name: w.detach().numpy() for name, w in model.matrices().items()}
        made = with_phases(program, model.starts(), rules)
        found = program_matrices(made)
        for name, w in want.items():
            np.testing.assert_allclose(found[name], w, atol=1e-9)
        assert not verify(made)
        if drive is not Drive.UPPER_ARM:
            assert active(made) <= model.phases_active


def test_without_data_training_is_refused_in_one_line(
    problem: tuple[Program, Network],
) -> None:
    with pytest.raises(UsageError, match="samples") as error:
        Prune(method="imp").run(problem[0], context())
    assert "--data" in error.value.hint


def test_without_torch_the_remedy_is_told(
    problem: tuple[Program, Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, network = problem
    monkeypatch.setattr("onnx2mzi.train.extra.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="PyTorch") as error:
        Prune(method="imp").run(program, context(network=network))
    assert "pip install" in error.value.hint


def test_search_leaves_the_cheapest_chip_that_it_met(problem: tuple[Program, Network]) -> None:
    program, network = problem
    points: list[FrontierPoint] = []
    step = Prune(method="search", max_drop=0.1, epochs=4, lr=0.03)
    given = context(network=network, point=points.append)
    result = Pipeline((step,)).run(program, given)
    assert points[0].made_by == "before training" and points[0].heaters == active(program)
    assert active(result.program) <= min(p.heaters for p in points if p.kept)
    assert network.on(result.program.host).distance(result.matrices) <= 0.1


def test_search_does_without_data_and_without_torch(
    problem: tuple[Program, Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, network = problem
    said: list[str] = []
    step = Prune(method="search")
    assert step.run(program, context(log=said.append)) is program
    monkeypatch.setattr("onnx2mzi.train.extra.find_spec", lambda name: None)
    assert step.run(program, context(network=network, log=said.append)) is program
    assert "--data" in said[0] and "pip install" in said[-1]


def test_a_search_ends_when_its_time_is_up(problem: tuple[Program, Network]) -> None:
    program, network = problem
    said: list[str] = []
    step = Prune(method="search", time_limit=0.0)
    assert step.run(program, context(network=network, log=said.append)) is program
    assert any("time is up" in line for line in said)


def test_fixed_phases_are_passive_and_stay_so(problem: tuple[Program, Network]) -> None:
    program, network = problem
    step = Prune(method="mixed", target=0.8)
    after = step.run(program, context(network=network))
    assert active(after) <= round(0.2 * 84) < active(program)
    for name, w in program_matrices(program).items():
        np.testing.assert_allclose(program_matrices(after)[name], w, atol=1e-9)
    again = with_phases(after, program_starts(after), drawing_rules(context()))
    assert active(again) == active(after)
    for tile in (t for layer in after.layers for grid in layer.grids for t in grid.tiles):
        assert isinstance(tile, MeshTile)
        redrawn = drawn_tile(balanced_tile(tile), drawing_rules(context()))
        assert np.array_equal(redrawn.v.theta_state, tile.v.theta_state)
        assert np.array_equal(redrawn.u.theta_state, tile.u.theta_state)
    with pytest.raises(UsageError, match="passive none"):
        step.run(program, context(network=network, passive=Passive.NONE))


def test_heaters_share_drivers_if_that_is_the_objective(
    problem: tuple[Program, Network],
) -> None:
    program, network = problem
    said: list[str] = []
    step = Prune(method="soft-l1", target=0.7, epochs=8, objective="drivers", levels=3, lr=0.03)
    after = step.run(program, context(network=network, log=said.append))
    assert any("share 6 drivers" in line for line in said)
    assert sum(map(layer_drivers, after.layers)) <= 6 < active(after)
    for layer in after.layers:
        tiles = [tile for grid in layer.grids for tile in grid.tiles]
        assert all(isinstance(tile, MeshTile) for tile in tiles)
        phases = [
            np.abs(phase[state == 2])
            for tile in tiles
            if isinstance(tile, MeshTile)
            for phase, state in (
                (tile.u.theta_rad, tile.u.theta_state),
                (tile.v.theta_rad, tile.v.theta_state),
            )
        ]
        assert len(np.unique(np.round(np.concatenate(phases), 9))) <= 3


def test_tiles_with_one_mesh_share_drivers(tiny_onnx: bytes) -> None:
    linear = import_model(tiny_onnx, ports=3)
    assert linear.host is not None
    program = linear
    for step in (Tile(), Svd(), Decompose(), Canonicalize()):
        program = step.run(program, context())
    x = np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)
    data = Dataset({"x": x})
    network = Network(HostRunner(linear.host), linear.layers, data, data)
    found = {}
    for share in ("none", "both"):
        prune = Prune(method="soft-l1", target=0.2, epochs=2, share=share)
        found[share] = prune.run(program, context(network=network))
        assert not verify(found[share])
    drivers = {name: sum(map(layer_drivers, made.layers)) for name, made in found.items()}
    # The two U of 3 x 3 and the two of 2 x 2 are one each; no other meshes are of one shape.
    assert drivers["both"] == drivers["none"] - 3 - 1
    assert drivers["none"] == active(found["none"])
    for wrong in (
        Prune(method="imp", share="u"),
        Prune(method="slimming", start="zero", share="v"),
    ):
        with pytest.raises(UsageError, match="share="):
            wrong.run(program, context(network=network))


def test_heaters_on_rails_are_few_drivers(problem: tuple[Program, Network]) -> None:
    program, network = problem
    step = Prune(method="two-well", rail=True, target=0.7, epochs=2)
    made = step.run(program, context(network=network))
    drivers = sum(map(layer_drivers, made.layers))
    assert drivers <= round(0.3 * 84) + 2 < 0.8 * active(made)
    with pytest.raises(UsageError, match="rail="):
        Prune(method="imp", rail=True).run(program, context(network=network))


def test_rails_are_for_real_layers(problem: tuple[Program, Network]) -> None:
    program, network = problem
    layers = tuple(replace(x, weight=x.weight.astype(complex)) for x in program.layers)
    step = Prune(method="two-well", target=0.8, rail=True)
    with pytest.raises(UsageError, match="takes real layers"):
        step.run(replace(program, layers=layers), context(network=network))


def test_factors_of_ports_are_electronic(problem: tuple[Program, Network]) -> None:
    program, network = problem
    points: list[FrontierPoint] = []
    step = Prune(method="soft-l1", target=0.7, epochs=2, lr=0.03, port_factors=True)
    given = context(network=network, point=points.append)
    made = Pipeline((step,)).run(program, given).program
    assert made.host is not None and len(made.host.electronic) == 2
    on = network.on(made.host)
    right = 1 - on.distance(program_matrices(made))
    assert points[-1].right == pytest.approx(right, abs=0.02)
    with_them, without = (
        x.outputs(program_matrices(made), network.held)["y"] for x in (on, network)
    )
    assert not np.allclose(with_them, without, atol=1e-2)
    first = network.on(original_host(made.host)).outputs({}, network.held)["y"]
    np.testing.assert_allclose(first, network.outputs({}, network.held)["y"], atol=1e-5)


def test_the_training_before_anything_goes_has_settings_of_its_own(
    problem: tuple[Program, Network],
) -> None:
    program, network = problem
    told: list[tuple[str, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        told.append((what.split(":")[1].strip(), total))

    found = []
    step = Prune(method="soft-l1", target=0.6, epochs=1, lr=0.03)
    longer = replace(step, dense_epochs=2.0)
    for each in (step, longer, replace(longer, dense_lr=0.003)):
        made = each.run(program, context(network=network, progress=progress))
        found.append(program_matrices(made)["fc1"])
    steps = [total for what, total in told if what == "dense"]
    assert steps[-1] == 2 * steps[0]
    assert not np.allclose(found[0], found[1]) and not np.allclose(found[1], found[2])
