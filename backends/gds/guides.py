"""Centrelines of every guide of every cell, from one column edge to the next.

What the layout draws and what tests measure is the same array. The upper row is y = 0, the
lower one y = -pitch; phi sections are not part of these guides.
"""

from dataclasses import dataclass

from onnx2mzi.backends.gds.curves import bumped, chain, moved, rising, straight
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import Cells, cells
from onnx2mzi.tech.paths import (
    BodyPaths,
    attenuator_guide,
    crossing_paths,
    stage_paths,
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Everything that does not change from cell to cell of a chip."""

    technology: Technology
    sizes: Cells
    stages: BodyPaths
    crossings: dict[Drive, BodyPaths]


def drawn(technology: Technology) -> Drawn:
    """The sizes and paths for a technology."""
    sizes = cells(technology)
    crossings = {drive: crossing_paths(technology, sizes, drive) for drive in Drive}
    return Drawn(technology, sizes, stage_paths(technology, sizes), crossings)


def stage_arm(chip: Drawn, direction: int) -> tuple[Real, Real]:
    """The guides of one arm before and behind the coupler of a stage.

    `direction` -1 is the upper arm, which bends down. Starts at (0, 0); the second guide starts
    at the coupler's output.
    """
    bend, coupler = chip.sizes.bend, chip.technology.coupler
    before = rising(bend, direction)
    fill = chip.sizes.stage_um - 2 * bend.run_um - coupler.length_um
    behind = chain([rising(bend, -direction), straight(fill)])
    x, y = before[-1]
    return before, moved(behind, x + coupler.length_um, y)


def passing(chip: Drawn, *, crosses: bool, theta_um: float, drive: Drive) -> Real:
    """A guide that passes the bodies and the theta section of a column; it bends down.

    Among crossings alone (`crosses`) the phase that the drive asks for is in its bumps.
    """
    body = chip.crossings[drive] if crosses else chip.stages
    if body.pass_bend is None:
        rest = body.run_um - body.passing.run_um
        return chain([straight(rest / 2), bumped(body.passing, 1), straight(rest / 2)])
    bend = body.pass_bend
    middle = straight(chip.sizes.stage_um - 2 * bend.run_um)
    stage = [rising(bend, -1), middle, rising(bend, 1)]
    return chain([*stage, straight(theta_um), *stage])


def crossing(chip: Drawn, *, crosses: bool, theta_um: float) -> tuple[Real, float]:
    """The upper guide of a crossing, from row 0 to row -pitch, and the x where guides meet.

    The lower guide is its mirror image at y = -pitch/2.
    """
    # Crossings are the same for every drive.
    body = chip.crossings[Drive.ARM_CHOICE] if crosses else chip.stages
    diagonal = chip.sizes.diagonal
    trim = body.crossing
    room = body.run_um + theta_um - diagonal.run_um - trim.run_um
    pieces = [bumped(trim, -1), rising(diagonal, -1), straight(room)]
    return chain(pieces), trim.run_um + diagonal.run_um / 2


@dataclass(frozen=True, slots=True, eq=False)
class AttenuatorGuides:
    """Guides of an attenuator cell, the row at y = 0, and the x of its parts.

    `entering` ends at the first coupler's lower input, `leaving` starts at the second one's
    upper output; `before` (upper arm, lower arm) lead from the first coupler to the theta
    section at `theta_x`, `behind` from its end to the second coupler.
    """

    entering: Real
    before: tuple[Real, Real]
    behind: tuple[Real, Real]
    leaving: Real
    coupler_x: tuple[float, float]
    theta_x: float
    theta_um: float


def attenuator(chip: Drawn, length_um: float, theta_um: float) -> AttenuatorGuides:
    """The guides of one attenuator in a row of `length_um` with a theta section."""
    sizes, coupler = chip.sizes, chip.technology.coupler
    lead, bend = sizes.attenuator_lead, sizes.attenuator_bend
    fixed = 2 * (lead.run_um + coupler.length_um + bend.run_um) + theta_um
    fill = (length_um - fixed) / 2
    half = coupler.port_gap_um / 2
    entering = chain([straight(fill), rising(lead, -1)])
    first = fill + lead.run_um
    second = length_um - first - coupler.length_um
    theta_x = first + coupler.length_um + bend.run_um
    return AttenuatorGuides(
        entering=entering,
        before=(
            moved(rising(bend, 1), first + coupler.length_um, half),
            moved(rising(bend, -1), first + coupler.length_um, -half),
        ),
        behind=(
            moved(rising(bend, -1), theta_x + theta_um, sizes.arm_um),
            moved(rising(bend, 1), theta_x + theta_um, -sizes.arm_um),
        ),
        leaving=moved(chain([rising(lead, -1), straight(fill)]), second + coupler.length_um, half),
        coupler_x=(first, second),
        theta_x=theta_x,
        theta_um=theta_um,
    )


def removed_attenuator(chip: Drawn, length_um: float) -> Real:
    """The guide that stands for an attenuator without a heater."""
    trim = attenuator_guide(chip.technology, chip.sizes, length_um)
    rest = length_um - trim.run_um
    return chain([straight(rest / 2), bumped(trim, 1), straight(rest / 2)])
