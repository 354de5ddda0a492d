"""A pruned tile with phases, laid out anew: guides in the order in which its MZIs best meet.

`untangle` orders guides for meshes without phi. Phases lie on stretches of guide (see `guides`)
and go wherever these go, so the search is run on the MZIs alone, by their numbers.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnx2mzi.ir import Attenuators, Mesh, MeshTile
from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.passes.drawing import BalancedTile
from onnx2mzi.passes.guides import Guides, guides_of
from onnx2mzi.passes.laying import Lengths
from onnx2mzi.passes.untangle import untangled
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.shifter import ShifterState
from onnx2mzi.tech import Detection


def relaid(
    tile: MeshTile,
    guides: Guides,
    phase_rad: Real,
    detection: Detection,
    *,
    lengths: Lengths,
    effort: float,
) -> tuple[MeshTile, Guides] | None:
    """The tile without phi heaters in another order of its guides, and its stretches with what is
    to be made on them; `phase_rad` (n,) is what is on those of `guides`.

    None for fixed phases, which lie on two guides at once, for shifters behind U, or where
    hardly any MZI is a crossing.
    """
    meshes = tile.v, tile.u
    if any((mesh.phi_state == ShifterState.PASSIVE).any() for mesh in meshes):
        return None
    if any((mesh.out_state != ShifterState.REMOVED).any() or mesh.out_rad.any() for mesh in meshes):
        return None
    # Numbers from 1 on take the place of thetas, for crossings have none; the sign is whether
    # an MZI has been turned over.
    found = untangled(
        BalancedTile(
            outputs=np.arange(tile.u.ports, dtype=np.int32),
            inputs=np.arange(tile.v.ports, dtype=np.int32),
            u=_numbered(tile.u),
            amplitude=np.arange(len(tile.sigma), dtype=float),
            v=_numbered(tile.v),
            gain=1.0,
        ),
        lengths=lengths,
        effort=effort,
    )
    if found is None:
        return None
    channel = found.amplitude.astype(np.int64)
    sigma = tile.sigma
    made = MeshTile(
        outputs=tile.outputs[found.outputs],
        inputs=tile.inputs[found.inputs],
        u=_renumbered(tile.u, found.u),
        sigma=Attenuators(sigma.theta_rad[channel], sigma.state[channel], sigma.drive),
        v=_renumbered(tile.v, found.v),
        gain=tile.gain,
        readout_rad=tile.readout_rad[found.outputs],
    )
    anew = guides_of(made, detection)
    rad, before = np.zeros(len(anew.slots)), np.zeros(len(anew.slots))
    crossed = guides.crossings()
    old = {(mixer.mesh, mixer.index): mixer.enter for mixer in guides.mixers}

    def same(anew_ones: Sequence[int], old_ones: Sequence[int]) -> None:
        rad[list(anew_ones)] = phase_rad[list(old_ones)]
        before[list(anew_ones)] = crossed[list(old_ones)]

    for mixer in anew.mixers:
        label = float((found.v, found.u)[mixer.mesh].theta[mixer.index])
        upper, lower = old[mixer.mesh, round(abs(label)) - 1]
        same(mixer.enter, (upper, lower) if label > 0 else (lower, upper))
    end = {output: k for k, output in enumerate(guides.output) if output >= 0}
    for k, output in enumerate(anew.output):
        if output >= 0:
            same([k], [end[int(found.outputs[output])]])
    # A crossing is a quarter wave longer than a guide that passes.
    fixed = (before - anew.crossings()) * (np.pi / 2)
    return made, replace(anew, phase_rad=rad, fixed_rad=fixed)


def _numbered(mesh: Mesh) -> BalancedMesh:
    number = np.arange(1.0, len(mesh) + 1)
    return BalancedMesh(
        ports=mesh.ports,
        column=mesh.column,
        port=mesh.port,
        theta=np.where(mesh.crossings, 0.0, number),
        phi=np.zeros(len(mesh)),
        out=np.zeros(mesh.ports),
    )


def _renumbered(mesh: Mesh, found: BalancedMesh) -> Mesh:
    """The MZIs that the numbers name, without phi; what is 0 is a crossing."""
    index = np.abs(found.theta).astype(np.int64) - 1
    crossing = found.theta == 0
    theta = np.where(crossing, 0.0, np.sign(found.theta) * mesh.theta_rad[index])
    state = np.where(crossing, np.uint8(ShifterState.REMOVED), mesh.theta_state[index])
    none = np.zeros(len(index), np.uint8)
    return replace(
        mesh,
        ports=found.ports,
        column=found.column,
        port=found.port,
        theta_rad=theta,
        phi_rad=np.zeros(len(index)),
        theta_state=state.astype(np.uint8),
        phi_state=none,
        out_rad=np.zeros(found.ports),
        out_state=np.zeros(found.ports, np.uint8),
    )
