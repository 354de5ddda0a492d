"""Mutated models into the importer, and some of them through a whole compile.

    python tests/frontend/fuzz.py SEED COUNT [SECONDS]

Prints a line for every model that is neither taken nor refused in one line, and one at the end.
What a seed does is always the same. A crash or a hang of the process is a finding as well: the
last line on stderr is the model's number.
"""

import importlib.util
import random
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

import onnx2mzi
from onnx2mzi.errors import Onnx2MziError, VerificationError
from onnx2mzi.frontend import import_model

NODE = helper.make_node
HANG_SECONDS = 60
# Of the models that are taken, so many are compiled.
COMPILED = 0.1
NUMBERS = (-(1 << 63), -2, -1, 0, 1, 2, 3, 7, 64, 255, 1 << 20, 1 << 31, (1 << 63) - 1)
REALS = (float("nan"), float("inf"), -1.0, 0.0, 1e-38, 3e38)


def bad_files() -> ModuleType:
    path = Path(__file__).with_name("bad_files.py")
    spec = importlib.util.spec_from_file_location("bad_files", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bad_files"] = module
    spec.loader.exec_module(module)
    return module


def models() -> list[ModelProto]:
    """What is mutated: every kind of operator that the importer knows."""
    found = [bad_files().good(), products(), quantized(), branches()]
    found += [normalized(), complex_products(), complex_matrices(), loops()]
    sample = Path(__file__).resolve().parents[2] / "samples" / "digits.onnx"
    if sample.is_file():
        found.append(ModelProto.FromString(sample.read_bytes()))
    return found


def model(
    nodes: list[Any], shape: list[Any], weights: dict[str, np.ndarray], kind: int = 1
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("qonnx.custom_op.general", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).normal(size=shape).astype(np.float32)


def products() -> ModelProto:
    nodes = [
        NODE("Reshape", ["flat", "shape"], ["w"]),
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("Einsum", ["a", "e"], ["b"], equation="bsd,dhk->bshk"),
        NODE("Quant", ["v", "scale", "zero", "bits"], ["vq"], domain="qonnx.custom_op.general"),
        NODE("MatMul", ["b", "vq"], ["c"]),
        NODE("ConvTranspose", ["c", "k"], ["d"], strides=[2, 1]),
        NODE("GRU", ["g", "gw", "gr"], ["h"], hidden_size=2, direction="bidirectional"),
        NODE("ReduceMax", ["h"], ["m"], keepdims=0),
        NODE("ReduceMean", ["d"], ["g"], axes=[1], keepdims=0),
        NODE("Add", ["m", "d"], ["y"]),
    ]
    weights = {
        "flat": numbers(12),
        "shape": np.array([3, 4], np.int64),
        "e": numbers(4, 2, 3),
        "v": numbers(3, 5),
        "scale": np.array(0.25, np.float32),
        "zero": np.array(0, np.float32),
        "bits": np.array(4, np.float32),
        "k": numbers(2, 1, 2, 2),
        "gw": numbers(2, 6, 6),
        "gr": numbers(2, 6, 2),
    }
    return model(nodes, ["N", 2, 3], weights)


def quantized() -> ModelProto:
    nodes = [
        NODE("QLinearMatMul", ["x", "s", "z", "w", "s", "z", "s", "z"], ["a"]),
        NODE("MatMulInteger", ["a", "v", "z"], ["i"]),
        NODE("Cast", ["i"], ["y"], to=2),
    ]
    weights: dict[str, np.ndarray] = {
        "s": np.array(0.5, np.float32),
        "z": np.array(3, np.uint8),
        "w": np.arange(12, dtype=np.uint8).reshape(3, 4),
        "v": np.arange(8, dtype=np.int8).reshape(4, 2),
    }
    return model(nodes, ["N", 3], weights, kind=2)


def branches() -> ModelProto:
    value = helper.make_tensor_value_info
    then = helper.make_graph([NODE("MatMul", ["x", "w"], ["p"])], "t", [], [value("p", 1, None)])
    other = helper.make_graph([NODE("F", ["x", "w"], ["q"], domain="mine")], "e", [],
                              [value("q", 1, None)])  # fmt: skip
    nodes = [
        NODE("ReduceMax", ["x"], ["s"], keepdims=0),
        NODE("Cast", ["s"], ["t"], to=9),
        NODE("If", ["t"], ["y"], then_branch=then, else_branch=other),
    ]
    made = model(nodes, ["N", 3], {"w": numbers(3, 3)})
    opsets = [helper.make_opsetid("", 17)]
    inner = [NODE("Gemm", ["a", "b"], ["c"], transB=1)]
    made.functions.append(helper.make_function("mine", "F", ["a", "b"], ["c"], inner, opsets))
    made.opset_import.append(helper.make_opsetid("mine", 1))
    return made


def normalized() -> ModelProto:
    def norm(x: str, y: str, of: str) -> Any:
        return NODE("BatchNormalization", [x, *(of + part for part in "sbmv")], [y])

    nodes = [
        NODE("Split", ["both"], ["w", "v"], axis=1),
        norm("x", "x1", "a"),
        NODE("Conv", ["x1", "k"], ["c"], group=2),
        NODE("Transpose", ["c"], ["c1"], perm=[0, 1, 3, 2]),
        norm("c1", "c2", "a"),
        NODE("Relu", ["c2"], ["c3"]),
        norm("c3", "c4", "a"),
        NODE("Reshape", ["c4", "to"], ["c5"]),
        NODE("MatMul", ["c5", "w"], ["d"]),
        NODE("Add", ["d", "e"], ["d1"]),
        NODE("Unsqueeze", ["d1", "two"], ["d2"]),
        norm("d2", "d3", "f"),
        NODE("Squeeze", ["d3", "two"], ["d4"]),
        NODE("Gemm", ["d4", "v", "e"], ["y0"], transB=1, beta=0.5),
        norm("y0", "y1", "g"),
        NODE("Reshape", ["y1", "to2"], ["y2"]),
        NODE("ConvTranspose", ["y2", "t", "tb"], ["y3"], strides=[2, 1]),
        norm("y3", "y", "h"),
    ]
    weights: dict[str, np.ndarray] = {
        "both": numbers(16, 6),
        "k": numbers(4, 2, 2, 2),
        "to": np.array([0, 16], np.int64),
        "to2": np.array([-1, 4, 2, 2], np.int64),
        "two": np.array([2], np.int64),
        "e": numbers(3),
        "t": numbers(4, 2, 2, 2),
        "tb": numbers(2),
    }
    for name, channels in (("a", 4), ("f", 3), ("g", 16), ("h", 2)):
        weights |= {name + part: np.abs(numbers(channels, k)[:, 0]) for k, part in
                    enumerate("sbmv", 1)}  # fmt: skip
    weights["e2"] = numbers(16)
    nodes[13] = NODE("Gemm", ["d4", "v", "e2"], ["y0"], transB=1, beta=0.5)
    return model(nodes, ["N", 4, 3, 3], weights)


def complex_products() -> ModelProto:
    """Four products, then three, then what is made of complex values."""
    nodes = [
        NODE("Split", ["x"], ["a", "b"], axis=1),
        NODE("MatMul", ["a", "re"], ["p"]),
        NODE("MatMul", ["b", "im"], ["q"]),
        NODE("Gemm", ["a", "im", "o"], ["r"]),
        NODE("Gemm", ["b", "re", "o"], ["s"]),
        NODE("Sub", ["p", "q"], ["c"]),
        NODE("Add", ["r", "s"], ["d"]),
        NODE("Add", ["c", "d"], ["t"]),
        NODE("MatMul", ["c", "re2"], ["p1"]),
        NODE("MatMul", ["d", "im2"], ["p2"]),
        NODE("MatMul", ["t", "both"], ["p3"]),
        NODE("Sub", ["p1", "p2"], ["e"]),
        NODE("Sub", ["p3", "p1"], ["f0"]),
        NODE("Sub", ["f0", "p2"], ["f"]),
        NODE("Mul", ["e", "e"], ["ee"]),
        NODE("Pow", ["f", "two"], ["ff"]),
        NODE("Add", ["ee", "ff"], ["g"]),
        NODE("Sqrt", ["g"], ["y"]),
    ]
    weights = {
        "re": numbers(3, 4), "im": numbers(3, 4) + 1, "o": numbers(4),
        "re2": numbers(4, 2), "im2": numbers(4, 2) - 1, "two": np.array(2, np.float32),
    }  # fmt: skip
    weights["both"] = weights["re2"] + weights["im2"]
    return model(nodes, ["N", 6], weights)


def complex_matrices() -> ModelProto:
    """Stacked parts in a convolution, interleaved ones in a product."""
    re, im = numbers(3, 2, 2, 2), numbers(3, 2, 2, 2) + 1
    turn = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]]], np.float32)
    cells = np.einsum("mnk,kij->minj", numbers(2, 3, 2), turn).reshape(4, 6)
    nodes = [
        NODE("Conv", ["x", "k"], ["c"], pads=[1, 0, 1, 0]),
        NODE("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=0),
        NODE("Gemm", ["m", "w"], ["y"], transB=1, alpha=0.5),
    ]
    kernel = np.concatenate([np.concatenate([re, -im], 1), np.concatenate([im, re], 1)])
    return model(nodes, ["N", 4, 3, 3], {"k": kernel, "w": cells})


def loops() -> ModelProto:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            NODE("MatMul", ["h", "w"], ["p"]),
            NODE("BatchNormalization", ["p", "s", "b", "b", "s"], ["h1"]),
            NODE("ReduceMax", ["h1"], ["m"], keepdims=0),
            NODE("Less", ["m", "limit"], ["go"]),
        ],
        "body",
        [value("i", 7, []), value("going", 9, []), value("h", 1, None)],
        [value("go", 9, []), value("h1", 1, None)],
        [numpy_helper.from_array(numbers(3, 3), "w")],
    )
    weights: dict[str, np.ndarray] = {
        "trips": np.array(5, np.int64),
        "yes": np.array(True),
        "limit": np.array(50, np.float32),
        "s": np.ones(3, np.float32),
        "b": numbers(3),
    }
    return model([NODE("Loop", ["trips", "yes", "x"], ["y"], body=body)], ["N", 3], weights)


