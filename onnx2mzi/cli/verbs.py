"""The verbs: inspect, run, check, diff, characterize, tech, passes."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx2mzi.cli import render
from onnx2mzi.cli.characterize import characterize_command
from onnx2mzi.cli.compile import load_scripts, tell_json
from onnx2mzi.cli.terminal import Log, colored, paint
from onnx2mzi.errors import CheckError, UsageError


def inspect_command(arguments: argparse.Namespace) -> int:
    """What a model, program or folder holds."""
    from onnx2mzi.driver.inspect import inspect
    from onnx2mzi.driver.options import Options

    options = Options(ports=arguments.ports, input_shapes=dict(arguments.input_shape))
    described = inspect(Path(arguments.file), options)
    if arguments.json:
        tell_json(described)
    else:
        print(render.model(described), end="")
    return 0


def run_command(arguments: argparse.Namespace) -> int:
    """A chip on data."""
    from onnx2mzi.driver.compare import run_on_data
    from onnx2mzi.driver.one_file import write_arrays

    check_copies(arguments)
    target = None if arguments.output is None else outputs_file(arguments)
    log = Log(0 if arguments.quiet else 1)
    try:
        found, outputs = run_on_data(
            Path(arguments.directory),
            Path(arguments.data),
            imperfect=arguments.imperfect,
            copies=arguments.copies,
            seed=0 if arguments.seed is None else arguments.seed,
            setting="each" if arguments.setting is None else arguments.setting,
            heat=arguments.heat,
            progress=log.progress,
        )
    finally:
        log.close()
    for note in found.pop("notes"):
        log.say(note)
    if target is not None:
        write_arrays(target, outputs, "-o")
        found["output"] = arguments.output
    if arguments.json:
        tell_json(found)
    else:
        color = colored(sys.stdout, no_color=arguments.no_color)
        print(render.emulated(found, color=color), end="")
        if target is not None:
            print(f"wrote {target}")
    return 0


def check_copies(arguments: argparse.Namespace) -> None:
    """Raises UsageError for options of imperfect copies where there are none."""
    if arguments.imperfect is not None:
        return
    for name in ("copies", "setting", "seed"):
        if getattr(arguments, name) is not None:
            raise UsageError(
                "is of imperfect copies, and none are asked for",
                where=f"--{name}",
                hint="give --imperfect as well",
            )


def outputs_file(arguments: argparse.Namespace) -> Path:
    """`-o` of `run`. Raises UsageError if outputs may not be written there."""
    from onnx2mzi.driver.one_file import check_file_target, check_not_of_chip

    path = check_file_target(arguments.output, "-o", read=[("--data", arguments.data)])
    if path.suffix != ".npz":
        raise UsageError("has no name of an .npz", where=f"-o {path}", hint=f"-o {path}.npz")
    check_not_of_chip(path, Path(arguments.directory), "-o")
    return path


def check_command(arguments: argparse.Namespace) -> int:
    """Consistency of a folder."""
    from onnx2mzi.driver.check import check

    findings = check(Path(arguments.directory))
    failed = [finding for finding in findings if finding.ok is False]
    if arguments.json:
        rows = [{"check": f.name, "ok": f.ok, "message": f.message} for f in findings]
        tell_json({"directory": arguments.directory, "ok": not failed, "checks": rows})
    else:
        color = colored(sys.stdout, no_color=arguments.no_color)
        for finding in findings:
            word, style = {True: ("ok", "good"), False: ("FAILED", "bad"), None: ("-", "dim")}[
                finding.ok
            ]
            print(f"{paint(f'{word:6}', style, color=color)}  {finding.name}: {finding.message}")
    if failed:
        names = ", ".join(finding.name for finding in failed)
        raise CheckError(
            f"{len(failed)} of {len(findings)} checks failed: {names}",
            where=arguments.directory,
            hint="compile again",
        )
    return 0


def diff_command(arguments: argparse.Namespace) -> int:
    """Two folders side by side."""
    from onnx2mzi.driver.compare import difference

    found = difference(Path(arguments.before), Path(arguments.after))
    if arguments.json:
        tell_json(found)
    else:
        print(render.difference(found), end="")
    return 0


def tech_command(arguments: argparse.Namespace) -> int:
    """Names or one technology file."""
    from onnx2mzi.driver.plugins import technology, technology_plugins
    from onnx2mzi.tech import DEFAULT_TECHNOLOGY, dump_technology, technology_names

    if arguments.action == "show":
        made = technology(arguments.name)
        if arguments.json:
            import tomllib

            tell_json(tomllib.loads(dump_technology(made, data=False)))
        else:
            print(dump_technology(made, data=False), end="")
        return 0
    if arguments.action == "check":
        from onnx2mzi.driver.heat import p_pi_note

        made = technology(arguments.name)
        note = p_pi_note(made)
        fixed = {
            section: {"gds": cell.gds, "cell": cell.cell, "mask": str(cell.mask)}
            for section, cell in made.fixed_cells.items()
        }
        if arguments.json:
            tell_json({**note, "fixed_cells": fixed})
        else:
            for section, cell in fixed.items():
                print(
                    f"{note['technology']}: [{section}] is cell '{cell['cell']}' of {cell['gds']}, "
                    f"its ports are sound; the mask has its {cell['mask']}"
                )
            print(
                f"{note['technology']}: P_pi {note['p_pi_mw']:g} mW, "
                f"{note['p_pi_mw_derived']:.2f} mW from [thermal]: {note['note']}"
            )
        return 0
    if arguments.name is not None:
        raise UsageError(f"list takes no name ('{arguments.name}')", hint="see tech show NAME")
    rows = [
        {"name": name, "description": technology(name).description}
        for name in [*technology_names(), *technology_plugins()]
    ]
    if arguments.json:
        tell_json({"default": DEFAULT_TECHNOLOGY, "technologies": rows})
        return 0
    marked = [
        (row["name"] + (" (default)" if row["name"] == DEFAULT_TECHNOLOGY else ""), row)
        for row in rows
    ]
    print(render.table([name, row["description"]] for name, row in marked), end="")
    return 0


def passes_command(arguments: argparse.Namespace) -> int:
    """Passes and back ends with their options."""
    from onnx2mzi.driver.plugins import BACKENDS, PASSES

    load_scripts(arguments.plugin)
    found: dict[str, list[dict[str, Any]]] = {}
    for title, registry in (("passes", PASSES), ("backends", BACKENDS)):
        names = registry.names()
        if arguments.name is not None:
            names = [name for name in names if name == arguments.name]
        found[title] = [_described(registry.get(name), registry.origin(name)) for name in names]
    if arguments.name is not None and not any(found.values()):
        PASSES.get(arguments.name)
    if arguments.json:
        tell_json(found)
    else:
        print(render.plugins(found), end="")
    return 0


def _described(cls: Any, origin: str) -> dict[str, Any]:
    from onnx2mzi.pipeline.options import option_fields

    about = (cls.__doc__ or "").strip().splitlines()
    return {
        "name": cls.name,
        "about": about[0] if about else "",
        "origin": origin,
        "stage_in": str(cls.stage_in) if hasattr(cls, "stage_in") else None,
        "stage_out": str(cls.stage_out) if hasattr(cls, "stage_out") else None,
        "options": [
            {
                "name": field.name,
                "type": field.kind,
                "default": field.default_text,
                "limits": field.limits,
                "unit": field.unit,
                "help": field.help,
            }
            for field in option_fields(cls)
        ],
    }


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "inspect": inspect_command,
    "run": run_command,
    "check": check_command,
    "diff": diff_command,
    "characterize": characterize_command,
    "tech": tech_command,
    "passes": passes_command,
}
