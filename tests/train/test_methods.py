"""Every method: it leaves no more heaters than asked, layers live, the network still works."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from onnx2mzi.train.methods import TABLE  # noqa: E402
from onnx2mzi.train.methods.base import (  # noqa: E402
    Task,
    by_layer,
    highest,
    layer_adaptive,
    levels,
    magnitude,
    method,
)
from onnx2mzi.train.methods.cluster import Cluster, groups, shared  # noqa: E402
from onnx2mzi.train.methods.onecycle import sparsity  # noqa: E402
from onnx2mzi.train.methods.smartdeal import nearest, powers  # noqa: E402
from onnx2mzi.train.network import PhaseNetwork  # noqa: E402
from onnx2mzi.train.tiles import near_zero  # noqa: E402
from onnx2mzi.train.walk import Walk  # noqa: E402

KEEP = 45
# Whole guides and channels go, so that fewer heaters say less.
COARSE = {"filter": 75, "slimming": 75}
# Two wells: nothing is retrained. The others leave a few answers wrong of 200.
RIGHT = {"two-well": 0.5, "slimming": 0.5, "filter": 0.6}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_method_leaves_what_it_may_and_the_network_works(name: str, make_trainer: Any) -> None:
    trainer = make_trainer()
    trainer.fit(25)
    dense = trainer.measure()
    assert dense.accuracy > 0.9
    keep = COARSE.get(name, KEEP)
    method(name).shrink(trainer, Task(epochs=20, floor=0.05, levels=4, readers={"a": "b"}), keep)
    network = trainer.network
    assert network.phases_active <= keep < dense.heaters
    for spot in network.spots.values():
        assert network.alive[spot].any()
    resting = network.effective()[~network.alive].abs()
    assert ((resting == 0.0) | (resting == torch.pi)).all()
    assert trainer.measure().accuracy > RIGHT.get(name, 0.8)


@pytest.mark.parametrize("name", ["soft-l1", "grow", "imp"])
def test_complex_networks_are_pruned_too(name: str, make_trainer: Any) -> None:
    trainer = make_trainer(real=False)
    trainer.fit(20)
    assert trainer.measure().accuracy > 0.8
    method(name).shrink(trainer, Task(epochs=12), 100)
    assert trainer.network.phases_active <= 100
    assert trainer.measure().accuracy > 0.7


@pytest.mark.parametrize("name", ["grow", "colt"])
def test_the_same_seed_gives_the_same_network(name: str, make_trainer: Any) -> None:
    found = []
    for seed in (1, 1, 2):
        trainer = make_trainer(seed=seed)
        trainer.fit(2)
        method(name).shrink(trainer, Task(epochs=2), KEEP)
        found.append(trainer.network.effective().detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_colt_takes_samples_of_one_class_by_half(make_trainer: Any) -> None:
    trainer = make_trainer()
    labels = trainer.fit_on.labels
    one = replace(trainer.fit_on, labels=torch.zeros_like(labels))
    trainer.fit_on = one
    trainer.fit(1)
    method("colt").shrink(trainer, Task(epochs=1), KEEP)
    assert trainer.network.phases_active <= KEEP


def test_floors_hold_whatever_the_scores(make_trainer: Any) -> None:
    network = make_trainer().network
    score = torch.zeros(len(network.phase), dtype=torch.float64)
    score[network.spots["a"]] = 1.0
    mask = highest(score, 20, network, {"a": 1, "b": 7})
    assert int(mask.sum()) == 20 and int(mask[network.spots["b"]].sum()) == 7
    shares = {name: round(0.25 * (s.stop - s.start)) for name, s in network.spots.items()}
    alone = by_layer(score, sum(shares.values()), network, {"a": 1, "b": 1})
    for name, spot in network.spots.items():
        assert int(alone[spot].sum()) == shares[name]


def test_shares_of_layers_are_no_more_than_asked_for() -> None:
    rng = np.random.default_rng(0)
    layers = [
        near_zero(name, (n, n), norm=1.0, real=True, spread_rad=0.3, rng=rng)
        for name, n in (("a", 3), ("b", 3), ("c", 3), ("d", 6))
    ]
    network = PhaseNetwork(layers, lambda matrices, inputs, constants=None: dict(matrices))
    sizes = {name: spot.stop - spot.start for name, spot in network.spots.items()}
    none, score = dict.fromkeys(sizes, 0), magnitude(network)
    for keep in range(1, sum(sizes.values())):
        mask = by_layer(score, keep, network, none)
        left = {name: int(mask[spot].sum()) for name, spot in network.spots.items()}
        assert keep - 2 <= sum(left.values()) <= keep
        share = keep / sum(sizes.values())
        assert all(abs(left[name] - share * size) <= 1 for name, size in sizes.items())
    # What floors hold back is taken from the others.
    mask = by_layer(score, 20, network, none | {"a": 7})
    assert int(mask[network.spots["a"]].sum()) == 7 and int(mask.sum()) == 20


# Those whose rounding may leave one too few, and the others.
ROUNDED = ("colt", "fedtiny", "lth")
PASSIVE = ("imp", "soft-l1", "one-cycle", "two-well", "han", "snip", "grow", *ROUNDED)


@pytest.mark.parametrize("name", PASSIVE)
def test_what_is_passive_already_is_not_among_the_heaters_kept(
    name: str, make_trainer: Any
) -> None:
    trainer = make_trainer()
    network = trainer.network
    trainer.fit(4)
    method("mixed").shrink(trainer, Task(), KEEP + 20)
    passive = network.fixed.clone()
    method(name).shrink(trainer, Task(epochs=2, floor=0.05), KEEP)
    assert 0 <= KEEP - network.phases_active <= (name in ROUNDED)
    if name != "grow":
        assert network.alive[passive].all()


def test_attenuators_that_are_fixed_are_not_counted_again(make_trainer: Any) -> None:
    trainer = make_trainer()
    network, made = trainer.network, method("smartdeal")
    with torch.no_grad():
        network.phase[network.kinds() == 2] = 2.0
    trainer.fit(4)
    for keep in (KEEP, KEEP - 3, 12):
        made.shrink(trainer, Task(epochs=2), keep)
        assert network.phases_active == keep
        assert int((network.fixed & network.alive).sum()) > 3


def test_fedtiny_judges_by_samples_of_all_classes(make_trainer: Any) -> None:
    trainer = make_trainer()
    on, measure = trainer.fit_on, trainer.measure
    trainer.fit_on = on.take(torch.argsort(on.labels, stable=True))
    judged: list[int] = []

    def noted(on: Any = None) -> Any:
        judged.append(len(torch.unique(on.labels)))
        return measure(on)

    trainer.measure = noted
    method("fedtiny").shrink(trainer, Task(epochs=0.1), KEEP)
    assert judged and min(judged) > 3


def test_heaters_that_share_a_driver_may_be_beyond_pi(make_trainer: Any) -> None:
    trainer = make_trainer(real=False)
    network = trainer.network
    trainer.keep(network.kinds() == 1)
    with torch.no_grad():
        # The same size on either arm, one of them a turn further.
        network.phase[network.alive] = 4.0 - 2 * torch.pi
        network.phase[torch.nonzero(network.alive)[::2, 0]] = 4.0
    before = {name: w.detach() for name, w in network.matrices().items()}
    trainer.fit = lambda *given, **more: None
    assert shared(trainer, 1, 1.0) == 2
    for name, w in network.matrices().items():
        assert torch.allclose(w, before[name])


def test_magnitudes_are_weighed_against_what_is_left_of_their_layer(make_trainer: Any) -> None:
    trainer = make_trainer()
    network = trainer.network
    trainer.keep(torch.arange(len(network.phase)) % 5 != 0)
    size, score = magnitude(network), layer_adaptive(network)
    for spot in network.spots.values():
        for k in range(spot.start, spot.stop):
            there = size[spot][size[spot] >= size[k]]
            share = float(size[k] ** 2 / (there**2).sum()) if size[k] > 0 else 0.0
            assert float(score[k]) == pytest.approx(share, rel=1e-5)
    # A layer whose phases are all smaller is not the first to go.
    with torch.no_grad():
        network.phase[network.spots["b"]] *= 1e-3
    assert torch.allclose(layer_adaptive(network), score, rtol=1e-4)


def test_levels_go_down_in_equal_ratios() -> None:
    assert list(levels(1000, 125, 0.5)) == [500, 250, 125]
    assert list(levels(100, 100, 0.5)) == []
    assert list(levels(100, 99, 0.5)) == [99]


def test_one_cycle_rises_from_the_first_to_the_last() -> None:
    assert sparsity(0.0, 0.0, 0.9) < 0.01
    assert sparsity(1.0, 0.0, 0.9) == pytest.approx(0.9)


def test_clusters_share_few_sizes(make_trainer: Any) -> None:
    trainer = make_trainer()
    trainer.fit(4)
    made = Cluster()
    made.shrink(trainer, Task(epochs=6, levels=3), KEEP)
    network = trainer.network
    phase = network.phase.detach()
    sizes = phase[network.alive].abs()
    assert made.drivers <= 6
    assert len(torch.unique(torch.round(sizes, decimals=9))) <= made.drivers


def test_groups_find_separate_sizes() -> None:
    centres, member = groups(torch.tensor([0.1, 0.11, 1.0, 1.02, 2.0]), 3)
    assert torch.allclose(centres, torch.tensor([0.105, 1.01, 2.0]))
    assert member.tolist() == [0, 0, 1, 1, 2]


def test_attenuators_become_powers_of_two(make_trainer: Any) -> None:
    amplitudes = torch.tensor([1.0, 0.8, 0.45, 0.13, 1e-9], dtype=torch.float64)
    found = torch.cos(nearest(2 * torch.arccos(amplitudes)) / 2)
    assert torch.allclose(found, torch.tensor([1.0, 1.0, 0.5, 0.125, 2.0**-6]).double())
    trainer = make_trainer()
    trainer.fit(4)
    method("smartdeal").shrink(trainer, Task(epochs=4), KEEP)
    network = trainer.network
    sigma = network.phase.detach()[(network.kinds() == 2) & network.alive]
    assert torch.isin(sigma, powers()).all()


def test_on_rails_heaters_stay_and_share_one_size_a_layer(make_trainer: Any) -> None:
    trainer = make_trainer()
    trainer.fit(10)
    heaters = trainer.measure().heaters
    task, asked = Task(epochs=10, floor=0.02, rail=True), iter([True, True, False])
    walk = Walk(trainer, method("two-well"), task)
    # 0.6 of all with drivers of their own are few enough, 0.36 are not, and what is between.
    assert walk.within(lambda: next(asked, False))
    network = trainer.network
    assert network.phases_active == heaters and network.phases_own == round(0.6 * heaters)
    method("two-well").shrink(trainer, task, 20)
    assert network.phases_active == heaters and network.phases_own == 20
    for spot in network.spots.values():
        sizes = network.phase.detach()[spot][network.railed[spot]].abs()
        assert len(sizes) > 20 and (sizes - sizes[0]).abs().max() < 1e-12 and sizes[0] > 0
    assert trainer.measure().accuracy > 0.8


class Stop(Exception):
    """An interruption."""


RESUMED = ("soft-l1", "grow", "fedtiny", "two-well", "smartdeal", "surgeon", "one-cycle", "imp")


@pytest.mark.parametrize("name", RESUMED)
def test_an_interrupted_method_goes_on_to_the_same_network(
    name: str, make_trainer: Any, tmp_path: Path
) -> None:
    def run(folder: Path | None, stop: int | None) -> tuple[Any, int]:
        trainer, seen = make_trainer(folder=lambda: folder, patience_s=0.0), 0
        step = trainer._step

        def counted(*given: Any) -> float:
            nonlocal seen
            seen += 1
            if seen == stop:
                raise Stop
            return float(step(*given))

        trainer._step = counted
        method(name).shrink(trainer, Task(epochs=20, floor=0.05, levels=4), KEEP)
        return trainer.network.effective().detach(), seen

    whole, steps = run(None, None)
    for stop in (steps // 3, steps // 2, steps - 2):
        folder = tmp_path / str(stop)
        folder.mkdir()
        with pytest.raises(Stop):
            run(folder, stop)
        again, less = run(folder, None)
        assert less < steps
        assert torch.equal(again, whole)


def test_fedtiny_chooses_among_masks_that_differ(make_trainer: Any) -> None:
    trainer = make_trainer()
    trainer.fit(10)
    masks: list[Any] = []
    keep = trainer.keep

    def noted(alive: Any, **more: Any) -> None:
        masks.append(alive.clone())
        keep(alive, **more)

    trainer.keep = noted
    method("fedtiny").shrink(trainer, Task(epochs=1), KEEP)
    pool = {tuple(mask.tolist()) for mask in masks[:6]}
    assert len(pool) >= 4


def test_a_walk_ends_where_layers_may_not_lose_more(make_trainer: Any) -> None:
    for name in ("imp", "mixed", "grow"):
        trainer = make_trainer()
        walk = Walk(trainer, method(name), Task(epochs=1, floor=0.4))
        assert walk.within(lambda: True)
        assert len(walk.points) < 12
