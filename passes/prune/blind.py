"""Pruning without data: each matrix within an error, or all of them down to a number of phases."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from onnx2mzi.emulate.transfer import layer_matrix
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import LinearLayer, Program, TileGrid
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.drawing import DrawingRules
from onnx2mzi.passes.prune.bounded import nearest_thinned
from onnx2mzi.passes.prune.moments import plain
from onnx2mzi.passes.prune.split import Sheet, sheets, sheets_phases
from onnx2mzi.passes.prune.weights import nearest
from onnx2mzi.passes.prune.whole import Layers, thinned_together
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.census import layer_census, reference_phases, tile_shapes
from onnx2mzi.pipeline.contracts import bounded_move

# Above so many heaters rounds are large: a round takes some 30 s there.
FEW = 20_000

Grids = tuple[TileGrid, ...]


def cheaper(layer: LinearLayer, found: Grids) -> LinearLayer:
    """The layer with the grids found, unless those that it has cost fewer phases."""
    there = replace(layer, grids=found)
    now, then = (layer_census(x, p_pi_mw=1.0).phases_active for x in (layer, there))
    return there if then < now else layer


def drawn(found: Sequence[Sheet], rules: DrawingRules) -> Grids:
    """The grids that the sheets become."""
    return tuple(sheet.drawn(rules) for sheet in found)


def by_weights(
    program: Program,
    context: Context,
    *,
    method: str,
    budget: float,
    target: float,
    most_tiles: int,
) -> Program:
    """Each matrix within the relative error `budget`; with a `target` all of them together down
    to the share 1 - target of the reference phases, whatever is lost."""
    ports = program.ports
    shapes = [(int(m), int(n)) for m, n in (layer.weight.shape for layer in program.layers)]
    tiles = sum(len(tile_shapes(shape, ports)) for shape in shapes)
    if target and method == "obs":
        most = (1 - target) * sum(reference_phases(shape, ports) for shape in shapes)
        return _to(program, context, most=most, share=1 - target, spare=tiles > most_tiles)
    rules = drawing_rules(context)
    thin = method == "obs" and budget > 0.0
    if thin and tiles > most_tiles:
        context.log(
            f"prune: singular values only, phases stay: {tiles} tiles are more than most_tiles "
            f"= {most_tiles}"
        )
        thin = False
    what = "singular values and single phases" if thin else "singular values"
    context.log(
        f"prune: {method}, no data: {what} within a relative error of "
        f"{budget:g} of each matrix (Frobenius)"
    )
    layers = []
    for layer in program.layers:
        weight = plain(layer.weight)
        w, rank = nearest(weight, limit=budget, ports=ports)
        new = cheaper(layer, drawn(sheets(w, rank=rank, ports=ports), rules))
        if thin and not np.iscomplexobj(weight):
            tell = partial(context.progress, f"prune: single phases, {layer.name}")
            thinner = nearest_thinned(weight, limit=budget, ports=ports, progress=tell)
            if thinner is not None:
                new = cheaper(new, drawn([thinner], rules))
        # Passes before this one may have moved the matrix the other way.
        if new is not layer and bounded_move(layer_matrix(layer), layer_matrix(new)) > budget:
            context.log(f"prune: {layer.name} stays: it would be further off than {budget:g}")
            new = layer
        layers.append(new)
    return replace(program, layers=tuple(layers))


def _to(program: Program, context: Context, *, most: float, share: float, spare: bool) -> Program:
    if spare:
        raise UsageError(
            "a target without data takes every tile phase by phase, and these are more than "
            "most_tiles",
            where="prune{target=...}",
            hint="give --data FILE.npz, or a larger most_tiles",
        )
    context.log(
        f"prune: obs, no data: to {share:.2%} of the reference phases, whatever is lost; relative "
        "errors of all matrices (Frobenius) cost the same"
    )
    weights = [plain(layer.weight) for layer in program.layers]
    found = to_phases(
        weights,
        most=most,
        ports=program.ports,
        tell=partial(context.progress, "prune: single phases"),
    )
    left = sheets_phases(found)
    if left > most:
        context.log(f"prune: {left:,} phases stay: without data only those of real matrices go")
    rules = drawing_rules(context)
    return replace(
        program,
        layers=tuple(
            cheaper(layer, drawn(sheet, rules))
            for layer, sheet in zip(program.layers, found, strict=True)
        ),
    )


def to_phases(
    weights: Sequence[Matrix], *, most: float, ports: int, tell: Callable[[int, int], None]
) -> Layers:
    """Grids for these matrices with no more than `most` phases in all, real ones thinned where
    the sum of their squared relative errors rises least."""
    layers: Layers = [sheets(w, rank=min(w.shape), ports=ports, direct=True) for w in weights]
    metrics = [[(np.eye(w.shape[0]), np.eye(w.shape[1]))] for w in weights]
    rates = [1 / max(float(np.linalg.norm(w)) ** 2, 1e-300) for w in weights]
    return thinned_together(
        layers, metrics, rates, most=most, good=lambda found: True, few=FEW, tell=tell
    )
