"""Tiles that share meshes: theirs are one through training and pruning, others' are not."""

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from onnx2mzi.train.methods.base import Task, method  # noqa: E402
from onnx2mzi.train.network import PhaseNetwork  # noqa: E402
from onnx2mzi.train.sharing import Share, share_meshes  # noqa: E402
from onnx2mzi.train.tiles import GridStart, LayerStart, near_zero_tile  # noqa: E402


def tiled(real: bool = True) -> PhaseNetwork:
    """A layer (8, 10) of four tiles of 4 x 4 and, at the edge, two of 4 x 2."""
    rng = np.random.default_rng(3)
    tiles = tuple(
        near_zero_tile(
            (4, stop - start),
            norm=1.0,
            real=real,
            spread_rad=0.3,
            rng=rng,
            inputs=np.arange(start, stop, dtype=np.int32),
            outputs=np.arange(top, top + 4, dtype=np.int32),
        )
        for top in (0, 4)
        for start, stop in ((0, 4), (4, 8), (8, 10))
    )
    layer = LayerStart("a", (GridStart(8, 10, tiles),), real)

    def electronics(matrices: Any, inputs: Any, constants: Any = None) -> Any:
        return {"y": inputs["x"] @ matrices["a"].T}

    return PhaseNetwork([layer], electronics)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("share", [Share.U, Share.V, Share.BOTH])
def test_meshes_of_a_row_or_a_column_are_one(share: Share, real: bool) -> None:
    network = tiled(real)
    share_meshes(network, share)
    with torch.no_grad():
        network.phase.add_(torch.randn(len(network.phase), dtype=torch.float64))
    network.project()
    a, b, edge, below, *_ = network.layers["a"][0].tiles
    phase = network.phase.detach()
    one_u = torch.equal(phase[a.theta_u], phase[b.theta_u])
    one_v = torch.equal(phase[a.theta_v], phase[below.theta_v])
    assert one_u == (share is not Share.V) and one_v == (share is not Share.U)
    assert torch.equal(phase[a.phi_u], phase[b.phi_u]) == (one_u or real)
    assert not torch.equal(phase[a.theta_u], phase[below.theta_u])
    assert not torch.equal(phase[a.sigma], phase[b.sigma])
    assert edge.u.count != a.u.count


def test_what_is_removed_from_one_of_them_does_not_pull_at_the_others() -> None:
    network = tiled()
    share_meshes(network, Share.U)
    a, b, *_ = network.layers["a"][0].tiles
    phase, gone, left = network.phase.detach(), a.theta_u.start, b.theta_u.start
    before = phase[left].clone()
    network.alive[gone] = False
    phase[gone] = 0.0
    network.project()
    assert phase[left] == before != 0.0
    assert phase[gone] == 0.0


def test_training_keeps_them_together(make_trainer: Any) -> None:
    trainer = make_trainer()
    network = trainer.network
    # Two phases that nothing has to do with each other.
    place = torch.arange(len(network.phase))
    place[7] = 2
    network.tie(place)
    trainer.fit(1)
    method("soft-l1").shrink(trainer, Task(epochs=2), 60)
    phase = network.phase.detach()
    assert not (network.alive[2] and network.alive[7]) or phase[2] == phase[7]
    trainer.fit(1)
    assert phase[3] != phase[2]
