"""Linear layers, the grids of tiles that compute them, and the three forms of a tile."""

from dataclasses import dataclass, field

import numpy as np

from onnx2mzi.ir.location import Loc
from onnx2mzi.ir.mesh import Attenuators, Mesh
from onnx2mzi.ir.operand import Operand
from onnx2mzi.physics.arrays import Index, Matrix, Real, frozen
from onnx2mzi.physics.quantization import DriveCode


def frozen_matrix(values: Matrix) -> Matrix:
    """A read-only matrix, float64 if real and complex128 otherwise."""
    return frozen(values, np.complex128 if np.iscomplexobj(values) else np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class DenseTile:
    """A cut of the layer's matrix: `weight`, shape (m, n), takes the guides `inputs` (n,) of the
    grid's input vector and adds to `outputs` (m,) of its output vector."""

    outputs: Index
    inputs: Index
    weight: Matrix

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", frozen(self.outputs, np.int32))
        object.__setattr__(self, "inputs", frozen(self.inputs, np.int32))
        object.__setattr__(self, "weight", frozen_matrix(self.weight))

    def __repr__(self) -> str:
        return f"DenseTile({len(self.outputs)} x {len(self.inputs)})"


@dataclass(frozen=True, slots=True, eq=False)
class FactoredTile:
    """weight = u diag(s) vh with orthonormal columns of u (m, r) and rows of vh (r, n), s >= 0."""

    outputs: Index
    inputs: Index
    u: Matrix
    s: Real
    vh: Matrix

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", frozen(self.outputs, np.int32))
        object.__setattr__(self, "inputs", frozen(self.inputs, np.int32))
        object.__setattr__(self, "u", frozen_matrix(self.u))
        object.__setattr__(self, "s", frozen(self.s, np.float64))
        object.__setattr__(self, "vh", frozen_matrix(self.vh))

    def __repr__(self) -> str:
        return f"FactoredTile({len(self.outputs)} x {len(self.inputs)})"


@dataclass(frozen=True, slots=True, eq=False)
class MeshTile:
    """The tile on the chip.

        inputs ==[ v: n guides ]== r channels ==[ sigma ]== r channels ==[ u: m guides ]== outputs

    Channel k leaves `v` and enters `u` on guide k; other guides behind `v` are dumped, other
    guides before `u` are dark. `readout_rad`, shape (m,), is the angle by which coherent
    detection turns output i (electronic, no heater); `gain` is electronic. The matrix is
    gain * diag(e^{i readout}) U[:, :r] diag(sigma) V[:r, :].
    """

    outputs: Index
    inputs: Index
    u: Mesh
    sigma: Attenuators
    v: Mesh
    gain: float
    readout_rad: Real

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", frozen(self.outputs, np.int32))
        object.__setattr__(self, "inputs", frozen(self.inputs, np.int32))
        object.__setattr__(self, "readout_rad", frozen(self.readout_rad, np.float64))

    def __repr__(self) -> str:
        return f"MeshTile({len(self.outputs)} x {len(self.inputs)})"


Tile = DenseTile | FactoredTile | MeshTile


@dataclass(frozen=True, slots=True, eq=False)
class TileGrid:
    """Tiles that together multiply by one (rows, columns) matrix; sums of tiles are electronic.

    A tile that is not there is zero.
    """

    rows: int
    columns: int
    tiles: tuple[Tile, ...]

    def __repr__(self) -> str:
        return f"TileGrid({self.rows} x {self.columns}, tiles: {len(self.tiles)})"


@dataclass(frozen=True, slots=True, eq=False)
class LinearLayer:
    """y = weight @ x for every vector x that the host sends.

    `weight`, shape (m, n), is what the ONNX model asks for and never changes; `grids` is what
    the chip does, applied in order (the first meets the inputs; between two grids light is
    detected and sent again). Before tiling `grids` is empty. `uses` is the
    number of vectors in one inference (a batch of 1 where that is open), None if unknown.
    `folds` names nodes of the model whose work the weight does as well (batch normalizations).
    `copy_of` names the layer of which this is a copy for other vectors (see `Operand.turn`).
    `drive_code` is how the layer's heaters are driven if not as the program's are.
    """

    name: str
    weight: Matrix
    operand: Operand
    loc: Loc
    grids: tuple[TileGrid, ...] = field(default=())
    uses: int | None = None
    folds: tuple[str, ...] = ()
    copy_of: str = ""
    drive_code: DriveCode | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", frozen_matrix(self.weight))

    def __repr__(self) -> str:
        rows, columns = self.weight.shape
        return f"LinearLayer({self.name}, {rows} x {columns}, grids: {len(self.grids)})"
