"""One lowering per ONNX operator: the table is all that the importer knows of them."""

from collections.abc import Mapping
from types import MappingProxyType

from onnx2mzi.frontend.lowerings.base import Lowered, Lowering, Part, Scope, Stays
from onnx2mzi.frontend.lowerings.conv import lower_conv
from onnx2mzi.frontend.lowerings.conv_transpose import lower_conv_transpose
from onnx2mzi.frontend.lowerings.einsum import lower_einsum
from onnx2mzi.frontend.lowerings.gemm import lower_gemm
from onnx2mzi.frontend.lowerings.matmul import lower_matmul
from onnx2mzi.frontend.lowerings.quantized import lower_quantized
from onnx2mzi.frontend.lowerings.recurrent import lower_recurrent

# By domain ("" is ONNX's own) and operator.
LOWERINGS: Mapping[tuple[str, str], Lowering] = MappingProxyType(
    {
        ("", "Conv"): lower_conv,
        ("", "ConvInteger"): lower_quantized,
        ("", "ConvTranspose"): lower_conv_transpose,
        ("", "Einsum"): lower_einsum,
        ("", "GRU"): lower_recurrent,
        ("", "Gemm"): lower_gemm,
        ("", "LSTM"): lower_recurrent,
        ("", "MatMul"): lower_matmul,
        ("", "MatMulInteger"): lower_quantized,
        ("", "QLinearConv"): lower_quantized,
        ("", "QLinearMatMul"): lower_quantized,
        ("", "RNN"): lower_recurrent,
    }
)

__all__ = ["LOWERINGS", "Lowered", "Lowering", "Part", "Scope", "Stays"]
