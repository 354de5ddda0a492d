"""What of a stack is worth computing once: G(r), and the extra of isolated heaters."""

from dataclasses import dataclass

from onnx2mzi.physics.heat_bars import RadialProfile, radial_profile
from onnx2mzi.physics.heat_section import Isolation, isolation
from onnx2mzi.physics.stack import ThermalStack


@dataclass(frozen=True, slots=True)
class HeatModel:
    """A stack with the tables from which couplings are looked up; make it by `heat_model`."""

    stack: ThermalStack
    profile: RadialProfile
    air: Isolation | None


def heat_model(*, stack: ThermalStack) -> HeatModel:
    """0.2 s for a bulk stack, some seconds for an isolated one."""
    return HeatModel(stack, radial_profile(stack=stack), isolation(stack=stack))
