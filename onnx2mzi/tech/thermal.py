"""The section `[thermal]` of a technology: how heat leaves the chip. Optional; bulk 220 nm SOI."""

from dataclasses import dataclass, field
from typing import Any

from onnx2mzi.physics.stack import ThermalStack, Trench, Undercut


def _size(default: float, low: float, high: float, what: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "what": what})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """Films from the top down, conductivities, the sink, and what isolates heaters (0: nothing).

    Drawn in `physics.stack`.
    """

    passivation_um: float = _size(1.0, 0.001, 100, "oxide above the heaters")
    clad_um: float = _size(2.0, 0.1, 100, "oxide between guide and heater")
    box_um: float = _size(3.0, 0.1, 100, "buried oxide")
    substrate_um: float = _size(700.0, 1, 10000, "silicon below the buried oxide")
    oxide_w_mk: float = _size(1.38, 0.01, 1000, "conductivity of the oxide")
    substrate_w_mk: float = _size(130.0, 0.1, 5000, "conductivity of the substrate")
    sink_w_m2k: float = _size(2e4, 1, 1e9, "glue, package and cooler below the substrate")
    thermo_optic_per_k: float = _size(1.94e-4, 1e-7, 0.1, "d n_eff / dT of the guide")
    trench_inner_um: float = _size(0.0, 0, 1000, "axis of the heater to its trenches")
    trench_outer_um: float = _size(0.0, 0, 1000, "outer wall of the trenches")
    trench_depth_um: float = _size(0.0, 0, 1000, "depth of the trenches below the guide")
    undercut_half_width_um: float = _size(0.0, 0, 1000, "half of the undercut's width")
    undercut_depth_um: float = _size(0.0, 0, 1000, "depth of the undercut below the buried oxide")

    def stack(self, *, heater_width_um: float, wavelength_um: float) -> ThermalStack:
        """The layers as heat sees them. Raises ValueError for an isolation that is incomplete."""
        trench = undercut = None
        if self.trench_inner_um or self.trench_outer_um or self.trench_depth_um:
            trench = Trench(self.trench_inner_um, self.trench_outer_um, self.trench_depth_um)
        if self.undercut_half_width_um or self.undercut_depth_um:
            undercut = Undercut(self.undercut_half_width_um, self.undercut_depth_um)
        return ThermalStack(
            passivation_um=self.passivation_um,
            clad_um=self.clad_um,
            box_um=self.box_um,
            substrate_um=self.substrate_um,
            oxide_w_mk=self.oxide_w_mk,
            substrate_w_mk=self.substrate_w_mk,
            sink_w_m2k=self.sink_w_m2k,
            heater_width_um=heater_width_um,
            thermo_optic_per_k=self.thermo_optic_per_k,
            wavelength_um=wavelength_um,
            trench=trench,
            undercut=undercut,
        )
