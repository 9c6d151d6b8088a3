"""Markdown as safe HTML: raw HTML off, links only to http(s), no images.

For text cells of runbooks and for Markdown that cells display. Notes and names are not Markdown: those are
escaped (`runbooks_app.documents.escaping`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markupsafe import Markup, escape

from runbooks_app.documents.text import readable, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

_LARGEST = 100_000
"""Characters beyond which Markdown is shown as plain text: parsers have slow corners."""

_TAGS = {
    "a",
    "blockquote",
    "br",
    "code",
    "del",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
}


def render(markdown: str, *, deeper: int = 0) -> Markup:
    """The Markdown as HTML; headings are moved `deeper` levels down, to stand below a page's own."""
    text = readable(markdown)
    if len(text) > _LARGEST:
        return Markup("<pre>{}</pre>").format(text)
    try:
        tokens = _PARSER.parse(text)
    except RecursionError:
        return Markup("<pre>{}</pre>").format(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + deeper, 6)}"
    # Everything is safe already; the second wall stands in case the parser has a bug.
    return safe(
        nh3.clean(
            _PARSER.renderer.render(tokens, _PARSER.options, {}),
            tags=_TAGS,
            attributes={"a": {"href"}, "ol": {"start"}},
            url_schemes={"http", "https"},
            link_rel="noopener noreferrer nofollow",
        )
    )


def harmless(markdown: str) -> bool:
    """Whether any renderer may have this Markdown: no raw HTML, no image, no link but to http(s), no math."""
    if len(markdown) > _LARGEST or "$" in markdown or "\\(" in markdown or "\\[" in markdown or "\\begin" in markdown:
        return False
    try:
        blocks = _OPEN_PARSER.parse(markdown)
    except RecursionError:
        return False
    tokens = [token for block in blocks for token in (block, *(block.children or ()))]
    return all(
        token.type not in ("html_block", "html_inline", "image")
        and (token.type != "link_open" or _allowed(str(token.attrGet("href"))))
        for token in tokens
    )


class _Renderer(RendererHTML):
    """Images become their text."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        """The image's alternative text: an address would tell its server who reads this, and when."""
        text = self.renderInlineAsText(tokens[idx].children or [], options, env)
        return str(escape(f"[image: {text}]" if text else "[image]"))


def _allowed(address: str) -> bool:
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return False
    return parts.scheme.lower() in ("http", "https") and bool(parts.netloc)


class _Parser(MarkdownIt):
    """Markdown as we render it."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        """Only http and https, with a host."""
        return _allowed(url)


class _Seeing(MarkdownIt):
    """Markdown as a careless renderer would take it: raw HTML on, every address a link."""

    def validateLink(self, url: str) -> bool:  # noqa: ARG002, N802 - the library's name
        """Whatever it is."""
        return True


_PARSER = _Parser("commonmark", {"html": False, "maxNesting": 20}, renderer_cls=_Renderer)
_PARSER.enable(["table", "strikethrough"])
_OPEN_PARSER = _Seeing("commonmark", {"html": True, "maxNesting": 20}).enable(["table", "strikethrough"])
