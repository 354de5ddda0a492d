"""ONNX's recurrent operators on torch tensors, gate by gate as the standard writes them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from onnx2mzi.train.node import Args, Node, Operator, given, need

Step = Callable[[Tensor, list[Tensor]], list[Tensor]]
DEFAULTS = {
    "LSTM": ["sigmoid", "tanh", "tanh"],
    "GRU": ["sigmoid", "tanh"],
    "RNN": ["tanh"],
}
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _lstm(w: Tensor, r: Tensor, b: Tensor, node: Node) -> Step:
    def step(x: Tensor, state: list[Tensor]) -> list[Tensor]:
        h, c = state
        wb, rb = b.chunk(2)
        i, o, f, g = (x @ w.T + h @ r.T + wb + rb).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return [torch.sigmoid(o) * torch.tanh(c), c]

    return step


def _gru(w: Tensor, r: Tensor, b: Tensor, node: Node) -> Step:
    def step(x: Tensor, state: list[Tensor]) -> list[Tensor]:
        (h,) = state
        wb, rb = b.chunk(2)
        xz, xr, xh = (x @ w.T + wb).chunk(3, dim=1)
        rz, rr, rh = r.chunk(3)
        bz, br, bh = rb.chunk(3)
        z = torch.sigmoid(xz + h @ rz.T + bz)
        gate = torch.sigmoid(xr + h @ rr.T + br)
        if node.get("linear_before_reset", 0):
            new = torch.tanh(xh + gate * (h @ rh.T + bh))
        else:
            new = torch.tanh(xh + (gate * h) @ rh.T + bh)
        return [(1 - z) * new + z * h]

    return step


def _rnn(w: Tensor, r: Tensor, b: Tensor, node: Node) -> Step:
    def step(x: Tensor, state: list[Tensor]) -> list[Tensor]:
        (h,) = state
        wb, rb = b.chunk(2)
        return [torch.tanh(x @ w.T + h @ r.T + wb + rb)]

    return step


_STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def _recurrent(node: Node, args: Args) -> Sequence[Tensor]:
    _check(node, args)
    x, w, r = need(args, 0), need(args, 1), need(args, 2)
    first = bool(node.get("layout", 0))
    x = x.transpose(0, 1) if first else x
    count, gates, hidden = w.shape[0], GATES[node.op], r.shape[2]
    biases = given(args, 3)
    if biases is None:
        biases = x.new_zeros(count, 2 * gates * hidden)
    states = [given(args, 5)] + ([given(args, 6)] if node.op == "LSTM" else [])
    outputs, ends = [], []
    for d in range(count):
        backwards = node.get("direction", "forward") == "reverse" or d == 1
        step = _STEPS[node.op](w[d], r[d], biases[d], node)
        state = [
            x.new_zeros(x.shape[1], hidden) if s is None else (s[:, d] if first else s[d])
            for s in states
        ]
        seen = []
        for t in reversed(range(len(x))) if backwards else range(len(x)):
            state = step(x[t], state)
            seen.append(state[0])
        outputs.append(torch.stack(seen[::-1] if backwards else seen))
        ends.append(state)
    y = torch.stack(outputs, dim=1)
    last = [torch.stack([end[k] for end in ends]) for k in range(len(states))]
    if first:
        return [y.permute(2, 0, 1, 3), *(end.transpose(0, 1) for end in last)]
    return [y, *last]


def _check(node: Node, args: Args) -> None:
    names = [str(name).lower() for name in node.get("activations") or []]
    usual = DEFAULTS[node.op]
    if any(name != usual[k % len(usual)] for k, name in enumerate(names)):
        raise node.refusal("other activations than the usual ones")
    if node.get("clip") is not None or node.get("input_forget", 0):
        raise node.refusal("clipped or coupled gates")
    if given(args, 4) is not None or given(args, 7) is not None:
        raise node.refusal("sequences of several lengths, or peepholes")


TABLE: dict[str, Operator] = dict.fromkeys(_STEPS, _recurrent)
