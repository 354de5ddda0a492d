"""What a foundry gives: layers, rules, cells, losses. Lengths in um, powers in mW, losses in dB.

One dataclass a section of the technology file, one field a key; its metadata holds the legal
range, which the loader checks. A key that has a default may be left out of the file.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import Any

from onnx2mzi.physics.shifter import Drive
from onnx2mzi.physics.stack import ThermalStack
from onnx2mzi.tech.edge import Edge
from onnx2mzi.tech.errors import Errors
from onnx2mzi.tech.fixed import FixedCell, Layer
from onnx2mzi.tech.thermal import Thermal


class Detection(StrEnum):
    """What is read at the outputs (`detection` of a technology)."""

    IQ = "iq"
    """Both quadratures: a phase at an output is electronic, and costs no shifter."""

    INPHASE = "inphase"
    """One quadrature: phases at the outputs are shifters on the chip."""


class CouplerKind(StrEnum):
    """How the 50:50 couplers are drawn."""

    MMI = "mmi"
    DIRECTIONAL = "directional"
    CELL = "cell"
    """A fixed cell of the foundry; the section has `gds`, and no kind."""


class CrossKind(StrEnum):
    """How an MZI that lost both heaters is drawn."""

    CROSSING = "crossing"
    """A waveguide crossing at 45 degrees."""

    COUPLERS = "couplers"
    """The two couplers of the MZI, where a process forbids turned structures."""


class PadStyle(StrEnum):
    """Where heaters meet the world."""

    EDGE = "edge"
    """Bond pads at the die's edges; wires run to them in corridors between the columns."""

    BUMP = "bump"
    """A flip-chip array above the mesh; no corridors."""


def number(low: float, high: float, what: str) -> dict[str, Any]:
    """Metadata of a number: its legal range (inclusive) and what it is."""
    return {"low": low, "high": high, "what": what}


