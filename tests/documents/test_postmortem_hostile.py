"""Postmortems in which every text is hostile: nothing in any form acts, and what was written is what is read."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import documents_hostile as hostile
import pytest
from documents_story import display, make_story
from markdown_it import MarkdownIt

from runbooks_app.core.incident import CredentialStory
from runbooks_app.documents import postmortem
from runbooks_app.documents.escaping import block, code, escape, quote


def judged(html):
    return hostile.faults(html, own_page=True, links={"https://example.org/locks"})


def hostile_story(payload, outputs):
    """A short story with the payload in every text that people, kernels and alerts write."""
    story = make_story(text=lambda plain: f"{plain} {payload}", outputs=outputs, title=payload)
    (run,) = story.runs
    applied, denied = run.proposals
    applied = replace(
        applied,
        by=payload,
        sponsor=payload,
        target=payload,
        closed_reason=payload,
        predecessor=payload,
        connections={payload: payload},
        inputs={payload: [payload]},
        decisions=(*denied.decisions, replace(applied.decisions[1], signed_in=payload)),
        remediation=replace(
            applied.remediation, reason=payload, credentials=(CredentialStory(payload, payload, applied.entry),)
        ),
        verification=replace(applied.verification, reason=payload),
    )
    evidence = {"kind": "table", "columns": [{"name": payload, "type": "text"}], "rows": [[payload]], "omitted": 0}
    findings = (replace(run.findings[0], evidence=evidence, cell_id=payload, severity=payload),)
    run = replace(run, id=payload, reason=payload, source=payload, findings=findings, proposals=(applied,))
    return replace(story, id=payload, items=story.items[:1] + story.items[3:4], runs=(run,))


@pytest.mark.parametrize("payload", hostile.PAYLOADS)
def test_no_payload_in_names_notes_and_outputs_survives_in_any_form(payload):
    outputs = tuple(
        display(data={mime: payload, "text/plain": payload}) for mime in ("text/html", "text/markdown", "image/svg+xml")
    )
    story = hostile_story(payload, outputs)
    html = postmortem.as_html(story)
    assert [
        fault for fault in judged(html) if fault[-1] not in ("https://evil.example", "https://evil.example/path?a=b")
    ] == []
    assert [html.count(f"<{tag}>") for tag in ("h1", "h2")] == [1, 4]

    markdown = postmortem.as_markdown(story)
    assert_inert(markdown)
    notebook = postmortem.as_notebook(story)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and cell["source"] not in markdown:
            assert_inert(cell["source"])
        if cell["cell_type"] == "code":
            for output in cell["outputs"]:
                assert hostile.faults(output.get("data", {}).get("text/html", "")) == []
    html.encode()
    markdown.encode()


CARELESS = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def assert_inert(markdown):
    """A renderer that lets raw HTML and every link through finds none of them, and no heading but ours."""
    tokens = [token for top in CARELESS.parse(markdown) for token in (top, *(top.children or ()))]
    found = [token.type for token in tokens if token.type in ("html_block", "html_inline", "image")]
    links = {token.attrGet("href") for token in tokens if token.type == "link_open"} - {"https://example.org/locks"}
    assert found == []
    assert links == set()
    for top, inline in pairwise(tokens):
        if top.type == "heading_open":
            assert not inline.content.startswith("Approved")
    # What renderers look for in the text that remains: bare addresses, mentions, issues, mathematics.
    rest = "".join(token.content for token in tokens if token.type == "text")
    assert not re.search(r"://|www\.|@\w|#\d|\$|\\[(\[]|\\begin", rest), rest


@pytest.mark.parametrize("payload", hostile.PAYLOADS)
def test_escaped_text_shows_exactly_what_was_written(payload):
    wanted = " ".join(forms_text(payload).split())
    for written in (escape(payload), f"| a |\n| - |\n| {escape(payload)} |", code(payload)):
        html = MarkdownIt("commonmark").enable("table").render(written)
        shown = hostile.text_of(html).removeprefix("\n").split("\na\n\n\n\n")[-1]
        assert " ".join(shown.replace("\u200b", "").split()).removeprefix("a ") in (wanted, wanted.removeprefix("a "))


def forms_text(payload):
    from runbooks_app.documents.text import readable

    return readable(payload)


@pytest.mark.parametrize(
    "start", ["1. one", "12) twelve", "- minus", "+ plus", "===", "---", "# head", "> quote", "    code", "***"]
)
def test_text_that_begins_like_a_block_is_a_paragraph(start):
    html = MarkdownIt("commonmark").render(escape(start))
    assert hostile.tags_of(html) == ["p"]
    assert hostile.text_of(html).strip() == start.strip()
    assert hostile.tags_of(MarkdownIt("commonmark").render("above\n" + escape(start))) == ["p"]


def test_a_fence_cannot_be_closed_from_within():
    text = "```\n~~~~\n`````\n<script>"
    (token,) = MarkdownIt("commonmark").parse(block(text, "python"))
    assert (token.type, token.content) == ("fence", text + "\n")


def test_a_note_of_many_lines_is_one_quote():
    tokens = MarkdownIt("commonmark").parse(quote("one\n\n# two\n```\nthree"))
    assert [token.type for token in tokens].count("blockquote_open") == 1
    assert {token.tag for token in tokens} <= {"blockquote", "p", ""}


def test_the_html_fetches_nothing_and_allows_only_its_own_style():
    html = postmortem.as_html(make_story())
    assert judged(html) == []
    assert re.search(r"default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-[^&]+&#39;", html) or re.search(
        r"default-src 'none'; img-src data:; style-src 'sha256-[^']+'", html
    )
    assert "style=" not in html
    outside = set(re.findall(r"https?://[^\s\"'<]+", html)) - {"https://example.org/locks"}
    assert outside == set()
    anchors = set(re.findall(r'href="#([^"]+)"', html))
    assert anchors
    assert anchors <= set(re.findall(r'id="([^"]+)"', html))
