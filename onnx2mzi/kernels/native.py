"""Which kernels run: the compiled extension or numpy. The only place that decides."""

import functools
import logging
import os
from typing import Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels.mesh import BalancedMesh

_LOG = logging.getLogger("onnx2mzi.kernels")
_ENVIRONMENT = "ONNX2MZI_KERNELS"

Buffer: TypeAlias = npt.NDArray[np.generic]
MeshArguments: TypeAlias = tuple[int, int, Buffer, Buffer, Buffer, Buffer, Buffer]


class Extension(Protocol):
    """The functions of the compiled module; all results go to the arrays given last."""

    def select(self, limit: str, /) -> str: ...
    def clements(
        self,
        cx: int,
        n: int,
        batch: int,
        u: Buffer,
        theta: Buffer,
        phi: Buffer,
        out: Buffer,
        defect: Buffer,
        /,
    ) -> None: ...
    def isometry(
        self,
        cx: int,
        rows: int,
        ports: int,
        transposed: int,
        a: Buffer,
        theta: Buffer,
        phi: Buffer,
        out: Buffer,
        /,
    ) -> float: ...
    def forward(
        self, mesh: MeshArguments, cx: int, x: Buffer | None, batch: int, y: Buffer, /
    ) -> None: ...
    def cells(
        self, mesh: MeshArguments, cells: Buffer, x: Buffer, batch: int, y: Buffer, /
    ) -> None: ...
    def vjp(
        self,
        mesh: MeshArguments,
        batch: int,
        y: Buffer,
        g: Buffer,
        theta: Buffer,
        phi: Buffer,
        out: Buffer,
        x: Buffer,
        /,
    ) -> None: ...
    def taps(
        self, mesh: MeshArguments, x: Buffer, batch: int, transposed: int, taps: Buffer, /
    ) -> None: ...
    def cells_vjp(
        self,
        mesh: MeshArguments,
        batch: int,
        cells: Buffer,
        x: Buffer,
        g: Buffer,
        grad_cells: Buffer,
        grad_x: Buffer,
        /,
    ) -> None: ...
    def copies(
        self,
        devices: tuple[int, int, Buffer, Buffer, Buffer, Buffer],
        counts: tuple[int, int, int, int, int],
        number: Buffer,
        made: Buffer | None,
        sizes: Buffer,
        keys: Buffer,
        common: Buffer,
        gathered: Buffer,
        power: Buffer,
        change: Buffer | None,
        cells: Buffer | None,
        batch: int,
        x: Buffer | None,
        factors: Buffer | None,
        y: Buffer | None,
        /,
    ) -> None: ...
    def imperfect(
        self,
        mesh: MeshArguments,
        x: Buffer,
        batch: int,
        sigmas: Buffer,
        seed: int,
        first: int,
        copies: int,
        y: Buffer,
        /,
    ) -> None: ...

    def normals(self, key: int, first: int, count: int, to: Buffer, /) -> None: ...
    def device_normals(
        self, copies: int, count: int, stream: int, keys: Buffer, device: Buffer, to: Buffer, /
    ) -> None: ...
    def balance(
        self,
        ports: int,
        count: int,
        passing: float,
        column: Buffer,
        port: Buffer,
        theta: Buffer,
        phi: Buffer,
        behind: Buffer,
        carried: Buffer,
        lit: Buffer,
        balanced: Buffer,
        /,
    ) -> None: ...
    def realise(
        self,
        ports: int,
        count: int,
        rules: tuple[float, float, int, int, int, int, int],
        column: Buffer,
        port: Buffer,
        balanced: Buffer,
        fixed: Buffer,
        behind: Buffer,
        behind_turned: Buffer,
        common: Buffer,
        carried: Buffer,
        lit: Buffer,
        theta: Buffer,
        phi: Buffer,
        state: Buffer,
        /,
    ) -> None: ...


@functools.cache
def _extension() -> Extension | None:
    try:
        from onnx2mzi.kernels import _native  # type: ignore[attr-defined,unused-ignore]
    except ImportError:
        _LOG.warning(
            "the compiled kernels are not installed; numpy takes their place and is much slower "
            "(install a C++17 compiler and reinstall onnx2mzi)"
        )
        return None
    return cast(Extension, _native)


def extension() -> Extension | None:
    """The compiled kernels, or None when numpy has to do.

    The environment variable ONNX2MZI_KERNELS may ask for `numpy`, or limit the instruction set to
    `baseline` or `avx2`. The first call that misses the extension logs one warning.
    """
    wanted = os.environ.get(_ENVIRONMENT, "")
    if wanted == "numpy":
        return None
    module = _extension()
    if module is not None:
        module.select(wanted)
    return module


def native_available() -> bool:
    """Whether the compiled kernels run (installed and not switched off)."""
    return extension() is not None


def mesh_arguments(mesh: BalancedMesh) -> MeshArguments:
    """A mesh as the extension takes it."""
    return (
        mesh.ports,
        mesh.count,
        mesh.column,
        mesh.port,
        mesh.theta,
        mesh.phi,
        mesh.out,
    )
