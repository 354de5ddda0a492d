"""How light gets on and off the chip at the die's edge."""

from dataclasses import dataclass, field
from enum import StrEnum


class EdgeKind(StrEnum):
    """What is drawn between the ports and the die's edge."""

    NONE = "none"
    """Nothing: guides end at the ports, which have pins and labels."""

    TAPER = "taper"
    """A guide to the die's edge whose end narrows, and loops to align fibres with."""


class FanOut(StrEnum):
    """Whether couplers lie at the pitch of a fibre array, or at that of the rows."""

    NONE = "none"
    """Straight from the rows."""

    ALWAYS = "always"
    """Guides of equal length lead from the rows of a tile to the array's pitch."""

    FITS = "fits"
    """So where the chip fits a die, else straight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Edge couplers. A loop joins two of them `pitch_um` apart, that far below the lowest port."""

    coupler: EdgeKind = field(default=EdgeKind.NONE, metadata={"what": "taper or none"})
    taper_length_um: float = field(
        default=100.0, metadata={"low": 1, "high": 2000, "what": "length of a taper"}
    )
    tip_width_um: float = field(
        default=0.18, metadata={"low": 0.01, "high": 20, "what": "width at the die's edge"}
    )
    pitch_um: float = field(
        default=127.0,
        metadata={"low": 10, "high": 1000, "what": "distance of fibres, and of a loop's ends"},
    )
    fan_out: FanOut = field(
        default=FanOut.NONE, metadata={"what": "couplers at the fibres' pitch: none, always, fits"}
    )
    loss_db: float = field(
        default=0.0, metadata={"low": 0, "high": 30, "what": "loss from a fibre to a guide"}
    )
    marker: tuple[int, int] = field(
        default=(68, 4), metadata={"what": "marks and labels of edge couplers, not on the mask"}
    )

    @property
    def drawn(self) -> bool:
        """Whether anything is."""
        return self.coupler is not EdgeKind.NONE

    @property
    def coupler_db(self) -> float:
        """Loss of a coupler; none where none is drawn."""
        return self.loss_db if self.drawn else 0.0
