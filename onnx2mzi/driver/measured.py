"""`--measured errors.csv`: a made chip whose errors are known, its heaters set for them.

Columns: `id` (as in phases.csv), and any of

    phase_error_rad    what the shifter's guides add to its phase: MZI T(theta + e, phi + e')
    split_error_rad    angle of the first coupler beyond pi/4 (rows of theta and sigma)
    split2_error_rad   the same of the second coupler
    loss_db            loss of the MZI or attenuator beyond that of a passing guide

Shifters that are not named have no error. Layouts are made already: heaters keep their arms, and
what they would have to make below 0 is made as 2 pi less.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onnx2mzi.driver.fabricated import calibration_of
from onnx2mzi.driver.measure import Samples, compared
from onnx2mzi.driver.options import Options
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.imperfect import imperfect_program
from onnx2mzi.emulate.imperfect_devices import Heaters, MeshDevices
from onnx2mzi.emulate.imperfect_tile import TileDevices, readout_of, trimmed_settings
from onnx2mzi.emulate.retune import (
    MadeAttenuators,
    MadeMesh,
    MadeTile,
    Settings,
    heaters_of,
    light_of,
    retuned,
)
from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.ir import LinearLayer, Program, Stage
from onnx2mzi.physics.arrays import Matrix, Real
from onnx2mzi.physics.imperfection_cell import CellErrors
from onnx2mzi.physics.shifter import Arm, power_mw
from onnx2mzi.pipeline.backend import Measured
from onnx2mzi.tech import Technology

OPTION = "--measured"
FILE = "retuned.csv"
COLUMNS = ("phase_error_rad", "split_error_rad", "split2_error_rad", "loss_db")
STEPS = 300

Row = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Retuned:
    """Every heater of the made chip: its id, its arm, what it makes by design and after
    re-calibration (rad, >= 0); and the layers' matrices before and after."""

    ids: tuple[str, ...]
    arm: tuple[str, ...]
    design_rad: Real
    retuned_rad: Real
    made: Mapping[str, Matrix]
    matrices: Mapping[str, Matrix]
    p_pi_mw: float

    @property
    def power_mw(self) -> float:
        """Of all heaters after re-calibration."""
        return float(power_mw(self.retuned_rad, p_pi_mw=self.p_pi_mw).sum())

    def table(self) -> str:
        """retuned.csv."""
        lines = ["id,arm,drive_rad,retuned_rad,retuned_mw\n"]
        power = power_mw(self.retuned_rad, p_pi_mw=self.p_pi_mw).tolist()
        columns = (self.ids, self.arm, self.design_rad.tolist(), self.retuned_rad.tolist(), power)
        for name, arm, design, now, mw in zip(*columns, strict=True):
            quoted = '"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name
            lines.append(f"{quoted},{arm},{design!r},{now!r},{mw!r}\n")
        return "".join(lines)


def check_measured(options: Options, stage: Stage | None) -> None:
    """What can be said of the table before there is a chip; `stage` is the chip's, if known.

    Raises InputError for a table that cannot be read, UsageError for a chip without meshes.
    """
    if options.measured is None:
        return
    if stage is Stage.LINEAR:
        raise UsageError("is not on meshes: there are no heaters to set", where=OPTION)
    read_errors(options.measured)


def with_measured(
    found: Measured,
    program: Program,
    technology: Technology,
    runners: tuple[HostRunner, HostRunner],
    on: Samples,
    options: Options,
) -> tuple[Measured, Retuned]:
    """`found` with what the made chip of `options.measured` does before and after its heaters are
    set for its errors, and how they are set. `runners` are the model's and that of the program,
    whose biases may be trained. Raises InputError, and UsageError without meshes."""
    assert options.measured is not None
    if program.stage is Stage.LINEAR:
        raise UsageError("is not on meshes: there are no heaters to set", where=OPTION)
    result = recalibrated(program, technology, options.measured)
    model, made = runners
    asked = model.run({}, program.layers, on.inputs)
    figures = [
        compared(made.run(matrices, program.layers, on.inputs), asked, on.labels, on.name, 0)
        for matrices in (result.made, result.matrices)
    ]
    return (
        replace(
            found,
            accuracy_made=figures[0].accuracy,
            accuracy_recalibrated=figures[1].accuracy,
            max_rel_error_made=figures[0].max_rel_error,
            max_rel_error_recalibrated=figures[1].max_rel_error,
            power_recalibrated_mw=result.power_mw,
        ),
        result,
    )


