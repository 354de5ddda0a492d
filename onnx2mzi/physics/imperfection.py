"""What is wrong with a real chip: the size of every imperfection, and the laws behind them.

Everything is off by default; `TYPICAL` holds published sizes. Lengths, losses, the coherence
length and the crosstalk of crossings are the technology's; fields ending in `_scale` multiply
what the technology says. References:

    L2ight   Gu et al., NeurIPS 2021 (code): gamma 0.002, neighbouring heaters 0.005, 8 bits
    MixedTrn Gu et al., AAAI 2021: only active heaters disturb, and only their neighbours
    ADEPT    Gu et al., DAC 2022: phase error 0.02 in training, 0.02 to 0.10 in tests
    LCAP     sigma of couplers 0.02 to 0.04 rad, shared, systematic and local parts
    SCATTER  Yin et al., ICCAD 2024: coupling of heaters over the distance
    Yang     Yang et al., Opt. Express 23, 16890 (2015): phase-coherence length of guides
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.quantization import DriveCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Imperfections:
    """Sizes of all imperfections; an ideal chip by default.

    phase_rad            sigma of the phase that an active heater makes, each for itself
    gamma                sigma of the relative error of a heater's rate: phase (1 + gamma)
    split_rad            sigma of each coupler's angle about pi/4
    split_shared_rad     sigma of a deviation that all couplers of a chip share
    split_offset_rad     the same deviation of all couplers of all chips
    split_gradient_rad_mm  sigma of a chip's gradient of the couplers' angle, along x and along y
    loss_scale           times the technology's losses
    loss_sigma_db        spread of the loss of an MZI or crossing; never below 0 dB in all
    crosstalk_scale      times the amplitude that crossings leak in the technology
    thermal              phase in a neighbouring guide per phase of an active heater
    fabrication_scale    times the static phase error that the coherence length implies
    gradient_rad_mm2     sigma of a chip's gradient, along x and along y: rad per mm of guide and mm
    modulator, detector  sigma of the relative amplitude of every input and output guide
    input_noise          sigma of what modulators add to every sample, of full scale
    output_noise         sigma of what detectors add to every sample, of full scale
    shot_noise           sigma of an output's shot noise where it is full scale (physics.noise)
    dead, stuck          share of heaters that make no phase, or a random one
    bits                 codes of the drivers; None leaves phases as they are
    """

    phase_rad: float = 0.0
    gamma: float = 0.0
    split_rad: float = 0.0
    split_shared_rad: float = 0.0
    split_offset_rad: float = 0.0
    split_gradient_rad_mm: float = 0.0
    loss_scale: float = 0.0
    loss_sigma_db: float = 0.0
    crosstalk_scale: float = 0.0
    thermal: float = 0.0
    fabrication_scale: float = 0.0
    gradient_rad_mm2: float = 0.0
    modulator: float = 0.0
    detector: float = 0.0
    input_noise: float = 0.0
    output_noise: float = 0.0
    shot_noise: float = 0.0
    dead: float = 0.0
    stuck: float = 0.0
    bits: DriveCode | None = None

    def __post_init__(self) -> None:
        for name in SIZES:
            value = getattr(self, name)
            if not np.isfinite(value) or (value < 0 and name != "split_offset_rad"):
                raise ValueError(f"{name} must be finite and not negative, not {value}")
        if self.dead + self.stuck > 1:
            raise ValueError("more heaters are dead or stuck than there are")

    @property
    def static(self) -> bool:
        """Whether guides have static phase errors."""
        return self.fabrication_scale > 0 or self.gradient_rad_mm2 > 0

    @property
    def heaters(self) -> bool:
        """Whether active heaters do not make what they are set to."""
        return self.phase_rad + self.gamma + self.dead + self.stuck > 0 or self.bits is not None

    @property
    def noisy(self) -> bool:
        """Whether samples have noise of their own."""
        return self.input_noise + self.output_noise + self.shot_noise > 0

    @property
    def lasting(self) -> "Imperfections":
        """All but the noise of samples."""
        return replace(self, input_noise=0.0, output_noise=0.0, shot_noise=0.0)

    def times(self, factor: float) -> "Imperfections":
        """All sizes times a factor; bits stay, and no more heaters fail than there are."""
        sizes = {name: factor * getattr(self, name) for name in SIZES}
        failed = max(sizes["dead"] + sizes["stuck"], 1.0)
        sizes |= {"dead": sizes["dead"] / failed, "stuck": sizes["stuck"] / failed}
        return replace(self, **sizes)

    def only(self, *names: str) -> "Imperfections":
        """These fields alone, everything else ideal."""
        return Imperfections(**{name: getattr(self, name) for name in names})


SIZES = tuple(item.name for item in fields(Imperfections) if item.name != "bits")

TYPICAL = Imperfections(
    phase_rad=0.02,
    gamma=0.002,
    split_rad=0.02,
    loss_scale=1.0,
    loss_sigma_db=0.1,
    crosstalk_scale=1.0,
    thermal=0.005,
    fabrication_scale=1.0,
)
"""Published sizes: ADEPT, L2ight, LCAP; losses, crosstalk and coherence of the technology."""


def static_sigma_rad(*, length_um: npt.ArrayLike, coherence_mm: float) -> Real:
    """Sigma of the static phase of a guide, sqrt(L / L_c), shape (...).

    The random walk of Yang et al. (2015): two arms of length L differ by sqrt(2 L / L_c).
    """
    return np.asarray(np.sqrt(np.asarray(length_um, float) * 1e-3 / coherence_mm))


def scatter_coupling(*, distance_um: npt.ArrayLike) -> Real:
    """Phase in a guide per phase of a heater at a distance, shape (...): SCATTER, eq. of gamma(d).

    A polynomial below 23 um, 0.217 exp(-0.127 d) beyond.
    """
    d = np.asarray(distance_um, float)
    near = 1 - 0.176 * d + 9.9e-3 * d**2 - 8.3e-6 * d**3 - 1.56e-5 * d**4 + 3.55e-7 * d**5
    return np.asarray(np.where(d < 23, near, 0.217 * np.exp(-0.127 * d)))
