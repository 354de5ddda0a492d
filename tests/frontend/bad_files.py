"""Files that must be refused; as a script, writes them all: python bad_files.py FOLDER."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Damage = Callable[[ModelProto], None]
NODE = helper.make_node
MARK = b"SPOIL ME"


@dataclass(frozen=True)
class Bad:
    """A file that must be refused, what stands beside it, and what the refusal says of it."""

    name: str
    data: bytes
    says: str


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).normal(size=shape).astype(np.float32)


def good() -> ModelProto:
    """A convolution, a recurrent layer and a dense one: what all damage is done to."""
    nodes = [
        NODE("Conv", ["x", "k", "kb"], ["c"], "conv", pads=[1, 1, 1, 1], group=2),
        NODE("BatchNormalization", ["c", "bs", "bb", "bm", "bv"], ["n"], "norm"),
        NODE("Relu", ["n"], ["r"], "relu"),
        NODE("Flatten", ["r"], ["f"], "flat"),
        NODE("Gemm", ["f", "w", "b"], ["h"], "fc", transB=1, alpha=0.5),
        NODE("Unsqueeze", ["h", "first"], ["s"], "seq"),
        NODE("LSTM", ["s", "lw", "lr"], ["", "hn"], "lstm", hidden_size=2),
        NODE("Squeeze", ["hn", "first"], ["q"], "last"),
        NODE("MatMul", ["q", "v"], ["y"], "out"),
    ]
    weights = {
        "k": numbers(4, 1, 3, 3),
        "kb": numbers(4),
        "bs": numbers(4),
        "bb": numbers(4),
        "bm": numbers(4),
        "bv": np.abs(numbers(4)),
        "w": numbers(5, 64),
        "b": numbers(5),
        "first": np.array([0], np.int64),
        "lw": numbers(1, 8, 5),
        "lr": numbers(1, 8, 2),
        "v": numbers(2, 3),
    }
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", 1, ["N", 2, 4, 4])],
        [value("y", 1, ["N", 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# ---- ways to damage a model -----------------------------------------------------------------


def node_of(model: ModelProto, name: str) -> NodeProto:
    found: NodeProto = next(node for node in model.graph.node if node.name == name)
    return found


def tensor_of(model: ModelProto, name: str) -> TensorProto:
    found: TensorProto = next(t for t in model.graph.initializer if t.name == name)
    return found


def array(name: str, values: np.ndarray) -> Damage:
    return lambda model: tensor_of(model, name).CopyFrom(numpy_helper.from_array(values, name))


def spoiled(name: str, value: float) -> Damage:
    def damage(model: ModelProto) -> None:
        values = numpy_helper.to_array(tensor_of(model, name)).copy()
        values.reshape(-1)[-1] = value
        array(name, values)(model)

    return damage


def attribute(node: str, name: str, value: Any) -> Damage:
    def damage(model: ModelProto) -> None:
        found = node_of(model, node)
        kept = [entry for entry in found.attribute if entry.name != name]
        del found.attribute[:]
        found.attribute.extend([*kept, helper.make_attribute(name, value)])

    return damage


def field(message: Callable[[ModelProto], Any], **values: Any) -> Damage:
    def damage(model: ModelProto) -> None:
        for name, value in values.items():
            target = message(model)
            if isinstance(value, list):
                del getattr(target, name)[:]
                getattr(target, name).extend(value)
            else:
                setattr(target, name, value)

    return damage


def all_of(*damages: Damage) -> Damage:
    def damage(model: ModelProto) -> None:
        for one in damages:
            one(model)

    return damage


def reads(node: str, at: int, name: str) -> Damage:
    return lambda model: node_of(model, node).input.__setitem__(at, name)


def makes(node: str, name: str) -> Damage:
    return lambda model: node_of(model, node).output.__setitem__(0, name)


def external(location: str, **info: str) -> Damage:
    def damage(model: ModelProto) -> None:
        tensor = tensor_of(model, "w")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **info}.items():
            tensor.external_data.add(key=key, value=value)

    return damage


def without(name: str) -> Damage:
    return lambda model: model.ClearField(name) if name == "graph" else clear(model.graph, name)


def clear(graph: GraphProto, name: str) -> None:
    del getattr(graph, name)[:]


def bomb(*nodes: NodeProto, **constants: np.ndarray) -> Damage:
    """The last of `nodes` makes "boom", which the network's output then depends on."""

    def damage(model: ModelProto) -> None:
        node_of(model, "out").output[0] = "before"
        model.graph.node.extend(nodes)
        model.graph.node.append(NODE("ReduceMax", ["boom"], ["most"], "most", keepdims=0))
        model.graph.node.append(NODE("Add", ["before", "most"], ["y"], "sum"))
        model.graph.initializer.extend(
            numpy_helper.from_array(values, name) for name, values in constants.items()
        )

    return damage


