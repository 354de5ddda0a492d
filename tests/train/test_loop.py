"""The loop: what is removed stays so, interruptions leave no trace, time limits hold."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from onnx2mzi.errors import InputError  # noqa: E402
from onnx2mzi.train.loop import At  # noqa: E402
from onnx2mzi.train.network import PhaseNetwork  # noqa: E402
from onnx2mzi.train.samples import Aim, Samples, aim, tensors  # noqa: E402
from onnx2mzi.train.schedules import allr, constant, hold_then_cosine, llr, one_cycle  # noqa: E402


def test_what_is_removed_has_no_gradient_and_does_not_move(make_trainer: Any) -> None:
    trainer = make_trainer()
    network = trainer.network
    gone = torch.arange(len(network.phase)) % 3 == 0
    trainer.keep(~gone)
    trainer.fit(2)
    assert not network.effective()[gone].any()
    assert network.phases_active == int((~gone).sum())
    # But what it would do is known.
    assert (trainer.gradient()[gone] != 0).any()


def test_what_comes_back_starts_where_it_rested(make_trainer: Any) -> None:
    trainer = make_trainer()
    none = torch.zeros_like(trainer.network.alive)
    some = none.clone()
    some[:5] = True
    trainer.keep(none)
    trainer.keep(some)
    assert not trainer.network.effective().any()
    trainer.fit(1)
    assert trainer.network.effective()[:5].all()


def test_the_gradient_is_that_of_the_loss(make_trainer: Any) -> None:
    trainer = make_trainer()
    network, on = trainer.network, trainer.fit_on
    found = trainer.gradient()
    phase, h = network.effective().detach(), 1e-5

    def loss(k: int, step: float) -> float:
        moved = phase.clone()
        moved[k] += step
        inputs = {name: x.double() for name, x in on.inputs.items()}
        with torch.no_grad():
            return float(trainer.aim.loss(network(inputs, phase=moved), on))

    for k in (0, 20, len(phase) - 1):
        assert found[k] == pytest.approx((loss(k, h) - loss(k, -h)) / (2 * h), abs=1e-5)


def test_an_interrupted_training_goes_on_to_the_same_network(
    make_trainer: Any, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def run(folder: Path | None, stop: int | None) -> Any:
        trainer = make_trainer(folder=lambda: folder, patience_s=0.0)
        seen = 0

        def hook(trainer: Any, at: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == stop:
                raise Stop

        trainer.fit(2, hook=hook)
        trainer.keep(trainer.network.phase.detach().abs() > 0.1)
        trainer.fit(4, hook=hook)
        return trainer.network.effective().detach(), seen

    whole, steps = run(None, None)
    with pytest.raises(Stop):
        run(tmp_path, 15)
    again, rest = run(tmp_path, None)
    assert torch.equal(again, whole)
    assert rest < steps


def test_a_training_ends_at_its_deadline(make_trainer: Any) -> None:
    trainer = make_trainer(deadline=perf_counter())
    before = trainer.network.effective().detach().clone()
    trainer.fit(1000)
    assert trainer.expired and torch.equal(trainer.network.effective(), before)


def test_divergence_is_told_in_one_line(make_trainer: Any) -> None:
    trainer = make_trainer()
    with torch.no_grad():
        trainer.network.gain.fill_(torch.nan)
    with pytest.raises(InputError, match="diverged"):
        trainer.fit(1)


def test_thresholds_of_schedules() -> None:
    for schedule in (constant, one_cycle, llr, hold_then_cosine(0.5)):
        rates = [schedule(t) for t in np.linspace(0.001, 0.999, 101)]
        assert min(rates) >= 0 and 0.9 < max(rates) <= 1.0
    assert llr(0.55) == pytest.approx(0.5)
    # Little has moved: the rate is what the shorter training has in the longer one.
    assert allr(0.0, 0.2, 2.0, 10.0)(0.1) == pytest.approx(0.2)
    assert allr(9.0, 0.2, 2.0, 10.0)(0.1) == pytest.approx(1.0)


def test_teachers_and_labels_are_both_learned_from() -> None:
    scores = np.array([[0.2, 0.8], [0.9, 0.1]], np.float32)
    goal = aim({"p": scores})
    assert goal.probabilities and goal.classes
    assert not aim({"z": 3 * scores}).probabilities
    assert not aim({"z": scores[:, :1]}).classes
    teacher, labels = torch.tensor(scores), torch.tensor([1, 0])
    inputs = {"x": torch.zeros(2, 1)}
    right = {"p": teacher}
    wrong = {"p": teacher.flip(1)}
    for on in (
        Samples(inputs, labels),
        Samples(inputs, None, teacher),
        Samples(inputs, labels, teacher),
    ):
        assert float(goal.loss(right, on)) < float(goal.loss(wrong, on))
        found = goal.right(right, on)
        assert found is not None and found.all()
    plain = Aim("z", False, False)
    assert float(plain.loss({"z": teacher}, Samples(inputs, None, teacher))) == 0.0
    with pytest.raises(InputError):
        goal.loss(right, Samples(inputs))


def test_answers_are_weighed_by_the_variance_of_all_of_them() -> None:
    # A batch of equal ones has none of its own.
    goal = aim({"z": np.array([[0.0], [0.0], [0.0], [4.0]])})
    batch = Samples({"x": torch.zeros(2, 1)}, None, torch.zeros(2, 1))
    assert float(goal.loss({"z": torch.ones(2, 1)}, batch)) == pytest.approx(1 / 3)
    assert aim({"z": np.full((5, 1), 0.1, np.float32)}).variance == pytest.approx(0.01)
    assert aim({"z": np.zeros((5, 1))}).variance == 1.0


def test_words_are_no_tensors() -> None:
    found = tensors({"x": np.ones((2, 1)), "word": np.array(["a", "b"], object)})
    assert list(found) == ["x"]


def test_a_bias_of_half_precision_without_gradient_stays(make_trainer: Any) -> None:
    trainer = make_trainer()
    network = trainer.network
    bias = torch.zeros(8, dtype=torch.float16)
    bias[3] = -100.0
    made = PhaseNetwork(network.starts(), network.electronics, biases={"bias": bias})
    on = replace(trainer.fit_on, inputs={"x": trainer.fit_on.inputs["x"].half()})
    trainer.network, trainer.fit_on = made, on
    trainer.fit(2)
    trained = made.constants()["bias"]
    assert trained.dtype == torch.float16
    assert trained[3] == -100.0 and trained.isfinite().all() and trained[:3].any()


def test_a_seed_may_be_of_any_size(make_trainer: Any) -> None:
    trainer = make_trainer(seed=2**45)
    trainer.fit(1)
    assert len(trainer.some(5, At(0, 1, 0.5, 0.1))) == 5


def test_a_gradient_on_some_samples_is_not_that_of_the_first(make_trainer: Any) -> None:
    trainer = make_trainer()
    on = trainer.fit_on
    trainer.fit_on = on.take(torch.argsort(on.labels, stable=True))
    whole, some = trainer.gradient(), trainer.gradient(most=50)
    first = trainer.gradient(torch.arange(50))
    assert (some - whole).norm() < 0.5 * (first - whole).norm()
    assert torch.equal(some, trainer.gradient(most=50))


def test_training_outlives_the_folder_of_its_pieces(make_trainer: Any, tmp_path: Path) -> None:
    trainer = make_trainer(folder=lambda: tmp_path / "gone", patience_s=0.0)
    trainer.fit(2)
    (tmp_path / "piece0.done.pt").write_bytes(b"PK")
    again = make_trainer(folder=lambda: tmp_path)
    again.fit(2)
    assert np.array_equal(
        again.network.phase.detach().numpy(), trainer.network.phase.detach().numpy()
    )
