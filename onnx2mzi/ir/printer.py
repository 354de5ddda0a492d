"""The program as text (`.mzi`) and, for what is too large to read, as named arrays beside it.

The text form is documented by `onnx2mzi.ir.parser`, which takes it back. Floats are printed by
shortest round trip, so text and arrays together hold the program exactly.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx2mzi.ir.layer import DenseTile, FactoredTile, LinearLayer, MeshTile, Tile
from onnx2mzi.ir.location import Loc
from onnx2mzi.ir.mesh import Attenuators, Mesh
from onnx2mzi.ir.operand import WHOLE, Operand, View, Window
from onnx2mzi.ir.placement import Placement
from onnx2mzi.ir.program import Host, Program, TensorSpec
from onnx2mzi.physics.quantization import DriveCode
from onnx2mzi.physics.shifter import ShifterState

FORM = 1
# Arrays and meshes of at most this many elements are spelled out.
INLINE = 64

# The arrays of a mesh and of a row of attenuators, and their dtypes.
MZI_FIELDS = {
    "column": "i32",
    "port": "i32",
    "theta_rad": "f64",
    "phi_rad": "f64",
    "theta_state": "u8",
    "phi_state": "u8",
}
OUT_FIELDS = {"out_rad": "f64", "out_state": "u8"}
ATTENUATOR_FIELDS = {"theta_rad": "f64", "state": "u8"}
DTYPES: dict[str, np.dtype[Any]] = {
    "f64": np.dtype(np.float64),
    "c128": np.dtype(np.complex128),
    "i32": np.dtype(np.int32),
    "u8": np.dtype(np.uint8),
}

Array = npt.NDArray[Any]
_HEAD = "// Phases in rad, lengths in um; light enters column 0; port 0 is uppermost."
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_STATES = {ShifterState.ACTIVE: "", ShifterState.PASSIVE: " passive"}


def print_program(program: Program, *, inline: int = INLINE) -> tuple[str, dict[str, Array]]:
    """The text of a program and the arrays that it refers to, each one-dimensional.

    Arrays and meshes of more than `inline` elements are put into the arrays; the bytes of the
    host model always are. Raises ValueError if the arrays of a mesh differ in length, which
    `verify` reports as well.
    """
    printer = _Printer(inline)
    text = "\n".join(printer.program(program)) + "\n"
    return text, printer.arrays()


def quoted(text: str) -> str:
    """A string literal; what cannot be read on a screen is escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def number(value: float) -> str:
    """Shortest text that reads back as the same float; NaN keeps its sign."""
    if math.isnan(value):
        return "-nan" if math.copysign(1.0, value) < 0 else "nan"
    return repr(float(value))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _block(head: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"{head} {{"
    yield from _indented(lines)
    yield "}"


class _Printer:
    """Lines of text, and pools of arrays that grow as lines refer to them."""

    def __init__(self, inline: int) -> None:
        self._inline = inline
        self._pools: dict[str, list[Array]] = {}
        self._lengths: dict[str, int] = {}

    def arrays(self) -> dict[str, Array]:
        return {name: np.concatenate(self._pools[name]) for name in sorted(self._pools)}

    def _refer(self, name: str, fields: dict[str, Array]) -> str:
        """Put arrays of one length into pools `name.field`; the text that refers to them."""
        lengths = {array.size for array in fields.values()}
        if len(lengths) != 1:
            raise ValueError(f"the arrays of {name} differ in length: {sorted(lengths)}")
        start = self._lengths.get(name, 0)
        stop = start + lengths.pop()
        self._lengths[name] = stop
        for field, array in fields.items():
            pool = f"{name}.{field}" if field else name
            self._pools.setdefault(pool, []).append(array.reshape(-1))
        return f"@{name}[{start}:{stop}]"

    def array(self, array: Array, pool: str) -> str:
        """Type, shape and entries: a range, one repeated value, a list, or a reference."""
        name = _NAMES[array.dtype]
        head = f"{name}[{', '.join(map(str, array.shape))}]"
        flat = array.reshape(-1)
        if name == "i32" and array.ndim == 1 and len(flat) > 1 and (np.diff(flat) == 1).all():
            return f"{head} {flat[0]}..{int(flat[-1]) + 1}"
        if flat.size > 1 and flat.tobytes() == flat[:1].tobytes() * flat.size:
            return f"{head} all {_entry(flat[0])}"
        if flat.size <= self._inline:
            return f"{head} [{', '.join(map(_entry, flat))}]"
        suffix = ".c128" if name == "c128" else ""
        return f"{head} {self._refer(pool + suffix, {'': array})}"

    # ---- program and host -----------------------------------------------------------------

    def program(self, program: Program) -> Iterator[str]:
        yield f"mzi {FORM}"
        yield _HEAD
        yield f"program {quoted(program.name)} stage {program.stage} ports {program.ports}"
        yield from _block("history", map(quoted, program.history))
        if program.drive_code is not None:
            yield _driver(program.drive_code)
        if program.host is not None:
            yield from self.host(program.host)
        for layer in program.layers:
            yield from self.layer(layer)
        if program.placement is not None:
            yield from self.placement(program.placement)

    def host(self, host: Host) -> Iterator[str]:
        model = np.frombuffer(host.model, np.uint8)
        head = f"host u8[{model.size}] {self._refer('host.model', {'': model})}"
        lines = [f"input {_spec(spec)}" for spec in host.inputs]
        lines += [f"output {_spec(spec)}" for spec in host.outputs]
        for item in host.electronic:
            kind = "electronic" if item.linear else "activation"
            lines.append(f"{kind} {quoted(item.why)} {_loc(item.loc)}")
        yield from _block(head, lines)

    # ---- layers and tiles -----------------------------------------------------------------

    def layer(self, layer: LinearLayer) -> Iterator[str]:
        lines = [
            _loc(layer.loc),
            _operand(layer.operand),
            *([] if layer.uses is None else [f"uses {layer.uses}"]),
            *([f"copy {quoted(layer.copy_of)}"] if layer.copy_of else []),
            *([f"folds [{', '.join(map(quoted, layer.folds))}]"] if layer.folds else []),
            *([] if layer.drive_code is None else [_driver(layer.drive_code)]),
            f"weight {self.array(layer.weight, 'weight')}",
        ]
        for grid in layer.grids:
            tiles = (line for tile in grid.tiles for line in self.tile(tile))
            lines += _block(f"grid {grid.rows} x {grid.columns}", tiles)
        yield from _block(f"layer {quoted(layer.name)}", lines)

    def tile(self, tile: Tile) -> Iterator[str]:
        lines = [
            f"outputs {self.array(tile.outputs, 'outputs')}",
            f"inputs {self.array(tile.inputs, 'inputs')}",
        ]
        match tile:
            case DenseTile():
                kind = "dense"
                lines.append(f"weight {self.array(tile.weight, 'tile.weight')}")
            case FactoredTile():
                kind = "factored"
                lines.append(f"u {self.array(tile.u, 'tile.u')}")
                lines.append(f"s {self.array(tile.s, 'tile.s')}")
                lines.append(f"vh {self.array(tile.vh, 'tile.vh')}")
            case MeshTile():
                kind = "mesh"
                lines.append(f"gain {number(tile.gain)}")
                lines.append(f"readout {self.array(tile.readout_rad, 'readout')}")
                lines += self.mesh("v", tile.v)
                lines += self.attenuators(tile.sigma)
                lines += self.mesh("u", tile.u)
        yield from _block(f"tile {kind}", lines)

    def mesh(self, name: str, mesh: Mesh) -> Iterator[str]:
        head = f"{name} ports {mesh.ports} {mesh.drive} mzis {len(mesh)}"
        readable = _known(mesh.theta_state, mesh.phi_state, mesh.out_state)
        if readable and max(len(mesh), mesh.out_rad.size) <= self._inline:
            yield from _block(head, _mesh_lines(mesh))
        else:
            mzis = self._refer("mzi", {f: getattr(mesh, f) for f in MZI_FIELDS})
            outs = self._refer("out", {f: getattr(mesh, f) for f in OUT_FIELDS})
            yield f"{head} {mzis} {outs}"

    def attenuators(self, sigma: Attenuators) -> Iterator[str]:
        head = f"s channels {len(sigma)} {sigma.drive}"
        if _known(sigma.state) and len(sigma) <= self._inline:
            yield from _block(head, _attenuator_lines(sigma))
        else:
            fields = {f: getattr(sigma, f) for f in ATTENUATOR_FIELDS}
            yield f"{head} {self._refer('attenuator', fields)}"

    # ---- placement ------------------------------------------------------------------------

    def placement(self, placement: Placement) -> Iterator[str]:
        extent = f"{number(placement.width_um)} x {number(placement.height_um)}"
        lines = [
            f"{quoted(b.layer)} grid {b.grid} tile {b.tile} {b.block}"
            f" y {number(b.y_um)} pitch {number(b.row_pitch_um)}"
            f" columns {self.array(b.column_x_um, 'column_x')}"
            + (f" drives {self.array(b.drive_rad, 'drive')}" if b.drive_rad.size else "")
            + (f" lengths {self.array(b.length_rad, 'length')}" if b.length_rad.size else "")
            for b in placement.blocks
        ]
        yield from _block(f"placement {quoted(placement.technology)} {extent}", lines)


def _driver(code: DriveCode) -> str:
    return f"driver bits {code.bits} {code.law}"


def _entry(value: np.generic) -> str:
    if isinstance(value, np.complexfloating):
        return f"({number(float(value.real))}, {number(float(value.imag))})"
    if isinstance(value, np.floating):
        return number(float(value))
    return str(value)


def _known(*states: npt.NDArray[np.uint8]) -> bool:
    return all(not state.size or int(state.max()) <= max(ShifterState) for state in states)


def _phase(rad: float, state: int) -> str:
    """`0.5`, `0.5 passive`, `removed`; a removed shifter that has a phase shows it."""
    if state != ShifterState.REMOVED:
        return number(rad) + _STATES[ShifterState(state)]
    bare = rad == 0 and math.copysign(1.0, rad) > 0
    return "removed" if bare else f"{number(rad)} removed"


def _mesh_lines(mesh: Mesh) -> Iterator[str]:
    lists = (getattr(mesh, field).tolist() for field in MZI_FIELDS)
    for column, port, theta, phi, theta_state, phi_state in zip(*lists, strict=True):
        both = f"theta {_phase(theta, theta_state)} phi {_phase(phi, phi_state)}"
        yield f"c{column} p{port} {both}"
    for p, (rad, state) in enumerate(zip(mesh.out_rad, mesh.out_state, strict=True)):
        text = _phase(float(rad), int(state))
        if text != "removed":
            yield f"out p{p} {text}"


def _attenuator_lines(sigma: Attenuators) -> Iterator[str]:
    for k, (rad, state) in enumerate(zip(sigma.theta_rad, sigma.state, strict=True)):
        yield f"p{k} theta {_phase(float(rad), int(state))}"


def _loc(loc: Loc) -> str:
    fields = (("file", loc.file), ("node", loc.node), ("op", loc.op), ("tensor", loc.tensor))
    return " ".join(["loc", *(f"{name} {quoted(text)}" for name, text in fields if text)])


def _operand(operand: Operand) -> str:
    turned = " transposed" if operand.transposed else ""
    return (
        f"operand {quoted(operand.source)} axis {operand.axis}"
        f" binding {quoted(operand.binding)} {quoted(operand.dtype)}{turned}"
        f"{_share('slot', operand.slot)}{_view(operand.view)}"
        f"{f' parts {operand.parts}' if operand.parts else ''}{_share('turn', operand.turn)}"
    )


def _share(what: str, share: tuple[int, int]) -> str:
    return "" if share == WHOLE else f" {what} {share[0]} of {share[1]}"


def _view(view: View) -> str:
    text = f" more {list(view.more_axes)}" if view.more_axes else ""
    if view.at:
        text += f" at [{', '.join(f'{axis}: {index}' for axis, index in view.at)}]"
    return text + _share("part", view.part) + (_window(view.window) if view.window else "")


def _window(window: Window) -> str:
    fields = ("kernel", "strides", "dilations", "pads")
    text = "".join(f" {name} {list(getattr(window, name))}" for name in fields)
    return f" window{text}" + (f" same {quoted(window.same)}" if window.same else "")


def _spec(spec: TensorSpec) -> str:
    shape = ("?" if d is None else quoted(d) if isinstance(d, str) else str(d) for d in spec.shape)
    return f"{quoted(spec.name)} {quoted(spec.dtype)} [{', '.join(shape)}]"
