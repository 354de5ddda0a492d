"""`decompose`: every factored tile becomes the textbook chip, two full meshes and attenuators.

Shen et al., Nat. Photonics 11, 441 (2017): W = U S V^H; Clements et al., Optica 3, 1460 (2016)
and Reck et al., Phys. Rev. Lett. 73, 58 (1994) for the meshes. V's output phases go into U
(they commute with S), U's are read by coherent detection, so that a tile has the textbook's
m (m - 1) + n (n - 1) + min(m, n) phases.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import ClassVar

import numpy as np

from onnx2mzi.errors import InputError
from onnx2mzi.ir import FactoredTile, LinearLayer, MeshTile, Program, Stage, Tile, TileGrid
from onnx2mzi.kernels import decompose
from onnx2mzi.kernels.decompose import Scheme
from onnx2mzi.passes.drawing import BalancedTile, textbook_tile
from onnx2mzi.physics.arrays import Complex, Matrix
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.pipeline.spec import show
from onnx2mzi.pipeline.tilework import with_tiles
from onnx2mzi.tech import Detection


class MeshLayout(StrEnum):
    """Where the MZIs of a full mesh lie."""

    CLEMENTS = "clements"
    RECK = "reck"

    @property
    def scheme(self) -> Scheme:
        """The kernels' word for it."""
        return "reck" if self is MeshLayout.RECK else "clements"


def completed(columns: Matrix) -> Complex:
    """A unitary (m, m) whose first columns are the given orthonormal ones, shape (m, r)."""
    rows, given = columns.shape
    if given == rows:
        return columns.astype(np.complex128)
    full, upper = np.linalg.qr(columns, mode="complete")
    # QR may turn each column by a phase; the given ones are put back as they were.
    full = full.astype(np.complex128)
    full[:, :given] *= np.diag(upper) / np.abs(np.diag(upper))
    return full


def meshed(tile: FactoredTile, scheme: Scheme, detection: Detection) -> MeshTile:
    """The textbook chip of one tile."""
    gain = float(tile.s.max(initial=0.0))
    amplitude = tile.s / gain if gain > 0 else np.zeros_like(tile.s)
    balanced = BalancedTile(
        outputs=tile.outputs,
        inputs=tile.inputs,
        u=decompose(completed(tile.u), scheme),
        amplitude=np.minimum(amplitude, 1.0),
        v=decompose(completed(tile.vh.conj().T).conj().T, scheme),
        gain=gain,
    )
    return textbook_tile(balanced, detection)


@dataclass(frozen=True, slots=True)
class Decompose(Pass):
    """Meshes of MZIs for the unitaries of every factored tile: the textbook chip, exact."""

    name: ClassVar[str] = "decompose"
    stage_in: ClassVar[Stage] = Stage.LINEAR
    stage_out: ClassVar[Stage] = Stage.MESH

    mesh: MeshLayout = option(MeshLayout.CLEMENTS, "layout of the MZIs")

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        scheme, detection = self.mesh.scheme, context.technology.detection

        def work(layer: LinearLayer, grid: TileGrid) -> Callable[[Tile], Tile]:
            return partial(_meshed, layer=layer.name, scheme=scheme, detection=detection)

        return replace(
            with_tiles(program, context, self.name, work, keep=show(self)), stage=Stage.MESH
        )


def _meshed(tile: Tile, *, layer: str, scheme: Scheme, detection: Detection) -> MeshTile:
    if not isinstance(tile, FactoredTile):
        raise InputError(
            "decompose takes factored tiles",
            where=f"layer '{layer}'",
            hint="run svd before decompose",
        )
    return meshed(tile, scheme, detection)
