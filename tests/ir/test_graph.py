"""The networkx graphs: light's ways through a mesh, and the blocks of a program."""

from typing import Any

import networkx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.ir import Mesh, MeshTile, Program, Stage
from onnx2mzi.ir.graph import mesh_graph, program_graph
from onnx2mzi.physics.shifter import Drive

MESH = Mesh(
    ports=3,
    column=np.array([0, 1, 2]),
    port=np.array([0, 1, 1]),
    theta_rad=np.array([0.5, 1.0, 0.0]),
    phi_rad=np.array([0.1, 0.0, 0.0]),
    theta_state=np.array([2, 2, 0]),
    phi_state=np.array([1, 0, 0]),
    out_rad=np.array([0.0, 0.0, 0.3]),
    out_state=np.array([0, 0, 2]),
    drive=Drive.ARM_CHOICE,
)


def test_a_mesh_is_drawn_as_light_runs() -> None:
    graph = mesh_graph(MESH)
    assert list(graph.edges(data="ports")) == [
        ("in.p0", "c0.p0", (0,)),
        ("in.p1", "c0.p0", (1,)),
        ("in.p2", "c1.p1", (2,)),
        ("c0.p0", "c1.p1", (1,)),
        ("c0.p0", "out.p0", (0,)),
        ("c1.p1", "c2.p1", (1, 2)),
        ("c2.p1", "out.p1", (1,)),
        ("c2.p1", "out.p2", (2,)),
    ]
    assert graph.nodes["c0.p0"] == {
        "kind": "mzi",
        "column": 0,
        "port": 0,
        "theta_rad": 0.5,
        "phi_rad": 0.1,
        "theta_state": "active",
        "phi_state": "passive",
    }
    assert graph.nodes["out.p2"]["out_rad"] == 0.3
    assert "m.c0.p0" in mesh_graph(MESH, "m")


@given(seed=st.integers(0, 2**32 - 1), stage=st.sampled_from(Stage), mzis=st.booleans())
def test_a_program_flows_from_layer_to_sum(
    make_program: Any, seed: int, stage: Stage, mzis: bool
) -> None:
    program: Program = make_program(seed, stage)
    graph = program_graph(program, mzis=mzis)
    assert networkx.is_directed_acyclic_graph(graph)
    for layer in program.layers:
        last = f"{layer.name}.g{len(layer.grids) - 1}.out"
        assert graph.nodes[layer.name]["shape"] == layer.weight.shape
        assert graph.out_degree(last) == 0
    if mzis and stage is not Stage.LINEAR:
        drawn = [node for node in graph if graph.nodes[node]["kind"] == "mzi"]
        tiles = [tile for x in program.layers for grid in x.grids for tile in grid.tiles]
        assert len(drawn) == sum(len(t.u) + len(t.v) for t in tiles if isinstance(t, MeshTile))
