"""Script the compiler: write a pass, use it by name in a pipeline, look at the chip, save it.

Run it with ``python samples/script_pipeline.py [OUTPUT_DIR]``.

The pass, ``low-rank``, forgets the smallest singular values of every matrix. A matrix of rank r
needs only the first r columns of U and rows of V, so ``canonicalize`` (which runs later, once
there are meshes) has fewer MZIs to draw.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

import onnx2mzi
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import FactoredTile, LinearLayer, Program, Stage, Tile
from onnx2mzi.pipeline.base import Bounded, Context, Effect, Pass, option

HERE = Path(__file__).resolve().parent
# The stage of a program does not tell whether svd has run.
NO_SVD, PUT_SVD = "tiles have no singular values yet", "put svd before low-rank"


def kept_rank(s: npt.NDArray[np.float64], error: float) -> int:
    """Return how many singular values must stay; ``s`` is descending.

    Dropping those behind the first r changes the matrix by |s[r:]| in the Frobenius norm
    (Eckart and Young, 1936); r is the least with |s[r:]| <= error |s|, and at least 1.
    """
    lost = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]  # lost[r] = |s[r:]|
    return max(1, int(np.count_nonzero(lost > error * lost[0])))


def shortened(tile: Tile, error: float) -> Tile:
    """Return the tile with the least rank that ``error`` allows.

    Raises UsageError for a tile that has no singular values yet.
    """
    if not isinstance(tile, FactoredTile):
        raise UsageError(NO_SVD, where="low-rank", hint=PUT_SVD)
    rank = kept_rank(tile.s, error)
    return replace(tile, u=tile.u[:, :rank], s=tile.s[:rank], vh=tile.vh[:rank])


def shortened_layer(layer: LinearLayer, error: float) -> LinearLayer:
    """Return the layer with every tile shortened. Tiles share no entry, so the bound adds up."""
    if not layer.grids:
        raise UsageError(NO_SVD, where="low-rank", hint=PUT_SVD)
    grids = tuple(
        replace(grid, tiles=tuple(shortened(tile, error) for tile in grid.tiles))
        for grid in layer.grids
    )
    return replace(layer, grids=grids)


@onnx2mzi.register_pass
@dataclass(frozen=True, slots=True)
class LowRank(Pass):
    """Forgets the smallest singular values of every tile; goes behind svd."""

    name: ClassVar[str] = "low-rank"
    stage_in: ClassVar[Stage] = Stage.LINEAR
    stage_out: ClassVar[Stage] = Stage.LINEAR

    error: float = option(0.05, "change of each matrix, Frobenius norm", low=0.0, high=1.0)

    def effect(self, program: Program) -> Effect:
        """Return the promise; the compile fails if this pass ever breaks it."""
        return Bounded(self.error)

    def run(self, program: Program, context: Context) -> Program:
        """Return the program with shortened tiles."""
        layers = tuple(shortened_layer(layer, self.error) for layer in program.layers)
        return replace(program, layers=layers)


def main(output_dir: Path) -> None:
    """Compile the digits sample twice, with and without the pass, and save the smaller chip."""
    model = HERE / "digits.onnx"
    test = HERE / "digits_test.npz"

    # -O style: a list of passes, and what they need is inserted.
    lossless = onnx2mzi.compile(model, optimize="canonicalize", test=test)
    # Passes may be text or objects. This is `-O "svd,low-rank{error=0.15},canonicalize"`.
    smaller = onnx2mzi.compile(
        model, optimize=["svd", LowRank(error=0.15), "canonicalize"], test=test
    )
    print(f"pipeline: {smaller.pipeline}")
    for name, chip in (("lossless", lossless), ("low-rank", smaller)):
        report = chip.report
        print(
            f"{name}: {report['mzis']} MZIs, {report['phases_active']} active phases of "
            f"{report['phases_reference']}, accuracy {report['accuracy']:.4f} "
            f"(model {report['accuracy_reference']:.4f})"
        )

    # The chip is a function: it takes what the model takes.
    x = np.load(test)["x"]
    changed = np.abs(smaller.run(x)["logits"] - smaller.run_original(x)["logits"]).max()
    print(f"largest change of an output: {changed:.4f}")

    # Its meshes are arrays: where are the MZIs that the last matrix's U needs?
    (tile,) = smaller.program.layers[-1].grids[-1].tiles
    assert isinstance(tile, onnx2mzi.ir.MeshTile)
    print(
        f"U of the last layer: {tile.u.columns} columns, theta {np.round(tile.u.theta_rad[:4], 3)}"
    )

    files = smaller.save(output_dir, force=True)
    print(f"wrote {len(files)} files to {output_dir}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("script_pipeline_mzi"))
