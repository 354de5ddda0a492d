"""What is wrong with the devices of copies, drawn from numbers that belong to each of them."""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.imperfect_devices import Heaters
from onnx2mzi.kernels.native import extension
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.imperfection_random import Keys, normal, normals, uniform
from onnx2mzi.physics.shifter import Drive, ShifterState, drive_rad

# Streams of random numbers; each gives a pair.
PHASE, SPLIT, GAMMA, ARMS, INPUTS, LOSS, FATE, STUCK, CHIP = range(9)
# Numbers of a chip as a whole, of stream SPLIT: what couplers share, their gradient.
_SHARED, _GRADIENT = np.zeros(1, np.uint64), np.ones(1, np.uint64)

_ACTIVE = np.uint8(ShifterState.ACTIVE)


def normals_of(keys: Keys, device: np.ndarray, stream: int) -> tuple[Real, Real]:
    """`physics.imperfection_random.normals` by the compiled kernels if they are there, (C, K)."""
    module = extension()
    if module is None:
        return normals(keys=keys, device=device, stream=stream)
    found = np.empty((2, len(keys), len(device)))
    numbers = np.ascontiguousarray(device, np.uint64)
    module.device_normals(
        len(keys), len(device), stream, np.ascontiguousarray(keys), numbers, found
    )
    return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Chips:
    """C copies of a chip: what is wrong with them, the keys (C,) of a block of devices and of the
    whole chip, and whether active heaters undo static errors."""

    sizes: Imperfections
    keys: Keys
    chip_keys: Keys
    coherence_mm: float
    crosstalk_db: float
    trim: bool

    @property
    def copies(self) -> int:
        """How many."""
        return len(self.keys)

    @property
    def leak(self) -> float:
        """The amplitude that crossings leak."""
        return float(min(self.sizes.crosstalk_scale * 10 ** (self.crosstalk_db / 20), 1.0))

    def kept(self, loss_db: float) -> float:
        """The amplitude that is left behind so much loss of the technology."""
        return float(10 ** (-self.sizes.loss_scale * loss_db / 20))


@dataclass(frozen=True, slots=True)
class Carried:
    """Static phase (C, ports) that light has gathered on every guide, and its power (ports,)."""

    phase_rad: Real
    power: Real


def driven_rad(heaters: Heaters, sizes: Imperfections) -> Real:
    """What heaters are driven to make, on their codes if there are any, (K,)."""
    if sizes.bits is None:
        return heaters.heat_rad
    settled = sizes.bits.nearest_rad(heaters.phase_rad, heaters.drive)
    return drive_rad(settled, heaters.active * _ACTIVE, heaters.drive)


def heater_changes(heaters: Heaters, chips: Chips, device: np.ndarray, which: int) -> Real:
    """What active heaters make beyond their setting, (C, K) or (1, K); `which` of a pair."""
    sizes, keys = chips.sizes, chips.keys
    change = np.zeros((1, len(device)))
    there = np.flatnonzero(heaters.active)
    if not len(there) or not sizes.heaters:
        return change
    heat, device = heaters.heat_rad[there], device[there]
    made = driven_rad(heaters, sizes)[there][None]
    if sizes.gamma > 0:
        rate = normals_of(keys, device, GAMMA)[which]
        made = made * (1 + sizes.gamma * rate)
    if sizes.phase_rad > 0:
        drawn = normals_of(keys, device, PHASE)[which]
        made = made + sizes.phase_rad * drawn
    if sizes.dead + sizes.stuck > 0:
        fate = uniform(keys=keys, device=device, stream=FATE, which=which)
        place = uniform(keys=keys, device=device, stream=STUCK, which=which)
        full = 2 * np.pi if heaters.drive is Drive.UPPER_ARM else np.pi
        made = np.where(fate < sizes.dead + sizes.stuck, full * place, made)
        made = np.where(fate < sizes.dead, 0.0, made)
    if len(there) == len(heaters.active):
        return np.asarray(made - heat)
    change = np.zeros((len(made), len(heaters.active)))
    change[:, there] = made - heat
    return change


def splits(
    device: np.ndarray, x_mm: Real, span_mm: Real, y_mm: Real, chips: Chips
) -> tuple[Real, Real]:
    """Errors of the first and the second coupler of MZIs about (x, y), `span_mm` apart, (C, K)
    or (1, K) each."""
    sizes = chips.sizes
    slope_x, slope_y = split_slopes(chips)
    across = shared_split(chips) + slope_y * y_mm
    first = across + slope_x * (x_mm - span_mm / 2)
    second = across + slope_x * (x_mm + span_mm / 2)
    if sizes.split_rad > 0:
        a, b = normals_of(chips.keys, device, SPLIT)
        first, second = first + sizes.split_rad * a, second + sizes.split_rad * b
    return np.asarray(first), np.asarray(second)


def shared_split(chips: Chips) -> Real:
    """What all couplers of a chip have in common, (C, 1) or (1, 1)."""
    sizes = chips.sizes
    if sizes.split_shared_rad == 0:
        return np.full((1, 1), sizes.split_offset_rad)
    common = normal(keys=chips.chip_keys, device=_SHARED, stream=SPLIT)
    return np.asarray(sizes.split_offset_rad + sizes.split_shared_rad * common)


def split_slopes(chips: Chips) -> tuple[Real, Real]:
    """The gradient of the couplers' angle in rad/mm along x and y, (C, 1) or (1, 1) each."""
    size = chips.sizes.split_gradient_rad_mm
    if size == 0:
        return np.zeros((1, 1)), np.zeros((1, 1))
    x, y = normals(keys=chips.chip_keys, device=_GRADIENT, stream=SPLIT)
    return size * x, size * y


def phase_slopes(chips: Chips) -> tuple[Real, Real]:
    """The gradient of a guide's phase per length in rad/mm^2 along x and y, as above."""
    size = chips.sizes.gradient_rad_mm2
    if size == 0:
        return np.zeros((1, 1)), np.zeros((1, 1))
    y, x = normals(keys=chips.chip_keys, device=_SHARED, stream=CHIP)
    return size * x, size * y


def losses(device: np.ndarray, mean_db: Real, chips: Chips) -> Real:
    """Losses of devices in dB, (C, K) or (K,)."""
    sizes = chips.sizes
    loss: Real = sizes.loss_scale * mean_db
    if sizes.loss_sigma_db > 0:
        loss = loss + sizes.loss_sigma_db * normals_of(chips.keys, device, LOSS)[0]
    return np.maximum(loss, 0.0)
