"""`prune` where there is little to prune, or little to prune it with."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx2mzi
from onnx2mzi.errors import InputError, UsageError, VerificationError

F32 = TensorProto.FLOAT


def perceptron(
    sizes: Sequence[int],
    *,
    dead: Sequence[int] = (),
    few: bool = False,
    batch: int | str = "N",
    extra: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    opsets: Sequence[Any] = (),
) -> bytes:
    """Layers of random weights with ReLUs between; the weights of `dead` ones are 0, with `few`
    all but two outputs of the first. `extra` nodes go on from `y`, and give `outputs`."""
    rng = np.random.default_rng(0)
    nodes, inits, last = [], [], len(sizes) - 2
    for k, (n, m) in enumerate(pairwise(sizes)):
        w = rng.standard_normal((n, m)).astype(np.float32) / np.float32(np.sqrt(n))
        if k in dead:
            w[:] = 0
        if few and k == 0:
            w[:, 2:] = 0
        b = 0.1 * rng.standard_normal(m).astype(np.float32)
        inits += [numpy_helper.from_array(w, f"w{k}"), numpy_helper.from_array(b, f"b{k}")]
        source, made = ("x" if k == 0 else f"r{k - 1}"), ("y" if k == last else f"h{k}")
        nodes.append(helper.make_node("Gemm", [source, f"w{k}", f"b{k}"], [made], f"fc{k}"))
        if k < last:
            nodes.append(helper.make_node("Relu", [made], [f"r{k}"]))
    graph = helper.make_graph(
        [*nodes, *extra],
        "perceptron",
        [helper.make_tensor_value_info("x", F32, [batch, sizes[0]])],
        [helper.make_tensor_value_info("y", F32, [batch, sizes[-1]]), *outputs],
        inits,
    )
    versions = [helper.make_opsetid("", 17), *opsets]
    model = helper.make_model(graph, opset_imports=versions, ir_version=9)
    return bytes(model.SerializeToString())


def inputs(count: int = 60, width: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {"x": rng.standard_normal((count, width)).astype(np.float32)}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [{"few": True}, {"dead": (0,)}, {"dead": (1,)}])
def test_dead_parts_of_layers_go(shape: Any) -> None:
    chip = onnx2mzi.compile(perceptron([6, 8, 3], **shape), optimize="prune", data=inputs())
    assert chip.report["phases_active"] < chip.report["phases_exact"] + 1


@pytest.mark.parametrize(
    "step",
    [
        "prune{method=obs target=0.99}",
        "prune{method=ports target=0.99}",
        "prune{method=magnitude max_drop=1}",
        "prune{method=truncate}",
    ],
)
def test_whatever_is_lost_is_whatever_is_lost(step: str) -> None:
    """One output is a number, no class, and its relative error may be more than 1."""
    chip = onnx2mzi.compile(perceptron([6, 8, 1]), optimize=step, data=inputs())
    assert chip.report["phases_active"] < chip.report["phases_reference"]


def test_truncate_without_data_takes_no_more_than_its_budget() -> None:
    onnx2mzi.compile(perceptron([6, 8, 3]), optimize="prune{method=truncate}")


def test_words_among_the_outputs_do_not_matter() -> None:
    words = [
        helper.make_node("ArgMax", ["y"], ["at"], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder",
            ["at"],
            ["word"],
            domain="ai.onnx.ml",
            keys_int64s=[0, 1, 2],
            values_strings=["a", "b", "c"],
        ),
    ]
    model = perceptron(
        [6, 8, 3],
        extra=words,
        outputs=[helper.make_tensor_value_info("word", TensorProto.STRING, ["N"])],
        opsets=[helper.make_opsetid("ai.onnx.ml", 3)],
    )
    assert onnx2mzi.compile(model, optimize="prune", data=inputs()).report["phases_active"]


@pytest.mark.parametrize("method", ["imp", "lth", "colt", "soft-l1", "fedtiny", "brain-surgeon"])
def test_a_target_beyond_the_last_heater_leaves_what_floors_say(method: str) -> None:
    pytest.importorskip("torch")
    step = f"prune{{method={method} target=0.999 epochs=1 dense_epochs=1}}"
    for given in (inputs(), inputs(2)):
        chip = onnx2mzi.compile(perceptron([6, 8, 3]), optimize=step, data=given)
        assert 0 < chip.report["phases_active"] < 10


def test_training_bears_a_layer_without_heaters() -> None:
    pytest.importorskip("torch")
    step = "prune{method=brain-surgeon target=0.8 epochs=1 start=program}"
    model = perceptron([6, 8, 8, 3], dead=(1,))
    assert onnx2mzi.compile(model, optimize=step, data=inputs()).report["phases_active"]


@pytest.mark.parametrize("method", ["mixed", "imp", "grow"])
def test_training_within_a_budget_ends_at_the_floors(method: str) -> None:
    pytest.importorskip("torch")
    step = f"prune{{method={method} max_drop=1 floor=0.3 epochs=1}}"
    chip = onnx2mzi.compile(perceptron([6, 8, 3]), optimize=step, data=inputs())
    assert len(chip.emission.frontier) < 15


def test_a_second_training_has_the_first_teacher() -> None:
    pytest.importorskip("torch")
    from onnx2mzi.passes.prune.trained import Course

    taught: list[Any] = []
    of = Course.of.__func__  # type: ignore[attr-defined]

    def noted(*given: Any) -> Any:
        course = of(Course, *given)
        taught.append(course.trainer.fit_on.teacher)
        return course

    step = "prune{method=soft-l1 target=0.6 epochs=10}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Course, "of", noted)
        onnx2mzi.compile(perceptron([6, 8, 3]), optimize=f"{step},{step}", data=inputs())
    first, second = taught
    assert np.array_equal(first.numpy(), second.numpy())


@pytest.mark.parametrize("biases", ["true", "false"])
def test_port_factors_are_trained_whether_biases_are_or_not(biases: str) -> None:
    pytest.importorskip("torch")
    import onnx

    step = f"prune{{method=imp target=0.7 epochs=3 port_factors=true biases={biases}}}"
    chip = onnx2mzi.compile(perceptron([6, 8, 3]), optimize=step, data=inputs())
    assert chip.program.host is not None
    host = onnx.ModelProto.FromString(chip.program.host.model)
    ports = [x for x in host.graph.initializer if x.name.startswith("onnx2mzi/ports")]
    assert any(np.ptp(numpy_helper.to_array(x)) > 1e-4 for x in ports)


def test_a_network_in_which_samples_meet_is_not_trained() -> None:
    pytest.importorskip("torch")
    model = perceptron(
        [6, 8, 3],
        batch=1,
        extra=[
            helper.make_node("ReduceMax", ["y"], ["most"], keepdims=0),
            helper.make_node("Sub", ["y", "most"], ["z"]),
        ],
        outputs=[helper.make_tensor_value_info("z", F32, [1, 3])],
    )
    with pytest.raises(InputError, match="64 samples at once") as error:
        onnx2mzi.compile(model, optimize="prune{method=imp target=0.6 epochs=1}", data=inputs(200))
    assert "free batch dimension" in error.value.hint


@pytest.mark.parametrize(
    "step", ["prune{method=imp lr=0}", "finetune{lr=0}", "quantize{rounding=trained lr=0}"]
)
def test_a_rate_of_nothing_is_refused(step: str) -> None:
    with pytest.raises(UsageError, match="lr"):
        onnx2mzi.compile(perceptron([6, 8, 3]), optimize=step, data=inputs())


@pytest.mark.parametrize("option", ["epochs=50", "objective=power", "share=u", "start=zero"])
def test_options_of_training_are_not_ignored_without_training(option: str) -> None:
    name = option.partition("=")[0]
    with pytest.raises(UsageError, match=f"obs does not train and knows no {name}"):
        onnx2mzi.compile(perceptron([6, 8, 3]), optimize=f"prune{{{option}}}", data=inputs())


@pytest.mark.parametrize("option", ["share=u", "start=zero"])
def test_a_search_takes_its_own_starts(option: str) -> None:
    with pytest.raises(UsageError, match="search takes its own starts"):
        onnx2mzi.compile(
            perceptron([6, 8, 3]), optimize=f"prune{{method=search {option}}}", data=inputs()
        )


@pytest.mark.parametrize("method", ["imp", "surgeon", "grow", "lth"])
def test_every_training_can_be_for_less_power(method: str) -> None:
    pytest.importorskip("torch")
    power = {}
    for objective in ("heaters", "power"):
        step = f"prune{{method={method} target=0.7 epochs=20 l1=0.3 objective={objective}}}"
        chip = onnx2mzi.compile(perceptron([6, 8, 3]), optimize=step, data=inputs(400))
        power[objective] = chip.report["power_mw"]
        assert chip.report["changed_answers"] < 0.3
    assert power["power"] < 0.9 * power["heaters"]


def test_a_training_never_leaves_a_dearer_chip() -> None:
    pytest.importorskip("torch")
    said: list[str] = []
    steps = "prune{max_drop=0.3}", "prune{method=soft-l1 floor=0.6 max_drop=0.3 epochs=2}"
    chips = [
        onnx2mzi.compile(
            perceptron([6, 8, 3]), optimize=text, data=inputs(), log=said.append
        ).report["phases_active"]
        for text in (steps[0], ",".join(steps))
    ]
    assert chips[1] <= chips[0]
    assert any("no cheaper chip" in line or "nothing that keeps" in line for line in said)


def test_a_pass_is_not_blamed_for_what_was_lost_before() -> None:
    pytest.importorskip("torch")
    steps = "prune{method=magnitude max_drop=0.4},prune{method=imp max_drop=0.005 epochs=0.1}"
    with pytest.raises(VerificationError, match="was given one that is worse by") as error:
        onnx2mzi.compile(perceptron([6, 8, 3]), optimize=steps, data=inputs())
    assert "allow as much" in error.value.hint


def test_what_is_not_judged_is_named() -> None:
    said: list[str] = []
    model = perceptron(
        [6, 8, 3],
        extra=[helper.make_node("ReduceSum", ["y"], ["sum"], keepdims=0)],
        outputs=[helper.make_tensor_value_info("sum", F32, [])],
    )
    onnx2mzi.compile(model, optimize="prune", data=inputs(), log=said.append)
    assert any("by 'y' alone, not 'sum'" in line for line in said)


def test_floors_that_a_target_meets_are_told() -> None:
    pytest.importorskip("torch")
    said: list[str] = []
    step = "prune{method=grow target=0.97 floor=0.2 epochs=1}"
    onnx2mzi.compile(perceptron([6, 8, 3]), optimize=step, data=inputs(), log=said.append)
    assert any("floor=0.2" in line for line in said)


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_a_fixed_batch_in_which_samples_do_not_meet_is_trained(batch: int) -> None:
    pytest.importorskip("torch")
    step = "prune{method=imp target=0.6 epochs=1}"
    chip = onnx2mzi.compile(perceptron([6, 8, 3], batch=batch), optimize=step, data=inputs(200))
    assert chip.report["phases_active"]


def test_a_model_of_one_sample_is_not_trained() -> None:
    pytest.importorskip("torch")
    nodes = [
        helper.make_node("Reshape", ["x", "row"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weight = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", F32, [1, 2, 3])],
        [helper.make_tensor_value_info("y", F32, [1, 3])],
        [numpy_helper.from_array(np.array([1, 6]), "row"), numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    given = {"x": np.random.default_rng(1).standard_normal((60, 2, 3)).astype(np.float32)}
    with pytest.raises(InputError, match="invalid for input") as error:
        onnx2mzi.compile(
            bytes(model.SerializeToString()),
            optimize="prune{method=imp target=0.6 epochs=1}",
            data=given,
        )
    assert "free batch dimension" in error.value.hint
