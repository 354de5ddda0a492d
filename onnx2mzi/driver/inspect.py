"""What a model, a program or a compiled chip holds, as plain dicts."""

from pathlib import Path
from typing import Any

import numpy as np

from onnx2mzi.driver.again import is_program, valid_program
from onnx2mzi.driver.compile import Model, host_of, imported, load
from onnx2mzi.driver.measured import check_measured
from onnx2mzi.driver.options import Options, check_numbers
from onnx2mzi.driver.plugins import technology
from onnx2mzi.ir import Program, Stage, TensorSpec
from onnx2mzi.pipeline.census import layer_census, reference_mzis, reference_phases
from onnx2mzi.pipeline.summary import electronic_rows

Row = dict[str, Any]


def plan(model: Model, options: Options) -> Row:
    """The model's linear layers and the textbook chip for them; nothing is compiled."""
    check_numbers(options)
    technology(options.tech)
    check_measured(options, None)
    program = imported(model, options)
    host_of(program)
    return described(program)


def inspect(path: Path, options: Options) -> Row:
    """What is in a model, a `.mzi` or an output folder. Raises InputError."""
    if path.is_dir():
        return described(load(path).program)
    if is_program(path):
        return described(valid_program(path))
    return plan(path, options)


def described(program: Program) -> Row:
    """Layers, what stays electronic, inputs and outputs; counts where there are meshes."""
    layers = []
    meshes = program.stage is not Stage.LINEAR
    for layer in program.layers:
        rows, columns = map(int, layer.weight.shape)
        census = layer_census(layer, p_pi_mw=1.0) if meshes else None
        layers.append(
            {
                "name": layer.name,
                "node": layer.loc.node,
                "op": layer.loc.op,
                "tensor": layer.loc.tensor,
                "rows": rows,
                "columns": columns,
                "complex": bool(np.iscomplexobj(layer.weight)),
                "uses": layer.uses,
                "folds": list(layer.folds),
                "copy_of": layer.copy_of or None,
                "tiles": -(-rows // program.ports) * -(-columns // program.ports),
                "mzis_reference": reference_mzis((rows, columns), program.ports),
                "phases_reference": reference_phases((rows, columns), program.ports),
                "mzis": census.mzis if census else None,
                "phases_active": census.phases_active if census else None,
                "phases_passive": census.phases_passive if census else None,
            }
        )
    host = program.host
    return {
        "model": program.name,
        "stage": str(program.stage),
        "ports": program.ports,
        "history": list(program.history),
        "inputs": [_spec(spec) for spec in host.inputs] if host else [],
        "outputs": [_spec(spec) for spec in host.outputs] if host else [],
        "mzis_reference": sum(layer["mzis_reference"] for layer in layers),
        "phases_reference": sum(layer["phases_reference"] for layer in layers),
        "mzis": sum(layer["mzis"] for layer in layers) if meshes else None,
        "phases_active": sum(layer["phases_active"] for layer in layers) if meshes else None,
        "layers": layers,
        "electronic": electronic_rows(program),
    }


def _spec(spec: TensorSpec) -> Row:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}
