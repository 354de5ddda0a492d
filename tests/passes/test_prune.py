"""The pass `prune`: its promises with and without data, and what it saves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest

from onnx2mzi.emulate.data import Dataset
from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import LinearLayer, Loc, Operand, Program, Stage, identical
from onnx2mzi.ir.verify import verify
from onnx2mzi.passes.canonicalize import Canonicalize
from onnx2mzi.passes.decompose import Decompose
from onnx2mzi.passes.prune.links import readers
from onnx2mzi.passes.prune.prune import Prune
from onnx2mzi.passes.svd import Svd
from onnx2mzi.passes.tile import Tile
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.base import Budgeted, Context
from onnx2mzi.pipeline.census import layer_census, reference_phases
from onnx2mzi.pipeline.contracts import bounded_move
from onnx2mzi.tech import load_technology

Arrays = Mapping[str, Any]


@dataclass
class Relus:
    """What `HostRunner` does, for layers in a chain with ReLUs in between.

    With `skip` the first layer's outputs are also added to the network's.
    """

    skip: bool = False
    runs: int = field(default=0)

    def run(
        self, matrices: Mapping[str, Matrix], layers: Sequence[LinearLayer], inputs: Arrays
    ) -> dict[str, Any]:
        return {"y": self._all(matrices, layers, inputs)[1]}

    def layer_inputs(
        self, matrices: Mapping[str, Matrix], layers: Sequence[LinearLayer], inputs: Arrays
    ) -> dict[str, Any]:
        return self._all(matrices, layers, inputs)[0]

    def _all(
        self, matrices: Mapping[str, Matrix], layers: Sequence[LinearLayer], inputs: Arrays
    ) -> tuple[dict[str, Any], Any]:
        self.runs += 1
        x, met = np.asarray(inputs["x"], float).T, {}
        first = None
        for layer in layers:
            met[layer.name] = x
            y = matrices.get(layer.name, layer.weight) @ x
            first = y if first is None else first
            x = np.maximum(y, 0.0)
        if self.skip and first is not None:
            y = y + first.sum(0)
        return met, np.asarray(y.T, np.float64)


def program_of(weights: Sequence[Matrix], ports: int = 8) -> Program:
    layers = tuple(
        LinearLayer(
            f"fc{k}", w, Operand(f"x{k}", -1, f"w{k}", False, "float64"), Loc("m", f"fc{k}")
        )
        for k, w in enumerate(weights)
    )
    return Program("m", Stage.LINEAR, ports, layers)


def context(network: Network | None = None) -> Context:
    return Context(load_technology("cornerstone_si220"), network=network)


def lowered(program: Program, *, canonical: bool = True) -> Program:
    ctx = context()
    for step in (Tile(), Svd(), Decompose(), *([Canonicalize()] if canonical else [])):
        program = step.run(program, ctx)
    return program


def active(program: Program) -> int:
    return sum(layer_census(layer, p_pi_mw=1.0).phases_active for layer in program.layers)


def classifier(*, skip: bool = False, labels: bool = False) -> tuple[Program, Network]:
    """A network 20 -> 14 -> 5 that was made to tell five clusters of few dimensions apart."""
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 5, 400)
    centres, frame = 3 * rng.standard_normal((5, 6)), rng.standard_normal((6, 20))
    x = (centres[kind] + 0.6 * rng.standard_normal((400, 6))) @ frame
    x += 0.1 * rng.standard_normal(x.shape)
    w = rng.standard_normal((14, 20)) / 4
    hidden = np.maximum(x @ w.T, 0.0)
    out = np.linalg.lstsq(hidden, np.eye(5)[kind], rcond=None)[0].T
    program = program_of([w, np.asarray(out, np.float64)])
    y = kind if labels else None
    data = Dataset({"x": x}, y)
    network = Network(
        cast(Any, Relus(skip)),
        program.layers,
        data.take(slice(0, None, 2)),
        data.take(slice(1, None, 2)),
    )
    return program, network


@pytest.mark.parametrize("budget", [0.0, 1e-2, 0.3])
@pytest.mark.parametrize("real", [True, False])
def test_without_data_every_matrix_keeps_the_budget(budget: float, real: bool) -> None:
    rng = np.random.default_rng(0)
    w: Any = rng.standard_normal((11, 19)) * np.geomspace(1, 1e-3, 19)
    if not real:
        w = w * np.exp(1j * rng.uniform(0, 6, w.shape))
    program = lowered(program_of([w]))
    step = Prune(budget=budget)
    after = step.run(program, context())
    assert step.effect(program) == Budgeted(error=budget, drop=step.max_drop)
    found = program_matrices(after)["fc0"]
    assert np.linalg.norm(found - w) <= max(budget, 1e-9) * np.linalg.norm(w)
    assert active(after) <= active(program)
    assert not verify(after)
    if budget == 0.3:
        assert active(after) < 0.6 * active(program)


@pytest.mark.parametrize("method", ["obs", "ports", "truncate", "magnitude"])
@pytest.mark.parametrize("shape", [(8, 8), (16, 12)])
def test_without_data_a_second_pass_moves_what_it_was_given(
    method: str, shape: tuple[int, int]
) -> None:
    """By no more than its budget, and never back to more heaters."""
    program = lowered(program_of([np.random.default_rng(0).standard_normal(shape)]))
    first = Prune(method=method, budget=0.2).run(program, context())
    for budget in (0.02, 0.11, 0.2):
        second = Prune(method=method, budget=budget).run(first, context())
        moved = bounded_move(program_matrices(first)["fc0"], program_matrices(second)["fc0"])
        assert moved <= budget
        assert active(second) <= active(first)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("method", ["obs", "ports", "truncate", "magnitude"])
def test_with_data_the_network_keeps_its_answers(method: str, labels: bool) -> None:
    program, network = classifier(labels=labels)
    step = Prune(method=method, max_drop=0.02)
    after = step.run(lowered(program), context(network))
    assert network.distance(program_matrices(after)) <= 0.02
    assert not verify(after)


def test_surgery_saves_most() -> None:
    program, network = classifier()
    mesh = lowered(program)
    phases = {
        method: active(Prune(method=method, max_drop=0.02).run(mesh, context(network)))
        for method in ("obs", "ports", "truncate", "magnitude")
    }
    assert phases["obs"] < 0.95 * phases["ports"]
    assert phases["ports"] < 0.8 * min(phases["truncate"], phases["magnitude"])


def test_target_is_met() -> None:
    program, network = classifier()
    reference = sum(reference_phases((14, 20), 8) for _ in range(1)) + reference_phases((5, 14), 8)
    step = Prune(target=0.9)
    after = step.run(lowered(program), context(network))
    assert active(after) <= 0.1 * reference
    assert step.effect(program) == Budgeted(error=np.inf, drop=np.inf)
    assert network.distance(program_matrices(after)) < 0.5


def test_the_same_run_gives_the_same_program() -> None:
    program, network = classifier()
    mesh = lowered(program)
    one, two = (Prune(max_drop=0.02).run(mesh, context(network)) for _ in range(2))
    assert identical(one.layers, two.layers)


def test_no_tiles_to_thin_is_ports_only() -> None:
    program, network = classifier()
    mesh = lowered(program)
    step = Prune(max_drop=0.02)
    assert identical(
        replace(step, most_tiles=0).run(mesh, context(network)).layers,
        replace(step, method="ports").run(mesh, context(network)).layers,
    )


def test_readers_are_found_by_asking() -> None:
    _, network = classifier()
    assert readers(network, ["fc0", "fc1"]) == [1, None]


def test_an_output_that_somebody_else_reads_stays_lit() -> None:
    program, network = classifier(skip=True)
    assert readers(network, ["fc0", "fc1"]) == [None, None]
    after = Prune(method="ports", max_drop=0.02).run(lowered(program), context(network))
    found = program_matrices(after)["fc0"]
    assert (np.abs(found).max(axis=1) > 0).all()


def test_a_network_that_cannot_lose_anything_is_left_as_it_is() -> None:
    rng = np.random.default_rng(1)
    program = program_of([rng.standard_normal((2, 6))])
    data = Dataset({"x": rng.standard_normal((40, 6)) * 1e-3})
    network = Network(cast(Any, Relus()), program.layers, data, data)
    mesh = lowered(program)
    after = Prune(max_drop=0.0).run(mesh, context(network))
    assert network.distance(program_matrices(after)) == 0.0
    assert active(after) <= active(mesh)


@pytest.mark.parametrize("budget", [1e-3, 1e-2, 1e-1])
def test_without_data_single_phases_save_beyond_ranks(budget: float) -> None:
    rng = np.random.default_rng(5)
    w = [rng.standard_normal((m, n)) * np.geomspace(1, 1e-2, n) for m, n in ((16, 20), (5, 16))]
    mesh = lowered(program_of(w))
    step = Prune(budget=budget)
    after = step.run(mesh, context())
    assert active(after) < active(replace(step, method="ports").run(mesh, context()))
    found = program_matrices(after)
    for layer in after.layers:
        moved = np.linalg.norm(found[layer.name] - layer.weight)
        assert moved <= budget * np.linalg.norm(layer.weight)
    assert not verify(after)


def test_too_many_tiles_are_left_at_ranks_and_that_is_said() -> None:
    mesh = lowered(program_of([np.random.default_rng(6).standard_normal((16, 20))]))
    said: list[str] = []
    step = Prune(most_tiles=5)
    after = step.run(mesh, replace(context(), log=said.append))
    assert identical(after.layers, replace(step, method="ports").run(mesh, context()).layers)
    assert any("6 tiles are more than most_tiles = 5" in line for line in said)


@pytest.mark.parametrize("labels", [True, False])
def test_the_user_hears_how_the_budget_is_judged_and_how_far_it_is(labels: bool) -> None:
    program, network = classifier(labels=labels)
    said: list[str] = []
    told: list[tuple[str, int, int]] = []
    ears = replace(context(network), log=said.append, progress=lambda *count: told.append(count))
    Prune(max_drop=0.02).run(lowered(program), ears)
    what = "lost accuracy and changed answers" if labels else "changed answers (no labels)"
    assert f"prune: obs, {what} at most 2.00%" in said[0]
    assert "200 samples kept back" in said[0]
    for thing in ("prune: ports and rank", "prune: single phases"):
        counts = [(done, total) for name, done, total in told if name == thing]
        assert counts[-1][0] == counts[-1][1]
        assert all(done <= total for done, total in counts)


@pytest.mark.parametrize("method", ["truncate", "magnitude", "ports"])
def test_a_target_that_a_method_cannot_keep_is_refused(method: str) -> None:
    mesh = lowered(classifier()[0])
    with pytest.raises(UsageError, match=f"{method} takes no target"):
        Prune(method=method, target=0.9).run(mesh, context())


def test_a_target_is_met_without_data() -> None:
    program, _ = classifier()
    mesh = lowered(program)
    reference = reference_phases((14, 20), 8) + reference_phases((5, 14), 8)
    found = {share: Prune(target=share).run(mesh, context()) for share in (0.7, 0.9)}
    for share, after in found.items():
        assert (1 - share) * reference - 20 < active(after) <= (1 - share) * reference

    def error(after: Program) -> float:
        made = program_matrices(after)
        return sum(
            float(np.linalg.norm(made[x.name] - x.weight) / np.linalg.norm(x.weight)) ** 2
            for x in program.layers
        )

    # What rises least is taken: less is lost than where singular values alone go.
    assert error(found[0.7]) < error(found[0.9]) < 2.0
    rank = Prune(method="ports", budget=error(found[0.7]) ** 0.5 / 2).run(mesh, context())
    assert active(found[0.7]) < active(rank)
    with pytest.raises(UsageError, match="most_tiles"):
        Prune(target=0.7, most_tiles=5).run(mesh, context())