def read_errors(path: str | Path) -> dict[str, Row]:
    """The errors by id, in the order of COLUMNS. Raises InputError for anything else."""
    try:
        return _read_errors(path)
    except csv.Error as error:
        raise InputError(f"is no table of errors: {error}", where=str(path)) from None


def _read_errors(path: str | Path) -> dict[str, Row]:
    where = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from None
    except UnicodeDecodeError:
        raise InputError(
            "is not text in UTF-8", where=where, hint="give a .csv of errors by id"
        ) from None
    rows = csv.DictReader(text.splitlines())
    names = list(rows.fieldnames or [])
    strange = [name for name in names if name != "id" and name not in COLUMNS]
    if "id" not in names or len(names) < 2 or strange or len(set(names)) < len(names):
        about = f"there is no column '{strange[0]}'" if strange else "is no table of errors"
        raise InputError(
            about, where=where, hint=f"columns: id, and any of {', '.join(COLUMNS)}, each once"
        )
    found: dict[str, Row] = {}
    for row in rows:
        line = f"{where}, line {rows.line_num}"
        values = [_number(row.get(name), name, line) for name in COLUMNS]
        if row["id"] in found:
            raise InputError(f"'{row['id']}' is there twice", where=line)
        if None in row or not row["id"]:
            raise InputError("has more or fewer fields than there are columns", where=line)
        found[row["id"]] = (values[0], values[1], values[2], values[3])
    return found


def _number(text: str | None, name: str, line: str) -> float:
    try:
        value = float(text) if text else 0.0
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name} is '{text}', not a number", where=line)
    if name.startswith("split") and abs(value) > math.pi / 4:
        raise InputError(f"{name} is {value:g}: no coupler is further off than pi/4", where=line)
    if name == "loss_db" and value < 0:
        raise InputError(f"{name} is {value:g}: a loss is 0 or more", where=line)
    return value


def recalibrated(
    program: Program,
    technology: Technology,
    path: str | Path,
) -> Retuned:
    """The made chip, set. Raises InputError for ids that the chip does not have."""
    errors = read_errors(path)
    chip = imperfect_program(program, technology)
    taken: set[str] = set()
    parts: list[tuple[str, str, float, float]] = []
    made: dict[str, Matrix] = {}
    matrices: dict[str, Matrix] = {}
    for item in chip.layers:
        before, after = [], []
        for g, tiles in enumerate(item.grids):
            shape = (item.layer.grids[g].rows, item.layer.grids[g].columns)
            totals = [np.zeros(shape, np.complex128) for _ in range(2)]
            for t, tile in enumerate(tiles):
                assert isinstance(tile, TileDevices)
                name = f"{item.layer.name}.g{g}.t{t}"
                tile_made = made_tile(tile, name, errors, taken)
                settings, *lights = _set(tile, tile_made, technology)
                at = np.ix_(tile.tile.outputs, tile.tile.inputs)
                for total, light in zip(totals, lights, strict=True):
                    total[at] += light
                parts += _told(tile, name, settings)
            before.append(totals[0])
            after.append(totals[1])
        made[item.layer.name] = _product(item.layer, before)
        matrices[item.layer.name] = _product(item.layer, after)
    unknown = [name for name in errors if name not in taken]
    if unknown:
        raise InputError(
            f"the chip has no shifter '{unknown[0]}'"
            + (f", nor {len(unknown) - 1} others of the table" if len(unknown) > 1 else ""),
            where=str(path),
            hint="ids are those of phases.csv of the same compile",
        )
    ids, arm, design, now = zip(*parts, strict=True) if parts else ((), (), (), ())
    return Retuned(
        tuple(ids),
        tuple(arm),
        np.array(design),
        np.array(now),
        made,
        matrices,
        technology.p_pi_mw,
    )


