"""The user's samples: read from an .npz, brought to the model's shapes, split in two halves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from onnx2mzi.emulate.batching import shape_text
from onnx2mzi.errors import InputError
from onnx2mzi.ir import Host, TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Samples along axis 0 of every array; `labels` are class numbers (B,), or None.

    `notes` are sentences for the user about what was done to the arrays.
    """

    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return min((len(array) for array in self.inputs.values()), default=0)

    def take(self, rows: slice | np.ndarray) -> "Dataset":
        """These samples only."""
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        labels = None if self.labels is None else self.labels[rows]
        return Dataset(MappingProxyType(inputs), labels)


def split(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """Even rows, for fitting, and odd rows, kept back for measuring.

    Raises InputError if there are fewer than two samples.
    """
    if len(dataset) < 2:
        raise InputError(
            f"{len(dataset)} samples cannot be split into one half to fit and one to measure",
            hint="give more samples, or a file of its own with --test",
        )
    return dataset.take(slice(0, None, 2)), dataset.take(slice(1, None, 2))


def load_data(data: str | Path | Mapping[str, np.ndarray], host: Host) -> Dataset:
    """The samples of an .npz, or of arrays at hand: named as the model's inputs, or `x`; labels
    `y`.

    Arrays are reshaped to the model's input when the sizes of a sample agree, and cast to its
    type; values are never scaled. Raises InputError if something is missing or does not fit.
    """
    if isinstance(data, Mapping):
        path, arrays = Path("data"), {name: np.asarray(data[name]) for name in data}
    else:
        path = Path(data)
        arrays = _read(path)
    notes: list[str] = []
    inputs = {}
    for spec in host.inputs:
        array = _find(spec, arrays, host, path)
        inputs[spec.name] = _cast(_reshape(array, spec, path), spec, path, notes)
        _check_numbers(inputs[spec.name], spec, path)
    lengths = {name: len(array) for name, array in inputs.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"'{name}' has {count}" for name, count in lengths.items())
        raise InputError(f"arrays differ in samples: {told}", where=str(path))
    samples = next(iter(lengths.values()), 0)
    if samples == 0:
        raise InputError("holds no samples", where=str(path))
    labels = _labels(arrays, samples, host, path)
    known = {*inputs, "x", "y"}
    for name in arrays:
        if name not in known:
            notes.append(f"array '{name}' of {path.name} is no input of the model and not used")
    return Dataset(MappingProxyType(inputs), labels, tuple(notes))


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.is_dir():
        raise InputError("is a folder", where=str(path), hint="give an .npz of samples")
    if not path.is_file():
        raise InputError("there is no such file", where=str(path))
    arrays: dict[str, np.ndarray] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                arrays[name] = archive[name]
    except Exception as error:  # A damaged archive raises anything; numpy's texts mislead.
        raise InputError(
            f"is no .npz of plain arrays, or a damaged one ({type(error).__name__})",
            where=str(path),
            hint="write it with numpy.savez(path, x=..., y=...)",
        ) from None
    return arrays


def _find(spec: TensorSpec, arrays: Mapping[str, np.ndarray], host: Host, path: Path) -> np.ndarray:
    if spec.name in arrays:
        return arrays[spec.name]
    if len(host.inputs) == 1 and "x" in arrays:
        return arrays["x"]
    found = ", ".join(f"'{name}'" for name in arrays) or "none"
    also = " or 'x'" if len(host.inputs) == 1 and spec.name != "x" else ""
    raise InputError(
        f"has no array for the model's input '{spec.name}'; arrays in it: {found}",
        where=str(path),
        hint=f"name the array '{spec.name}'{also}",
    )


def _reshape(array: np.ndarray, spec: TensorSpec, path: Path) -> np.ndarray:
    """Samples along axis 0, each of the shape that the model takes."""
    wanted = spec.shape
    if not wanted:
        return array
    if array.ndim == 0:
        raise InputError(
            f"the array for input '{spec.name}' is a single number",
            where=str(path),
            hint="samples lie along the first axis",
        )
    known = [d for d in wanted[1:] if isinstance(d, int)]
    fits = array.ndim == len(wanted) and all(
        not isinstance(w, int) or w == g for w, g in zip(wanted[1:], array.shape[1:], strict=True)
    )
    if fits:
        return array
    one = [d for d in wanted if isinstance(d, int)]
    if len(one) == len(wanted) and array.shape[1:] == wanted:
        return array
    size = math.prod(array.shape[1:])
    if len(known) == len(wanted) - 1 and math.prod(known) == size:
        return array.reshape(len(array), *known)
    raise InputError(
        f"the array for input '{spec.name}' has shape {list(array.shape)}, "
        f"the model takes {shape_text(spec)}",
        where=str(path),
        hint="samples lie along the first axis",
    )


def _cast(array: np.ndarray, spec: TensorSpec, path: Path, notes: list[str]) -> np.ndarray:
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        return array
    if array.dtype == dtype or dtype.kind == "O":
        return array
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"the array for input '{spec.name}' is {array.dtype}, the model takes {dtype}",
            where=str(path),
        )
    if dtype.kind in "iu" and array.dtype.kind == "f" and not np.array_equal(array, array // 1):
        raise InputError(
            f"the array for input '{spec.name}' has fractions, the model takes {dtype}",
            where=str(path),
        )
    if array.dtype.kind in "iu" and dtype.kind == "f":
        notes.append(
            f"input '{spec.name}': {array.dtype} values up to {array.max(initial=0)} are used as "
            f"they are, not scaled"
        )
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def _check_numbers(array: np.ndarray, spec: TensorSpec, path: Path) -> None:
    if array.dtype.kind not in "fc":
        return
    bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    if not bad.any():
        return
    what = "NaN" if np.isnan(array[bad.argmax()]).any() else "infinity"
    raise InputError(
        f"sample {int(bad.argmax())} for input '{spec.name}' holds {what}, {int(bad.sum())} of "
        f"{len(array)} samples have such values",
        where=str(path),
        hint="leave them out, or put a number in its place; samples are counted from 0",
    )


def _labels(
    arrays: Mapping[str, np.ndarray], samples: int, host: Host, path: Path
) -> np.ndarray | None:
    if "y" not in arrays or any(spec.name == "y" for spec in host.inputs):
        return None
    labels = arrays["y"]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and _one_hot(labels):
        labels = labels.argmax(axis=1)
    if labels.ndim != 1 or labels.dtype.kind not in "iufb":
        raise InputError(
            f"the labels 'y' have shape {list(labels.shape)} and type {labels.dtype}",
            where=str(path),
            hint="labels are one class number a sample",
        )
    if len(labels) != samples:
        raise InputError(f"{len(labels)} labels for {samples} samples", where=str(path))
    with np.errstate(invalid="ignore"):
        numbers = labels.astype(np.int64)
    if not np.array_equal(numbers, labels):
        raise InputError(
            "the labels 'y' are not whole numbers",
            where=str(path),
            hint="labels are one class number a sample",
        )
    return numbers


def _one_hot(labels: np.ndarray) -> bool:
    if labels.dtype.kind not in "iufb":
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())
