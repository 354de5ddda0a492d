"""Names to classes: lazily, from three sources, never two of one name."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.pipeline.registry import Registry, checked_options
from onnx2mzi.pipeline.spec import SpecError

TABLE = {"svd": "onnx2mzi.passes.svd:Svd", "gone": "onnx2mzi.passes.no_such_module:Gone"}
Plugin = Callable[..., Path]


def registry(table: dict[str, str] = TABLE) -> Registry[Pass]:
    return Registry("pass", Pass, "onnx2mzi.passes", table)  # type: ignore[type-abstract]


@dataclass(frozen=True, slots=True)
class Mine(Pass):
    name: ClassVar[str] = "mine"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH

    limit: float = option(0.5, "how far", low=0, high=1)

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        return program


def named(name: str, module: str = "user") -> Any:
    """A pass class of that name in another module."""
    cls = type("Other", (Mine,), {"name": name, "__slots__": (), "__module__": module})
    return dataclass(frozen=True)(cls)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """`plugin(dist, name, code)`: an installed distribution with one entry point."""

    def install(dist: str, name: str, code: str, group: str = "onnx2mzi.passes") -> Path:
        folder = tmp_path / dist
        info = folder / f"{dist}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {dist}_code:Made\n")
        (folder / f"{dist}_code.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return install


PLUGIN_CODE = """
from dataclasses import dataclass
from onnx2mzi.ir import Stage
from onnx2mzi.pipeline.base import Exact, Pass

@dataclass(frozen=True, slots=True)
class Made(Pass):
    "A pass of a plug-in."
    name = "shine"
    stage_in = Stage.MESH
    stage_out = Stage.MESH

    def effect(self, program):
        return Exact()

    def run(self, program, context):
        return program
"""


def test_nothing_is_imported_before_it_is_named() -> None:
    # `gone` would fail: its module does not exist.
    table = registry()
    assert {"gone", "svd"} <= set(table.names())
    assert table.get("svd").name == "svd"
    with pytest.raises(ModuleNotFoundError):
        table.get("gone")


def test_a_registered_pass_is_known_by_name() -> None:
    table = registry()
    assert table.register(Mine) is Mine
    (made,) = table.parse("mine{limit=0.25}")
    assert made == Mine(limit=0.25)
    assert table.origin("mine") == f"{__name__}.Mine"
    assert table.origin("svd") == "onnx2mzi"


def test_the_same_class_again_replaces_itself() -> None:
    table = registry()
    table.register(named("shiny"))
    again = named("shiny")
    table.register(again)
    assert table.get("shiny") is again


def test_another_class_of_the_same_name_is_refused() -> None:
    table = registry()
    table.register(named("shiny", "one"))
    with pytest.raises(UsageError) as caught:
        table.register(named("shiny", "two"))
    assert caught.value.message == "pass 'shiny' is there 2 times: from one.Other and two.Other"


def test_a_built_in_name_is_taken() -> None:
    with pytest.raises(UsageError, match=r"2 times: from onnx2mzi and user\.Other"):
        registry().register(named("svd"))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (type("Nameless", (Pass,), {}), "a pass needs a name"),
        (type("Plain", (), {"name": "plain"}), "pass 'plain' is no subclass of Pass"),
        (type("Bare", (Pass,), {"name": "bare"}), "pass 'bare' is no dataclass"),
    ],
)
def test_what_is_no_pass_is_refused(made: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        registry().register(made)
    assert caught.value.message == message


def test_an_unknown_name_is_answered_with_a_suggestion_and_the_list() -> None:
    with pytest.raises(SpecError) as caught:
        registry().parse("svd,svdd{x=1}")
    error = caught.value
    assert error.message == "there is no pass 'svdd'"
    assert error.hint.startswith("did you mean 'svd'? there are: gone, svd")
    assert (error.start, error.stop) == (4, 8)


def test_a_plug_in_is_loaded_when_named(plugin: Plugin) -> None:
    plugin("shiner", "shine", PLUGIN_CODE)
    table = registry()
    assert "shine" in table.names()
    assert "shiner_code" not in sys.modules
    assert table.origin("shine") == "shiner 1.2"
    assert table.get("shine").__doc__ == "A pass of a plug-in."


def test_two_distributions_with_one_name(plugin: Plugin) -> None:
    plugin("alpha", "svd", PLUGIN_CODE)
    plugin("beta", "shine", PLUGIN_CODE)
    plugin("gamma", "shine", PLUGIN_CODE)
    with pytest.raises(UsageError, match=r"from onnx2mzi and alpha 1\.2"):
        registry().get("svd")
    with pytest.raises(UsageError, match=r"'shine' is there 2 times: from beta 1.2 and gamma"):
        registry().get("shine")


def test_a_broken_plug_in_is_named(plugin: Plugin) -> None:
    plugin("broken", "shine", "raise ValueError('no luck')")
    plugin("liar", "glow", PLUGIN_CODE)
    with pytest.raises(UsageError) as caught:
        registry().get("shine")
    assert str(caught.value) == (
        "broken 1.2: pass 'shine' cannot be loaded: ValueError: no luck "
        "(repair or uninstall this plug-in)"
    )
    with pytest.raises(UsageError, match=r"liar 1\.2: pass 'glow' calls itself 'shine'"):
        registry().get("glow")


def test_options_of_objects_are_checked() -> None:
    assert checked_options(Mine(limit=1.0)) == Mine(limit=1.0)
    with pytest.raises(UsageError, match="mine: option 'limit' is 2, above 1"):
        checked_options(Mine(limit=2.0))
