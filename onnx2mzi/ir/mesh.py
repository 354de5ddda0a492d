"""A mesh of MZIs as a structure of arrays, and the row of attenuators between two meshes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onnx2mzi.physics.arrays import Flags, Index, Real, frozen
from onnx2mzi.physics.shifter import Drive, ShifterState


@dataclass(frozen=True, slots=True)
class MziNode:
    """One MZI of a mesh, for scripting; hot paths use the arrays."""

    column: int
    port: int
    theta_rad: float
    phi_rad: float
    theta_state: ShifterState
    phi_state: ShifterState

    @property
    def is_crossing(self) -> bool:
        """No heater, no fixed phase, theta = 0: drawn as a waveguide crossing."""
        return (
            self.theta_state is ShifterState.REMOVED and self.phi_state is not ShifterState.ACTIVE
        )


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """K MZIs on `ports` guides; light enters column 0, port 0 is the uppermost.

    Arrays of shape (K,), sorted by (column, port): the MZI acts on guides `port` and
    `port + 1`. `out_rad` and `out_state`, shape (ports,), are phases on single guides behind
    the last column. Phases are signed, |phase| <= pi; what makes a negative phase is up to
    `drive` (see physics.shifter). A removed shifter has phase 0. An MZI that is gone (bar,
    drawn as two guides) is not in the arrays; one with both shifters removed is a crossing.
    """

    ports: int
    column: Index
    port: Index
    theta_rad: Real
    phi_rad: Real
    theta_state: Flags
    phi_state: Flags
    out_rad: Real
    out_state: Flags
    drive: Drive

    def __post_init__(self) -> None:
        for name, dtype in _MESH_ARRAYS:
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))

    def __repr__(self) -> str:
        return f"Mesh({self.ports} ports, {len(self)} MZIs in {self.columns} columns)"

    def __len__(self) -> int:
        return len(self.column)

    def __iter__(self) -> Iterator[MziNode]:
        for k in range(len(self)):
            yield self[k]

    def __getitem__(self, k: int) -> MziNode:
        return MziNode(
            int(self.column[k]),
            int(self.port[k]),
            float(self.theta_rad[k]),
            float(self.phi_rad[k]),
            ShifterState(self.theta_state[k]),
            ShifterState(self.phi_state[k]),
        )

    @property
    def columns(self) -> int:
        """Depth: number of columns that light passes."""
        return int(self.column[-1]) + 1 if len(self) else 0

    @property
    def crossings(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Shape (K,): MZIs without a theta; without a phi as well they are mere crossings."""
        return np.asarray(self.theta_state == ShifterState.REMOVED)


_MESH_ARRAYS: tuple[tuple[str, type], ...] = (
    ("column", np.int32),
    ("port", np.int32),
    ("theta_rad", np.float64),
    ("phi_rad", np.float64),
    ("theta_state", np.uint8),
    ("phi_state", np.uint8),
    ("out_rad", np.float64),
    ("out_state", np.uint8),
)


@dataclass(frozen=True, slots=True, eq=False)
class Attenuators:
    """r attenuators in parallel, channel k on guide k: amplitude cos(theta/2).

    `theta_rad` in [0, pi] and `state`, shape (r,). A removed attenuator has theta 0 and is a
    plain guide.
    """

    theta_rad: Real
    state: Flags
    drive: Drive

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta_rad", frozen(self.theta_rad, np.float64))
        object.__setattr__(self, "state", frozen(self.state, np.uint8))

    def __repr__(self) -> str:
        return f"Attenuators({len(self)})"

    def __len__(self) -> int:
        return len(self.theta_rad)
