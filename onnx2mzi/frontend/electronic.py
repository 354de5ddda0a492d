"""Linear operators that are not compiled, so that nothing stays electronic silently."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

from onnx2mzi.frontend.lowerings import LOWERINGS
from onnx2mzi.frontend.names import node_label
from onnx2mzi.ir import Electronic, Loc

_QUANTIZED = "quantized products of onnxruntime are not compiled; export QDQ or ONNX operators"
_FUSED = "this fused operator of onnxruntime is not compiled; export the model unoptimized"

# By domain and operator: why a linear operator without a lowering stays electronic.
UNSUPPORTED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("", "DeformConv"): "its kernel is bent by what is computed at run time",
        ("", "Attention"): "attention is a product of activations",
        ("com.microsoft", "FusedMatMul"): _FUSED,
        ("com.microsoft", "FusedGemm"): _FUSED,
        ("com.microsoft", "FusedConv"): _FUSED,
        ("com.microsoft", "Attention"): _FUSED,
        ("com.microsoft", "QAttention"): _FUSED,
        ("com.microsoft", "MultiHeadAttention"): _FUSED,
        ("com.microsoft", "MatMulNBits"): _QUANTIZED,
        ("com.microsoft", "DynamicQuantizeMatMul"): _QUANTIZED,
        ("com.microsoft", "MatMulIntegerToFloat"): _QUANTIZED,
        ("com.microsoft", "QGemm"): _QUANTIZED,
    }
)


def operator(node: NodeProto) -> tuple[str, str]:
    """Domain and type, ONNX's own domain written as ""."""
    return ("" if node.domain == "ai.onnx" else node.domain), node.op_type


def linear(node: NodeProto) -> bool:
    """Whether the operator multiplies by matrices."""
    return operator(node) in LOWERINGS or operator(node) in UNSUPPORTED


def hidden(node: NodeProto, label: str, model: ModelProto, file: str) -> Iterator[Electronic]:
    """Linear nodes inside a function of the model that could not be inlined."""
    waiting: list[tuple[GraphProto | FunctionProto, str, str]] = []
    functions = {("" if f.domain == "ai.onnx" else f.domain, f.name): f for f in model.functions}
    called = {operator(node)}
    if operator(node) in functions:
        why = f"it is inside the function '{node.op_type}', which cannot be inlined"
        waiting.append((functions[operator(node)], label, why))
    while waiting:
        graph, path, why = waiting.pop()
        for k, inner in enumerate(graph.node):
            name = f"{path}/{node_label(inner, k)}"
            if linear(inner):
                yield Electronic(Loc(file, name, inner.op_type), why)
            waiting.extend((g, name, why) for a in inner.attribute for g in (a.g, *a.graphs))
            op = operator(inner)
            # A function that calls itself is refused by onnxruntime; here it must only end.
            if op in functions and op not in called:
                called.add(op)
                waiting.append((functions[op], name, why))
