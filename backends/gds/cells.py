"""The cells of a chip, each made once: couplers, stages, heaters, MZIs, crossings, guides.

Cells of a column start at its left edge with the upper row at y = 0 and the lower one at
y = -pitch. A cell that holds fixed phases leaves those guides out: they differ from MZI to
MZI, and the block draws them.
"""

import hashlib
from dataclasses import dataclass, field
from enum import Enum

import gdstk
import numpy as np

from onnx2mzi.backends.gds.curves import (
    FINE_STEP_RAD,
    bumped,
    chain,
    moved,
    ribbon,
    rising,
    straight,
)
from onnx2mzi.backends.gds.devices import draw_coupler, draw_crossing, draw_heater, draw_pad
from onnx2mzi.backends.gds.fixed import foreign_cells, without_square
from onnx2mzi.backends.gds.guides import (
    Drawn,
    attenuator,
    crossing,
    passing,
    removed_attenuator,
    stage_arm,
)
from onnx2mzi.backends.gds.shapes import box, label, polygon
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import Drive, pass_phase_rad
from onnx2mzi.tech.bends import bumps, s_bend
from onnx2mzi.tech.geometry import heated_um, on_grid
from onnx2mzi.tech.paths import phase_length_um

PIN_LENGTH_UM = 0.1
# Fixed phases are drawn in these steps: 0.25 nm is 2 mrad.
LENGTH_STEP_UM = 0.00025


class Fill(Enum):
    """What lies on one guide in one section."""

    STRAIGHT = "s"
    HEATER = "h"
    OPEN = "o"


@dataclass(frozen=True, slots=True)
class MziKey:
    """What tells two kinds of cells apart: lengths of the sections, and what each arm holds.

    `coupled` is False for a crossing. `upper` and `lower` are (phi, theta).
    """

    coupled: bool
    crosses: bool
    phi_um: float
    theta_um: float
    upper: tuple[Fill, Fill]
    lower: tuple[Fill, Fill]


