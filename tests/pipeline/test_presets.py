"""Levels, lists that are completed, and the order that passes must have."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from onnx2mzi.driver.plugins import PASSES
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.passes.decompose import Decompose
from onnx2mzi.passes.place import Place
from onnx2mzi.passes.prune.prune import Prune
from onnx2mzi.passes.quantize import Quantize
from onnx2mzi.passes.tile import Tile
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass
from onnx2mzi.pipeline.manager import Pipeline
from onnx2mzi.pipeline.presets import LEVELS, completed, optimized, with_options
from onnx2mzi.pipeline.stages import check_order

LOWERED = "tile,svd,decompose"


def text(what: str | int) -> str:
    return str(Pipeline(optimized(what, PASSES)))


@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_valid_pipelines_that_end_placed(level: int) -> None:
    pipeline = Pipeline(optimized(level, PASSES))
    assert pipeline.check() is Stage.PLACED
    assert str(Pipeline.parse(str(pipeline), PASSES)) == str(pipeline)
    assert text(str(level)) == str(pipeline)


@pytest.mark.parametrize(
    ("what", "whole"),
    [
        ("prune", f"{LOWERED},canonicalize,prune,compact,place"),
        ("place", f"{LOWERED},place"),
        ("decompose{mesh=reck}", "tile,svd,decompose{mesh=reck},place"),
        (
            "decompose{mesh=reck},prune",
            "tile,svd,decompose{mesh=reck},canonicalize,prune,compact,place",
        ),
        ("tile", f"{LOWERED},place"),
        ("canonicalize{trials=3},prune", f"{LOWERED},canonicalize{{trials=3}},prune,compact,place"),
        ("prune,canonicalize", f"{LOWERED},prune,canonicalize,compact,place"),
        (
            "prune,quantize{bits=6},place",
            f"{LOWERED},canonicalize,prune,compact,quantize{{bits=6}},place",
        ),
        ("svd,quantize", f"{LOWERED},canonicalize,quantize,place"),
    ],
)
def test_lists_are_completed(what: str, whole: str) -> None:
    assert text(what) == whole
    assert Pipeline(optimized(what, PASSES)).check() is Stage.PLACED


@pytest.mark.parametrize("level", ["4", "-1", "17"])
def test_there_are_four_levels(level: str) -> None:
    with pytest.raises(UsageError, match=f"-O: there is no level {level} .levels: 0 textbook"):
        optimized(level, PASSES)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(UsageError, match="-O: names no level and no pass"):
        optimized(" ", PASSES)


@dataclass(frozen=True, slots=True)
class Polish(Pass):
    """A pass on placed programs."""

    name: ClassVar[str] = "polish"
    stage_in: ClassVar[Stage] = Stage.PLACED
    stage_out: ClassVar[Stage] = Stage.PLACED

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        return replace(program)


def test_a_pass_on_placed_programs_brings_the_placing() -> None:
    names = [step.name for step in completed([Polish()], PASSES)]
    assert names == ["tile", "svd", "decompose", "place", "polish"]


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        (
            [Prune()],
            "pipeline: prune takes a program of stage mesh, but at the start it is linear "
            "(tile, svd, decompose must come before prune; -O inserts them)",
        ),
        (
            [Decompose(), Place(), Prune()],
            "pipeline: prune takes a program of stage mesh, but after place it is placed "
            "(put prune before the pass that makes it placed)",
        ),
        (
            [Decompose(), Tile()],
            "pipeline: tile takes a program of stage linear, but after decompose it is mesh "
            "(put tile before the pass that makes it mesh)",
        ),
        (
            completed([Decompose(), Quantize(), Prune()], PASSES),
            "pipeline: prune moves phases, but they are on a driver's codes already "
            "(put quantize behind all passes that move phases)",
        ),
        (
            [Polish()],
            "pipeline: polish takes a program of stage placed, but at the start it is linear "
            "(tile, svd, decompose, place must come before polish; -O inserts them)",
        ),
    ],
)
def test_a_wrong_order_is_refused_before_anything_runs(passes: list[Pass], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_order(passes)
    assert str(caught.value) == message


MOVE_PHASES = ("broken", "cancel", "canonicalize", "compact", "cool", "finetune", "prune", "retime")


def test_which_passes_move_phases() -> None:
    found = [PASSES.get(name) for name in sorted(PASSES.table)]
    assert tuple(step.name for step in found if step.moves_phases) == MOVE_PHASES


@pytest.mark.parametrize("name", MOVE_PHASES)
def test_rounded_phases_are_not_moved_again(name: str) -> None:
    (step,) = PASSES.parse(f"{name}{{ids=a}}" if name == "broken" else name)
    assert check_order([step], Stage.MESH) is Stage.MESH
    with pytest.raises(UsageError, match="codes already"):
        check_order([step], Stage.MESH, rounded=True)


def test_options_of_the_command_line_go_where_they_belong() -> None:
    values = {"budget": 0.02, "max_drop": None, "mesh": "reck"}
    passes = with_options(optimized("prune", PASSES), values, needed={})
    assert str(Pipeline(passes)) == (
        "tile,svd,decompose{mesh=reck},canonicalize,prune{budget=0.02},compact,place"
    )


def test_what_the_text_says_is_stronger() -> None:
    passes = with_options(optimized("prune{budget=0.5}", PASSES), {"budget": 0.02}, needed={})
    assert "prune{budget=0.5}" in str(Pipeline(passes))


def test_an_option_that_no_pass_has_is_refused_if_it_was_asked_for() -> None:
    passes = optimized(1, PASSES)
    assert with_options(passes, {"budget": 0.1}, needed={}) == passes
    with pytest.raises(UsageError) as caught:
        with_options(passes, {"budget": 0.1}, needed={"budget": "--budget"})
    assert str(caught.value) == (
        "--budget: no pass of this pipeline has the option 'budget' "
        "(the pipeline is: tile,svd,decompose,canonicalize,compact,place)"
    )


def test_an_illegal_value_is_refused() -> None:
    with pytest.raises(UsageError, match="decompose: option 'mesh' is 'x', not one of clements"):
        with_options(optimized(1, PASSES), {"mesh": "x"}, needed={})
