"""The section `[errors]` of a technology: what varies over a chip, and noise. Optional; none.

Zero leaves a part out. Other errors follow from the sections of the devices: the coherence length
and the losses of guides, the crosstalk of crossings.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from onnx2mzi.physics.imperfection import TYPICAL, Imperfections
from onnx2mzi.physics.noise import driver_sigma, shot_sigma, thermal_sigma


def _size(default: float, low: float, high: float, what: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "what": what})


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Gradients over a chip, and what noise follows from (`physics.noise`)."""

    phase_gradient_rad_mm2: float = _size(
        0.0, 0, 1000, "gradient of a guide's phase, rad per mm of guide and mm of chip"
    )
    split_gradient_rad_mm: float = _size(
        0.0, 0, 10, "gradient of the couplers' angle, rad per mm of chip"
    )
    driver_bits: float = _size(0.0, 0, 32, "effective bits of the modulators' drivers")
    full_scale_ma: float = _size(0.0, 0, 1000, "photocurrent of the largest output")
    bandwidth_mhz: float = _size(1000.0, 1e-6, 1e6, "bandwidth of the receivers")
    load_ohm: float = _size(1000.0, 1e-3, 1e9, "resistor of the receivers")
    kelvin: float = _size(300.0, 1, 1000, "temperature of that resistor")

    @property
    def input_noise(self) -> float:
        """Sigma of what modulators add, of full scale."""
        return driver_sigma(bits=self.driver_bits) if self.driver_bits > 0 else 0.0

    @property
    def output_noise(self) -> float:
        """Sigma of what receivers add whatever they see, of full scale."""
        if self.full_scale_ma == 0:
            return 0.0
        return thermal_sigma(
            current_a=self.full_scale_ma * 1e-3,
            bandwidth_hz=self.bandwidth_mhz * 1e6,
            ohm=self.load_ohm,
            kelvin=self.kelvin,
        )

    @property
    def shot_noise(self) -> float:
        """Sigma of the shot noise of an output of full scale."""
        if self.full_scale_ma == 0:
            return 0.0
        return shot_sigma(
            current_a=self.full_scale_ma * 1e-3, bandwidth_hz=self.bandwidth_mhz * 1e6
        )

    def typical(self) -> Imperfections:
        """Published sizes, and these."""
        return replace(
            TYPICAL,
            gradient_rad_mm2=self.phase_gradient_rad_mm2,
            split_gradient_rad_mm=self.split_gradient_rad_mm,
            input_noise=self.input_noise,
            output_noise=self.output_noise,
            shot_noise=self.shot_noise,
        )
