"""One lowering per ONNX operator: the table is all that the importer knows of them."""

from collections.abc import Mapping
from types import MappingProxyType

from onnx2mzi.frontend.lowerings.base import Lowered, Lowering, Part, Scope, Stays
from onnx2mzi.frontend.lowerings.gemm import lower_gemm
from onnx2mzi.frontend.lowerings.matmul import lower_matmul

# By domain ("" is ONNX's own) and operator.
LOWERINGS: Mapping[tuple[str, str], Lowering] = MappingProxyType(
    {
        ("", "Gemm"): lower_gemm,
        ("", "MatMul"): lower_matmul,
    }
)

__all__ = ["LOWERINGS", "Lowered", "Lowering", "Part", "Scope", "Stays"]
