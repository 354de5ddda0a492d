"""Trim heaters against heat: few, the ones that pay, and the warm chip is better for them."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import onnx2mzi
from onnx2mzi.emulate.compensate_chip import Caution, Compensated, compensate_chip
from onnx2mzi.emulate.heat_aim import Metric
from onnx2mzi.emulate.heat_study import heat_study, warm_chip
from onnx2mzi.emulate.heat_trims import Candidates, fewest_trims
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Mesh, MeshTile, Program
from onnx2mzi.passes.floorplan import Objective
from onnx2mzi.passes.heat_trim import heat_trimmed
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.base import Context
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, load_technology

TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)
CAREFREE = Caution(random=0.0, systematic=0.0)


def test_the_chosen_pay_most_and_only_warm() -> None:
    rng = np.random.default_rng(0)
    phases, count = 12, 5
    root = rng.normal(size=(30, phases))
    off = rng.normal(size=phases)
    metric = Metric(root.T @ root @ off, ((np.arange(phases), root),))
    push = rng.normal(size=(phases, count))
    numbers = np.arange(count)
    found = Candidates(sp.csr_array(np.hstack([push, -push])), numbers, numbers, numbers)
    canonical = rng.normal(size=(phases, 3))
    start = 0.5 * float(np.linalg.norm(root @ off) ** 2)

    def best(columns: np.ndarray) -> float:
        whole = root @ np.hstack([canonical, columns])
        left = root @ off - whole @ np.linalg.lstsq(whole, root @ off, rcond=None)[0]
        return 0.5 * float(left @ left)

    made = fewest_trims(
        found,
        metric=metric,
        canonical=canonical,
        drive_rad=np.ones(3),
        loss=start,
        enough=0.0,
        most=3,
    )
    assert len(made.which) == len(set(made.which.tolist())) == 3
    for k in range(4):
        assert made.loss[k] == pytest.approx(best(push[:, made.which[:k]]), rel=1e-3)
    assert (np.diff(made.loss) < 0).all()
    first = [best(push[:, [k]]) for k in range(count)]
    assert first[made.which[0]] < np.median(first)
    assert made.needed(made.loss[2]) == 2 and made.needed(-1.0) is None


@pytest.fixture(scope="module")
def bare(tiny_onnx: bytes) -> Program:
    """A chip whose phi have no heater and no length of their own."""
    program = onnx2mzi.compile(tiny_onnx, optimize="canonicalize").program
    layers = []
    for layer in program.layers:
        grids = []
        for grid in layer.grids:
            tiles = []
            for tile in grid.tiles:
                assert isinstance(tile, MeshTile)
                tiles.append(replace(tile, v=_bare(tile.v), u=_bare(tile.u)))
            grids.append(replace(grid, tiles=tuple(tiles)))
        layers.append(replace(layer, grids=tuple(grids)))
    return replace(program, layers=tuple(layers))


def _bare(mesh: Mesh) -> Mesh:
    none = np.zeros(len(mesh))
    return replace(mesh, phi_rad=none, phi_state=none.astype(np.uint8))


def _heaters(program: Program) -> int:
    meshes = [
        mesh
        for layer in program.layers
        for grid in layer.grids
        for tile in grid.tiles
        if isinstance(tile, MeshTile)
        for mesh in (tile.v, tile.u)
    ]
    return sum(int(np.count_nonzero(m.phi_state == ShifterState.ACTIVE)) for m in meshes)


def _compensated(program: Program) -> Compensated:
    placed = place_program(program, TECHNOLOGY, Objective.HEAT)
    warm = warm_chip(placed, TECHNOLOGY, None)
    return compensate_chip(
        aim=warm.aim, layout=warm.layout, response=warm.response, caution=CAREFREE, steps=8
    )


def test_a_chip_with_trims_is_better_when_it_is_warm(bare: Program) -> None:
    said: list[str] = []
    context = Context(technology=TECHNOLOGY, log=said.append)
    before = _compensated(bare)
    trimmed = heat_trimmed(bare, context, share=1.0, loss=before.loss * 0.1)
    assert 0 < _heaters(trimmed) < 20
    assert _compensated(trimmed).loss < 0.5 * before.loss
    assert "trim: heat leaves a loss of" in said[-1]
    assert heat_trimmed(bare, context, share=1.0, loss=10.0) is bare
    warm = warm_chip(place_program(bare, TECHNOLOGY, Objective.HEAT), TECHNOLOGY, None)
    told = heat_study(warm, lambda made: 1.0, drive_rad=before.drive_rad, copies=1)["trims"]
    assert told["possible"] > 0
    assert told["needed"] is None or 0 <= told["needed"] <= told["possible"]


def test_the_option(tiny_onnx: bytes) -> None:
    made = onnx2mzi.compile(tiny_onnx, optimize="canonicalize,trim{against=heat},place,compensate")
    assert made.report["max_rel_error"] < 1e-9
    with pytest.raises(UsageError, match="against"):
        onnx2mzi.compile(tiny_onnx, optimize="canonicalize,trim{against=cold}")
