"""Meshes and programs as networkx graphs: nodes are optics, edges are waveguides."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx2mzi.ir.layer import LinearLayer, MeshTile
from onnx2mzi.ir.mesh import Mesh, MziNode
from onnx2mzi.ir.program import Program
from onnx2mzi.physics.shifter import ShifterState

if TYPE_CHECKING:
    import networkx


def mesh_graph(mesh: Mesh, name: str = "") -> "networkx.DiGraph[str]":
    """The mesh as a directed graph, light running along the edges.

    Nodes: `in.p0`, `out.p0` for every port, and `c3.p2` for the MZI at column 3 on ports 2
    and 3, all behind `NAME.` if there is a name. Attributes: `kind` (`input`, `output`,
    `mzi`), `port`, and for MZIs `column`, `theta_rad`, `phi_rad`, `theta_state`, `phi_state`
    (`active`, `passive`, `removed`); outputs have `out_rad`, `out_state`. Every edge has
    `ports`, the guides that it stands for (two between MZIs in line).
    """
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    prefix = f"{name}." if name else ""
    ends = [f"{prefix}in.p{p}" for p in range(mesh.ports)]
    for p, node in enumerate(ends):
        graph.add_node(node, kind="input", port=p)
    for mzi in mesh:
        node = f"{prefix}c{mzi.column}.p{mzi.port}"
        graph.add_node(node, **_mzi_attributes(mzi))
        for p in (mzi.port, mzi.port + 1):
            _connect(graph, ends[p], node, p)
            ends[p] = node
    for p, end in enumerate(ends):
        node = f"{prefix}out.p{p}"
        state = ShifterState(mesh.out_state[p]).name.lower()
        rad = float(mesh.out_rad[p])
        graph.add_node(node, kind="output", port=p, out_rad=rad, out_state=state)
        _connect(graph, end, node, p)
    return graph


def _mzi_attributes(mzi: MziNode) -> dict[str, Any]:
    return {
        "kind": "mzi",
        "column": mzi.column,
        "port": mzi.port,
        "theta_rad": mzi.theta_rad,
        "phi_rad": mzi.phi_rad,
        "theta_state": mzi.theta_state.name.lower(),
        "phi_state": mzi.phi_state.name.lower(),
    }


def _connect(graph: "networkx.DiGraph[str]", a: str, b: str, port: int) -> None:
    if graph.has_edge(a, b):
        graph.edges[a, b]["ports"] = (*graph.edges[a, b]["ports"], port)
    else:
        graph.add_edge(a, b, ports=(port,))


def program_graph(program: Program, *, mzis: bool = False) -> "networkx.DiGraph[str]":
    """The whole program: layers, grids of tiles, and the blocks of every tile.

    Nodes: `fc1` (kind `layer`), `fc1.g0.in` (`split`: light for all tiles of a grid),
    `fc1.g0.t3.v`, `.s`, `.u` (`mesh`, `attenuators`), `fc1.g0.out` (`sum`), and one for every
    tile that has no mesh yet (`tile`). With `mzis`, the meshes are replaced by `mesh_graph`
    of each, joined channel by channel through nodes `fc1.g0.t3.s.c0.p2` (`attenuator`).
    How layers feed each other is electronic and in the host graph: each layer is a component
    of its own.
    """
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for layer in program.layers:
        rows, columns = layer.weight.shape
        graph.add_node(layer.name, kind="layer", shape=(rows, columns), loc=str(layer.loc))
        before = layer.name
        for g, _ in enumerate(layer.grids):
            before = _add_grid(graph, layer, g, before, mzis)
    return graph


def _add_grid(
    graph: "networkx.DiGraph[str]", layer: LinearLayer, g: int, before: str, mzis: bool
) -> str:
    """One grid behind the node `before`; the node that sums its tiles."""
    grid = layer.grids[g]
    where = f"{layer.name}.g{g}"
    split, total = f"{where}.in", f"{where}.out"
    graph.add_node(split, kind="split", ports=grid.columns)
    graph.add_node(total, kind="sum", ports=grid.rows)
    graph.add_edge(before, split)
    for t, tile in enumerate(grid.tiles):
        name = f"{where}.t{t}"
        if not isinstance(tile, MeshTile):
            shape = (len(tile.outputs), len(tile.inputs))
            graph.add_node(name, kind="tile", form=type(tile).__name__, shape=shape)
            graph.add_edge(split, name)
            graph.add_edge(name, total)
        elif mzis:
            _add_optics(graph, tile, name, split, total)
        else:
            for a, b in _add_blocks(graph, tile, name, split, total):
                graph.add_edge(a, b)
    return total


def _add_blocks(
    graph: "networkx.DiGraph[str]", tile: MeshTile, name: str, split: str, total: str
) -> Iterator[tuple[str, str]]:
    v, s, u = (f"{name}.{block}" for block in "vsu")
    for node, mesh in ((v, tile.v), (u, tile.u)):
        active = sum(
            int(np.count_nonzero(states == ShifterState.ACTIVE))
            for states in (mesh.theta_state, mesh.phi_state, mesh.out_state)
        )
        graph.add_node(node, kind="mesh", ports=mesh.ports, mzis=len(mesh), active=active)
    active = int(np.count_nonzero(tile.sigma.state == ShifterState.ACTIVE))
    graph.add_node(s, kind="attenuators", channels=len(tile.sigma), active=active)
    return iter(((split, v), (v, s), (s, u), (u, total)))


def _add_optics(
    graph: "networkx.DiGraph[str]", tile: MeshTile, name: str, split: str, total: str
) -> None:
    for block, mesh in (("v", tile.v), ("u", tile.u)):
        graph.update(mesh_graph(mesh, f"{name}.{block}"))
    for k, (rad, state) in enumerate(zip(tile.sigma.theta_rad, tile.sigma.state, strict=True)):
        node = f"{name}.s.c0.p{k}"
        graph.add_node(
            node,
            kind="attenuator",
            port=k,
            theta_rad=float(rad),
            theta_state=ShifterState(state).name.lower(),
        )
        graph.add_edge(f"{name}.v.out.p{k}", node, ports=(k,))
        graph.add_edge(node, f"{name}.u.in.p{k}", ports=(k,))
    for k, guide in enumerate(tile.inputs.tolist()):
        graph.add_edge(split, f"{name}.v.in.p{k}", guide=guide)
    for k, guide in enumerate(tile.outputs.tolist()):
        graph.add_edge(f"{name}.u.out.p{k}", total, guide=guide)
