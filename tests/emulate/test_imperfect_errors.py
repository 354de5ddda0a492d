"""What varies over a chip: planes over where devices lie, each copy with one of its own."""

from collections.abc import Callable

import numpy as np

from onnx2mzi.emulate.imperfect import imperfect_program, mesh_tiles
from onnx2mzi.emulate.imperfect_devices import MeshDevices
from onnx2mzi.emulate.imperfect_errors import Chips
from onnx2mzi.emulate.imperfect_mesh import static_errors
from onnx2mzi.emulate.imperfect_row import static_attenuators
from onnx2mzi.ir import Program
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.imperfection_random import block_keys
from onnx2mzi.tech import load_technology

MakeProgram = Callable[..., Program]
TECH = load_technology("cornerstone_si220")


def chips(sizes: Imperfections, block: str, copies: int = 1) -> Chips:
    return Chips(
        sizes,
        block_keys(seed=0, copies=range(copies), block=block),
        block_keys(seed=0, copies=range(copies), block=""),
        TECH.guide.coherence_mm,
        TECH.crossing.crosstalk_db,
        True,
    )


def plane(values: Real, x: Real, y: Real) -> tuple[Real, float]:
    """Slopes along x and y and the height in the middle, and what a plane leaves."""
    places = np.stack([x, y, np.ones(len(x))], 1)
    found, *_ = np.linalg.lstsq(places, values, rcond=None)
    return np.asarray(found, np.float64), float(np.abs(places @ found - values).max())


def couplers(mesh: MeshDevices) -> tuple[Real, Real]:
    """Where the couplers lie: first ones, then second ones."""
    half = mesh.arm_um * 1e-3 / 2
    y = (mesh.y_mm[mesh.core.port] + mesh.y_mm[mesh.core.port + 1]) / 2
    return np.concatenate([mesh.x_mm - half, mesh.x_mm + half]), np.concatenate([y, y])


def test_couplers_of_a_chip_lie_on_a_plane(make_program: MakeProgram) -> None:
    chip = imperfect_program(make_program(4), TECH)
    (_, tile) = mesh_tiles(chip)[0]
    drawn = chips(Imperfections(split_gradient_rad_mm=0.01), "a", copies=400)
    errors, _ = static_errors(tile.u, drawn)
    both = np.concatenate([np.asarray(errors.first), np.asarray(errors.second)], 1)
    slopes = []
    for row in both:
        found, left = plane(row, *couplers(tile.u))
        assert left < 1e-12 and abs(found[2]) < 1e-12
        slopes.append(found[:2])
    along, across = np.transpose(slopes)
    for slope in (along, across):
        assert np.isclose(slope.std(), 0.01, rtol=0.15) and abs(slope.mean()) < 0.002
    # Any direction is as likely as any other.
    assert abs(np.corrcoef(along, across)[0, 1]) < 0.2


def test_all_blocks_of_a_chip_share_its_planes(make_program: MakeProgram) -> None:
    placed = place_program(make_program(3), TECH)
    assert placed.placement is not None
    chip = imperfect_program(placed, TECH)
    sizes = Imperfections(split_gradient_rad_mm=0.01, gradient_rad_mm2=0.1)
    splits, phases, x, y = [], [], [], []
    for name, tile in mesh_tiles(chip):
        for block in "vu":
            mesh: MeshDevices = getattr(tile, block)
            errors, _ = static_errors(mesh, chips(sizes, f"{name}/{block}"))
            where = couplers(mesh)
            x.append(where[0])
            y.append(where[1])
            splits += [np.asarray(errors.first)[0], np.asarray(errors.second)[0]]
            phases.append(np.asarray(errors.arm_upper)[0] / (mesh.arm_um * 1e-3))
            assert np.abs(mesh.x_mm).max(initial=0) <= placed.placement.width_um / 2000
            assert np.abs(mesh.y_mm).max(initial=0) <= placed.placement.height_um / 2000
        row, _ = static_attenuators(tile.sigma, chips(sizes, f"{name}/s"))
        span = tile.sigma.arm_um * 1e-3 / 2
        x.append(np.concatenate([tile.sigma.x_mm - span, tile.sigma.x_mm + span]))
        y.append(np.concatenate([tile.sigma.y_mm, tile.sigma.y_mm]))
        splits += [np.asarray(row.first)[0], np.asarray(row.second)[0]]
    everything = np.concatenate(x)
    assert np.ptp(everything) > 1.0, "blocks lie apart"
    _, left = plane(np.concatenate(splits), everything, np.concatenate(y))
    assert left < 1e-12
    upper = [
        (mesh.x_mm, mesh.y_mm[mesh.core.port])
        for _, tile in mesh_tiles(chip)
        for mesh in (tile.v, tile.u)
    ]
    places = [np.concatenate(part) for part in zip(*upper, strict=True)]
    assert plane(np.concatenate(phases), *places)[1] < 1e-12


def test_without_a_placement_blocks_lie_about_the_middle(make_program: MakeProgram) -> None:
    chip = imperfect_program(make_program(4), TECH)
    for _, tile in mesh_tiles(chip):
        for mesh in (tile.v, tile.u):
            assert np.isclose(mesh.y_mm[0], -mesh.y_mm[-1])
            edges = mesh.out_x_mm
            assert np.all(np.abs(mesh.x_mm) < edges)
