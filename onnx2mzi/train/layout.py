"""Where the MZIs of a trained mesh lie: what of a mesh does not change while it is trained."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.physics.arrays import Index, Real


@dataclass(frozen=True, eq=False)
class Layout:
    """(column, port), shape (K,) each, of the MZIs of a mesh on `ports` guides, as in
    `BalancedMesh`: sorted, no overlap."""

    ports: int
    column: Index
    port: Index

    @classmethod
    def of(cls, mesh: BalancedMesh) -> "Layout":
        """The layout of a mesh."""
        return cls(mesh.ports, mesh.column, mesh.port)

    @property
    def count(self) -> int:
        """Number of MZIs, K."""
        return len(self.column)

    @cached_property
    def mirror(self) -> tuple["Layout", npt.NDArray[np.intp]]:
        """The layout that light meets from the other side, and whose MZI each of it is.

        MZIs with phi = 0 are symmetric matrices, so the mirrored mesh is the transposed one.
        """
        last = int(self.column[-1]) if self.count else 0
        column = last - self.column
        order = np.lexsort((self.port, column))
        return Layout(self.ports, column[order].astype(np.int32), self.port[order]), order

    def mesh(self, theta: Real, phi: Real | None, out: Real | None) -> BalancedMesh:
        """The mesh with these phases; None is zeros. The arrays become read-only."""
        return BalancedMesh.trusted(
            self.ports,
            self.column,
            self.port,
            theta,
            np.zeros(self.count) if phi is None else phi,
            np.zeros(self.ports) if out is None else out,
        )
