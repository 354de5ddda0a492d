"""What a technology makes of the columns of a mesh: their lengths, the losses of their cells."""

from onnx2mzi.ir import Mesh
from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import ColumnPlan, cells, plan_columns
from onnx2mzi.tech.paths import cell_losses_db


def mesh_plan(mesh: Mesh, technology: Technology) -> ColumnPlan:
    """The lengths of a mesh's columns."""
    return plan_columns(
        technology,
        ports=mesh.ports,
        column=mesh.column,
        theta_state=mesh.theta_state,
        phi_state=mesh.phi_state,
        out_state=mesh.out_state,
        drive=mesh.drive,
    )


def mesh_cell_losses_db(mesh: Mesh, technology: Technology, plan: ColumnPlan) -> Real:
    """Loss of every device of a mesh beyond its guide's, as `cell_losses_db` gives it."""
    return cell_losses_db(
        technology,
        cells(technology),
        plan,
        column=mesh.column,
        theta_state=mesh.theta_state,
        phi_state=mesh.phi_state,
        drive=mesh.drive,
    )
