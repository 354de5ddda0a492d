"""ConvTranspose: one matrix for every group, used on every entry of its input.

    y = sum over positions p of (W x_p) laid out around p

W makes a whole window of outputs from the channels at one place; adding up the windows, which
overlap, is electronic. So the chip is used once per input position, whatever the strides.
"""

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


def lower_conv_transpose(node: NodeProto, scope: Scope) -> Lowered | Stays | None:
    """W of group g, shape (m, n): m its outputs times the kernel's volume, n its inputs.

    Kernel (C, M / groups, k1, k2, ...) holds the columns; the bias stays electronic.
    """
    kernel = constant_kernel(node, scope)
    if kernel is None or isinstance(kernel, Stays):
        return kernel
    source, name = node.input[:2]
    groups = kernel.groups
    parts = tuple(
        Part(
            matrix64(kernel.rows[g].T),
            source,
            kernel.channels,
            True,
            kernel.rows.dtype.name,
            name,
            numbered(g, groups),
            View(part=(g, groups)),
            (g, groups),
        )
        for g in range(groups)
    )
    before, shape, fed = reshaped(scope, scope.binding(), kernel.shape)
    return Lowered(parts, (before, kept_with(node, 1, fed)), (shape,))
