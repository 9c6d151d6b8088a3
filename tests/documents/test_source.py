"""Source and Markdown as HTML."""

from __future__ import annotations

import documents_hostile as hostile
import pytest

from runbooks_app.documents import markdown, source

OLD = "import time\n\na = 1\nb = 2\nc = 3\nd = 4\ne = 5\nf = 6\ng = 7\nend(pid)\n"
NEW = OLD.replace("a = 1", "a = 10").replace("end(pid)", "end(pid)\nend_all()")


@pytest.mark.parametrize("payload", hostile.PAYLOADS)
def test_no_payload_survives_in_source_or_difference(payload):
    html = [source.highlight(payload), *(row.html for row in source.unified(payload, payload + "\nx"))]
    html += [part for row in source.side_by_side("", payload) for part in (row.old_html, row.new_html)]
    assert hostile.faults("".join(html)) == []
    assert set(hostile.tags_of("".join(html))) <= {"span"}


def test_source_is_highlighted_with_classes_and_keeps_its_text():
    html = source.highlight('def f():\n    """two\n    lines"""\n    return 1\n')
    assert '<span class="k">def</span>' in html
    assert "style" not in html
    assert hostile.text_of(html) == 'def f():\n    """two\n    lines"""\n    return 1\n'
    assert all(line.count("<span") == line.count("</span>") for line in html.split("\n"))


def test_source_that_is_no_python_or_too_long_is_shown_all_the_same():
    assert hostile.text_of(source.highlight("%%bash\nls | grep 'x")) == "%%bash\nls | grep 'x"
    long = "x = 1 < 2\n" * 40_000
    assert hostile.text_of(source.highlight(long)) == long


def test_hidden_characters_of_source_are_named():
    assert "⟨U+202E⟩" in source.highlight("ok = True  # \u202e eurt")
    assert "⟨U+000D⟩" in source.highlight("# comment\rdrop()")


def test_a_difference_shows_the_changed_lines_with_their_numbers():
    rows = [(row.kind, row.old, row.new, hostile.text_of(row.html)) for row in source.unified(OLD, NEW, context=1)]
    assert rows == [
        ("same", 1, 1, "import time"),
        ("same", 2, 2, ""),
        ("removed", 3, None, "a = 1"),
        ("added", None, 3, "a = 10"),
        ("same", 4, 4, "b = 2"),
        ("gap", 5, None, ""),
        ("same", 10, 10, "end(pid)"),
        ("added", None, 11, "end_all()"),
        ("same", 11, 12, ""),
    ]


def test_a_difference_side_by_side_pairs_changed_lines():
    rows = [(pair.kind, pair.old, pair.new) for pair in source.side_by_side(OLD, NEW, context=0)]
    assert rows == [
        ("gap", 2, None),
        ("changed", 3, 3),
        ("gap", 7, None),
        ("added", None, 11),
        ("same", 11, 12),
    ]


def test_sources_that_are_the_same_have_no_difference():
    assert source.unified(OLD, OLD) == source.side_by_side(OLD, OLD) == ()


def test_a_difference_that_only_hidden_characters_make_is_seen():
    assert [row.kind for row in source.unified("a = 1", "a = 1\u200b")] == ["removed", "added"]


def test_a_huge_difference_is_not_matched_line_by_line():
    assert len(source.unified("a\n" * 3_000, "b\n" * 3_000)) == 6_001 + 1


@pytest.mark.parametrize("payload", hostile.PAYLOADS)
def test_no_payload_survives_in_markdown(payload):
    html = markdown.render(payload)
    assert hostile.faults(html, links={"https://evil.example", "https://evil.example/path?a=b"}) == []
    assert "img" not in hostile.tags_of(html)


def test_markdown_keeps_its_form_and_links_only_to_the_web():
    html = markdown.render(
        "# Title\n\n| a |\n| - |\n| **b** |\n\n[x](https://example.org) [y](/approve) [z](//evil.example)",
        deeper=2,
    )
    assert "<h3>Title</h3>" in html
    assert "<td><strong>b</strong></td>" in html
    assert html.count("<a ") == 1
    assert 'rel="noopener noreferrer nofollow"' in html


def test_images_in_markdown_become_their_text():
    assert "[image: a chart]" in markdown.render("![a chart](https://evil.example/x.png)")


def test_markdown_too_long_to_parse_is_shown_as_text():
    assert markdown.render("<b>" * 50_000).startswith("<pre>&lt;b&gt;")
    assert markdown.render("> " * 20_000 + "deep")


@pytest.mark.parametrize(
    "text", ["<b>x</b>", "![x](y)", "[x](javascript:y)", "a <br> b", "$x$", "\\(x\\)", "x" * 200_000]
)
def test_markdown_that_another_renderer_could_misuse_is_known(text):
    assert not markdown.harmless(text)


def test_ordinary_markdown_is_harmless():
    assert markdown.harmless("# Title\n\nSee [docs](https://example.org) and `code <b>`.")
