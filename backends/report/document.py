"""The frame of an HTML document that needs nothing else."""

from onnx2mzi.backends.report.markup import Markup, el
from onnx2mzi.backends.report.style import style_sheet


def document(title: str, body: Markup, *, style: str = "") -> str:
    """One file: `style` follows the project's style sheet, and nothing may be fetched."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width,initial-scale=1"),
        el(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        ),
        el("title", title),
        el("style", Markup(style_sheet() + style)),
    )
    return f"<!doctype html>\n{el('html', head, el('body', body), lang='en')}\n"
