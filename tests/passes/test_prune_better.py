"""`prune` gives back the better of two chips, and tells what is drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from onnx2mzi.emulate.data import Dataset  # noqa: E402
from onnx2mzi.emulate.host import HostRunner  # noqa: E402
from onnx2mzi.emulate.network import Network  # noqa: E402
from onnx2mzi.emulate.transfer import program_matrices  # noqa: E402
from onnx2mzi.frontend import import_model  # noqa: E402
from onnx2mzi.ir import Program  # noqa: E402
from onnx2mzi.passes.canonicalize import Canonicalize  # noqa: E402
from onnx2mzi.passes.decompose import Decompose  # noqa: E402
from onnx2mzi.passes.prune import searched as search  # noqa: E402
from onnx2mzi.passes.prune.better import Wish, census, drivers  # noqa: E402
from onnx2mzi.passes.prune.prune import Prune  # noqa: E402
from onnx2mzi.passes.prune.trained import Course, Recipe  # noqa: E402
from onnx2mzi.passes.svd import Svd  # noqa: E402
from onnx2mzi.passes.tile import Tile  # noqa: E402
from onnx2mzi.physics.shifter import Passive  # noqa: E402
from onnx2mzi.pipeline.base import Context  # noqa: E402
from onnx2mzi.pipeline.frontier import FrontierPoint  # noqa: E402
from onnx2mzi.pipeline.manager import Pipeline  # noqa: E402
from onnx2mzi.tech import load_technology  # noqa: E402

Given = tuple[Program, Network, Callable[..., Context]]


@pytest.fixture
def given(tiny_onnx: bytes) -> Given:
    """The tiny network on meshes, its own answers for labels, and how a context is made."""

    def context(**more: Any) -> Context:
        return Context(load_technology("cornerstone_si220"), **more)

    linear = import_model(tiny_onnx, ports=8)
    assert linear.host is not None
    program = lowered(linear, context())
    runner = HostRunner(linear.host)
    x = np.random.default_rng(0).standard_normal((600, 6)).astype(np.float32)
    y = runner.run({}, linear.layers, {"x": x})["y"].argmax(1)
    data = Dataset({"x": x}, y)
    network = Network(runner, linear.layers, *(data.take(slice(k, None, 2)) for k in (0, 1)))
    return program, network, lambda **more: context(network=network, **more)


def lowered(linear: Program, context: Context) -> Program:
    for step in (Tile(), Svd(), Decompose(), Canonicalize()):
        linear = step.run(linear, context)
    return linear


def lost(program: Program, network: Network) -> float:
    return network.on(program.host).distance(program_matrices(program))


def test_a_program_with_trained_biases_goes_on(given: Given) -> None:
    """Its own electronics are what the next pass sees, though the data are around the model's."""
    program, network, context = given
    step = Prune(method="grow", target=0.8, epochs=20, lr=0.05)
    trained = Pipeline((step,)).run(program, context()).program
    apart = network.distance(program_matrices(trained))
    limit = lost(trained, network) + 0.02
    assert apart > limit + 0.02
    for again in (Prune(max_drop=limit), Prune(method="imp", max_drop=limit, epochs=1)):
        made = Pipeline((again,)).run(trained, context()).program
        assert lost(made, network) <= limit
        assert census(made, context()).phases_active <= census(trained, context()).phases_active


def test_a_target_that_is_met_already_costs_no_accuracy(given: Given) -> None:
    program, network, context = given
    said: list[str] = []
    made = Prune(method="soft-l1", target=0.1, epochs=0.1).run(program, context(log=said.append))
    assert census(made, context()).phases_active <= census(program, context()).phases_active
    assert lost(made, network) == 0.0
    assert any("nearer to the model" in line for line in said)


