"""Slopes by single phases, and the surgeon who takes them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from onnx2mzi.train.curvature import jacobian, matrix_slopes, output_slopes  # noqa: E402
from onnx2mzi.train.loop import Settings, Trainer  # noqa: E402
from onnx2mzi.train.methods.base import Task  # noqa: E402
from onnx2mzi.train.methods.exact import BrainSurgeon, operate, removed  # noqa: E402
from onnx2mzi.train.network import PhaseNetwork  # noqa: E402
from onnx2mzi.train.samples import Aim, Samples  # noqa: E402
from onnx2mzi.train.tiles import near_zero  # noqa: E402


def network_of(real: bool, seed: int = 0) -> PhaseNetwork:
    """Two layers: 6 to 5, then 5 to 3."""
    rng = np.random.default_rng(seed)
    layers = [
        near_zero("a", (5, 6), norm=3.0, real=real, spread_rad=0.8, rng=rng),
        near_zero("b", (3, 5), norm=3.0, real=real, spread_rad=0.8, rng=rng),
    ]

    def electronics(matrices, inputs, constants=None):  # type: ignore[no-untyped-def]
        x = inputs["x"].to(matrices["a"].dtype)
        fields = x @ matrices["a"].T + constants["offset"]
        hidden = fields.tanh() if real else fields.abs().square()
        out = hidden.to(matrices["b"].dtype) @ matrices["b"].T
        return {"y": out.real if real else out.abs().square()}

    return PhaseNetwork(layers, electronics, biases={"offset": torch.full((5,), 0.1)})


def samples_of(count: int) -> Samples:
    make = torch.Generator().manual_seed(1)
    x = torch.randn(count, 6, generator=make, dtype=torch.float64)
    return Samples({"x": x}, torch.randint(3, (count,), generator=make))


@pytest.mark.parametrize("real", [True, False])
def test_matrix_slopes_are_derivatives(real: bool) -> None:
    network = network_of(real)
    found = matrix_slopes(network)
    before = {name: w.detach().clone() for name, w in network.matrices().items()}
    for name, spot in network.spots.items():
        left, right = found[name]
        for p in range(spot.start, spot.stop):
            with torch.no_grad():
                network.phase[p] += 1e-6
                moved = (network.matrices()[name] - before[name]) / 1e-6
                network.phase[p] -= 1e-6
            slope = left[p - spot.start].T @ right[p - spot.start]
            assert torch.allclose(slope, moved.to(slope.dtype), atol=1e-5)


@pytest.mark.parametrize("real", [True, False])
def test_jacobian_is_that_of_the_bent_scores(real: bool) -> None:
    network, aim, on = network_of(real), Aim("y", True, False), samples_of(4)
    found = jacobian(network, aim, on)
    assert found.shape == (4 * 3, len(network.phase) + 2 + 5)
    scores = network(on.inputs)["y"]
    p = torch.softmax(scores.detach(), 1)
    bent = p.sqrt() * (scores - (p * scores).sum(1, keepdim=True))
    for row, value in enumerate(bent.flatten()):
        trained = [network.phase, network.gain, *network.biases]
        slopes = torch.autograd.grad(value, trained, retain_graph=True)
        assert torch.allclose(found[row], torch.cat(slopes), atol=1e-4)
    by_matrix, by_constant = output_slopes(network, aim, on)
    assert set(by_matrix) == {"a", "b"} and set(by_constant) == {"offset"}


def test_removed_is_optimal_brain_surgeon() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((20, 6))
    h = root.T @ root
    way = rng.standard_normal(6)
    moved, gone = removed(way, np.linalg.inv(h), 3, [])
    assert gone.sum() == 3
    assert np.allclose((way + moved)[gone], 0.0)
    # The survivors are at the least of the quadratic loss with those gone.
    left = ~gone
    best = -np.linalg.solve(h[np.ix_(left, left)], h[np.ix_(left, gone)] @ -way[gone])
    assert np.allclose(moved[left], best)
    _, spared = removed(way, np.linalg.inv(h), 6, [(np.array([0, 1]), 1)])
    assert spared.sum() == 5
    assert not spared[:2].all()


@pytest.mark.parametrize("real", [True, False])
def test_operates_to_the_number_asked(real: bool) -> None:
    network, on = network_of(real), samples_of(200)
    trainer = Trainer(network, Aim("y", True, False), on, on, Settings(batch=50))
    keep = len(network.phase) // 2
    before = trainer.measure().loss
    state = network.state()
    operate(trainer, keep, {"a": 1, "b": 1})
    assert network.phases_active == keep
    compensated = trainer.measure().loss
    network.restore(state)
    size = network.phase.detach().abs()
    trainer.keep(size >= size.sort().values[-keep])
    assert compensated - before < abs(trainer.measure().loss - before) + 0.05
    BrainSurgeon().shrink(trainer, Task(epochs=2.0), keep - 10)
    assert network.phases_active == keep - 10


def test_a_seed_may_be_of_any_size() -> None:
    network, on = network_of(True), samples_of(50)
    trainer = Trainer(network, Aim("y", True, False), on, on, Settings(batch=50, seed=2**45))
    operate(trainer, 40, {"a": 1, "b": 1})
    assert network.phases_active == 40


def test_it_does_not_operate_where_floors_are_reached() -> None:
    network, on = network_of(True), samples_of(200)
    trainer = Trainer(network, Aim("y", True, False), on, on, Settings(batch=50))
    gone = []

    class Counted(BrainSurgeon):
        def cut(self, trainer: Trainer, keep: int, floors: dict[str, int]) -> None:
            before = network.phases_active
            super().cut(trainer, keep, floors)
            gone.append(before - network.phases_active)

    task = Task(epochs=5.0, floor=0.5)
    Counted().shrink(trainer, task, 5)
    assert network.phases_active == sum(task.floors(network).values())
    assert gone and min(gone) > 0
