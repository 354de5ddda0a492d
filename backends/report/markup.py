"""HTML and SVG that cannot be injected into: whatever is not `Markup` is escaped."""

from collections.abc import Iterable
from html import escape


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Markup | Iterable["Child"] | None

_EMPTY = frozenset({"meta", "br", "col", "img", "path", "rect", "line", "circle", "polyline"})


def joined(children: Iterable[Child]) -> Markup:
    """Children one after another; None is nothing, plain text is escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(escape(child))
        else:
            parts.append(joined(child))
    return Markup("".join(parts))


def el(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """An element. Attribute `class_` is `class`, `stroke_width` is `stroke-width`."""
    text = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _EMPTY and not children:
        return (
            Markup(f"<{tag}{text}>")
            if tag in ("meta", "br", "col", "img")
            else Markup(f"<{tag}{text}/>")
        )
    return Markup(f"<{tag}{text}>{joined(children)}</{tag}>")


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else short(value)


def short(value: float) -> str:
    """A coordinate: at most two decimals, none that say nothing."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def th(name: str, *, left: bool = False) -> Markup:
    """A head; numbers stand right, names left."""
    return el("th", name, class_="l" if left else None)


def td(*children: Child, kind: str | None = None) -> Markup:
    """A cell; `kind` is a CSS class."""
    return el("td", *children, class_=kind)
