"""The layers of a photonic chip as heat sees them, and the silicon die around them.

    z up    passivation oxide      passivation_um
            ---- heater ----       a thin film, heater_width_um wide
            cladding oxide         clad_um        (heater down to the guide)
            ==== guide  ====
            buried oxide           box_um
            silicon                substrate_um
            ---- sink ----         sink_w_m2k     (glue, package, cooler)

Air above loses no heat. Lengths in um; conductivities in W/(m K), as handbooks give them.
"""

from dataclasses import dataclass, fields
from math import isfinite


@dataclass(frozen=True, slots=True)
class Trench:
    """Two air trenches beside a heater, from `inner_um` to `outer_um` off its axis.

    They reach from the surface to `depth_um` below the guide (3 um: through the buried oxide).
    """

    inner_um: float
    outer_um: float
    depth_um: float

    def __post_init__(self) -> None:
        if not (0 < self.inner_um < self.outer_um and self.depth_um > 0):
            raise ValueError(f"a trench needs 0 < inner < outer and a depth, got {self}")


@dataclass(frozen=True, slots=True)
class Undercut:
    """Silicon etched away under a heater, `half_width_um` to either side and `depth_um` deep."""

    half_width_um: float
    depth_um: float

    def __post_init__(self) -> None:
        if not (self.half_width_um > 0 and self.depth_um > 0):
            raise ValueError(f"an undercut needs a width and a depth, got {self}")


@dataclass(frozen=True, slots=True)
class ThermalStack:
    """Films, substrate, sink, and what isolates the heaters. Defaults: a bulk 220 nm SOI chip.

    `thermo_optic_per_k` is d n_eff / dT of the guide (1.94e-4: a strip of 450-500 x 220 nm at
    1550 nm). Raises ValueError for a length or conductivity that is not positive.
    """

    passivation_um: float = 1.0
    clad_um: float = 2.0
    box_um: float = 3.0
    substrate_um: float = 700.0
    oxide_w_mk: float = 1.38
    substrate_w_mk: float = 130.0
    sink_w_m2k: float = 2e4
    heater_width_um: float = 3.0
    thermo_optic_per_k: float = 1.94e-4
    wavelength_um: float = 1.55
    gas_w_mk: float = 0.026
    trench: Trench | None = None
    undercut: Undercut | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("trench", "undercut"):
                continue
            if not (isfinite(value) and value > 0):
                raise ValueError(f"{item.name} of a thermal stack must be positive, got {value}")
        if self.undercut is not None and self.undercut.depth_um >= self.substrate_um:
            raise ValueError("an undercut cannot be deeper than the substrate")

    @property
    def isolated(self) -> bool:
        """Whether heaters stand between trenches or above an undercut."""
        return self.trench is not None or self.undercut is not None


@dataclass(frozen=True, slots=True)
class Die:
    """The rectangle of silicon; no heat leaves through its sides. Raises ValueError if empty."""

    x0_um: float
    x1_um: float
    y0_um: float
    y1_um: float

    def __post_init__(self) -> None:
        if not (self.x0_um < self.x1_um and self.y0_um < self.y1_um):
            raise ValueError(f"a die has a width and a height, got {self}")
