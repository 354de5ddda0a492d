"""Which of two chips is the better one, by what a pruning is asked for."""

from dataclasses import dataclass

from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import Program
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.census import Census, layer_census, layer_drivers


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall become less (`objective`: heaters, power or drivers), as far as `max_drop`
    allows, or with `keep` down to so many heaters (`rail`: drivers), whatever is lost."""

    max_drop: float
    keep: int | None = None
    objective: str = "heaters"
    rail: bool = False

    def cost(self, program: Program, context: Context) -> float:
        """Power (mW), drivers or heaters."""
        if self.objective == "drivers":
            return drivers(program)
        found = census(program, context)
        return found.power_mw if self.objective == "power" else found.phases_active

    def over(self, program: Program, context: Context) -> int:
        """How many are left beyond those that may be kept."""
        if self.keep is None:
            return 0
        left = drivers(program) if self.rail else census(program, context).phases_active
        return max(left - self.keep, 0)

    def better(self, new: Program, old: Program, context: Context, network: Network) -> bool:
        """Whether `new` is: nearer to `keep`, then nearer to the model, then for less. Without
        `keep` for less, if it loses no more than is allowed."""

        def standing(program: Program) -> tuple[float, ...]:
            lost = network.on(program.host).distance(program_matrices(program))
            price = self.cost(program, context)
            if self.keep is None:
                return max(lost - self.max_drop, 0.0), price
            return self.over(program, context), lost, price

        return standing(new) < standing(old)


def census(program: Program, context: Context) -> Census:
    """Of all layers."""
    p_pi_mw = context.technology.p_pi_mw
    return sum((layer_census(layer, p_pi_mw) for layer in program.layers), Census())


def drivers(program: Program) -> int:
    """Of all layers."""
    return sum(map(layer_drivers, program.layers))
