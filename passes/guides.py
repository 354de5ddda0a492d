"""A tile as guides: what phase lies on each stretch between two MZIs that mix.

An MZI without theta only crosses its guides, so a heater in front of it makes the same phase
behind it, on the other row. A stretch leads from where light mixes (or enters) through such
crossings, and from V through the attenuators into U, to where it mixes next, or leaves. What a
heater does on it is the same everywhere on it. Further freedom, exact as well:
- What is added to both stretches into an MZI may be taken off both that leave it.
- theta on the other arm is T(-theta) = diag(-1, 1) T(theta) diag(1, -1): half turns on one
  stretch into the MZI and on one out of it.
- Phases on stretches that are dumped, dark, or read electronically are nobody's.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.ir import MeshTile
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import Arm, Drive, ShifterState, arms
from onnx2mzi.tech import Detection

# Phases this small are round-off.
NOTHING_RAD = 1e-12
TURN_RAD = 2 * np.pi


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """Where a heater for phi can be: MZI `index` of V (mesh 0) or U (mesh 1), and its arm."""

    mesh: int
    index: int
    lower: bool


@dataclass(frozen=True, slots=True)
class Mixer:
    """An MZI that mixes: its stretches, upper and lower, and whether theta may change arms."""

    mesh: int
    index: int
    enter: tuple[int, int]
    leave: tuple[int, int]
    turns: bool


@dataclass(frozen=True, slots=True, eq=False)
class Guides:
    """All stretches of a tile. `slots` of each in the order of the light, the last one that of
    the MZI it ends at; `output` the output of U that it ends at, -1 for none. All of shape (n,):
    `dark` marks those without light, `free` those whose phase is nobody's, `phase_rad` what
    heaters make there, from 0 on, `fixed_rad` what fixed lengths have to make beside."""

    slots: tuple[tuple[Slot, ...], ...]
    output: tuple[int, ...]
    dark: npt.NDArray[np.bool_]
    free: npt.NDArray[np.bool_]
    phase_rad: Real
    fixed_rad: Real
    mixers: tuple[Mixer, ...]

    def crossings(self) -> npt.NDArray[np.int64]:
        """How often every stretch crosses another, (n,); fixed phases must be none."""
        ends = np.zeros(len(self.slots), np.int64)
        for mixer in self.mixers:
            ends[list(mixer.enter)] = 1
        return np.array([len(slots) for slots in self.slots], np.int64) - ends


def guides_of(tile: MeshTile, detection: Detection) -> Guides:
    """The stretches of a tile with arm-choice drive.

    Fixed phases, which are on both guides of their MZIs, stay and count for nothing here; their
    MZIs have no slots.
    """
    slots: list[list[Slot]] = []
    dark: list[bool] = []
    phase: list[float] = []
    mixers: list[Mixer] = []

    def new(unlit: bool) -> int:
        slots.append([])
        dark.append(unlit)
        phase.append(0.0)
        return len(slots) - 1

    at = [new(False) for _ in range(tile.v.ports)]
    idle: list[int] = []
    for number, mesh in enumerate((tile.v, tile.u)):
        if number:
            channels = len(tile.sigma)
            idle = at[channels:]
            at = [*at[:channels], *(new(True) for _ in range(mesh.ports - channels))]
        lower = (arms(mesh.phi_rad, mesh.phi_state, mesh.drive) == Arm.LOWER).tolist()
        heat = np.where(mesh.phi_state == ShifterState.ACTIVE, np.abs(mesh.phi_rad), 0.0).tolist()
        held = (mesh.phi_state == ShifterState.PASSIVE).tolist()
        states = mesh.theta_state.tolist()
        for k, port in enumerate(mesh.port.tolist()):
            upper, under = at[port], at[port + 1]
            if not held[k]:
                slots[upper].append(Slot(number, k, False))
                slots[under].append(Slot(number, k, True))
                phase[under if lower[k] else upper] += heat[k]
            if states[k] == ShifterState.REMOVED:
                at[port], at[port + 1] = under, upper
                continue
            unlit = dark[upper] and dark[under]
            at[port], at[port + 1] = new(unlit), new(unlit)
            turns = states[k] == ShifterState.ACTIVE and mesh.drive is Drive.ARM_CHOICE
            mixers.append(Mixer(number, k, (upper, under), (at[port], at[port + 1]), turns))
    output = [-1] * len(slots)
    for port, k in enumerate(at):
        output[k] = port
    free = np.array(dark, bool)
    free[idle] = True
    if detection is Detection.IQ:
        free[at] = True
    return Guides(
        tuple(map(tuple, slots)),
        tuple(output),
        np.array(dark, bool),
        free,
        np.array(phase),
        np.zeros(len(slots)),
        tuple(mixers),
    )


def heaters(rad: float) -> int:
    """How many heaters of up to half a turn make a phase."""
    rad %= TURN_RAD
    if rad < NOTHING_RAD or rad > TURN_RAD - NOTHING_RAD:
        return 0
    return 1 if rad <= np.pi + NOTHING_RAD else 2


class Settling:
    """A search for phases that need few heaters, then little heat, by moves at single MZIs.

    A heater counts as much as `heater_rad` of heat. Stretches that need more slots than they
    have, and MZIs that two stretches need at once, are avoided.
    """

    def __init__(self, guides: Guides, *, heater_rad: float) -> None:
        self.guides = guides
        self.rad: list[float] = guides.phase_rad.tolist()
        self.turned = [False] * len(guides.mixers)
        self._heater_rad = heater_rad
        self._free = guides.free.tolist()
        self._room = [len(slots) for slots in guides.slots]
        self._mixer = [-1] * len(self.rad)
        for number, mixer in enumerate(guides.mixers):
            for k in mixer.enter:
                self._mixer[k] = number

    def _price(self, k: int) -> float:
        count = 0 if self._free[k] else heaters(self.rad[k])
        if not count:
            return 0.0
        price = count * self._heater_rad + self.rad[k] % TURN_RAD
        return price if count <= self._room[k] else price + _NEVER

    def _cost(self, touched: tuple[int, ...]) -> float:
        total = sum(self._price(k) for k in touched)
        for number in {self._mixer[k] for k in touched} - {-1}:
            a, b = self.guides.mixers[number].enter
            if self._room[a] == self._room[b] == 1 and self._heated(a) and self._heated(b):
                total += _NEVER
        return total

    def _heated(self, k: int) -> bool:
        return not self._free[k] and heaters(self.rad[k]) > 0

    def sweep(self) -> bool:
        """The best move at every MZI, where there is one that saves something."""
        moved = False
        for number, mixer in enumerate(self.guides.mixers):
            (a, b), (c, d) = mixer.enter, mixer.leave
            touched = (a, b, c, d)
            before = tuple(self.rad[k] for k in touched)
            best, least = before, self._cost(touched) - 1e-9
            turn = False
            ways = [(0.0, 0.0, 0.0, 0.0)]
            if mixer.turns:
                ways += [(np.pi, 0.0, 0.0, np.pi), (0.0, np.pi, np.pi, 0.0)]
            for way in ways:
                start = tuple(x + w for x, w in zip(before, way, strict=True))
                for common in (0.0, -start[0], -start[1], start[2], start[3]):
                    tried = (
                        start[0] + common,
                        start[1] + common,
                        start[2] - common,
                        start[3] - common,
                    )
                    self._set(touched, tried)
                    cost = self._cost(touched)
                    if cost < least:
                        best, least, turn = tried, cost, way != ways[0]
            self._set(touched, best)
            if best != before:
                moved = True
                self.turned[number] ^= turn
        return moved

    def _set(self, touched: tuple[int, ...], rad: tuple[float, ...]) -> None:
        for k, value in zip(touched, rad, strict=True):
            value %= TURN_RAD
            self.rad[k] = 0.0 if heaters(value) == 0 else value


_NEVER = 1e6