@dataclass(frozen=True, slots=True)
class CellBook:
    """Makes cells on demand and remembers them; `chip` says how large everything is."""

    chip: Drawn
    made: dict[str, gdstk.Cell] = field(default_factory=dict)
    drawn: dict[bytes, gdstk.Cell] = field(default_factory=dict)
    lengths: dict[float, dict[int, gdstk.Cell]] = field(default_factory=dict)
    foreign: dict[str, gdstk.Cell] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.foreign.update(foreign_cells(self.chip.technology))

    def distinct(self, name: str, *content: bytes) -> tuple[gdstk.Cell, bool]:
        """The cell with all of this in it, whatever its name, and whether it has to be drawn.

        `content` must tell everything apart that is drawn.
        """
        key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in content)).digest()
        if key in self.drawn:
            return self.drawn[key], False
        self.drawn[key] = gdstk.Cell(self._free(name))
        return self.drawn[key], True

    # ---- small things -----------------------------------------------------------------------

    def _new(self, name: str) -> tuple[gdstk.Cell, bool]:
        """The cell of that name, and whether it is new and has to be filled."""
        if name in self.made:
            return self.made[name], False
        cell = gdstk.Cell(self._free(name))
        self.made[name] = cell
        return cell, True

    def _free(self, name: str) -> str:
        """Cells of the foundry keep their names; some programs take `a` and `A` for one."""
        taken = {other.lower() for other in self.foreign}
        while name.lower() in taken:
            name += "_"
        return name

    def guide(self, cell: gdstk.Cell, line: Real, at: tuple[float, float] = (0.0, 0.0)) -> None:
        """Draw a guide along a centreline."""
        if len(line) > 1:
            outline = ribbon(line, self.chip.technology.guide.width_um) + at
            cell.add(polygon(outline, self.chip.technology.layers.core))

    def lengthened(self, section_um: float, steps: int) -> gdstk.Cell:
        """A guide of `section_um` that is `steps` of `LENGTH_STEP_UM` longer, through one bump."""
        if steps == 0:
            return self.guide_rows(section_um)
        cell, new = self._new(f"WG_{_nm(section_um)}_{steps}")
        if new:
            guide = self.chip.technology.guide
            bump = bumps(steps * LENGTH_STEP_UM, guide.bend_radius_um, section_um)
            rest = (section_um - bump.run_um) / 2
            line = chain([straight(rest), bumped(bump, 1, FINE_STEP_RAD), straight(rest)])
            self.guide(cell, line)
        return cell

    def fixed(self, cell: gdstk.Cell, x: Real, y: Real, phase_rad: Real, section_um: float) -> None:
        """Draw guides that start at (x, y), shape (B,), and make a fixed phase by their length.

        Lengths are drawn to half a `LENGTH_STEP_UM`, which is finer than the mask's grid.
        """
        extra_um = phase_length_um(self.chip.technology, phase_rad)
        steps = np.rint(extra_um / LENGTH_STEP_UM).astype(np.int64).tolist()
        # Names of cells are slow to make, and there are two guides for every fixed phase.
        kinds = self.lengths.setdefault(section_um, {})
        new = sorted(set(steps) - kinds.keys())
        kinds |= {step: self.lengthened(section_um, step) for step in new}
        places = zip(steps, x.tolist(), y.tolist(), strict=True)
        cell.add(*[gdstk.Reference(kinds[step], (left, top)) for step, left, top in places])

    def pin(self, cell: gdstk.Cell, name: str, x: float, y: float) -> None:
        """An optical pin: a box as wide as the guide, and its name."""
        markers, half = self.chip.technology.markers, self.chip.technology.guide.width_um / 2
        box(cell, x - PIN_LENGTH_UM / 2, y - half, x + PIN_LENGTH_UM / 2, y + half, markers.pin)
        cell.add(label(name, x, y, markers.pin))

    def guide_rows(self, length_um: float) -> gdstk.Cell:
        """A straight, for arrays of rows."""
        cell, new = self._new(f"WG_{_nm(length_um)}")
        if new:
            self.guide(cell, straight(length_um))
        return cell

    def tip(self) -> gdstk.Cell:
        """The end of a guide that carries no wanted light: it narrows until the light is gone."""
        cell, new = self._new("TIP")
        if new:
            tech = self.chip.technology
            wide, length = (
                tech.guide.width_um / 2,
                on_grid(self.chip.sizes.lead_um / 2, tech.grid_um),
            )
            thin = min(wide, tech.rules.core_width_um / 2)
            points = [(0, wide), (length, thin), (length, -thin), (0, -wide)]
            cell.add(polygon(np.array(points), tech.layers.core))
        return cell

    # ---- devices ----------------------------------------------------------------------------

    def coupler(self) -> gdstk.Cell:
        """The 50:50 coupler, its pins at x = 0 and its length, at +-port_gap/2."""
        cell, new = self._new("COUPLER")
        if new:
            draw_coupler(cell, self.chip.technology, self.foreign)
            coupler = self.chip.technology.coupler
            length, gap = coupler.length_um, coupler.port_gap_um / 2
            for name, x, y in (("i0", 0, gap), ("i1", 0, -gap), ("o0", length, gap)):
                self.pin(cell, name, x, y)
            self.pin(cell, "o1", length, -gap)
        return cell

    def pad(self, width_um: float, height_um: float) -> gdstk.Cell:
        """A pad with its lower left corner at the origin."""
        cell, new = self._new(f"PAD_{_nm(width_um)}_{_nm(height_um)}")
        if new:
            draw_pad(cell, self.chip.technology, self.foreign, width_um, height_um)
        return cell

    def heater(self) -> gdstk.Cell:
        """A heated guide: filament, and at each end a contact of heater and metal."""
        cell, new = self._new("HEATER")
        if new:
            draw_heater(cell, self.chip.technology, self.foreign)
            self.pin(cell, "i", 0.0, 0.0)
            self.pin(cell, "o", heated_um(self.chip.technology), 0.0)
        return cell

    def stage(self) -> gdstk.Cell:
        """A coupler with the S-bends that lead both rows to it and back."""
        cell, new = self._new("STAGE")
        if not new:
            return cell
        sizes = self.chip.sizes
        for row, direction in ((0.0, -1), (-sizes.pitch_um, 1)):
            for line in stage_arm(self.chip, direction):
                self.guide(cell, line, (0.0, row))
        cell.add(gdstk.Reference(self.coupler(), (sizes.bend.run_um, -sizes.pitch_um / 2)))
        return cell

    # ---- cells of a column --------------------------------------------------------------------

    def mzi(self, key: MziKey) -> gdstk.Cell:
        """An MZI or a crossing: both rows from the left edge of a column to its corridor."""
        fills = "".join(fill.value for fill in (*key.upper, *key.lower))
        kind = "MZI" if key.coupled else "XINGS" if key.crosses else "XING"
        name = f"{kind}_{fills}_{_nm(key.phi_um)}_{_nm(key.theta_um)}"
        cell, new = self._new(name)
        if not new:
            return cell
        pitch = self.chip.sizes.pitch_um
        rows = ((0.0, key.upper), (-pitch, key.lower))
        for y, fill in rows:
            self._section(cell, fill[0], key.phi_um, 0.0, y)
        if key.coupled:
            stage, theta_x = self.stage(), key.phi_um + self.chip.sizes.stage_um
            cell.add(gdstk.Reference(stage, (key.phi_um, 0.0)))
            for y, fill in rows:
                self._section(cell, fill[1], key.theta_um, theta_x, y)
            cell.add(gdstk.Reference(stage, (theta_x + key.theta_um, 0.0)))
        else:
            self._crossing(cell, key)
        width = key.phi_um + key.theta_um + self._bodies_um(key.crosses)
        for name, x, y in (
            ("i0", 0.0, 0.0),
            ("i1", 0.0, -pitch),
            ("o0", width, 0.0),
            ("o1", width, -pitch),
        ):
            self.pin(cell, name, x, y)
        half = pitch / 2
        box(cell, 0.0, -pitch - half, width, half, self.chip.technology.markers.device)
        return cell

    def _bodies_um(self, crosses: bool) -> float:
        return self.chip.sizes.crossing_um if crosses else self.chip.stages.run_um

    def _section(self, cell: gdstk.Cell, fill: Fill, length: float, x: float, y: float) -> None:
        if length == 0 or fill is Fill.OPEN:
            return
        if fill is Fill.HEATER:
            cell.add(gdstk.Reference(self.heater(), (x, y)))
        else:
            self.guide(cell, straight(length), (x, y))

    def _crossing(self, cell: gdstk.Cell, key: MziKey) -> None:
        tech, pitch = self.chip.technology, self.chip.sizes.pitch_um
        line, meeting = crossing(self.chip, crosses=key.crosses, theta_um=key.theta_um)
        centre = (key.phi_um + meeting, -pitch / 2)
        for along, y in ((line, 0.0), (line * (1, -1), -pitch)):
            if tech.crossing.fixed is None:
                self.guide(cell, along, (key.phi_um, y))
                continue
            outline = moved(ribbon(along, tech.guide.width_um), key.phi_um, y)
            for piece in without_square(outline, centre, tech.crossing.length_um):
                cell.add(polygon(piece, tech.layers.core))
        cell.add(gdstk.Reference(self.crossing(), centre))
        reach = on_grid(tech.crossing.length_um / 2, tech.grid_um)
        x, y = centre
        box(cell, x - reach, y - reach, x + reach, y + reach, tech.markers.crossing)

    def crossing(self) -> gdstk.Cell:
        """Two guides that meet at 90 degrees, both at 45 degrees to x, widened where they meet."""
        cell, new = self._new("CROSSING")
        if new:
            draw_crossing(cell, self.chip.technology, self.foreign)
        return cell

    def passing(self, *, crosses: bool, phi_um: float, theta_um: float, drive: Drive) -> gdstk.Cell:
        """One guide without an MZI, longer than the column's path where the drive asks for it."""
        turn_rad = pass_phase_rad(drive)
        kind = "PASSX" if crosses else "PASS"
        name = f"{kind}_{round(np.rad2deg(turn_rad))}_{_nm(phi_um)}_{_nm(theta_um)}"
        cell, new = self._new(name)
        if new:
            body = passing(self.chip, crosses=crosses, theta_um=theta_um, drive=drive)
            # Among crossings alone the extra length is already in the body's bumps.
            if turn_rad and not crosses:
                zero = np.zeros(1)
                self.fixed(cell, zero, zero, np.array([turn_rad]), phi_um)
            elif phi_um > 0:
                self.guide(cell, straight(phi_um))
            self.guide(cell, body, (phi_um, 0.0))
        return cell

    # ---- attenuators ------------------------------------------------------------------------

    def attenuator(self, upper: Fill, lower: Fill, length_um: float, theta_um: float) -> gdstk.Cell:
        """An attenuator on the row y = 0: from the lower input to the upper output."""
        name = f"ATT_{upper.value}{lower.value}_{_nm(length_um)}"
        cell, new = self._new(name)
        if not new:
            return cell
        sizes, coupler = self.chip.sizes, self.chip.technology.coupler
        guides = attenuator(self.chip, length_um, theta_um)
        for line in (guides.entering, *guides.before, *guides.behind, guides.leaving):
            self.guide(cell, line)
        for x in guides.coupler_x:
            cell.add(gdstk.Reference(self.coupler(), (x, 0.0)))
        self._section(cell, upper, theta_um, guides.theta_x, sizes.arm_um)
        self._section(cell, lower, theta_um, guides.theta_x, -sizes.arm_um)
        # The dark input and the dumped output bend away from their neighbour and end in tips.
        half = coupler.port_gap_um / 2
        guide, rules = self.chip.technology.guide, self.chip.technology.rules
        away = rising(s_bend(rules.guide_gap_um, guide.bend_radius_um), 1)
        dump = away * (1, -1) + (guides.coupler_x[1] + coupler.length_um, -half)
        dark = away * (-1, 1) + (guides.coupler_x[0], half)
        self.guide(cell, dump)
        self.guide(cell, dark[::-1])
        cell.add(gdstk.Reference(self.tip(), tuple(dump[-1])))
        cell.add(gdstk.Reference(self.tip(), tuple(dark[-1]), rotation=np.pi))
        self.pin(cell, "i", 0.0, 0.0)
        self.pin(cell, "o", length_um, 0.0)
        return cell

    def removed_attenuator(self, length_um: float) -> gdstk.Cell:
        """The guide of a channel that is not attenuated."""
        cell, new = self._new(f"ATTWG_{_nm(length_um)}")
        if new:
            self.guide(cell, removed_attenuator(self.chip, length_um))
        return cell


def place(cell: gdstk.Cell, what: gdstk.Cell, x_um: Real, y_um: Real) -> None:
    """Put `what` at every (x, y), shape (K,): written as K references, held as one."""
    if not len(x_um):
        return
    first = gdstk.Reference(what, (float(x_um[0]), float(y_um[0])))
    if len(x_um) > 1:
        first.repetition = repeated(np.stack([x_um, y_um], 1))
    cell.add(first)


def repeated(places_um: Real) -> gdstk.Repetition:
    """What is at the first of the places, shape (K, 2), is at the others as well."""
    return gdstk.Repetition(offsets=places_um[1:] - places_um[0])


def _nm(length_um: float) -> str:
    """A length as part of a cell's name: in whole nm."""
    return str(round(length_um * 1000))
