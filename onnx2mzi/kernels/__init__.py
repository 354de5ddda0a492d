"""Arrays in, arrays out: matrices to meshes, light through meshes, gradients of the phases.

A small compiled extension does the work; numpy replaces it where it is missing
(`native_available`). Conventions: see `BalancedMesh`.
"""

from onnx2mzi.kernels.check import KernelError, unitary_distance
from onnx2mzi.kernels.decompose import (
    MeshBatch,
    decompose,
    decompose_columns,
    decompose_many,
    decompose_rows,
)
from onnx2mzi.kernels.gradient import Gradients, backward_taps, cells_vjp, forward_taps, vjp
from onnx2mzi.kernels.imperfect import (
    ErrorModel,
    imperfect_cells,
    propagate_imperfect,
    sample_errors,
)
from onnx2mzi.kernels.mesh import (
    BalancedMesh,
    clements_layout,
    columns_layout,
    reck_layout,
    rows_layout,
)
from onnx2mzi.kernels.native import native_available
from onnx2mzi.kernels.propagate import build, propagate, propagate_cells

__all__ = [
    "BalancedMesh",
    "ErrorModel",
    "Gradients",
    "KernelError",
    "MeshBatch",
    "backward_taps",
    "build",
    "cells_vjp",
    "clements_layout",
    "columns_layout",
    "decompose",
    "decompose_columns",
    "decompose_many",
    "decompose_rows",
    "forward_taps",
    "imperfect_cells",
    "native_available",
    "propagate",
    "propagate_cells",
    "propagate_imperfect",
    "reck_layout",
    "rows_layout",
    "sample_errors",
    "unitary_distance",
    "vjp",
]