def doubled(model: ModelProto) -> None:
    """A weight that is concatenated with itself fifty times."""
    nodes = [NODE("Concat", [f"d{k}", f"d{k}"], [f"d{k + 1}"], axis=0) for k in range(50)]
    nodes.append(NODE("Identity", ["d50"], ["boom"]))
    bomb(*nodes, d0=np.ones(1 << 10, np.float32))(model)


def nested(model: ModelProto) -> None:
    """Branches within branches, with an operator that nobody knows at the end of each."""
    value = helper.make_tensor_value_info("z", 1, None)
    graph = helper.make_graph([NODE("Relo", ["h"], ["z"])], "leaf", [], [value])
    for _ in range(8):
        node = NODE("If", ["yes"], ["z"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "branch", [], [value])
    bomb(NODE("If", ["yes"], ["boom"], then_branch=graph, else_branch=graph), yes=np.array(True))(
        model
    )


def sparse(model: ModelProto) -> None:
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [9]))


def recursive(model: ModelProto) -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    body = [NODE("F", ["a"], ["b"], domain="mine")]
    model.functions.append(helper.make_function("mine", "F", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    bomb(NODE("F", ["h"], ["boom"], domain="mine"))(model)


def appended(kind: str) -> Damage:
    def damage(model: ModelProto) -> None:
        found = getattr(model.graph, kind)
        found.append(found[0])

    return damage


def int64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def graph(model: ModelProto) -> GraphProto:
    return model.graph


def opset(model: ModelProto) -> Any:
    return model.opset_import[0]


def weight(model: ModelProto) -> TensorProto:
    return tensor_of(model, "w")


def first_dim(model: ModelProto) -> Any:
    return model.graph.input[0].type.tensor_type.shape.dim[1]


def longer(model: ModelProto) -> None:
    weight(model).raw_data += bytes(4)


def shorter(model: ModelProto) -> None:
    weight(model).raw_data = weight(model).raw_data[:-2]


def strings(model: ModelProto) -> None:
    words: Any = [b"a"] * 320
    weight(model).CopyFrom(helper.make_tensor("w", TensorProto.STRING, [5, 64], words))


NAN, INF = float("nan"), float("inf")
DAMAGES: dict[str, tuple[Damage, str]] = {
    # Numbers that are none.
    "nan weight": (spoiled("w", NAN), "NaN"),
    "inf weight": (spoiled("w", INF), "infinite"),
    "nan kernel": (spoiled("k", NAN), "NaN"),
    "inf kernel": (spoiled("k", -INF), "infinite"),
    "nan bias": (spoiled("b", NAN), "NaN"),
    "inf bias": (spoiled("b", INF), "infinite"),
    "nan kernel bias": (spoiled("kb", NAN), "NaN"),
    "nan alpha": (attribute("fc", "alpha", NAN), "alpha is nan"),
    "inf beta": (attribute("fc", "beta", INF), "beta is inf"),
    "nan norm": (spoiled("bs", NAN), "NaN"),
    "nan recurrence": (spoiled("lr", NAN), "NaN"),
    # Shapes that do not fit.
    "bias shape": (array("b", numbers(6)), "bias 'b'"),
    "bias rank": (array("b", numbers(1, 1, 5)), "bias 'b'"),
    "kernel bias shape": (array("kb", numbers(3)), "kb"),
    "norm shape": (array("bs", numbers(3)), "onnxruntime"),
    "norm too long": (
        all_of(*(array(name, numbers(5)) for name in ("bs", "bb", "bm", "bv"))), "onnxruntime"
    ),
    "norm without mean": (reads("norm", 3, ""), "onnxruntime"),
    "nan variance": (spoiled("bv", NAN), "NaN"),
    "norm rank": (array("bm", numbers(1, 4)), "onnxruntime"),
    "weight shape": (array("v", numbers(3, 3)), "onnxruntime"),
    "weight rank": (array("w", numbers(5, 64, 1)), "two dimensions"),
    "gates": (array("lw", numbers(1, 7, 5)), "W has shape"),
    "directions": (attribute("lstm", "direction", "bidirectional"), "2 directions"),
    "no direction": (attribute("lstm", "direction", "upwards"), "direction is 'upwards'"),
    "hidden size": (attribute("lstm", "hidden_size", 3), "hidden_size 3"),
    "group 0": (attribute("conv", "group", 0), "group is 0"),
    "group 3": (attribute("conv", "group", 3), "group is 3"),
    "group -1": (attribute("conv", "group", -1), "group is -1"),
    "kernel_shape": (attribute("conv", "kernel_shape", [5, 5]), "kernel_shape is"),
    "dilation": (attribute("conv", "dilations", [9, 9]), ""),
    "dilation 0": (attribute("conv", "dilations", [0, 1]), "dilations is"),
    "stride 0": (attribute("conv", "strides", [0, 1]), "strides is"),
    "stride -1": (attribute("conv", "strides", [1, -1]), "strides is"),
    "strides of one axis": (attribute("conv", "strides", [1]), "strides is"),
    "pads": (attribute("conv", "pads", [1, 1, 1]), "pads is"),
    "negative pads": (attribute("conv", "pads", [-1, 1, 1, 1]), "pads is"),
    "auto_pad": (attribute("conv", "auto_pad", "SOMEHOW"), "auto_pad is 'SOMEHOW'"),
    "strides as text": (attribute("conv", "strides", "one"), ""),
    "axis": (attribute("flat", "axis", 99), "onnxruntime"),
    # A graph that is none.
    "no graph": (without("graph"), "no graph"),
    "no nodes": (without("node"), "no nodes"),
    "no outputs": (without("output"), "no outputs"),
    "no inputs": (without("input"), "reads 'x'"),
    "no weights": (without("initializer"), "which nothing makes"),
    "circle": (reads("conv", 0, "y"), "circle"),
    "circle of one": (reads("relu", 0, "r"), "circle"),
    "dangling input": (reads("relu", 0, "nobody"), "which nothing makes"),
    "dangling output": (makes("out", "z"), "nothing makes the output"),
    "value twice": (makes("relu", "c"), "called 'c'"),
    "initializer twice": (appended("initializer"), "2 initializers"),
    "input twice": (appended("input"), "2 graph inputs"),
    "output twice": (appended("output"), "2 graph outputs"),
    "node twice": (appended("node"), "called 'c'"),
    "few inputs": (lambda model: clear(node_of(model, "out"), "input"), "two inputs"),
    "no operator": (field(lambda m: node_of(m, "relu"), op_type=""), "onnxruntime"),
    "unknown operator": (field(lambda m: node_of(m, "relu"), op_type="Relo"), "Relo"),
    "unknown domain": (field(lambda m: node_of(m, "relu"), domain="nowhere"), "nowhere"),
    "opset 999": (field(opset, version=999), "opset 999"),
    "opset 0": (field(opset, version=0), "opset 0"),
    "opset -1": (field(opset, version=-1), "opset -1"),
    "opset of another domain": (field(opset, domain="elsewhere"), "which opset"),
    "opset twice": (
        lambda model: model.opset_import.append(helper.make_opsetid("ai.onnx", 9)), "2 times"
    ),
    "functions in a circle": (recursive, "recursive"),
    # Tensors that are none.
    "short data": (shorter, "holds 1278 bytes"),
    "long data": (longer, "holds 1284 bytes"),
    "strings": (strings, ""),
    "sparse": (sparse, "sparse"),
    "huge weight": (field(weight, dims=[1 << 40, 1 << 20]), "entries"),
    "negative weight": (field(weight, dims=[-5, -64]), "negative"),
    "overflowing weight": (field(weight, dims=[1 << 62, 1 << 62]), "entries"),
    "no type": (field(weight, data_type=0), "type 0"),
    "unknown type": (field(weight, data_type=77), "type 77"),
    "complex": (field(weight, data_type=TensorProto.COMPLEX64), ""),
    "huge input": (field(first_dim, dim_value=1 << 60), "entries"),
    # External data.
    "external: missing": (external("gone.bin"), "missing"),
    "external: above": (external("../w.bin"), "no plain file"),
    "external: above and back": (external("a/../../w.bin"), "no plain file"),
    "external: Windows": (external("..\\w.bin"), "no plain file"),
    "external: absolute": (external("/etc/hostname"), "no plain file"),
    "external: device": (external("/dev/zero"), "no plain file"),
    "external: NUL": (external("w\0.bin"), "no plain file"),
    "external: nameless": (external(""), "no plain file"),
    "external: link": (external("link.bin"), "no plain file"),
    "external: folder": (external("."), "no plain file"),
    "external: offset": (external("w.bin", offset="64"), "end at byte"),
    "external: negative offset": (external("w.bin", offset="-4"), "the file at"),
    "external: offset as text": (external("w.bin", offset="two"), "offset or length"),
    "external: length": (external("w.bin", length="4"), "holds 4 bytes"),
    "external: huge length": (external("w.bin", length=str(1 << 62)), "end at byte"),
    # Bombs.
    "bomb: shape": (
        bomb(NODE("ConstantOfShape", ["big"], ["boom"]), big=int64(10**6, 10**6)), "entries"
    ),
    "bomb: expand": (
        bomb(NODE("Expand", ["b", "big"], ["boom"]), big=int64(10**9, 5)), "entries"
    ),
    "bomb: product": (
        bomb(
            NODE("Mul", ["row", "column"], ["boom"]),
            row=np.ones((1, 10**5), np.float32), column=np.ones((10**5, 1), np.float32),
        ), "entries",
    ),
    "bomb: tile": (bomb(NODE("Tile", ["b", "big"], ["boom"]), big=int64(10**10)), "entries"),
    "bomb: range": (
        bomb(
            NODE("Range", ["zero", "end", "one"], ["boom"]),
            zero=np.array(0, "f4"), end=np.array(1e11, "f4"),
            one=np.array(1, "f4"),
        ), "entries",
    ),
    "bomb: random": (
        bomb(NODE("RandomNormal", [], ["boom"], shape=[10**6, 10**6])), "entries"
    ),
    "bomb: concat": (doubled, "entries"),
    "bomb: branches": (nested, ""),
}  # fmt: skip


def renamed(model: ModelProto) -> None:
    weight(model).name = MARK.decode()
    reads("fc", 1, MARK.decode())(model)


# Text that is not UTF-8, put in after protobuf wrote it.
TEXTS: dict[str, Damage] = {
    "graph name": field(graph, name=MARK.decode()),
    "node name": field(lambda m: node_of(m, "relu"), name=MARK.decode()),
    "weight name": renamed,
    "attribute name": attribute("flat", MARK.decode(), 1),
    "operator": field(lambda m: node_of(m, "relu"), op_type=MARK.decode()),
}  # fmt: skip


def raw() -> Iterator[Bad]:
    """Files that are no model."""
    whole = good().SerializeToString()
    for name, data in {
        "empty": b"",
        "zeros": bytes(1000),
        "ones": b"\xff" * 1000,
        "text": b"this is no model, it is a letter to a friend",
        "pytorch": b"PK\x03\x04" + bytes(100),
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "web page": b"<!DOCTYPE html><html></html>",
        "doubled": whole + whole,
        **{f"truncated to {share} %": whole[: len(whole) * share // 100] for share in
           (1, 10, 25, 50, 75, 90, 99)},
    }.items():  # fmt: skip
        yield Bad(name, data, "")


def small(nodes: Sequence[NodeProto], columns: int, **weights: np.ndarray) -> ModelProto:
    """A model of one input x [N, columns] and one output y."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes),
        "net",
        [value("x", 1, ["N", columns])],
        [value("y", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def endless(trips: int | None, *inner: NodeProto, **weights: np.ndarray) -> ModelProto:
    """A Loop that nothing but its trip count ends; `inner` makes z of r in its body."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [NODE("MatMul", ["h", "w"], ["r"]), *inner, NODE("Identity", ["going"], ["go"])],
        "body",
        [value("i", 7, []), value("going", 9, []), value("h", 1, None)],
        [value("go", 9, []), value("z" if inner else "r", 1, None)],
    )
    loop = NODE("Loop", ["" if trips is None else "trips", "", "x"], ["y"], "loop", body=body)
    return small([loop], 3, w=numbers(3, 3), trips=np.array(trips or 0, np.int64), **weights)


def branch(tensor: TensorProto) -> ModelProto:
    """A weight `w` [3, 3] in the body of an If."""
    value = helper.make_tensor_value_info
    matmul = [NODE("MatMul", ["x", "w"], ["p"])]
    then = helper.make_graph(matmul, "then", [], [value("p", 1, None)], [tensor])
    other = helper.make_graph([NODE("Identity", ["x"], ["i"])], "e", [], [value("i", 1, None)])
    nodes = [
        NODE("ReduceMax", ["x"], ["m"], keepdims=0),
        NODE("Cast", ["m"], ["t"], to=9),
        NODE("If", ["t"], ["y"], "if", then_branch=then, else_branch=other),
    ]
    return small(nodes, 3)


def outside(location: str, **info: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=1, dims=[3, 3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **info}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def products(**weights: np.ndarray) -> ModelProto:
    """A complex product in four real ones."""
    nodes = [
        NODE("Split", ["x"], ["a", "b"], axis=1),
        NODE("Gemm", ["a", "re", "o"], ["p"], "aa"),
        NODE("Gemm", ["b", "im", "o"], ["q"], "bb"),
        NODE("Gemm", ["a", "im", "o"], ["r"], "ab"),
        NODE("Gemm", ["b", "re", "o"], ["s"], "ba"),
        NODE("Sub", ["p", "q"], ["c"]),
        NODE("Add", ["r", "s"], ["d"]),
        NODE("Concat", ["c", "d"], ["y"], axis=1),
    ]
    given = {"re": numbers(3, 2), "im": numbers(3, 2) + 1, "o": numbers(2), **weights}
    return small(nodes, 6, **given)


def others() -> Iterator[Bad]:
    """What is wrong with loops, bodies, complex products and weights behind Split."""
    blow = (
        NODE("ConstantOfShape", ["big"], ["boom"]),
        NODE("ReduceSum", ["boom"], ["rest"], keepdims=0),
        NODE("Add", ["r", "rest"], ["z"]),
    )
    nan, small_nan = numbers(3, 2), numbers(3, 3)
    nan[0, 0] = small_nan[1, 1] = np.nan
    split = [NODE("Split", ["both"], ["w", "v"], "cut", axis=1, split=[2, 9]),
             NODE("MatMul", ["x", "w"], ["y"])]  # fmt: skip
    pieces = [NODE("Split", ["both", "sizes"], ["w", "v"], "cut", axis=1),
              NODE("MatMul", ["x", "w"], ["y"])]  # fmt: skip
    models = {
        "loop: endless": (endless(None), "never ends"),
        "loop: long": (endless(10**12), "runs 1000000000000 times"),
        "loop: longest": (endless((1 << 63) - 1), "times"),
        "loop: unknown operator": (endless(3, NODE("Relo", ["r"], ["z"])), "Relo"),
        "loop: bomb": (endless(3, *blow, big=int64(10**6, 10**6)), "entries"),
        "body: missing data": (branch(outside("gone.bin")), "missing"),
        "body: data above": (branch(outside("../w.bin")), "no plain file"),
        "body: data of another length": (branch(outside("w.bin", length="44")), "needs 36"),
        "body: nan weight": (branch(numpy_helper.from_array(small_nan, "w")), "NaN"),
        "products: nan": (products(re=nan), "NaN"),
        "products: bias shape": (products(o=numbers(3)), "bias"),
        "products: shape": (products(im=numbers(4, 2)), "onnxruntime"),
        "split: pieces": (small(split, 3, both=numbers(3, 4)), "Split"),
        "split: sizes": (small(pieces, 3, both=numbers(3, 4), sizes=int64(5, 5)), "Split"),
    }
    for name, (model, says) in models.items():
        yield Bad(name, model.SerializeToString(), says)


def all_bad() -> list[Bad]:
    """Every bad file but the one over 2 GB and the links, which `write` adds."""
    found = [*raw(), *others()]
    for name, (damage, says) in DAMAGES.items():
        model = good()
        damage(model)
        found.append(Bad(name, model.SerializeToString(), says))
    for name, damage in TEXTS.items():
        model = good()
        damage(model)
        spelled = model.SerializeToString().replace(MARK, b"\xff\xfe" + MARK[2:])
        found.append(Bad(f"{name} not in UTF-8", spelled, "UTF-8"))
    return found


def write(folder: Path, bad: Sequence[Bad]) -> dict[str, Path]:
    """The files by name, each in a folder with the data files that some point to."""
    files: dict[str, Path] = {}
    for k, one in enumerate([*bad, Bad("over 2 GB", b"", "2 GB")]):
        place = folder / f"{k:03}"
        place.mkdir()
        (place / "w.bin").write_bytes(numbers(5, 64).tobytes())
        (place / "link.bin").symlink_to(place / "w.bin")
        files[one.name] = place / "net.onnx"
        files[one.name].write_bytes(one.data)
        if one.name == "over 2 GB":
            os.truncate(files[one.name], 1 << 31)
    return files


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for label, path in write(target, all_bad()).items():
        print(f"{path}: {label}")
    onnx.save(good(), target / "good.onnx")
