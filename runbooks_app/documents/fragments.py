"""HTML and SVG out of a kernel: cleaned, and to be shown only where they could do nothing anyway.

Two walls: nh3 takes out everything that acts or loads, and what is left goes into an `iframe sandbox=""` from a
route of its own, with `HTML_HEADERS`. `inline` is the third kind: so strict (text and tables, no attribute that
styles, names or loads) that it may stand in a page; the postmortem, a file without routes, uses it.
"""

from __future__ import annotations

import re
from typing import Any

import nh3

from runbooks_app.documents.unreadable import Unreadable

HTML_HEADERS: dict[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
"""Response headers of the route that serves `html_document`."""

LARGEST = 2 * 1024 * 1024
"""Characters of the largest fragment that is cleaned; a larger one is told, and its plain text shown."""


def _names(*lines: str) -> frozenset[str]:
    return frozenset(name for line in lines for name in line.split())


_TEXT = _names(
    "abbr b bdi blockquote br caption cite code col colgroup dd del dfn div dl dt em figcaption figure h1",
    "h2 h3 h4 h5 h6 hr i ins kbd li mark ol p pre q rp rt ruby s samp section small span strong sub sup",
    "table tbody td tfoot th thead tr u ul var wbr",
)
_CELLS = {"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan", "scope"}, "ol": {"start"}}
_STYLES = _names(
    "background-color border border-bottom border-collapse border-left border-right border-top color",
    "font-family font-size font-style font-weight height margin padding text-align text-decoration",
    "vertical-align white-space width",
)
_SVG = _names(
    "svg g path rect circle ellipse line polyline polygon text tspan defs clipPath linearGradient",
    "radialGradient stop use symbol marker pattern",
)
_SVG_STYLES = _names(
    "fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin",
    "stroke-dasharray stroke-dashoffset stroke-miterlimit opacity font font-size font-family font-weight",
    "text-anchor stop-color stop-opacity",
)
_SVG_ATTRIBUTES = _names(
    "class clip-path clip-rule clipPathUnits cx cy d dx dy fill fill-opacity fill-rule font-family",
    "font-size font-weight gradientTransform gradientUnits height href id markerHeight markerWidth offset",
    "opacity orient points preserveAspectRatio r refX refY rx ry stop-color stop-opacity stroke",
    "stroke-dasharray stroke-linecap stroke-linejoin stroke-opacity stroke-width style text-anchor",
    "transform viewBox width x x1 x2 y y1 y2",
)
_DATA_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+\Z")
_GOES_ELSEWHERE = re.compile(r"url\s*\(\s*(?!['\"]?#)|\\|@|expression|/\*", re.IGNORECASE)

_DOCUMENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif }
body { margin: 8px; overflow-wrap: anywhere }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: 2px 10px; border-bottom: 1px solid #8884; text-align: left; vertical-align: top }
pre, code { font: 13px/1.45 ui-monospace, monospace }
img, svg { max-width: 100%; height: auto }
"""


def sanitise(html: str) -> str:
    """The fragment with text, tables, a few styles and embedded raster images: no link, form, script or address."""
    return nh3.clean(
        _bounded(html),
        tags=_TEXT | {"img"},
        attributes={**_CELLS, "*": {"style", "title"}, "img": {"src", "alt", "width", "height"}},
        attribute_filter=_harmless,
        filter_style_properties=set(_STYLES),
        url_schemes={"data"},
        clean_content_tags={
            "script",
            "style",
            "template",
            "noscript",
            "title",
            "textarea",
            "xmp",
            "iframe",
            "noembed",
        },
        link_rel=None,
    )


def sanitise_svg(svg: str) -> str:
    """The drawing with shapes and text: no script, link, animation, foreign content or address but its own parts."""
    start = svg.find("<svg")
    if start < 0:
        raise Unreadable("it holds no drawing")
    return nh3.clean(
        _bounded(svg[start:]),
        tags=set(_SVG),
        attributes={"*": set(_SVG_ATTRIBUTES)},
        attribute_filter=_harmless,
        filter_style_properties=set(_SVG_STYLES),
        url_schemes=set(),
        clean_content_tags={"script", "style", "title", "desc", "metadata", "foreignObject"},
        link_rel=None,
    )


def inline(html: str) -> str:
    """The fragment's text and tables, with nothing that styles, names or loads: may stand within a page."""
    return nh3.clean(
        _bounded(html),
        tags=set(_TEXT) - {"h1", "h2", "h3", "h4", "h5", "h6"},
        attributes={**_CELLS},
        url_schemes=set(),
        clean_content_tags={
            "script",
            "style",
            "template",
            "noscript",
            "title",
            "textarea",
            "xmp",
            "iframe",
            "noembed",
        },
        link_rel=None,
    )


def html_document(fragment: str) -> str:
    """A whole document around a fragment from `sanitise` or `sanitise_svg`, to be served with `HTML_HEADERS`."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Output</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_DOCUMENT_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{fragment}</body></html>"
    )


def _bounded(html: str) -> str:
    if len(html) > LARGEST:
        raise Unreadable(f"it is larger than {LARGEST // 2**20} MiB")
    return html.encode("utf-8", "replace").decode()  # half of a surrogate pair is no text


def _harmless(tag: str, attribute: str, value: str) -> Any:
    """The value as it may stay, or None."""
    if attribute == "src":
        return value if tag == "img" and _DATA_IMAGE.match(value) else None
    if attribute == "href":
        return value if tag == "use" and value.startswith("#") else None
    if attribute == "style":
        return ";".join(part for part in value.split(";") if not _GOES_ELSEWHERE.search(part)) or None
    return None if attribute not in ("title", "alt") and _GOES_ELSEWHERE.search(value) else value
