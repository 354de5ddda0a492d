"""What a study of heat found, in words."""

from typing import Any


def trims_told(trims: dict[str, Any] | None) -> str:
    """A sentence on `trims` of a study; empty where nothing is known."""
    if trims is None:
        return ""
    needed, possible, loss = trims["needed"], trims["possible"], trims["loss"]
    if needed is None:
        return f"trim heaters: not even all {possible:,} possible ones leave a loss below {loss:g}"
    if needed == 0:
        return "trim heaters needed: none"
    return (
        f"trim heaters needed for a loss below {loss:g}: {needed:,} of {possible:,} possible ones "
        f"(trim{{against=heat loss={loss:g}}} before place)"
    )
