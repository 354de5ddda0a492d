"""The program between ONNX and the chip: immutable dataclasses over read-only arrays."""

from onnx2mzi.ir.compare import identical
from onnx2mzi.ir.layer import (
    DenseTile,
    FactoredTile,
    LinearLayer,
    MeshTile,
    Tile,
    TileGrid,
)
from onnx2mzi.ir.location import Loc
from onnx2mzi.ir.mesh import Attenuators, Mesh, MziNode
from onnx2mzi.ir.operand import Operand, View, Window
from onnx2mzi.ir.placement import BlockPlacement, Placement
from onnx2mzi.ir.program import Electronic, Host, Program, Stage, TensorSpec

__all__ = [
    "Attenuators",
    "BlockPlacement",
    "DenseTile",
    "Electronic",
    "FactoredTile",
    "Host",
    "LinearLayer",
    "Loc",
    "Mesh",
    "MeshTile",
    "MziNode",
    "Operand",
    "Placement",
    "Program",
    "Stage",
    "TensorSpec",
    "Tile",
    "TileGrid",
    "View",
    "Window",
    "identical",
]
