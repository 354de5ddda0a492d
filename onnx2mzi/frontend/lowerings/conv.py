"""Conv: one matrix for every group, used wherever its window stands."""

from onnx import NodeProto

from onnx2mzi.frontend.lowerings.base import (
    Lowered,
    Part,
    Scope,
    Stays,
    kept_with,
    matrix64,
    numbered,
    reshaped,
)
from onnx2mzi.frontend.lowerings.window import constant_kernel
from onnx2mzi.ir import View


def lower_conv(node: NodeProto, scope: Scope) -> Lowered | Stays | None:
    """W of group g, shape (m, n): m its outputs, n its inputs times the kernel's volume.

    Kernel (M, C / groups, k1, k2, ...) holds the rows of all groups; the bias stays electronic.
    """
    kernel = constant_kernel(node, scope)
    if kernel is None or isinstance(kernel, Stays):
        return kernel
    source, name = node.input[:2]
    groups = kernel.groups
    parts = tuple(
        Part(
            matrix64(kernel.rows[g]),
            source,
            kernel.channels,
            False,
            kernel.rows.dtype.name,
            name,
            numbered(g, groups),
            View(part=(g, groups), window=kernel.window),
            (g, groups),
        )
        for g in range(groups)
    )
    before, shape, fed = reshaped(scope, scope.binding(), kernel.shape)
    return Lowered(parts, (before, kept_with(node, 1, fed)), (shape,))
