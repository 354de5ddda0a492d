"""Loss in dB: along guides, and on the worst path through a mesh."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Index, Real

DARK_DB = -np.inf


def propagation_db(*, length_um: npt.ArrayLike, db_per_cm: float) -> Real:
    """Loss of a guide of that length, shape (...): 1 cm is 1e4 um."""
    return np.asarray(np.asarray(length_um, float) * db_per_cm * 1e-4)


def worst_loss_db(
    *,
    column: Index,
    port: Index,
    cell_db: Real,
    swaps: npt.NDArray[np.bool_],
    column_db: Real,
    entering_db: Real,
) -> Real:
    """The largest loss that light can have met at every output of a mesh, shape (ports,).

    The longest path through the mesh, column by column. K cells, sorted by (column, port), act
    on guides `port` and `port + 1` and lose `cell_db`; one that `swaps` sends each input to the
    other side, any other sends both to both. Every guide loses `column_db`, shape (columns,),
    in each column. `entering_db`, shape (ports,), is what was lost before; `DARK_DB` marks a
    guide without light.
    """
    loss = np.array(entering_db, float)
    edges = np.searchsorted(column, np.arange(len(column_db) + 1))
    for here, (start, stop) in enumerate(pairwise(edges)):
        upper = port[start:stop]
        above, below = loss[upper], loss[upper + 1]
        most = np.maximum(above, below)
        crossed = swaps[start:stop]
        loss[upper] = np.where(crossed, below, most) + cell_db[start:stop]
        loss[upper + 1] = np.where(crossed, above, most) + cell_db[start:stop]
        loss += column_db[here]
    return loss
