"""An ONNX model becomes a program: linear layers, and a host graph for the rest."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from onnx import ModelProto, TensorProto

from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.fold_ops import MOST
from onnx2mzi.frontend.host import HostGraph, build_host, needed, tensor_spec
from onnx2mzi.frontend.loops import check_loops
from onnx2mzi.frontend.names import printable
from onnx2mzi.frontend.plain import plain
from onnx2mzi.frontend.select import Selection
from onnx2mzi.frontend.source import read_source
from onnx2mzi.frontend.tensors import TensorReader, tensors_of
from onnx2mzi.frontend.uses import with_uses
from onnx2mzi.frontend.validate import check_model, check_names, in_order
from onnx2mzi.frontend.walk import Walk
from onnx2mzi.ir import Electronic, Host, Program, Stage, TensorSpec

# Entries that may be folded at least, and for each that the file holds.
_LEAST_FOLDED, _FOLDED = 1 << 22, 4
NO_SHAPES: Mapping[str, Sequence[int]] = MappingProxyType({})


def import_model(
    model: str | Path | bytes | ModelProto,
    *,
    ports: int = 64,
    only: Collection[str] = (),
    exclude: Collection[str] = (),
    input_shapes: Mapping[str, Sequence[int]] = NO_SHAPES,
    runnable: bool = True,
) -> Program:
    """The program of an ONNX model, stage LINEAR, for a chip whose tiles have `ports` ports.

    Every linear operator with a constant weight becomes a layer, or several; `only` and
    `exclude` choose by node or layer name (or pattern). What else is linear is in
    `host.electronic`, with its reason. `input_shapes` fills unknown dimensions of the model's
    inputs (a symbolic first dimension stays symbolic: it counts samples). Unless `runnable`, it
    does not matter whether onnxruntime takes the host graph.

    Layers are also found in the bodies of If, Loop and Scan, and in functions of the model.

    A graph input that is also an initializer is a constant here, as IR 3 has it.
    Raises InputError if the model is refused, UsageError if an option names what is not there.
    """
    try:
        return _imported(model, ports, Selection(only, exclude), input_shapes, runnable)
    except InputError as error:
        # Names in a damaged file hold anything, and an error is one line.
        place = error.where or (str(model) if isinstance(model, str | Path) else "")
        message, where, hint = map(printable, (error.message, place, error.hint))
        raise InputError(message, where=where, hint=hint) from None


def _imported(
    given: str | Path | bytes | ModelProto,
    ports: int,
    selection: Selection,
    input_shapes: Mapping[str, Sequence[int]],
    runnable: bool,
) -> Program:
    source = read_source(given)
    where = str(given) if isinstance(given, str | Path) else "the model"
    opset = check_model(source.model, where)
    check_names(source.model.graph, where)
    reader = TensorReader(source.file, source.folder)
    for tensor in tensors_of(source.model.graph):
        reader.check(tensor)
    model = plain(source.model, opset, where)
    graph = model.graph
    if model is not source.model:
        for tensor in tensors_of(graph):
            reader.check(tensor)
    # A layer that nothing depends on must not get a mesh.
    nodes = needed(in_order(graph, where), [value.name for value in graph.output])
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    constants = Constants(initializers, nodes, reader, most=_bound(tensors_of(graph)))
    check_loops(graph, constants, where)
    walk = Walk(model, source.file, opset, selection)
    host_nodes = walk.take(nodes, constants)
    walk.activations(nodes, constants)
    selection.finish(where)
    if not walk.layers:
        raise _nothing_linear(walk.electronic, where)
    inputs = [value for value in graph.input if value.name not in initializers]
    parts = HostGraph(
        host_nodes, {**initializers, **walk.constants}, inputs, graph.output, walk.layers
    )
    host = Host(
        build_host(model, parts, reader, where),
        _shaped([tensor_spec(value) for value in inputs], input_shapes),
        tuple(tensor_spec(value) for value in graph.output),
        tuple(walk.electronic),
    )
    if runnable:
        # What onnxruntime refuses must be refused before any work is done.
        HostRunner(host, optimize=False, where=where)
    layers = with_uses(host, walk.layers, constants) if runnable else tuple(walk.layers)
    return Program(source.name, Stage.LINEAR, ports, layers, host)


def _bound(tensors: Sequence[TensorProto]) -> int:
    """How many entries may be folded: what the file holds, some times over."""
    entries: int = sum(math.prod(tensor.dims) for tensor in tensors)
    return min(_LEAST_FOLDED + _FOLDED * entries, MOST)


def _shaped(
    specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]]
) -> tuple[TensorSpec, ...]:
    known = {spec.name for spec in specs}
    for name in shapes:
        if name not in known:
            told = ", ".join(f"'{other}'" for other in sorted(known))
            raise UsageError(
                f"the model has no input '{name}'", where="--input-shape", hint=f"inputs: {told}"
            )
    return tuple(_with_shape(spec, shapes.get(spec.name)) for spec in specs)


def _with_shape(spec: TensorSpec, given: Sequence[int] | None) -> TensorSpec:
    if given is None:
        return spec
    declared = spec.shape or (None,) * len(given)
    fits = len(declared) == len(given) and all(
        g > 0 and (not isinstance(d, int) or d == g) for d, g in zip(declared, given, strict=True)
    )
    if not fits:
        raise UsageError(
            f"input '{spec.name}' has shape {list(declared)}, which cannot be {list(given)}",
            where="--input-shape",
        )
    # The first dimension, if free, counts samples.
    first = given[0] if declared and isinstance(declared[0], int) else declared[:1]
    shape = (first, *given[1:]) if isinstance(first, int) else (*first, *given[1:])
    return replace(spec, shape=shape)


def _nothing_linear(electronic: Sequence[Electronic], where: str) -> InputError:
    reasons = Counter(f"{item.loc.op}: {item.why}" for item in electronic)
    told = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
    return InputError(
        "no linear layer can be compiled" + (f" ({told})" if told else ""),
        where=where,
        hint="the chip takes products with a constant matrix: Gemm, MatMul, Einsum, Conv, ...",
    )
