"""Numbers as a reader wants them; what is unknown is a dash."""

UNKNOWN = "—"


def count(value: float | None) -> str:
    """12,345."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def plural(value: float | None, noun: str) -> str:
    """1 crossing, 2 crossings."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.0512 as 5.1 %; what is not zero does not read as zero."""
    if fraction is None:
        return UNKNOWN
    smallest = 10.0**-digits
    if 0 < abs(fraction) * 100 < smallest / 2:
        return f"< {smallest:.{digits}f} %"
    return f"{100 * fraction:.{digits}f} %"


def significant(value: float | None, digits: int = 3) -> str:
    """Three digits, without a power of ten where it reads well."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{float(f'{value:.{digits}g}'):,.{digits + 3}f}".rstrip("0").rstrip(".")
    return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def power(value_mw: float | None) -> str:
    """mW, or W from 1000 on."""
    if value_mw is None:
        return UNKNOWN
    if value_mw >= 1000:
        return f"{significant(value_mw / 1000)} W"
    return f"{significant(value_mw)} mW"


def area(value_mm2: float | None) -> str:
    """mm², or um² if tiny."""
    if value_mm2 is None:
        return UNKNOWN
    if 0 < value_mm2 < 1e-3:
        return f"{significant(value_mm2 * 1e6)} µm²"
    return f"{significant(value_mm2)} mm²"


def loss(value_db: float | None) -> str:
    """dB."""
    return UNKNOWN if value_db is None else f"{significant(value_db)} dB"


def points(drop: float | None) -> str:
    """A fall of accuracy in points, signed as a change."""
    if drop is None:
        return UNKNOWN
    change = -100 * drop
    if abs(change) < 0.005:
        return "±0.00 points"
    return f"{'+' if change > 0 else '−'}{abs(change):.2f} points"
