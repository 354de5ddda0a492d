"""ONNX operators with sliding windows on torch tensors: convolutions and pools."""

import torch
from torch import Tensor
from torch.nn import functional as F

from onnx2mzi.train.node import Args, Node, Operator, given, need

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_MAXIMA = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_MEANS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def _pads(node: Node, x: Tensor, kernel: list[int]) -> list[int]:
    """Values before and behind each axis that the node asks for, all before first."""
    rank = x.ndim - 2
    strides = node.get("strides") or [1] * rank
    dilations = node.get("dilations") or [1] * rank
    auto = node.get("auto_pad", "NOTSET")
    pads = list(node.get("pads") or [0] * 2 * rank)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for k in range(rank):
            size = x.shape[2 + k]
            span = (kernel[k] - 1) * dilations[k] + 1
            total = max((-(-size // strides[k]) - 1) * strides[k] + span - size, 0)
            less = total // 2
            pads[k] = less if auto == "SAME_UPPER" else total - less
            pads[rank + k] = total - pads[k]
    elif auto == "VALID":
        pads = [0] * 2 * rank
    return pads


def _padded(node: Node, x: Tensor, kernel: list[int], value: float) -> Tensor:
    """x with the zeros (or other values) around it that the node asks for."""
    rank, pads = x.ndim - 2, _pads(node, x, kernel)
    if not any(pads):
        return x
    flat = [size for k in reversed(range(rank)) for size in (pads[k], pads[rank + k])]
    return F.pad(x, flat, value=value)


def _checked(node: Node, x: Tensor) -> int:
    rank = x.ndim - 2
    if not 1 <= rank <= 3:
        raise node.refusal(f"windows over {rank} axes")
    return rank


def _conv(node: Node, args: Args) -> Tensor:
    x, w = need(args, 0), need(args, 1)
    rank = _checked(node, x)
    x = _padded(node, x, list(w.shape[2:]), 0.0)
    return _CONVOLUTIONS[rank - 1](
        x,
        w,
        given(args, 2),
        stride=node.get("strides") or [1] * rank,
        dilation=node.get("dilations") or [1] * rank,
        groups=node.get("group", 1),
    )


def _conv_transpose(node: Node, args: Args) -> Tensor:
    x, w = need(args, 0), need(args, 1)
    rank = _checked(node, x)
    pads = node.get("pads") or [0] * 2 * rank
    if node.get("output_shape") or node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.refusal("a transposed convolution with a given shape")
    y = _TRANSPOSED[rank - 1](
        x,
        w,
        given(args, 2),
        stride=node.get("strides") or [1] * rank,
        output_padding=node.get("output_padding") or [0] * rank,
        dilation=node.get("dilations") or [1] * rank,
        groups=node.get("group", 1),
    )
    for k in range(rank):
        y = y.narrow(2 + k, pads[k], y.shape[2 + k] - pads[k] - pads[rank + k])
    return y


def _max_pool(node: Node, args: Args) -> Tensor:
    x, kernel = need(args, 0), node.get("kernel_shape")
    rank = _checked(node, x)
    strides = node.get("strides") or [1] * rank
    y = _MAXIMA[rank - 1](
        _padded(node, x, kernel, -torch.inf),
        kernel,
        stride=strides,
        dilation=node.get("dilations") or [1] * rank,
        ceil_mode=bool(node.get("ceil_mode", 0)),
    )
    # No window begins behind the last value.
    before = _pads(node, x, kernel)[:rank]
    for k in range(rank):
        most = -(-(x.shape[2 + k] + before[k]) // strides[k])
        y = y.narrow(2 + k, 0, min(y.shape[2 + k], most))
    return y


def _average_pool(node: Node, args: Args) -> Tensor:
    x, kernel = need(args, 0), node.get("kernel_shape")
    rank = _checked(node, x)
    if node.get("ceil_mode", 0) or any(d != 1 for d in node.get("dilations") or []):
        raise node.refusal("an average over windows of this kind")
    pool, stride = _MEANS[rank - 1], node.get("strides") or [1] * rank
    y = pool(_padded(node, x, kernel, 0.0), kernel, stride)
    if node.get("count_include_pad", 0):
        return y
    ones = torch.ones_like(x[:1, :1])
    return y / pool(_padded(node, ones, kernel, 0.0), kernel, stride)


def _over_all(name: str) -> Operator:
    def run(node: Node, args: Args) -> Tensor:
        x = need(args, 0)
        axes = list(range(2, x.ndim))
        return x.mean(axes, keepdim=True) if name == "mean" else x.amax(axes, keepdim=True)

    return run


TABLE: dict[str, Operator] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _over_all("mean"),
    "GlobalMaxPool": _over_all("max"),
}
