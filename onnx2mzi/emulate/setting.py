"""How the heaters of a made chip are set for what is wrong with it and stays.

Chips set together cost a search each, so fewer of them are drawn where nobody says how many.
"""

from dataclasses import replace
from enum import StrEnum

from onnx2mzi.emulate.imperfect import IDEAL, How, ImperfectProgram
from onnx2mzi.emulate.imperfect_tile import STAYS

# Steps of the search for a chip set together.
STEPS = 100
# MZIs times steps times chips of one point: some ten seconds. No fewer chips than that.
MOST_WORK, FEWEST = 4_000_000, 4


class Setting(StrEnum):
    """What heaters do about static errors."""

    NONE = "none"
    EACH = "each"
    TOGETHER = "together"


SAID = {
    Setting.NONE: "heaters as designed, static errors stay",
    Setting.EACH: "each heater undoes what is wrong where it sits",
    Setting.TOGETHER: "errors measured, all heaters of a tile set together for them",
}


def set_as(how: How, setting: Setting) -> How:
    """`how` with the heaters set so. Without errors that stay there is nothing to set together."""
    stays = how.sizes.only(*STAYS) != IDEAL
    together = setting is Setting.TOGETHER and stays
    return replace(how, trim=setting is not Setting.NONE, retune=STEPS if together else 0)


def setting_of(how: How) -> Setting:
    """How the heaters of such copies are set."""
    if how.retune:
        return Setting.TOGETHER
    return Setting.EACH if how.trim else Setting.NONE


def affordable(chip: ImperfectProgram, copies: int) -> int:
    """So many chips of `copies` are set together where nobody says how many."""
    return min(copies, max(FEWEST, MOST_WORK // (STEPS * max(chip.mzis, 1))))
