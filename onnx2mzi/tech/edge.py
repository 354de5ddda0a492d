"""How light gets on and off the chip at the die's edge."""

from dataclasses import dataclass, field
from enum import StrEnum


class EdgeKind(StrEnum):
    """What is drawn between the ports and the die's edge."""

    NONE = "none"
    """Nothing: guides end at the ports, which have pins and labels."""

    TAPER = "taper"
    """A guide to the die's edge whose end narrows, and loops to align fibres with."""


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
        metadata={"low": 10, "high": 1000, "what": "distance of a loop's ends, as of fibres"},
    )
    marker: tuple[int, int] = field(
        default=(68, 4), metadata={"what": "marks and labels of edge couplers, not on the mask"}
    )

    @property
    def drawn(self) -> bool:
        """Whether anything is."""
        return self.coupler is not EdgeKind.NONE
