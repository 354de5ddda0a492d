"""The picture of a tile: V, the attenuators and U as light meets them, left to right.

Guides are lines, port 0 uppermost. An MZI is a bar across its two guides in the colour of
theta, the square before it is phi; grey is passive, a cross of guides is an MZI without
theta, a plain guide is an MZI that is gone.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from onnx2mzi.backends.report.colour import phase_bin
from onnx2mzi.backends.report.markup import Markup, el, joined, short
from onnx2mzi.ir import Attenuators, Mesh, MeshTile
from onnx2mzi.physics.shifter import ShifterState

COLUMN, ROW = 15.0, 10.0
MARGIN, GAP, LABEL = 14.0, 26.0, 16.0
PAGE_PX, LARGEST_SCALE, LABEL_PX = 1100.0, 2.2, 12.0
# Up to this many MZIs every one says its setting when pointed at.
NAMED = 200


@dataclass(slots=True)
class _Strokes:
    """Path commands by CSS class: one element a class keeps the file small."""

    paths: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, command: str) -> None:
        self.paths[kind].append(command)

    def markup(self, kinds: tuple[str, ...]) -> Markup:
        chosen = [name for kind in kinds for name in sorted(self.paths) if name.startswith(kind)]
        return joined(el("path", class_=name, d="".join(self.paths[name])) for name in chosen)


def tile_picture(tile: MeshTile, title: str) -> Markup:
    """An inline SVG of the tile."""
    guides = max(tile.v.ports, tile.u.ports)
    v_left = MARGIN
    s_left = v_left + _width(tile.v) + GAP
    u_left = s_left + COLUMN + GAP
    right = u_left + _width(tile.u)
    width, height = right + MARGIN, LABEL + guides * ROW + 6
    scale = min(LARGEST_SCALE, PAGE_PX / width)
    size = LABEL_PX / scale
    top = LABEL - size - 4
    strokes, hints = _Strokes(), list[Markup]()
    channels = len(tile.sigma)
    for p in range(channels):
        y = _y(p)
        strokes.add("g", f"M{short(v_left + _width(tile.v))} {y}H{short(u_left)}")
    for p in range(channels, tile.v.ports):
        strokes.add("dump", f"M{short(v_left + _width(tile.v))} {_y(p)}h5m0-2v4")
    named = len(tile.v) + len(tile.u) <= NAMED
    _draw_mesh(strokes, hints if named else None, tile.v, v_left, "V")
    _draw_attenuators(strokes, hints if named else None, tile.sigma, s_left)
    _draw_mesh(strokes, hints if named else None, tile.u, u_left, "U", channels)
    labels = [
        el("text", text, x=x, y=LABEL - 5, font_size=size)
        for text, x in (("V", v_left), ("Σ", s_left + 4), ("U", u_left))
    ]
    return el(
        "svg",
        el("title", title),
        strokes.markup(("g", "dark", "dump", "bg", "x", "t", "f")),
        el("g", *labels, class_="labels"),
        el("g", *hints, class_="hints") if hints else None,
        class_="mesh",
        viewBox=f"0 {short(top)} {short(width)} {short(height - top)}",
        style=f"max-width:{short(scale * width)}px",
        role="img",
    )


def _width(mesh: Mesh) -> float:
    return mesh.columns * COLUMN + 12


def _y(port: float) -> str:
    return short(LABEL + (port + 0.5) * ROW)


def _draw_mesh(
    strokes: _Strokes,
    hints: list[Markup] | None,
    mesh: Mesh,
    left: float,
    block: str,
    lit: int | None = None,
) -> None:
    lit = mesh.ports if lit is None else lit
    for p in range(mesh.ports):
        reached = _first_column(mesh, p)
        start = left if p < lit else left + reached * COLUMN
        if p >= lit and reached:
            strokes.add("dark", f"M{short(left)} {_y(p)}H{short(start)}")
        strokes.add("g", f"M{short(start)} {_y(p)}H{short(left + _width(mesh))}")
    for mzi in mesh:
        x = left + mzi.column * COLUMN
        top = float(_y(mzi.port))
        if mzi.theta_state is ShifterState.REMOVED:
            strokes.add("bg", f"M{short(x + 10)} {short(top - 1)}v{short(ROW + 2)}")
            strokes.add("x", f"M{short(x + 6)} {short(top)}l8 {short(ROW)}m-8 0l8-{short(ROW)}")
        else:
            kind = _kind("t", mzi.theta_rad, mzi.theta_state)
            strokes.add(kind, f"M{short(x + 10)} {short(top - 2.5)}v{short(ROW + 5)}")
        if mzi.phi_state is not ShifterState.REMOVED:
            kind = _kind("f", mzi.phi_rad, mzi.phi_state)
            strokes.add(kind, f"M{short(x + 3)} {short(top - 2.5)}v5")
        if hints is not None:
            text = (
                f"{block} column {mzi.column}, ports {mzi.port} and {mzi.port + 1}\n"
                f"θ {_setting(mzi.theta_rad, mzi.theta_state)}\n"
                f"φ {_setting(mzi.phi_rad, mzi.phi_state)}"
            )
            hints.append(_hint(text, x, top - 3, COLUMN, ROW + 6))
    end = left + mesh.columns * COLUMN + 6
    for p in np.flatnonzero(mesh.out_state != ShifterState.REMOVED).tolist():
        rad, state = float(mesh.out_rad[p]), ShifterState(mesh.out_state[p])
        strokes.add(_kind("f", rad, state), f"M{short(end)} {short(float(_y(p)) - 2.5)}v5")
        if hints is not None:
            text = f"{block} output {p}\n{_setting(rad, state)}"
            hints.append(_hint(text, end - 3, float(_y(p)) - 4, 6, 8))


def _first_column(mesh: Mesh, port: int) -> int:
    """The column where a dark guide first meets light; all of them if it never does."""
    touching = (mesh.port == port) | (mesh.port == port - 1)
    found = np.flatnonzero(touching)
    return int(mesh.column[found[0]]) if len(found) else mesh.columns


def _draw_attenuators(
    strokes: _Strokes, hints: list[Markup] | None, sigma: Attenuators, left: float
) -> None:
    for k, (rad, value) in enumerate(
        zip(sigma.theta_rad.tolist(), sigma.state.tolist(), strict=True)
    ):
        state = ShifterState(value)
        y = float(_y(k))
        if state is not ShifterState.REMOVED:
            strokes.add(_kind("t", rad, state), f"M{short(left + 8)} {short(y - 3)}v6")
        if hints is not None:
            amplitude = float(np.cos(rad / 2))
            text = f"Σ channel {k}\nθ {_setting(rad, state)}\namplitude {amplitude:.4f}"
            hints.append(_hint(text, left, y - 4, COLUMN, 8))


def _kind(letter: str, rad: float, state: ShifterState) -> str:
    if state is ShifterState.PASSIVE:
        return f"{letter}p"
    return f"{letter}{phase_bin(rad)}"


def _setting(rad: float, state: ShifterState) -> str:
    if state is ShifterState.REMOVED:
        return "removed"
    return f"{rad:.4f} rad, {state.name.lower()}"


def _hint(text: str, x: float, y: float, width: float, height: float) -> Markup:
    return el("rect", el("title", text), x=x, y=y, width=width, height=height)
