"""Bits a layer: those whose heaters matter get finer drivers, at the same bits a heater on average.

A b-bit code errs by its gap, so a layer's squared error is e_l gap(b)^2. Two guesses of e_l: the
analytic sensitivity of the layer's own output (`emulate.sensitivity`), and what the network's
outputs show when that layer alone is on codes. Bits go one by one to where they pay most a heater.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from onnx2mzi.emulate.imperfect import imperfect_program
from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.sensitivity import expected_errors, sensitivities
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import LinearLayer, MeshTile, Program
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive, ShifterState
from onnx2mzi.tech import Technology

# How far a layer's bits may lie from the mean.
SPREAD = 3
MOST = 16

Rounder = Callable[[int, int], LinearLayer]


def fewest(bits: int) -> int:
    """The fewest bits that a layer gets where the mean is `bits`."""
    return max(1, bits - SPREAD)


def heaters(layer: LinearLayer) -> int:
    """How many heaters the layer's tiles have."""
    count = 0
    for tile in (tile for grid in layer.grids for tile in grid.tiles):
        if isinstance(tile, MeshTile):
            meshes = (tile.u, tile.v)
            states = [tile.sigma.state, *(m.theta_state for m in meshes)]
            states += [m.phi_state for m in meshes] + [m.out_state for m in meshes]
            count += sum(int(np.count_nonzero(s == ShifterState.ACTIVE)) for s in states)
    return count


def shared_out(
    errors: Sequence[float], counts: Sequence[int], bits: int, law: CodeLaw, drive: Drive
) -> tuple[int, ...]:
    """Bits a layer, at most `bits` a heater on average; marginal gains, so optimal up to the last.

    `errors` are squared errors of layers per squared gap of the code (any unit), `counts` their
    heaters. A layer without heaters gets `bits`.
    """
    gap = [DriveCode(b, law).worst_error_rad(drive) ** 2 for b in range(1, MOST + 1)]
    most = min(MOST, bits + SPREAD)
    found = [fewest(bits) if count else bits for count in counts]
    left = sum((bits - b) * count for b, count in zip(found, counts, strict=True))
    while True:
        gains = {
            k: errors[k] * (gap[b - 1] - gap[b]) / counts[k]
            for k, b in enumerate(found)
            if 0 < counts[k] <= left and b < most
        }
        if not gains:
            return tuple(found)
        best = max(gains, key=lambda k: (gains[k], -k))
        found[best] += 1
        left -= counts[best]


def mixed_layers(
    program: Program,
    technology: Technology,
    network: Network | None,
    known: Mapping[str, Matrix],
    code: DriveCode,
    rounder: Rounder,
    asked: Program,
) -> tuple[tuple[LinearLayer, ...], tuple[int, ...], float, float]:
    """The layers rounded with mixed bits (their `drive_code`), bits a layer, and the errors of
    the network's outputs with the same bits everywhere and mixed, relative and quadratic.

    `rounder(k, bits)` is layer k on codes of so many bits, `known` the layers' input vectors;
    errors are against `asked`.
    Never worse than the same bits everywhere on the fitting data, or without data in the sum
    of the layers' errors on unit vectors: the best of the guesses and of uniform bits is kept.
    """
    made: dict[tuple[int, int], LinearLayer] = {}

    def rounded(k: int, bits: int) -> LinearLayer:
        if (k, bits) not in made:
            layer = rounder(k, bits)
            made[k, bits] = replace(layer, drive_code=DriveCode(bits, code.law))
        return made[k, bits]

    ideal = program_matrices(asked)
    wanted = network.outputs(ideal, network.fit) if network is not None else {}

    def error(bits: Mapping[int, int]) -> float:
        """Squared, with those layers on codes."""
        moved = replace(program, layers=tuple(rounded(k, b) for k, b in bits.items()))
        matrices = ideal | program_matrices(moved)
        if network is None:
            return sum(_squared(matrices[name], ideal[name]) for name in ideal)
        outputs = network.outputs(matrices, network.fit)
        return sum(_squared(outputs[name], wanted[name]) for name in wanted)

    layers = range(len(program.layers))
    counts = [heaters(layer) for layer in program.layers]
    inputs = {x.name: known.get(x.name, np.eye(x.weight.shape[1])) for x in program.layers}
    found = expected_errors(
        sensitivities(imperfect_program(program, technology), inputs), Imperfections(phase_rad=1.0)
    )
    guesses = [[found.get(layer.name, 0.0) for layer in program.layers]]
    guesses.append([error({k: code.bits}) for k in layers])
    uniform = (code.bits,) * len(counts)
    ways = {uniform: error(dict(enumerate(uniform)))}
    for guess in guesses:
        way = shared_out(guess, counts, code.bits, code.law, technology.drive)
        ways.setdefault(way, error(dict(enumerate(way))))
    best = min(ways, key=ways.__getitem__)
    chosen = tuple(rounded(k, b) for k, b in enumerate(best))
    return chosen, best, float(np.sqrt(ways[uniform])), float(np.sqrt(ways[best]))


def _squared(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b|^2 / |b|^2."""
    whole = float(np.linalg.norm(b.astype(np.complex128)) ** 2)
    off = float(np.linalg.norm(a.astype(np.complex128) - b.astype(np.complex128)) ** 2)
    return off / whole if whole > 0 else off
