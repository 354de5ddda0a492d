"""The networks of the pruning benchmark: features, training of the dense originals, ONNX files.

c16, c64: complex, k x k crop of the centred Fourier transform, modulus then softplus behind each
hidden layer, squared modulus at the outputs, no biases (the network of arXiv 2112.07485 and its
wider sister). r64: 8 x 8 pooled pixels, r784: all pixels, both ReLU with biases. The features are
made here, outside of the ONNX files.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Net:
    """One network: widths, whether its weights are complex, what it sees, how it is trained."""

    name: str
    sizes: tuple[int, ...]
    is_complex: bool
    features: Callable[[Array], Array]
    epochs: int
    learning_rate: float


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Features (B, n) and labels (B,) for training, for choosing, for the one final reading."""

    x_train: Array
    y_train: Array
    x_valid: Array
    y_valid: Array
    x_test: Array
    y_test: Array


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A trained dense network: weights (m, n) and biases (m,) of every layer."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    losses: tuple[float, ...] = field(default=())


def crop(images: Array, k: int) -> Array:
    """Central k x k crop of the centred Fourier transform of images (B, H, W), mean power 1."""
    spectrum = np.fft.fftshift(np.fft.fft2(images / 255.0), axes=(1, 2))
    h, w = (s // 2 - k // 2 for s in images.shape[1:])
    x = spectrum[:, h : h + k, w : w + k].reshape(len(images), k * k)
    return np.asarray(x / np.linalg.norm(images.shape[1:]) / 2, np.complex64)


def pooled(images: Array, k: int) -> Array:
    """Means over a k x k grid of (overlapping, where k does not divide) windows, in [0, 1]."""

    def windows(length: int) -> Array:
        p = np.zeros((k, length))
        for i in range(k):
            a, b = i * length // k, -(-(i + 1) * length // k)
            p[i, a:b] = 1 / (b - a)
        return p

    rows, columns = (windows(s) for s in images.shape[1:])
    x: Array = np.einsum("ij,bjk,lk->bil", rows, images / 255.0, columns, optimize=True)
    return np.asarray(x.reshape(len(images), k * k), np.float32)


def pixels(images: Array) -> Array:
    """All pixels in [0, 1]."""
    return (images / 255.0).reshape(len(images), -1).astype(np.float32)


NETS = {
    net.name: net
    for net in (
        Net("c16", (16, 16, 16, 10), True, lambda x: crop(x, 4), 40, 3e-2),
        Net("c64", (64, 64, 64, 10), True, lambda x: crop(x, 8), 30, 1e-2),
        Net("r64", (64, 64, 64, 10), False, lambda x: pooled(x, 8), 30, 1e-2),
        Net("r784", (784, 64, 64, 10), False, pixels, 20, 1e-2),
        Net("digits", (64, 16, 10), False, lambda x: x, 40, 1e-2),
    )
}


def load(net: Net, path: Path, made: Path | None = None, held_back: int = 10_000) -> Data:
    """Features of an image set `x_train`, `y_train`, `x_test`, `y_test`; kept in the file `made`.

    The last `held_back` training images are for choosing; they are in `x_train` as well when
    it is used for the final training (`everything`).
    """
    if made is None or not made.exists():
        with np.load(path) as file:
            x, y = net.features(file["x_train"]), file["y_train"].astype(np.int64)
            x_test, y_test = net.features(file["x_test"]), file["y_test"].astype(np.int64)
        if made is not None:
            np.savez(made, x=x, y=y, x_test=x_test, y_test=y_test)
    else:
        with np.load(made) as file:
            x, y, x_test, y_test = (file[name] for name in ("x", "y", "x_test", "y_test"))
    cut = len(x) - held_back
    return Data(x[:cut], y[:cut], x[cut:], y[cut:], x_test, y_test)


def digits() -> Data:
    """The 1797 small digits that come with scikit-learn: a quarter to test, 200 to choose on."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int64)
    return Data(x[:1150], y[:1150], x[1150:1350], y[1150:1350], x[1350:], y[1350:])


def everything(data: Data) -> tuple[Array, Array]:
    """Training and held-back images together, for final trainings."""
    return (
        np.concatenate([data.x_train, data.x_valid]),
        np.concatenate([data.y_train, data.y_valid]),
    )


def scores(net: Net, weights: Any, biases: Any, x: Any) -> Any:
    """Outputs (B, 10) for torch tensors x (B, n); complex weights take real or complex x."""
    return _through(net, weights, biases, x, len(weights) - 1)


def hidden(net: Net, weights: Any, biases: Any, x: Any) -> Any:
    """What leaves the last of these layers, all of them hidden ones."""
    return _through(net, weights, biases, x, len(weights))


def _through(net: Net, weights: Any, biases: Any, x: Any, output: int) -> Any:
    from torch.nn import functional

    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        last = k == output
        if not net.is_complex:
            x = functional.linear(x, w, b)
            x = x if last else functional.relu(x)
            continue
        if x.is_complex():
            re = x.real @ w.real.T - x.imag @ w.imag.T
            im = x.real @ w.imag.T + x.imag @ w.real.T
        else:
            re, im = x @ w.real.T, x @ w.imag.T
        power = re * re + im * im
        x = power + b if last else functional.softplus((power + 1e-12).sqrt() + b)
    return x


def trained(net: Net, x: Array, y: Array, seed: int) -> Dense:
    """The dense network trained with Adam, one cycle of the learning rate."""
    import torch

    make, batch = torch.Generator().manual_seed(seed), min(500, len(x) // 20)
    dtype = torch.complex64 if net.is_complex else torch.float32
    pairs = list(zip(net.sizes, net.sizes[1:], strict=False))
    weights = [
        (torch.randn(m, n, generator=make, dtype=dtype) * (2 / n) ** 0.5).requires_grad_()
        for n, m in pairs
    ]
    biases = [torch.zeros(m, requires_grad=not net.is_complex) for _, m in pairs]
    free = weights + [b for b in biases if b.requires_grad]
    optimizer = torch.optim.Adam(free, lr=net.learning_rate)
    steps = net.epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, net.learning_rate, steps + 1)
    xs, ys, losses = torch.from_numpy(x), torch.from_numpy(y), []
    for _ in range(net.epochs):
        order, total = torch.randperm(len(x), generator=make), 0.0
        for at in range(0, len(x) - batch + 1, batch):
            here = order[at : at + batch]
            loss = torch.nn.functional.cross_entropy(
                scores(net, weights, biases, xs[here]), ys[here]
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
            optimizer.step()
            schedule.step()
            total += loss.item()
        losses.append(total / (len(x) // batch))
    return Dense(
        tuple(w.detach().numpy() for w in weights),
        tuple(b.detach().numpy() for b in biases),
        tuple(losses),
    )


def keep(dense: Dense, path: Path) -> None:
    """Write a dense network to an .npz file."""
    arrays = {f"w{k}": w for k, w in enumerate(dense.weights)}
    np.savez(path, **arrays, **{f"b{k}": b for k, b in enumerate(dense.biases)})  # type: ignore[arg-type]


def kept(path: Path) -> Dense:
    """A dense network from such a file."""
    with np.load(path) as file:
        count = len(file.files) // 2
        return Dense(
            tuple(file[f"w{k}"] for k in range(count)), tuple(file[f"b{k}"] for k in range(count))
        )


def accuracy(net: Net, weights: Any, biases: Any, x: Array, y: Array) -> float:
    """Share of right answers of numpy or torch weights."""
    import torch

    with torch.no_grad():
        w = [torch.as_tensor(np.asarray(v)) for v in weights]
        b = [torch.as_tensor(np.asarray(v)) for v in biases]
        answers = scores(net, w, b, torch.from_numpy(x)).argmax(1).numpy()
    return float((answers == y).mean())


def written(net: Net, dense: Dense, path: Path) -> Path:
    """The network as an ONNX file. Input `x` (B, n) real, or (B, 2 n), real parts first.

    A complex matrix is the real one [[Re, -Im], [Im, Re]]; behind a modulus imaginary parts are 0.
    """
    from onnx import TensorProto, checker, helper, numpy_helper, save

    nodes, constants = [], []

    def constant(name: str, value: Array) -> str:
        kept = value if value.dtype == np.int64 else value.astype(np.float32)
        constants.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name

    def node(op: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, list(outputs), name=outputs[0], **attributes))
        return outputs[0]

    width, x = net.sizes[0] * (2 if net.is_complex else 1), "x"
    for k, (w, b) in enumerate(zip(dense.weights, dense.biases, strict=True)):
        last, m = k == len(dense.weights) - 1, len(w)
        end = "scores" if last else f"hidden{k}"
        if not net.is_complex:
            product = node("MatMul", [x, constant(f"w{k}", w.T)], f"product{k}")
            biased = end if last else f"biased{k}"
            x = node("Add", [product, constant(f"b{k}", b)], biased)
            x = x if last else node("Relu", [x], end)
            continue
        if k:
            dark = node("Mul", [x, constant(f"zero{k}", np.zeros(1))], f"dark{k}")
            x = node("Concat", [x, dark], f"fields{k}", axis=1)
        stacked = np.block([[w.real, -w.imag], [w.imag, w.real]])
        product = node("MatMul", [x, constant(f"w{k}", stacked.T)], f"product{k}")
        halves = constant(f"halves{k}", np.array([m, m], np.int64))
        node("Split", [product, halves], f"re{k}", f"im{k}", axis=1)
        re2 = node("Mul", [f"re{k}", f"re{k}"], f"re2_{k}")
        im2 = node("Mul", [f"im{k}", f"im{k}"], f"im2_{k}")
        x = node("Add", [re2, im2], end if last else f"power{k}")
        if not last:
            x = node("Sqrt", [x], f"modulus{k}")
            x = node("Softplus", [x], end)
    graph = helper.make_graph(
        nodes,
        net.name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["B", net.sizes[-1]])],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="benchmark"
    )
    checker.check_model(model)
    save(model, path)
    return path


def entering(net: Net, x: Array) -> Array:
    """Features as the ONNX file takes them, float32."""
    if net.is_complex:
        x = np.concatenate([x.real, x.imag], axis=1)
    return np.ascontiguousarray(x, np.float32)
