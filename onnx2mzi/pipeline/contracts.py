"""Holding a pass to its promise: the layers' matrices before and behind it are compared."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnx2mzi.emulate.network import Network
from onnx2mzi.errors import UsageError, VerificationError
from onnx2mzi.ir import Program
from onnx2mzi.ir.verify import verify
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.base import (
    EXACT_TOLERANCE,
    Bounded,
    BoundedDrop,
    Budgeted,
    Effect,
    Exact,
)


@dataclass(frozen=True, slots=True)
class Computed:
    """A program and what its layers multiply by."""

    program: Program
    matrices: Mapping[str, Matrix]


# A promise is not broken by the round-off of measuring it.
SLACK = 1e-9
SHOWN_PROBLEMS = 5


def settled(effect: Effect, network: Network | None) -> Exact | Bounded | BoundedDrop:
    """The promise that holds with these data, or without."""
    if isinstance(effect, Budgeted):
        return BoundedDrop(effect.drop) if network is not None else Bounded(effect.error)
    return effect


def check_promise(effect: Effect, network: Network | None, text: str) -> None:
    """Raises UsageError if the promise speaks of data and there are none."""
    on_data = isinstance(effect, BoundedDrop) or (isinstance(effect, Bounded) and effect.on_data)
    if on_data and network is None:
        raise UsageError(
            "promises a bound on data, but there are none",
            where=f"pass {text}",
            hint="give --data FILE.npz",
        )


def check_program(program: Program, text: str) -> None:
    """Raises VerificationError with the first problems if the program is not valid."""
    problems = verify(program)
    if problems:
        shown = "; ".join(map(str, problems[:SHOWN_PROBLEMS]))
        more = len(problems) - SHOWN_PROBLEMS
        raise VerificationError(
            f"left an invalid program: {shown}" + (f"; and {more} more" if more > 0 else ""),
            where=f"pass {text}",
            hint="this is a bug of the pass",
        )


def check_same_layers(before: Program, after: Program, text: str) -> None:
    """Raises VerificationError unless both have the same layers and ask the same of them.

    A pass may add copies of a layer that do what it does.
    """
    there = {layer.name for layer in before.layers}
    same = {layer.name: layer for layer in after.layers}
    left = []
    for layer in after.layers:
        if layer.name in there or layer.copy_of not in there:
            left.append(layer)
        elif layer.copy_of not in same or layer.grids is not same[layer.copy_of].grids:
            raise _broken(text, f"made '{layer.name}' a copy that is unlike '{layer.copy_of}'")
    for old, new in zip(before.layers, left, strict=False):
        if old.name != new.name:
            raise _broken(text, f"turned layer '{old.name}' into '{new.name}'")
        if old.weight is not new.weight and not np.array_equal(old.weight, new.weight):
            raise _broken(text, f"changed what the model asks of layer '{old.name}'")
    if len(before.layers) != len(left):
        raise _broken(text, f"made {len(left)} layers of {len(before.layers)}")


def check_effect(
    effect: Effect, before: Computed, after: Computed, *, network: Network | None, text: str
) -> None:
    """Raises VerificationError naming pass, layer, what was measured and what was promised;
    UsageError if copies of a layer (see `unroll`) no longer do the same."""
    _check_copies(after, text)
    effect = settled(effect, network)
    if isinstance(effect, BoundedDrop):
        check_promise(effect, network, text)
        if network is not None:
            _hold_drop(effect.limit, before, after, network, text)
        return
    on_data = isinstance(effect, Bounded) and effect.on_data
    inputs = network.layer_inputs() if network is not None and on_data else {}
    for old in before.program.layers:
        was, now = before.matrices[old.name], after.matrices[old.name]
        if isinstance(effect, Exact):
            _hold(text, old.name, exact_move(was, now), EXACT_TOLERANCE)
        else:
            _hold(text, old.name, bounded_move(was, now, inputs.get(old.name)), effect.limit)


def _hold_drop(
    limit: float, before: Computed, after: Computed, network: Network, text: str
) -> None:
    found = network.distance(dict(after.matrices))
    if found <= limit * (1 + SLACK):
        return
    given = network.on(before.program.host).distance(dict(before.matrices))
    if found <= given:
        raise VerificationError(
            f"may leave the network worse by {limit:.3g}, and it was given one that is worse by "
            f"{given:.3g} already",
            where=f"pass {text}",
            hint="allow as much as the passes before it, or leave one of them out",
        )
    _hold(text, "", found, limit)


def _check_copies(after: Computed, text: str) -> None:
    for layer in after.program.layers:
        if not layer.copy_of:
            continue
        first, other = after.matrices[layer.copy_of], after.matrices[layer.name]
        if exact_move(first, other) > EXACT_TOLERANCE:
            raise UsageError(
                f"makes '{layer.name}' unlike '{layer.copy_of}', of which it is a copy",
                where=f"pass {text}",
                hint="put unroll behind all passes that change matrices",
            )


def exact_move(before: Matrix, after: Matrix) -> float:
    """max |dW| / max |W|; infinite if only W is zero."""
    if before is after:
        return 0.0
    moved = float(np.abs(after - before).max(initial=0.0))
    return _ratio(moved, float(np.abs(before).max(initial=0.0)))


def bounded_move(before: Matrix, after: Matrix, inputs: Matrix | None = None) -> float:
    """|dW X|_F / |W X|_F, X the inputs as columns; all unit vectors if None."""
    if before is after:
        return 0.0
    moved = after - before
    if inputs is not None:
        moved, before = moved @ inputs, before @ inputs
    return _ratio(float(np.linalg.norm(moved)), float(np.linalg.norm(before)))


def _ratio(part: float, whole: float) -> float:
    if part == 0.0:
        return 0.0
    return part / whole if whole > 0 else np.inf


def _hold(text: str, layer: str, measured: float, promised: float) -> None:
    # NaN must fail as well.
    if not measured <= promised * (1 + SLACK):
        what = f"moved layer '{layer}'" if layer else "made the network worse"
        raise _broken(text, f"{what} by {measured:.3g}, it promised at most {promised:.3g}")


def _broken(text: str, message: str) -> VerificationError:
    return VerificationError(message, where=f"pass {text}", hint="this is a bug of the pass")