# ---- mutations ------------------------------------------------------------------------------


def places(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every field that is set, in a message and those within it."""
    for field, value in message.ListFields():
        yield message, field
        if field.type == field.TYPE_MESSAGE:
            for inner in value if hasattr(value, "__len__") else [value]:
                yield from places(inner)


def other(value: Any, words: list[str], rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([*NUMBERS, value + 1, value - 1])
    if isinstance(value, float):
        return rng.choice([*REALS, -value])
    if isinstance(value, str):
        return rng.choice([*words, "", value + "x"])
    kept = bytearray(value)
    if kept and rng.random() < 0.5:
        kept[rng.randrange(len(kept))] = rng.randrange(256)
        return bytes(kept)
    return bytes(kept[: rng.randrange(len(kept) + 1)])


def mutate(message: ModelProto, rng: random.Random) -> None:
    """One field of one message becomes something else; what protobuf does not take stays."""
    found = list(places(message))
    words = [v for m, f in found if f.type == f.TYPE_STRING
             for v in ([getattr(m, f.name)] if isinstance(getattr(m, f.name), str)
                       else getattr(m, f.name))]  # fmt: skip
    owner, field = rng.choice(found)
    value = getattr(owner, field.name)
    many = hasattr(value, "__len__") and not isinstance(value, str | bytes)
    try:
        if many and (rng.random() < 0.5 or field.type == field.TYPE_MESSAGE):
            k = rng.randrange(len(value))
            match rng.randrange(3):
                case 0:
                    del value[k]
                case 1:
                    value.append(value[k])
                case _:
                    items = [value[k], *value[:k], *value[k + 1 :]]
                    if field.type == field.TYPE_MESSAGE:
                        items = [type(x).FromString(x.SerializeToString()) for x in items]
                    del value[:]
                    value.extend(items)
        elif many:
            k = rng.randrange(len(value))
            value[k] = other(value[k], words, rng)
        elif field.type == field.TYPE_MESSAGE:
            owner.ClearField(field.name)
        else:
            setattr(owner, field.name, other(value, words, rng))
    except (ValueError, TypeError):
        return


def mutant(base: list[ModelProto], seed: str) -> bytes:
    rng = random.Random(seed)
    copy = ModelProto()
    copy.CopyFrom(rng.choice(base))
    if rng.random() < 0.75:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            mutate(copy, rng)
        return bytes(copy.SerializeToString())
    data = bytearray(copy.SerializeToString())
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data))
        match rng.randrange(3):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at : at + rng.choice((1, 1, 4, 64))]
            case _:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 4))))
        if not data:
            break
    return bytes(data)


# ---- what happens to them -------------------------------------------------------------------


def extreme(data: bytes) -> bool:
    """Whether one entry of a weight is so large that doubles lose the others beside it."""
    for layer in import_model(data).layers:
        sizes = np.sort(np.abs(layer.weight).reshape(-1))
        if sizes[-1] > 1e8 * max(sizes[len(sizes) // 2], 1e-300):
            return True
    return False


def finding(data: bytes, whole: bool) -> str:
    """What is wrong with how the model was taken; nothing if nothing is."""
    try:
        import_model(data)
        if whole:
            unroll = ["all"] if len(data) % 2 else []
            onnx2mzi.compile(data, optimize=0, ports=8, unroll=unroll)
    except VerificationError as error:
        return "" if extreme(data) else f"VerificationError: {error}"
    except Onnx2MziError as error:
        return "more than one line" if "\n" in str(error) else ""
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return ""


def main(seed: int, count: int, seconds: float = float("inf")) -> int:
    warnings.simplefilter("ignore")
    base = models()
    wrong, k, start = 0, 0, time.monotonic()
    while k < count and time.monotonic() - start < seconds:
        name = f"{seed}/{k}"
        print(name, end="\r", file=sys.stderr, flush=True)
        data = mutant(base, name)
        signal.alarm(HANG_SECONDS)
        told = finding(data, random.Random(name).random() < COMPILED)
        signal.alarm(0)
        if told:
            wrong += 1
            print(f"{name}: {told}", flush=True)
        k += 1
    print(f"{k} models, {wrong} findings")
    return int(bool(wrong))


if __name__ == "__main__":
    numbers_given = [float(word) for word in sys.argv[1:]]
    sys.exit(main(int(numbers_given[0]), int(numbers_given[1]), *numbers_given[2:]))
