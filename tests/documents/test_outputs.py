"""Outputs of kernels as pieces: nothing in them acts, nothing raises, and big ones are folded."""

from __future__ import annotations

import base64
import io
import time

import documents_hostile as hostile
import pytest
from documents_story import EVIDENCE, bundle, display, png
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from PIL import Image

from runbooks_app.core import bundles
from runbooks_app.documents import fragments
from runbooks_app.documents.outputs import MOST_OUTPUTS, pieces
from runbooks_app.documents.text import ansi, coloured, fold, plain, revealed

MIMES = [*hostile.MIMES, *bundles._READERS]


def only(output, **options):
    (piece,) = pieces([output], **options)
    return piece


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def everything_safe(piece):
    """All HTML that a page would print or serve for the piece."""
    for value in vars(piece).values():
        if isinstance(value, Markup):
            yield str(value)
    if piece.kind == "html":
        yield piece.fragment
    if piece.kind == "finding" and piece.evidence is not None:
        yield from everything_safe(piece.evidence)


@pytest.mark.parametrize("payload", hostile.PAYLOADS)
def test_no_payload_survives_in_any_kind_of_output(payload):
    outputs = [
        stream(payload),
        stream([payload, payload], "stderr"),
        {"output_type": "error", "ename": payload, "evalue": payload, "traceback": [payload]},
        {"output_type": payload, "data": {}},
        *(display(data={mime: payload, "text/plain": payload}) for mime in MIMES),
        *(display(data={payload: payload}) for _ in range(1)),
        bundle("finding", {"severity": "info", "summary": payload, "evidence": {"kind": "text", "text": payload}}),
        bundle("finding", {"severity": payload, "summary": payload}),
        bundle("proposal", {"gate": payload, "inputs": {payload: payload}, "reason": payload}),
    ]
    shown = pieces(outputs)
    assert len(shown) >= len(outputs) - 1
    links = {"https://evil.example", "https://evil.example/path?a=b"}
    for piece in shown:
        for html in everything_safe(piece):
            assert hostile.faults(html, links=links if piece.kind == "markdown" else ()) == []


@pytest.mark.parametrize("payload", hostile.PAYLOADS)
def test_cleaned_html_is_a_fixed_point(payload):
    for clean in (fragments.sanitise, fragments.inline):
        once = clean(payload)
        assert clean(once) == once.replace(' style=""', "")


def test_a_document_from_a_kernel_runs_and_loads_nothing():
    headers = fragments.HTML_HEADERS["Content-Security-Policy"]
    assert headers.startswith("sandbox; default-src 'none'")
    assert "script" not in headers
    document = fragments.html_document(fragments.sanitise("".join(hostile.PAYLOADS)))
    assert hostile.faults(document, own_page=True) == []


def test_a_table_of_pandas_keeps_its_cells_and_loses_its_style_sheet():
    piece = only(
        display(
            data={"text/html": "<style scoped>td{}</style><table border=1 class=df><tr><td colspan=2>7</td></table>"}
        )
    )
    assert piece.kind == "html"
    assert piece.fragment == '<table><tbody><tr><td colspan="2">7</td></tr></tbody></table>'


def test_embedded_raster_images_stay_and_all_other_addresses_go():
    kept = fragments.sanitise(
        f'<img src="data:image/png;base64,{png()}"><img src="data:text/html;base64,AAAA"><img src=/x>'
    )
    assert kept.count("src=") == 1


def test_a_drawing_keeps_its_shapes_and_refers_only_to_itself():
    svg = (
        '<?xml version="1.0"?><svg viewBox="0 0 9 9"><defs><path id="g" d="M0 0"/></defs><use xlink:href="#g"/>'
        '<use xlink:href="https://evil.example#g"/><g style="fill: #fff; stroke: url(https://evil.example)"><text>hi</text></g></svg>'
    )
    piece = only(display(data={"image/svg+xml": svg}))
    assert 'd="M0 0"' in piece.fragment
    assert 'xlink:href="#g"' in piece.fragment
    assert "evil" not in piece.fragment
    assert "fill:#fff" in piece.fragment.replace(" ", "")