def meaning(what: str) -> dict[str, Any]:
    """Metadata of a key without a range."""
    return {"what": what}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """The strip waveguide."""

    width_um: float = field(metadata=number(0.05, 10, "width of the guide"))
    bend_radius_um: float = field(metadata=number(0.5, 1000, "radius of every bend"))
    wavelength_um: float = field(
        metadata=number(0.3, 10, "wavelength that lengths are designed for")
    )
    neff: float = field(metadata=number(1, 5, "effective index"))
    ng: float = field(metadata=number(1, 6, "group index"))
    loss_db_per_cm: float = field(metadata=number(0, 100, "propagation loss"))
    bend_loss_db: float = field(metadata=number(0, 3, "excess loss of a 90 degree bend"))
    coherence_mm: float = field(
        metadata=number(0.01, 1e4, "phase-coherence length of the fabrication")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """GDS (layer, datatype) of what the foundry makes."""

    core: Layer = field(metadata=meaning("waveguide core"))
    heater: Layer = field(metadata=meaning("heater filament"))
    metal: Layer = field(metadata=meaning("metal that contacts heaters"))
    outline: Layer = field(metadata=meaning("die outline"))
    contact: Layer | None = field(default=None, metadata=meaning("via from heater to metal"))
    metal2: Layer | None = field(default=None, metadata=meaning("second metal"))
    via: Layer | None = field(default=None, metadata=meaning("via from metal to second metal"))
    pad_open: Layer | None = field(default=None, metadata=meaning("opening over pads"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """GDS (layer, texttype) of what only the design file has."""

    device: Layer = field(metadata=meaning("outline of a device"))
    coupler: Layer = field(metadata=meaning("couplers"))
    heater: Layer = field(metadata=meaning("phase shifters"))
    crossing: Layer = field(metadata=meaning("crossings"))
    pin: Layer = field(metadata=meaning("optical pins"))
    pin_metal: Layer = field(metadata=meaning("electrical pins"))
    text: Layer = field(metadata=meaning("labels"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Design rules: smallest widths, spaces, overlaps."""

    core_width_um: float = field(metadata=number(0.01, 10, "narrowest core"))
    core_space_um: float = field(metadata=number(0.01, 10, "smallest space between cores"))
    heater_width_um: float = field(metadata=number(0.1, 100, "narrowest heater"))
    heater_space_um: float = field(metadata=number(0.1, 1000, "smallest space between heaters"))
    metal_width_um: float = field(metadata=number(0.1, 100, "narrowest metal"))
    metal_space_um: float = field(metadata=number(0.1, 1000, "smallest space between metals"))
    guide_gap_um: float = field(
        metadata=number(0.1, 100, "space between guides that must not couple")
    )
    heater_metal_overlap_um: float = field(metadata=number(0, 100, "smallest overlap of a contact"))
    bend_radius_um: float = field(metadata=number(0.5, 1000, "smallest radius of a bend"))
    via_size_um: float | None = field(
        default=None, metadata=number(0.05, 100, "side of a via between the metals")
    )
    via_space_um: float = field(default=0.0, metadata=number(0, 100, "smallest space between vias"))
    via_enclosure_um: float = field(
        default=0.0, metadata=number(0, 100, "metal around a via, of both metals")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupler:
    """The 50:50 coupler. Its pins are at (0, +-port_gap/2) and (total length, +-port_gap/2).

    MMI: a body between two tapers. Directional: two guides `port_gap_um` apart, no tapers
    (`taper_length_um` = 0, `body_width_um` and `taper_width_um` are the guide's).
    """

    kind: CouplerKind = field(metadata=meaning("mmi or directional"))
    body_length_um: float = field(metadata=number(1, 1000, "length of the body"))
    body_width_um: float = field(metadata=number(0.05, 50, "width of the body"))
    taper_length_um: float = field(metadata=number(0, 200, "length of each taper"))
    taper_width_um: float = field(metadata=number(0.05, 20, "width of a taper at the body"))
    port_gap_um: float = field(
        metadata=number(0.1, 50, "distance of the two ports, centre to centre")
    )
    path_um: float = field(metadata=number(1, 2000, "optical path as a length of guide"))
    excess_bar_db: float = field(metadata=number(0, 10, "excess loss to the same port"))
    excess_cross_db: float = field(metadata=number(0, 10, "excess loss to the other port"))
    fixed: FixedCell | None = field(default=None, metadata=meaning("a foundry's cell"))

    @property
    def length_um(self) -> float:
        """Pin to pin."""
        return self.body_length_um + 2 * self.taper_length_um


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """The waveguide crossing that stands for an MZI without heaters."""

    kind: CrossKind = field(metadata=meaning("crossing or couplers"))
    length_um: float = field(metadata=number(1, 500, "pin to pin"))
    waist_um: float = field(metadata=number(0.1, 20, "width at the centre"))
    loss_db: float = field(metadata=number(0, 10, "loss of one passage"))
    crosstalk_db: float = field(metadata=number(-200, 0, "power that leaks to the wrong port"))
    path_um: float | None = field(
        default=None, metadata=number(1, 1000, "optical path as a length of guide")
    )
    fixed: FixedCell | None = field(default=None, metadata=meaning("a foundry's cell"))

    @property
    def extra_um(self) -> float:
        """How much longer its optical path is than a guide from pin to pin."""
        return 0.0 if self.path_um is None else self.path_um - self.length_um


@dataclass(frozen=True, slots=True, kw_only=True)
class Heater:
    """One phase shifter; a contact at each end of the filament."""

    length_um: float = field(metadata=number(1, 10000, "length between the contacts"))
    width_um: float = field(metadata=number(0.1, 50, "width of the filament"))
    contact_length_um: float = field(metadata=number(0.5, 200, "contact along the guide"))
    contact_width_um: float = field(metadata=number(0.5, 200, "contact across the guide"))
    min_pitch_um: float = field(
        metadata=number(1, 1000, "distance of neighbouring heaters for little crosstalk")
    )
    p_pi_mw: float = field(metadata=number(1e-6, 1e4, "power for a phase of pi"))
    ohm: float = field(metadata=number(1e-3, 1e7, "resistance"))
    max_ma: float = field(metadata=number(1e-3, 1e4, "largest current"))
    loss_db: float = field(metadata=number(0, 10, "excess loss of a heated guide"))
    fixed: FixedCell | None = field(default=None, metadata=meaning("a foundry's cell"))

    @property
    def section_um(self) -> float:
        """Length of guide that a shifter takes, contacts included."""
        return self.length_um + 2 * self.contact_length_um


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Wires from heaters to pads."""

    metals: int = field(metadata=number(1, 2, "metals for wires"))
    track_um: float = field(metadata=number(0.1, 500, "width of a signal wire"))
    bus_um: float = field(metadata=number(0.1, 2000, "least width of a ground bus"))
    max_ma_per_um: float = field(metadata=number(1e-3, 1e3, "largest current per width of wire"))
    sheet_milliohm: float = field(metadata=number(0.01, 1e5, "sheet resistance of the wires"))
    max_ir_drop_percent: float = field(
        default=1.0,
        metadata=number(1e-3, 50, "largest rise of a heater's ground, of its voltage for pi"),
    )
    bus_power: float = field(
        default=0.4,
        metadata=number(0.0, 1, "power a heater, of that for pi, for which buses are made"),
    )
    bus_room_um: float = field(
        default=0.0,
        metadata=number(0, 2000, "least room for a bus beside heaters; 0: over the couplers"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pads:
    """Bond pads or bumps."""

    style: PadStyle = field(metadata=meaning("edge or bump"))
    size_um: float = field(metadata=number(5, 1000, "side of a pad"))
    pitch_um: float = field(metadata=number(5, 5000, "distance of pads, centre to centre"))
    max_rows: int = field(metadata=number(1, 20, "rows of edge pads, one behind the other"))
    fixed: FixedCell | None = field(default=None, metadata=meaning("a foundry's cell"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Die:
    """What the foundry sells."""

    sizes_um: tuple[tuple[float, float], ...] = field(
        metadata=meaning("designable areas, width and height")
    )
    margin_um: float = field(metadata=number(0, 5000, "empty rim"))
    top_cell: str = field(metadata=meaning("name of the mask's top cell; {name} is the program's"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Technology:
    """A process, as one technology file describes it. Always an argument, never a global."""

    name: str = field(metadata=meaning("name, an identifier"))
    description: str = field(metadata=meaning("one line"))
    drive: Drive = field(metadata=meaning("where the heaters of an MZI sit"))
    detection: Detection = field(metadata=meaning("what is read at the outputs"))
    grid_um: float = field(metadata=number(1e-4, 0.1, "grid of the mask"))
    guide: Guide = field(metadata=meaning("waveguide"))
    layers: Layers = field(metadata=meaning("foundry layers"))
    markers: Markers = field(metadata=meaning("layers of the design file only"))
    rules: Rules = field(metadata=meaning("design rules"))
    coupler: Coupler = field(metadata=meaning("50:50 coupler"))
    crossing: Crossing = field(metadata=meaning("waveguide crossing"))
    heater: Heater = field(metadata=meaning("phase shifter"))
    routing: Routing = field(metadata=meaning("wires"))
    pads: Pads = field(metadata=meaning("pads"))
    die: Die = field(metadata=meaning("dies"))
    thermal: Thermal = field(default=Thermal(), metadata=meaning("how heat leaves the chip"))
    edge: Edge = field(default=Edge(), metadata=meaning("couplers at the die's edge"))
    errors: Errors = field(default=Errors(), metadata=meaning("what varies over a chip, noise"))

    @property
    def fixed_cells(self) -> dict[str, FixedCell]:
        """The foundry's cells that stand for devices, by their sections."""
        sections = {
            "coupler": self.coupler.fixed,
            "crossing": self.crossing.fixed,
            "heater": self.heater.fixed,
            "pads": self.pads.fixed,
        }
        return {name: fixed for name, fixed in sections.items() if fixed is not None}

    @property
    def edge_room_um(self) -> float:
        """Room for edge couplers and loops between the chip and the die's edge; 0: no couplers."""
        if not self.edge.drawn:
            return 0.0
        turn = self.guide.bend_radius_um + self.guide.width_um + self.rules.guide_gap_um
        return round(ceil((self.edge.taper_length_um + turn) / self.grid_um) * self.grid_um, 6)

    @property
    def rim_um(self) -> tuple[float, float]:
        """What a die must have around a chip: at its left and right, above and below."""
        return max(self.die.margin_um, self.edge_room_um), self.die.margin_um

    @property
    def p_pi_mw(self) -> float:
        """Power of a heater for a phase of pi."""
        return self.heater.p_pi_mw

    @property
    def thermal_stack(self) -> ThermalStack:
        """The layers of the chip as heat sees them."""
        return self.thermal.stack(
            heater_width_um=self.heater.width_um, wavelength_um=self.guide.wavelength_um
        )

    @property
    def guide_wavelength_um(self) -> float:
        """Length of guide that turns the phase by 2 pi."""
        return self.guide.wavelength_um / self.guide.neff
