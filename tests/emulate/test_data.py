"""Samples from an .npz: found, reshaped, cast, split, or refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx2mzi.emulate.data import Dataset, load_data, split
from onnx2mzi.errors import InputError
from onnx2mzi.ir import Host, TensorSpec

IMAGE = Host(b"", (TensorSpec("image", "float32", ("N", 4, 1)),), ())
RNG = np.random.default_rng(0)


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


@pytest.mark.parametrize("name", ["image", "x"])
@pytest.mark.parametrize("shape", [(6, 4, 1), (6, 4), (6, 2, 2), (6, 1, 2, 2)])
@pytest.mark.parametrize("batch", ["N", 1, None])
def test_samples_take_the_shape_of_the_models_input(
    tmp_path: Path, name: str, shape: tuple[int, ...], batch: int | str | None
) -> None:
    host = Host(b"", (TensorSpec("image", "float32", (batch, 4, 1)),), ())
    array = RNG.normal(size=shape)
    data = load_data(save(tmp_path, **{name: array, "y": np.arange(6)}), host)
    assert len(data) == 6
    assert np.array_equal(data.inputs["image"], array.reshape(6, 4, 1).astype(np.float32))
    assert data.inputs["image"].dtype == np.float32
    assert data.labels is not None and data.labels.tolist() == list(range(6))
    assert data.notes == ()


def test_arrays_at_hand_are_taken_too() -> None:
    assert load_data({"x": np.ones((2, 4))}, IMAGE).inputs["image"].shape == (2, 4, 1)


def test_integers_are_not_scaled_and_that_is_said(tmp_path: Path) -> None:
    data = load_data(save(tmp_path, x=np.full((3, 4), 255, np.uint8), extra=0), IMAGE)
    assert data.inputs["image"].max() == 255
    assert data.notes[0].startswith("input 'image': uint8 values up to 255 are used as they are")
    assert "'extra'" in data.notes[1]


def test_a_model_without_a_batch_dimension(tmp_path: Path) -> None:
    host = Host(b"", (TensorSpec("v", "float32", (4,)),), ())
    assert load_data(save(tmp_path, x=np.ones((3, 4))), host).inputs["v"].shape == (3, 4)


def test_several_inputs_by_name(tmp_path: Path) -> None:
    specs = (TensorSpec("a", "float32", ("N", 2)), TensorSpec("b", "int64", ("N",)))
    host = Host(b"", specs, ())
    data = load_data(save(tmp_path, a=np.ones((3, 2)), b=np.arange(3.0)), host)
    assert data.inputs["b"].dtype == np.int64
    with pytest.raises(
        InputError, match="no array for the model's input 'b'; arrays in it: 'a', 'x'"
    ):
        load_data(save(tmp_path, a=np.ones((3, 2)), x=np.ones(3)), host)
    with pytest.raises(InputError, match="'a' has 3, 'b' has 4"):
        load_data(save(tmp_path, a=np.ones((3, 2)), b=np.arange(4)), host)
    with pytest.raises(InputError, match="has fractions"):
        load_data(save(tmp_path, a=np.ones((3, 2)), b=np.full(3, 0.5)), host)


@pytest.mark.parametrize(
    "labels",
    [np.array([2, 0, 1]), np.array([[2], [0], [1]]), np.eye(3)[[2, 0, 1]], np.array([2.0, 0, 1])],
)
def test_labels_in_every_usual_form(tmp_path: Path, labels: np.ndarray) -> None:
    data = load_data(save(tmp_path, x=np.ones((3, 4)), y=labels), IMAGE)
    assert data.labels is not None and data.labels.tolist() == [2, 0, 1]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"z": np.ones((3, 4))}, "no array for the model's input 'image'; arrays in it: 'z'"),
    ({"x": np.ones((3, 5))}, r"shape \[3, 5\], the model takes \[N, 4, 1\]"),
    ({"x": np.ones((0, 4))}, "holds no samples"),
    ({"x": np.array([["a"] * 4] * 3)}, "the model takes float32"),
    ({"x": np.ones((3, 4)), "y": np.arange(4)}, "4 labels for 3 samples"),
    ({"x": np.ones((3, 4)), "y": np.ones((3, 2))}, r"labels 'y' have shape \[3, 2\]"),
    ({"x": np.ones((3, 4)), "y": np.full(3, 0.5)}, "not whole numbers"),
    ({"x": np.array([[0.0] * 4, [0, np.nan, 0, 0], [np.inf] * 4])}, "sample 1 .* NaN, 2 of 3"),
    ({"x": np.array([[0.0] * 4, [-np.inf] * 4])}, "sample 1 .* infinity, 1 of 2 samples"),
    ({"x": np.array([None])}, "no .npz of plain arrays"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD)
def test_data_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = save(tmp_path, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        load_data(path, IMAGE)
    assert caught.value.where == str(path)


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_data(tmp_path / "gone.npz", IMAGE)
    with pytest.raises(InputError, match="is a folder"):
        load_data(tmp_path, IMAGE)
    for data in (b"", b"text", b"PK\x03\x04"):
        (tmp_path / "bad.npz").write_bytes(data)
        with pytest.raises(InputError, match=r"no \.npz"):
            load_data(tmp_path / "bad.npz", IMAGE)
    np.save(tmp_path / "bad.npz.npy", np.ones(3))
    with pytest.raises(InputError, match=r"no \.npz"):
        load_data(tmp_path / "bad.npz.npy", IMAGE)


def test_the_halves_are_even_and_odd_rows() -> None:
    data = Dataset({"x": np.arange(5)}, np.arange(5))
    fit, held = split(data)
    assert fit.inputs["x"].tolist() == [0, 2, 4] and held.inputs["x"].tolist() == [1, 3]
    assert fit.labels is not None and fit.labels.tolist() == [0, 2, 4]
    assert held.labels is not None and held.labels.tolist() == [1, 3]
    with pytest.raises(InputError, match="1 samples cannot be split"):
        split(Dataset({"x": np.arange(1)}))