@pytest.mark.parametrize("method", ["obs", "ports"])
def test_without_training_it_does_not_undo_a_training(method: str, given: Given) -> None:
    program, _, context = given
    trained = Prune(method="soft-l1", max_drop=0.1, epochs=20, start="program", biases=False).run(
        program, context()
    )
    made = Prune(method=method, max_drop=0.1).run(trained, context())
    assert census(made, context()).phases_active <= census(trained, context()).phases_active


def test_of_chips_at_a_target_search_takes_the_one_that_loses_least(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, network, context = given
    wish = Wish(max_drop=0.0, keep=20)
    bad, good = (
        Prune(method="imp", target=0.7, epochs=epochs, lr=lr).run(program, context())
        for epochs, lr in ((0.1, 1e-6), (30, 0.02))
    )
    assert lost(good, network) < lost(bad, network)
    assert wish.better(good, bad, context(), network)
    assert not wish.better(bad, good, context(), network)
    made = iter((bad, good))
    monkeypatch.setattr(Course, "run", lambda course: next(made))
    found = search.searched(
        program, context(), Prune(method="search", target=0.7)._recipe(program, context())
    )
    assert found is good


def test_what_is_told_is_what_is_drawn(given: Given, tiny_onnx: bytes) -> None:
    context = given[2]
    bare = lowered(import_model(tiny_onnx, ports=8), context(passive=Passive.NONE))
    points: list[FrontierPoint] = []
    said: list[str] = []
    made = Prune(method="imp", target=0.6, epochs=1).run(
        bare, context(passive=Passive.NONE, point=points.append, log=said.append)
    )
    there = census(made, context(passive=Passive.NONE))
    assert (points[-1].heaters, points[-1].power_mw) == (there.phases_active, there.power_mw)
    assert any("are drawn, not" in line and "--passive none" in line for line in said)


def test_heaters_that_are_kept_for_trimming_are_told(given: Given) -> None:
    program, _, context = given
    said: list[str] = []
    step = Prune(target=0.6, keep_trim=1.0)
    there = census(step.run(program, context(log=said.append)), context()).phases_active
    assert any(f"{there:,} heaters with those that keep_trim=" in line for line in said)


def test_drivers_that_are_told_are_those_of_the_chip(given: Given) -> None:
    program, _, context = given
    said: list[str] = []
    step = Prune(method="soft-l1", objective="drivers", levels=2, target=0.5, epochs=2)
    made = step.run(program, context(log=said.append))
    assert any(f"share {drivers(made):,} drivers" in line for line in said)


@pytest.mark.parametrize(
    "more", [{"method": "cluster"}, {"method": "soft-l1", "objective": "drivers"}]
)
def test_a_layer_has_no_more_drivers_than_levels(more: dict[str, str], given: Given) -> None:
    """Attenuators too, though a tile's largest amplitude is drawn without a heater."""
    program, _, context = given
    for seed in range(3):
        step = Prune(**more, levels=2, target=0.35, epochs=2)  # type: ignore[arg-type] # strings
        assert drivers(step.run(program, context(seed=seed))) <= 2 * len(program.layers)


def test_few_samples_are_no_more_steps(given: Given) -> None:
    program, network, context = given
    few = Network(network.runner, network.layers, network.fit.take(slice(0, 10)), network.held)
    recipe: Recipe = Prune(method="imp", batch=500)._recipe(program, context())
    course = Course.of(program, context(), recipe)
    less = Course.of(program, Context(load_technology("cornerstone_si220"), network=few), recipe)
    assert less.epochs <= 1200
    assert course.epochs * len(network.fit) >= less.epochs * 10


def test_options_that_a_method_does_not_look_at_are_named(given: Given) -> None:
    program, _, context = given
    said: list[str] = []
    Prune(method="imp", target=0.5, epochs=0.1, dense_epochs=7, levels=3, l1=0.9).run(
        program, context(log=said.append)
    )
    for name in ("dense_epochs", "levels", "l1"):
        assert any(f"does not look at {name}=" in line for line in said)