def test_the_safest_rich_form_is_shown():
    forms = {
        bundles.FINDING: {"severity": "info", "summary": "s", "evidence": None},
        "image/png": png(),
        "text/html": "<b>x</b>",
        "text/plain": "x",
    }
    kinds = []
    while forms:
        kinds.append(only(display(data=forms)).kind)
        del forms[next(iter(forms))]
    assert kinds == ["finding", "image", "html", "text"]


def test_a_broken_form_is_told_and_gives_way_to_the_next():
    trouble, text = pieces([display(data={"image/png": "AAAA", "text/plain": "<Figure>"})])
    assert trouble.trouble
    assert "image/png" in trouble.plain
    assert text.plain == "<Figure>"


def test_a_png_loses_its_metadata_and_what_follows_its_end():
    piece = only(display(data={"image/png": png(), "text/plain": "<Figure>"}))
    assert (piece.image.width, piece.image.height, piece.alternative) == (320, 120, "<Figure>")
    assert b"secret" not in piece.image.data
    assert b"trailing" not in piece.image.data
    Image.open(io.BytesIO(piece.image.data)).verify()


def test_a_jpeg_loses_its_metadata():
    out = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(out, "JPEG", comment=b"secret", exif=b"Exif\0\0secret")
    piece = only(display(data={"image/jpeg": base64.b64encode(out.getvalue() + b"trailing").decode()}))
    assert b"secret" not in piece.image.data
    assert b"trailing" not in piece.image.data
    assert Image.open(io.BytesIO(piece.image.data)).size == (20, 10) == (piece.image.width, piece.image.height)


def broken_pngs():
    whole = base64.b64decode(png())
    yield from (
        b"",
        b"\x89PNG",
        whole[:8],
        whole[:40],
        whole[:-60],
        b"<svg onload=alert(1)>",
        b"GIF89a" + whole,
    )
    flipped = bytearray(whole)
    flipped[60] ^= 1
    yield bytes(flipped)
    huge = bytearray(whole)
    huge[16:24] = b"\x7f\xff\xff\xff" * 2
    yield bytes(huge)


@pytest.mark.parametrize("data", list(broken_pngs()))
@pytest.mark.parametrize("mime", ["image/png", "image/jpeg"])
def test_a_broken_image_is_told_and_never_shown(mime, data):
    (piece,) = pieces([display(data={mime: base64.b64encode(data).decode()})])
    assert piece.trouble


def test_colours_become_classes_and_everything_else_a_terminal_knows_goes():
    text = "\x1b[1;31mred <b>\x1b[0m \x1b[38;5;46mgreen\x1b[39m \x1b[48;2;0;0;200mblue\x1b[m "
    text += "\x1b[2J\x1b]0;title\x07\x1b[?25lend\x9b5n\x00"
    assert ansi(text) == (
        '<span class="ansi-bold ansi-red-fg">red &lt;b&gt;</span> <span class="ansi-bright-green-fg">green</span>'
        ' <span class="ansi-blue-bg">blue</span> end'
    )
    assert plain(text) == "red <b> green blue end"
    assert coloured(text).count("\x1b") == coloured(text).count("\x1b[") == 6


@pytest.mark.parametrize(
    "text",
    ["\x1b", "\x1b[", "\x1b[38;5m x", "\x1b[38;2;1m x", "\x1b[999999999999999999m", "\x1b]8;;never ends\nx"],
)
def test_damaged_escape_sequences_leave_the_text_readable(text):
    assert "\x1b" not in ansi(text)
    assert "\x1b" not in plain(text)
    assert plain(text).endswith("x" if text.endswith("x") else "")


def test_a_progress_bar_is_shown_as_it_ended():
    assert plain("10 %\r50 %\r100 %\ndone\r\n") == "100 %\ndone\n"


def test_characters_that_deceive_the_eye_are_named():
    assert plain("a\u202eb") == "a⟨U+202E⟩b"
    assert revealed("# ok\rdrop()\u200b") == "# ok⟨U+000D⟩drop()⟨U+200B⟩"
    assert revealed("a\r\nb") == "a\nb"