def made_tile(tile: TileDevices, name: str, errors: Mapping[str, Row], taken: set[str]) -> MadeTile:
    """The tile with its errors; `taken` gets the ids that it used."""

    def of(ids: Sequence[str]) -> Real:
        taken.update(key for key in ids if key in errors)
        return np.array([errors.get(key, (0.0,) * 4) for key in ids]).reshape(-1, 4).T

    def mesh(devices: MeshDevices, block: str) -> MadeMesh:
        theta, phi, out = mesh_ids(devices, f"{name}.{block}")
        at_theta, at_phi, at_out = of(theta), of(phi), of(out)
        found = CellErrors(
            in_upper=at_phi[0],
            arm_upper=at_theta[0],
            first=at_theta[1],
            second=at_theta[2],
            loss_db=at_theta[3],
        )
        return MadeMesh(devices, found, at_out[0])

    phase, first, second, loss = of(
        [f"{name}.s.c0.p{k}.sigma" for k in range(len(tile.sigma.gone))]
    )
    gone = tile.sigma.gone > 0
    sigma = MadeAttenuators(
        tile.sigma,
        CellErrors(arm_upper=phase, first=first, second=second, loss_db=loss),
        np.where(gone, phase, 0.0),
    )
    turn = tile.tile.gain * np.exp(1j * tile.tile.readout_rad)
    return MadeTile(mesh(tile.v, "v"), sigma, mesh(tile.u, "u"), turn)


def mesh_ids(devices: MeshDevices, block: str) -> tuple[list[str], list[str], list[str]]:
    """Ids of all theta, phi and out of a mesh, as phases.csv has them."""
    places = list(zip(devices.core.column.tolist(), devices.core.port.tolist(), strict=True))
    theta, phi = ([f"{block}.c{c}.p{p}.{kind}" for c, p in places] for kind in ("theta", "phi"))
    out = [f"{block}.c{devices.core.columns}.p{p}.out" for p in range(devices.ports)]
    return theta, phi, out


def _sigma_ids(tile: TileDevices, name: str) -> list[str]:
    return [f"{name}.s.c0.p{k}.sigma" for k in range(len(tile.sigma.gone))]


def _set(
    tile: TileDevices, made: MadeTile, technology: Technology
) -> tuple[Settings, Matrix, Matrix]:
    """How its heaters are set, and what the tile adds to its outputs before and after."""
    readout = readout_of(tile, calibration_of(technology))
    none = Settings.of(made, np.zeros(heaters_of(made)))
    start = trimmed_settings(made)
    found = retuned(made, tile.ideal, readout, real=tile.real, steps=STEPS, start=start)
    lights = [light_of(made, settings) for settings in (none, found)]
    before, after = (np.asarray(readout(light) * light) for light in lights)
    return found, before, after


def _told(tile: TileDevices, name: str, settings: Settings) -> list[tuple[str, str, float, float]]:
    """(id, arm, design, now) of every heater of a tile."""
    found: list[tuple[str, str, float, float]] = []
    for block in "vsu":
        rows: list[tuple[list[str], Heaters, Real]] = []
        if block == "s":
            rows.append((_sigma_ids(tile, name), tile.sigma.theta, settings.sigma))
        else:
            devices: MeshDevices = getattr(tile, block)
            theta, phi, out = mesh_ids(devices, f"{name}.{block}")
            rows.append((theta, devices.theta, getattr(settings, f"{block}_theta")))
            rows.append((phi, devices.phi, getattr(settings, f"{block}_phi")))
            if block == "u":
                rows.append((out, devices.out, settings.u_out))
        for ids, heaters, change in rows:
            for k in np.flatnonzero(heaters.active).tolist():
                arm = Arm(int(heaters.arm[k]))
                design = float(heaters.heat_rad[k])
                now = design + float(change[k])
                # Push-pull heaters make either sign, each on its own arm.
                made = abs(now) if arm is Arm.PAIR else now % (2 * math.pi)
                found.append((ids[k], arm.name.lower(), design, made))
    return found


def _product(layer: LinearLayer, grids: Sequence[Matrix]) -> Matrix:
    real = not np.iscomplexobj(layer.weight)
    parts = [np.ascontiguousarray(grid.real) if real else grid for grid in grids]
    product = parts[0]
    for part in parts[1:]:
        product = part @ product
    return product
