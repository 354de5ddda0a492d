"""Method `search`: several trainings from several starts, the cheapest chip that keeps the budget,
or at a target the one that loses least.

Starts, in this order: the program as the passes before left it (exact forms, ports and rank gone,
single phases thinned), then nearly no phases on the same guides. Each training walks towards
fewer heaters until too much is lost; when the time is up the best chip so far stands.
"""

from dataclasses import replace
from time import perf_counter

from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.ir import Program
from onnx2mzi.passes.prune.better import census
from onnx2mzi.passes.prune.trained import Course, Recipe, right_share, told
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.frontier import FrontierPoint
from onnx2mzi.train import extra

# Methods and what they start from.
TRIES = (("soft-l1", "program"), ("surgeon", "zero"))
# Of the time that is left, what a training but the last may take.
SHARE = 0.5
# What a further start has to save.
CHEAPER = 0.85
# Without a limit of the user's.
DEFAULT_S = 1800.0


def searched(program: Program, context: Context, recipe: Recipe) -> Program:
    """The best program that was found; `program` if that is, or if nothing can be trained.

    Raises UsageError for options that it does not take.
    """
    wrong, remedy = recipe.refusal
    if wrong:
        raise UsageError(wrong, where="prune{method=search}", hint=remedy)
    network = context.network
    if network is None or program.host is None:
        context.log("prune: search trains on samples, and there are none (--data): phases stay")
        return program
    if not extra.there():
        context.log(f"prune: search needs PyTorch ({extra.REMEDY}): phases stay")
        return program
    deadline = recipe.deadline or perf_counter() + DEFAULT_S
    best = program
    matrices = program_matrices(program)
    kept = network.on(program.host).distance(matrices) <= recipe.max_drop
    right = right_share(network, matrices)
    there = census(program, context)
    point = FrontierPoint("before training", there.phases_active, there.power_mw, right, kept)
    told(context, point)
    for at, (name, start) in enumerate(TRIES):
        now = perf_counter()
        if now >= deadline:
            context.log("prune: the time is up; the best chip so far stands")
            break
        until = deadline if at == len(TRIES) - 1 else now + SHARE * (deadline - now)
        # From nearly none, only what beats the best is worth while.
        first = round(CHEAPER * census(best, context).phases_active) if start == "zero" else None
        try:
            course = Course.of(
                program,
                context,
                replace(recipe, method=name, start=start, deadline=until, first=first),
            )
            found = course.run()
        except InputError as error:
            context.log(f"prune: search ends: {error}")
            break
        if found is None:
            continue
        if recipe.wish.better(found, best, context, network):
            best = found
    return best