@pytest.mark.parametrize(
    ("text", "lines", "characters", "head", "left"),
    [
        ("", 2, 9, "", 0),
        ("a\nb", 2, 9, "a\nb", 0),
        ("a\nb\n", 2, 9, "a\nb\n", 0),
        ("a\nb\nc", 2, 9, "a\nb\n", 1),
        ("a\nb\nc\nd\n", 2, 9, "a\nb\n", 2),
        ("x" * 30, 2, 9, "x" * 9, 1),
        ("xx\n" * 30, 20, 9, "xx\n" * 3, 27),
        ("x" * 8 + "\n" + "y" * 8, 20, 9, "x" * 8 + "\n", 1),
    ],
)
def test_a_long_text_is_folded_at_a_line_or_a_length(text, lines, characters, head, left):
    folded = fold(text, lines, characters)
    assert (folded.head, folded.lines, folded.characters) == (head, left, len(text) - len(head))


@pytest.mark.parametrize(
    "text",
    [
        "line\n" * 2_000_000,
        "x" * 10_000_000,
        "\x1b[31mx\x1b[0m" * 1_000_000,
        "\r" * 10_000_000,
        "\x1b]" * 5_000_000,
    ],
)
def test_ten_megabytes_fold_at_once(text):
    begun = time.perf_counter()
    piece = only(stream(text))
    assert time.perf_counter() - begun < 10  # half a second on a quiet machine; quadratic would be minutes
    assert len(piece.head) < 500_000
    assert piece.omitted_characters > 0


def test_large_json_and_deep_json_are_told_quickly():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    begun = time.perf_counter()
    big, told = pieces(
        [display(data={"application/json": ["x" * 10] * 500_000}), display(data={"application/json": deep})]
    )
    assert time.perf_counter() - begun < 20  # a second on a quiet machine; quadratic would be minutes
    assert big.omitted_characters > 1_000_000
    assert told.trouble


def test_outputs_without_end_are_counted():
    shown = pieces([display(data={"text/plain": str(n)}) for n in range(5_000)])
    assert len(shown) == MOST_OUTPUTS + 1
    assert shown[-1].plain == "4500 further outputs are not shown."


def test_prints_that_follow_each_other_are_one_piece():
    shown = pieces([stream("a"), stream("b\n"), stream("oh", "stderr"), stream("c")])
    assert [(piece.plain, piece.stream, piece.index) for piece in shown] == [
        ("ab\n", "stdout", 0),
        ("oh", "stderr", 2),
        ("c", "stdout", 3),
    ]


def test_a_finding_brings_its_table():
    piece = only(bundle("finding", {"severity": "critical", "summary": "37 wait", "evidence": EVIDENCE}))
    assert (piece.kind, piece.severity, piece.summary) == ("finding", "critical", "37 wait")
    assert [column.type for column in piece.evidence.columns] == ["number", "text", "number", "time", "text"]
    assert piece.evidence.rows[0][:3] == ("4711", "deploy-migration", "37")
    assert piece.evidence.omitted == 12


def test_proposals_checks_and_kept_values_are_shown():
    proposal, check, kept = pieces(
        [
            bundle("proposal", {"gate": "end", "inputs": {"pid": 1}, "reason": "r"}),
            bundle("check", {"name": "n", "ok": False, "seconds": 2, "detail": "d"}),
            bundle("keep", {"values": {"p99": 1.5}}),
        ]
    )
    assert (proposal.gate, proposal.inputs, proposal.reason) == ("end", {"pid": 1}, "r")
    assert (check.name, check.ok, check.seconds, check.detail) == ("n", False, 2.0, "d")
    assert kept.values == {"p99": 1.5}


def test_a_withheld_output_says_why():
    piece = only(stream("[runbooks] The output of this cell is withheld: it holds a secret, spread out.\n", "stderr"))
    assert (piece.kind, piece.reason) == ("withheld", "it holds a secret, spread out.")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
OUTPUT = st.fixed_dictionaries(
    {"output_type": st.sampled_from(["stream", "error", "display_data", "execute_result"]) | JSON},
    optional={
        "name": JSON,
        "text": JSON,
        "ename": JSON,
        "evalue": JSON,
        "traceback": JSON,
        "metadata": JSON,
        "data": JSON | st.dictionaries(st.sampled_from(MIMES) | st.text(max_size=8), JSON, max_size=4),
    },
)


@settings(max_examples=80, deadline=None)
@given(JSON | st.lists(OUTPUT | JSON, max_size=4))
def test_whatever_the_outputs_hold_they_become_safe_pieces(outputs):
    for piece in pieces(outputs):
        for html in everything_safe(piece):
            assert hostile.faults(html) == []
