"""The Python API: compile, run, save, load; the same files whatever the day; and its refusals."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest

import onnx2mzi
from onnx2mzi.driver.compile import compile_model
from onnx2mzi.driver.options import Options
from onnx2mzi.driver.plugins import PASSES
from onnx2mzi.errors import DropError, FitError, InputError, UsageError, VerificationError
from onnx2mzi.ir import MeshTile, Program, Stage, identical
from onnx2mzi.passes.prune.prune import Prune
from onnx2mzi.pipeline.base import Bounded, Context, Effect, Exact, Pass, option
from onnx2mzi.tech import load_technology

EMIT = "ir,phases,onnx,report"
REPORT_KEYS = (
    "mzis_reference", "mzis_exact", "mzis", "phases_reference", "phases_exact", "phases_active",
    "phases_passive", "active_fraction", "pruned_fraction", "power_reference_mw",
    "power_exact_mw", "power_mw", "depth_columns", "area_mm2", "loss_db_worst", "pads",
    "max_abs_error", "max_rel_error", "accuracy_reference", "accuracy", "accuracy_drop",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fade(Pass):
    """Lowers the gain of every tile: a lossy pass whose error is known."""

    name: ClassVar[str] = "fade"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH

    by: float = option(0.1, "share of the gain", low=0, high=1)
    honest: bool = option(True, "says what it does")

    def effect(self, program: Program) -> Effect:
        return Bounded(self.by) if self.honest else Exact()

    def run(self, program: Program, context: Context) -> Program:
        def faded(tile: Any) -> Any:
            assert isinstance(tile, MeshTile)
            return replace(tile, gain=tile.gain * (1 - self.by))

        layers = [
            replace(
                layer,
                grids=tuple(replace(g, tiles=tuple(map(faded, g.tiles))) for g in layer.grids),
            )
            for layer in program.layers
        ]
        return replace(program, layers=tuple(layers))


@pytest.fixture
def fade() -> Iterator[type[Fade]]:
    """`fade` known by name, in this test only."""
    before = dict(PASSES.added)
    onnx2mzi.register_pass(Fade)
    yield Fade
    PASSES.added.clear()
    PASSES.added.update(before)


def data(count: int = 60, seed: int = 3, labels: Any = None) -> dict[str, np.ndarray]:
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return {"x": x} if labels is None else {"x": x, "y": labels}


def answers(model: bytes, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    scores = np.asarray(session.run(["y"], {"x": x})[0])
    return np.asarray(scores.argmax(axis=1))


@pytest.mark.parametrize("level", [0, 1])
def test_lossless_levels_are_the_model(tiny_onnx: bytes, level: int) -> None:
    chip = onnx2mzi.compile(tiny_onnx, level, ports=4)
    assert chip.program.stage is Stage.PLACED
    assert chip.report["max_rel_error"] <= 1e-6
    assert chip.report["measured_on"] == "16 random probe inputs"
    x = data()["x"]
    session = onnxruntime.InferenceSession(tiny_onnx, providers=["CPUExecutionProvider"])
    expected = session.run(["y"], {"x": x})[0]
    np.testing.assert_allclose(chip.run(x)["y"], expected, rtol=1e-5)
    np.testing.assert_allclose(chip.run({"x": x})["y"], expected, rtol=1e-5)


def test_no_lossless_chip_is_deeper_than_the_textbook_chip() -> None:
    digits = Path(__file__).parents[2] / "samples" / "digits.onnx"
    textbook, exact = (onnx2mzi.compile(digits, level).report for level in (0, 1))
    assert exact["depth_columns"] <= textbook["depth_columns"]
    assert exact["loss_db_worst"] < textbook["loss_db_worst"]
    assert exact["phases_active"] == exact["phases_exact"]


def test_the_report_has_the_contract_keys_for_chip_and_layers(tiny_onnx: bytes) -> None:
    report = onnx2mzi.compile(tiny_onnx, ports=4).report
    assert set(REPORT_KEYS) <= set(report)
    assert [layer["name"] for layer in report["layers"]] == ["fc1", "fc2"]
    for layer in report["layers"]:
        assert set(REPORT_KEYS) <= set(layer)
    # 5 x 6 in tiles of 4: (4, 4), (4, 2), (1, 4), (1, 2); 3 x 5: (3, 4), (3, 1).
    expected = (12 + 12 + 4) + (12 + 2 + 2) + (0 + 12 + 1) + (0 + 2 + 1)
    expected += (6 + 12 + 3) + (6 + 0 + 1)
    assert report["phases_reference"] == expected
    kept = report["phases_active"] + report["phases_passive"]
    assert report["pruned_fraction"] == pytest.approx((expected - kept) / expected)
    assert report["active_fraction"] == pytest.approx(report["phases_active"] / expected)
    assert report["phases_active"] < report["phases_reference"]
    assert report["seconds"] is None
    assert report["accuracy"] is None


def test_what_did_not_run_is_unknown(tiny_onnx: bytes) -> None:
    report = onnx2mzi.compile(tiny_onnx, 0, ports=4).report
    assert report["phases_exact"] is None
    assert report["power_exact_mw"] is None
    assert report["power_reference_mw"] == report["power_mw"] > 0
    linear = onnx2mzi.compile(tiny_onnx, onnx2mzi.Pipeline.parse("tile"), ports=4).report
    for key in ("mzis", "phases_active", "pruned_fraction", "power_mw", "area_mm2", "pads"):
        assert linear[key] is None


def test_accuracy_is_measured_where_there_are_labels(tiny_onnx: bytes) -> None:
    x = data()["x"]
    labels = answers(tiny_onnx, x)
    labels[1::4] = (labels[1::4] + 1) % 3
    chip = onnx2mzi.compile(tiny_onnx, ports=4, data=data(labels=labels))
    report = chip.report
    assert report["measured_on"] == (
        "30 samples kept back from the given arrays (every second row)"
    )
    assert report["accuracy_reference"] == report["accuracy"] == 0.5
    assert report["accuracy_drop"] == 0.0
    tested = onnx2mzi.compile(tiny_onnx, ports=4, data=data(), test=data(10, 4)).report
    assert tested["measured_on"] == "10 samples of the given arrays, never fitted on"
    assert tested["accuracy"] is None
    assert tested["changed_answers"] == 0.0


def test_labels_that_are_no_classes_are_refused_before_any_pass(tiny_onnx: bytes) -> None:
    wrong = data(4, labels=np.arange(4))
    said: list[str] = []
    with pytest.raises(InputError, match=r"label 3 of sample 3: .* classes 0 to 2"):
        onnx2mzi.compile(tiny_onnx, ports=4, log=said.append, data=wrong)
    with pytest.raises(InputError, match=r"label 3 of sample 3: .* classes 0 to 2"):
        onnx2mzi.compile(tiny_onnx, ports=4, log=said.append, test=wrong)
    assert said == []


@pytest.mark.parametrize(
    "what", ["fade{by=0.01}", Fade(by=0.01), ["canonicalize", Fade(by=0.01)], [Fade(by=0.01)]]
)
def test_passes_of_a_script_by_name_and_as_objects(
    tiny_onnx: bytes, fade: type[Fade], what: Any
) -> None:
    chip = onnx2mzi.compile(tiny_onnx, what, ports=4)
    assert chip.pipeline == "tile,svd,decompose,canonicalize,fade{by=0.01},place"
    assert str(onnx2mzi.Pipeline.parse(chip.pipeline)) == chip.pipeline
    assert 1e-4 < chip.report["max_rel_error"] < 0.2
    assert chip.report["layers"][0]["max_rel_error"] == pytest.approx(0.01)


def test_a_pipeline_object_is_run_as_it_is(tiny_onnx: bytes, fade: type[Fade]) -> None:
    pipeline = onnx2mzi.Pipeline.parse("tile,svd,decompose{mesh=reck}")
    chip = onnx2mzi.compile(tiny_onnx, pipeline, ports=4)
    assert chip.program.stage is Stage.MESH
    assert chip.pipeline == str(pipeline)


def test_the_layout_of_meshes_is_named(tiny_onnx: bytes) -> None:
    named = onnx2mzi.compile(tiny_onnx, 0, ports=4, mesh="reck")
    assert named.pipeline == "tile,svd,decompose{mesh=reck},place"
    depth = onnx2mzi.compile(tiny_onnx, 0, ports=4, mesh="clements").report["depth_columns"]
    assert named.report["depth_columns"] > depth


def test_a_pass_that_lies_fails_the_compile(tiny_onnx: bytes, fade: type[Fade]) -> None:
    with pytest.raises(VerificationError) as caught:
        onnx2mzi.compile(tiny_onnx, Fade(by=0.01, honest=False), ports=4)
    assert str(caught.value).startswith(
        "pass fade{by=0.01 honest=false}: moved layer 'fc1' by 0.01"
    )


def test_max_drop_is_held_on_what_can_be_measured(tiny_onnx: bytes, fade: type[Fade]) -> None:
    everything = Fade(by=1.0)
    labelled = data(labels=answers(tiny_onnx, data()["x"]))
    with pytest.raises(VerificationError, match=r"--max-drop: accuracy fell by \d+.\d\d% on 30"):
        onnx2mzi.compile(tiny_onnx, everything, ports=4, data=labelled, max_drop=0.01)
    with pytest.raises(DropError, match="top-1 answers changed by") as caught:
        onnx2mzi.compile(tiny_onnx, everything, ports=4, test=data(), max_drop=0.01)
    assert caught.value.chip.report["changed_answers"] > 0.01
    said: list[str] = []
    onnx2mzi.compile(tiny_onnx, everything, ports=4, max_drop=0.01, log=said.append)
    assert any(line.startswith("--max-drop was not checked") for line in said)


def test_a_chip_is_shown_on_a_line(tiny_onnx: bytes) -> None:
    labelled = {**data(), "y": np.zeros(len(data()["x"]), int)}
    for given, told in ((None, ""), (labelled, ", accuracy: ")):
        chip = onnx2mzi.compile(tiny_onnx, ports=4, test=given)
        assert repr(chip).startswith(f"Compiled({chip.program!r}{told}")
        assert len(repr(chip)) < 200 and "array" not in repr(chip)


def test_data_on_which_the_model_gives_nothing_are_refused(tiny_onnx: bytes) -> None:
    huge = {"x": data()["x"] * np.float32(1e38)}
    with pytest.raises(InputError, match=r"'y' is NaN for .* samples"):
        onnx2mzi.compile(tiny_onnx, ports=4, optimize="prune", data=huge)


def test_save_and_load(tiny_onnx: bytes, tmp_path: Path) -> None:
    chip = onnx2mzi.compile(tiny_onnx, ports=4)
    files = chip.save(tmp_path / "chip", emit=EMIT)
    assert set(files) >= {"manifest.json", "program.mzi", "phases.csv", "report.json"}
    assert json.loads(files["report.json"].read_text()) == chip.report
    again = onnx2mzi.load(tmp_path / "chip")
    assert identical(again.program, chip.program)
    assert again.report == chip.report
    assert again.emission.technology == chip.emission.technology
    x = data()["x"]
    np.testing.assert_array_equal(again.run(x)["y"], chip.run(x)["y"])


def test_the_same_command_gives_the_same_bytes(tiny_onnx: bytes, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        chip = onnx2mzi.compile(tiny_onnx, "prune{budget=0.1}", ports=4, seed=5)
        files = chip.save(tmp_path / name, emit=EMIT)
        made.append({file: path.read_bytes() for file, path in files.items()})
    assert made[0] == made[1]


def test_any_number_of_workers_gives_the_same_bytes(tiny_onnx: bytes, tmp_path: Path) -> None:
    made = []
    for workers in (1, 2, 5):
        options = Options(ports=2, workers=workers)
        files = compile_model(tiny_onnx, options).save(tmp_path / str(workers), emit=EMIT)
        made.append({file: path.read_bytes() for file, path in files.items()})
    assert made[0] == made[1] == made[2]


def test_load_refuses_what_is_damaged(tiny_onnx: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        onnx2mzi.load(tmp_path / "nowhere")
    chip = onnx2mzi.compile(tiny_onnx, ports=4)
    chip.save(tmp_path / "phases", emit="phases")
    with pytest.raises(InputError, match=r"has no program.mzi \(compile again with ir among"):
        onnx2mzi.load(tmp_path / "phases")
    chip.save(tmp_path / "chip", emit=EMIT)
    (tmp_path / "chip" / "program.mzi").write_text("nonsense")
    with pytest.raises(InputError, match=r"program\.mzi"):
        onnx2mzi.load(tmp_path / "chip")


def test_strict_names_what_stays_electronic(tiny_onnx: bytes) -> None:
    assert onnx2mzi.compile(tiny_onnx, ports=4, strict=True).report["electronic"] == []
    with pytest.raises(FitError, match=r"--strict: 1 linear node would stay electronic: .*fc2"):
        onnx2mzi.compile(tiny_onnx, ports=4, strict=True, exclude=["fc2"])


def test_one_name_is_one_name(tiny_onnx: bytes) -> None:
    chip = onnx2mzi.compile(tiny_onnx, ports=4, only="fc1")
    assert [layer.name for layer in chip.program.layers] == ["fc1"]


def test_technologies_are_names_files_or_objects(tiny_onnx: bytes) -> None:
    made = load_technology("siepic_ebeam")
    for tech in ("siepic_ebeam", made):
        assert onnx2mzi.compile(tiny_onnx, ports=4, tech=tech).report["technology"] == made.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ports": 1}, "--ports: a chip of 1 ports (at least 2)"),
        ({"max_drop": 2.0}, "--max-drop: 2 is not between 0 and 1"),
        ({"budget": -1.0}, "--budget: -1 is not between 0 and 1"),
        ({"seed": -1}, "--seed: -1 is negative"),
        ({"passive": "most"}, "--passive: 'most' is none of none, common, quarter, all"),
        ({"optimize": True}, "optimize: is True or False, not a level or passes"),
        ({"optimize": [Prune(budget=7.0)]}, "prune: option 'budget' is 7, above 1"),
        ({"mesh": "hex"}, "decompose: option 'mesh' is 'hex', not one of clements, reck"),
    ],
)
def test_options_that_make_no_sense(
    tiny_onnx: bytes, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        onnx2mzi.compile(tiny_onnx, **{"ports": 4, **options})
    assert str(caught.value) == message


def test_run_asks_for_names_if_there_are_several_inputs(tiny_onnx: bytes) -> None:
    chip = onnx2mzi.compile(tiny_onnx, ports=4)
    with pytest.raises(InputError):
        chip.run({"z": data()["x"]})


def test_public_names() -> None:
    assert set(onnx2mzi.__all__) <= set(dir(onnx2mzi))
    for name in onnx2mzi.__all__:
        assert getattr(onnx2mzi, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = onnx2mzi.nothing
