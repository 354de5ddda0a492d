"""Chips that a search met on its way: what each costs, and how right it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A chip that was tried.

    `made_by` says how; `heaters` and `power_mw` what it costs (power on the better arms, as
    drawn with arm choice); `right` the share of samples kept back from fitting whose answer is
    right, or without labels the same as the original's, None if there are no answers; `kept`
    whether it stays within what may be lost.
    """

    made_by: str
    heaters: int
    power_mw: float
    right: float | None
    kept: bool
