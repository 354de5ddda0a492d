"""Finished work of a compile on disk, so that an interrupted one goes on where it was.

A pass that takes every tile for itself keeps layer by layer (see `tilework`), a pass that took
long keeps its whole program. What is kept is found again by the pass, all passes before it, and
the matrices that the model asks for; whatever else decides the result must be the same, which
is up to who gives the folder. Arrays come back bit by bit.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic, perf_counter

import numpy as np

from onnx2mzi.errors import InputError
from onnx2mzi.ir import LinearLayer, Mesh, MeshTile, Program, Tile, TileGrid
from onnx2mzi.ir.files import read_mzi, write_mzi
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.frontier import FrontierPoint

Told = Callable[[FrontierPoint], None]
# A pass that takes less is faster run again than read.
WORTH_S = 5.0


@dataclass(slots=True)
class Kept:
    """A folder of finished work. `folder` makes it when it is first needed; None: it cannot.

    Nothing is kept in the first `patience_s`: short compiles leave the disk alone. `found`
    counts what was taken up again, `by_layer` the layers that passes asked for.
    """

    folder: Callable[[], Path | None]
    patience_s: float = 0.0
    found: int = 0
    by_layer: int = 0
    _since: float = field(default_factory=monotonic)
    _off: bool = False
    _digests: dict[int, tuple[Matrix, str]] = field(default_factory=dict)

    def place(self) -> Path | None:
        """The folder, for a pass that keeps its work in files of its own; None: not (yet)."""
        return self._folder()

    def layer(self, step: str, program: Program, layer: LinearLayer) -> LinearLayer | None:
        """The layer as it was behind the pass `step`, None if it is not kept."""
        self.by_layer += 1
        made = self._read(self._name("layer", step, program, [layer]))
        if made is None or len(made.layers) != 1:
            return None
        return replace(layer, grids=_alike(made.layers[0].grids))

    def keep_layer(
        self, step: str, program: Program, before: LinearLayer, after: LinearLayer
    ) -> None:
        """Keep what the pass made of a layer of `program`."""
        bare = replace(program, layers=(after,), host=None, placement=None)
        self._write(self._name("layer", step, program, [before]), bare)

    def program(self, step: str, program: Program) -> Program | None:
        """The program as it was behind the pass, None if it is not kept."""
        made = self._read(self._name("program", step, program, program.layers))
        if made is None or [a.name for a in made.layers] != [b.name for b in program.layers]:
            return None
        layers = tuple(
            replace(layer, weight=asked.weight, grids=_alike(layer.grids))
            for layer, asked in zip(made.layers, program.layers, strict=True)
        )
        return replace(made, layers=layers, host=made.host or program.host)

    def points(self, step: str, program: Program) -> list[FrontierPoint]:
        """The chips that the pass met on its way from `program`."""
        path = self._points(step, program)
        try:
            rows = [] if path is None else json.loads(path.read_text())
            return [FrontierPoint(**row) for row in rows]
        except (OSError, ValueError, TypeError):
            return []

    def keep_program(
        self,
        step: str,
        program: Program,
        after: Program,
        points: Sequence[FrontierPoint] = (),
    ) -> None:
        """Keep what the pass made of `program`, and the chips that it met."""
        changed = None if after.host is program.host else after.host
        path = self._points(step, program)
        if path is None:
            return
        try:
            # Before the program: where that is, the points are.
            if points:
                path.write_text(json.dumps([asdict(point) for point in points]))
        except OSError:
            self._off = True
        name = self._name("program", step, program, program.layers)
        self._write(name, replace(after, host=changed))

    def _points(self, step: str, program: Program) -> Path | None:
        folder = self._folder()
        name = self._name("program", step, program, program.layers)
        return None if folder is None else folder / f"{name}.points.json"

    def _name(self, what: str, step: str, program: Program, layers: Sequence[LinearLayer]) -> str:
        # A program of one layer is not that layer, which is kept with the stage of before.
        parts = [what, step, *program.history, str(program.ports)]
        for layer in layers:
            parts += [layer.name, self._digest(layer.weight)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _digest(self, weight: Matrix) -> str:
        if id(weight) not in self._digests:
            text = hashlib.sha256(np.ascontiguousarray(weight).data).hexdigest()
            # The array is held, so that its id is not given to another.
            self._digests[id(weight)] = (weight, f"{weight.shape} {text}")
        return self._digests[id(weight)][1]

    def _read(self, name: str) -> Program | None:
        folder = self._folder()
        path = folder / f"{name}.mzi" if folder is not None else None
        if path is None or not path.is_file():
            return None
        try:
            made = read_mzi(path)
        except InputError:
            return None
        self.found += 1
        return made

    def _write(self, name: str, program: Program) -> None:
        """Under another name first: what has its name is complete. A full disk ends the keeping."""
        folder = self._folder()
        if folder is None:
            return
        bare = (replace(layer, weight=np.zeros((0, 0))) for layer in program.layers)
        try:
            new = folder / f"{name}.new.mzi"
            written = write_mzi(replace(program, layers=tuple(bare)), new, inline=0)
            # The arrays before the text that refers to them.
            for path in reversed(written):
                path.rename(folder / f"{name}{path.suffix}")
        except OSError:
            self._off = True

    def _folder(self) -> Path | None:
        if self._off or monotonic() - self._since < self.patience_s:
            return None
        made = self.folder()
        self._off = made is None
        return made


def run_kept(
    step: Callable[[Program, Told], Program],
    text: str,
    program: Program,
    kept: Kept | None,
    told: Told,
) -> Program:
    """`step(program, told)`, or what is kept of it; kept itself if it took long and kept no
    layers. `told` hears of the chips that the step met, or had met."""
    if kept is None:
        return step(program, told)
    made = kept.program(text, program)
    if made is not None:
        for point in kept.points(text, program):
            told(point)
        return made
    points: list[FrontierPoint] = []

    def noted(point: FrontierPoint) -> None:
        points.append(point)
        told(point)

    start, before = perf_counter(), kept.by_layer
    after = step(program, noted)
    if perf_counter() - start > WORTH_S and kept.by_layer == before:
        kept.keep_program(text, program, after, points)
    return after


def _alike(grids: Sequence[TileGrid]) -> tuple[TileGrid, ...]:
    """The grids, meshes of one layout with the same arrays for it: most have the same."""
    known: dict[bytes, Mesh] = {}

    def shared(mesh: Mesh) -> Mesh:
        like = known.setdefault(mesh.column.tobytes() + b"|" + mesh.port.tobytes(), mesh)
        return replace(mesh, column=like.column, port=like.port)

    def tile(old: Tile) -> Tile:
        if not isinstance(old, MeshTile):
            return old
        return replace(old, u=shared(old.u), v=shared(old.v))

    return tuple(replace(grid, tiles=tuple(map(tile, grid.tiles))) for grid in grids)
