"""Which tiles are drawn, what is said beside each, and all phases of the heaters."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from onnx2mzi.backends.report import text
from onnx2mzi.backends.report.charts import singular_values
from onnx2mzi.backends.report.markup import Markup, el, short
from onnx2mzi.backends.report.picture import tile_picture
from onnx2mzi.ir import LinearLayer, MeshTile, Program
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.mzi import attenuation
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.pipeline.backend import Emission
from onnx2mzi.pipeline.census import tile_census

# All pictures together draw at most this many MZIs (about 25 bytes each).
MZIS_DRAWN = 40_000


def mesh_tiles(layer: LinearLayer) -> Iterator[tuple[int, int, MeshTile]]:
    """(grid, tile number, tile) of every tile on the chip."""
    for g, grid in enumerate(layer.grids):
        for t, tile in enumerate(grid.tiles):
            if isinstance(tile, MeshTile):
                yield g, t, tile


def layer_figures(emission: Emission, tiles_per_layer: int) -> list[Markup]:
    """The pictures of every layer: its first tiles, and how many are left out."""
    left = MZIS_DRAWN
    sections = []
    for number, layer in enumerate(emission.program.layers):
        tiles = list(mesh_tiles(layer))
        drawn = []
        for g, t, tile in tiles[:tiles_per_layer]:
            size = len(tile.u) + len(tile.v)
            if size <= left:
                left -= size
                drawn.append(_figure(emission, layer, g, t, tile))
        if tiles:
            rows, columns = layer.weight.shape
            title = f"{layer.name}, {rows} × {columns}: {len(drawn)} of {len(tiles)} tiles drawn"
            is_open = "" if number < 4 else None
            overview = tile_map(layer, emission.program.ports) if len(tiles) > len(drawn) else None
            sections.append(el("details", el("summary", title), overview, *drawn, open=is_open))
    return sections


def tile_map(layer: LinearLayer, ports: int) -> Markup:
    """Every tile of the layer at its place in the matrix, the stronger the more heaters."""
    step, maps = 14.0, []
    for g, grid in enumerate(layer.grids):
        active = {
            t: tile_census(tile, p_pi_mw=0.0).phases_active
            for where, t, tile in mesh_tiles(layer)
            if where == g
        }
        most = max(active.values(), default=0)
        columns, rows = -(-grid.columns // ports), -(-grid.rows // ports)
        cells = [el("rect", x=0, y=0, width=columns * step, height=rows * step, class_="frame")]
        for t, count in active.items():
            tile = grid.tiles[t]
            row = int(tile.outputs.min(initial=grid.rows)) // ports
            column = int(tile.inputs.min(initial=grid.columns)) // ports
            cells.append(
                el(
                    "rect",
                    el("title", f"{layer.name}.g{g}.t{t}: {text.plural(count, 'active phase')}"),
                    x=column * step + 0.5,
                    y=row * step + 0.5,
                    width=step - 1,
                    height=step - 1,
                    opacity=0.08 + 0.92 * count / most if most else 0.08,
                )
            )
        width, height = columns * step, rows * step
        view = f"0 0 {short(width)} {short(height)}"
        maps.append(el("svg", *cells, viewBox=view, width=width, height=height, class_="map"))
    note = "Tiles at their places in the matrix; the stronger, the more heaters."
    return el("div", el("div", note, class_="tiles"), *maps)


def _figure(emission: Emission, layer: LinearLayer, g: int, t: int, tile: MeshTile) -> Markup:
    census = tile_census(tile, emission.technology.p_pi_mw)
    name = f"{layer.name}.g{g}.t{t}"
    facts = [
        f"{len(tile.outputs)} × {len(tile.inputs)}, {text.plural(len(tile.sigma), 'channel')}",
        text.plural(census.mzis, "MZI"),
        f"{text.count(census.phases_active)} active",
        f"{text.count(census.phases_passive)} passive",
        text.plural(census.crossings, "crossing"),
        f"{text.power(census.power_mw)}",
        f"gain {text.significant(tile.gain)}",
    ]
    made = np.sort(np.asarray(tile.gain * attenuation(theta_rad=tile.sigma.theta_rad)))[::-1]
    plot = None
    if len(layer.grids) == 1:
        # A lone tile stands for the whole matrix, also for ports that it lost.
        alone = len(layer.grids[0].tiles) == 1
        block = layer.weight if alone else layer.weight[np.ix_(tile.outputs, tile.inputs)]
        asked = np.asarray(np.linalg.svd(block, compute_uv=False), np.float64)
        plot = el("span", singular_values(asked, made), class_="plot")
    caption = el("figcaption", el("b", name), *(el("span", fact) for fact in facts), plot)
    return el("figure", caption, tile_picture(tile, f"Meshes of {name}"))


def heater_phases(program: Program) -> dict[str, Real]:
    """Signed phases of all active heaters by kind, in rad."""
    found: dict[str, list[Real]] = defaultdict(list)
    for layer in program.layers:
        for _, _, tile in mesh_tiles(layer):
            rows = [("Attenuators, θ", tile.sigma.theta_rad, tile.sigma.state)]
            for mesh in (tile.v, tile.u):
                rows.append(("MZIs, θ", mesh.theta_rad, mesh.theta_state))
                rows.append(("MZIs, φ", mesh.phi_rad, mesh.phi_state))
                rows.append(("Outputs of meshes", mesh.out_rad, mesh.out_state))
            for kind, rad, state in rows:
                found[kind].append(rad[state == ShifterState.ACTIVE])
    order = ("MZIs, θ", "MZIs, φ", "Attenuators, θ", "Outputs of meshes")
    return {kind: np.concatenate(found[kind]) for kind in order if found[kind]}
