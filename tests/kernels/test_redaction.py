"""No known secret leaves in an output, in any usual spelling; harmless text does."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
import shlex
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels.segments import PASSWORD

from runbooks_app.kernels.outputs import Outputs
from runbooks_app.kernels.redaction import MARK, Redactor, Stream

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n"
RAW = PASSWORD.encode()

FORMS = {
    "raw": PASSWORD,
    "in the middle": f"postgresql://u:{PASSWORD}@host/db",
    "reversed": PASSWORD[::-1],
    "base64": base64.b64encode(RAW).decode(),
    "base64 after one byte": base64.b64encode(b":" + RAW + b"@host").decode(),
    "base64 after two bytes": base64.b64encode(b"u:" + RAW + b"@").decode(),
    "base64 after three bytes": base64.b64encode(b"me:" + RAW).decode(),
    "base64url": base64.urlsafe_b64encode(b"x" + RAW + b"x").decode(),
    "hex": RAW.hex(),
    "HEX": RAW.hex().upper(),
    "hex with colons": RAW.hex(":"),
    "percent": quote(PASSWORD, safe=""),
    "percent, slash kept": quote(PASSWORD),
    "percent plus": quote_plus(PASSWORD),
    "percent lower case": re.sub("%..", lambda escape: escape[0].lower(), quote(PASSWORD, safe="")),
    "percent of everything": "".join(f"%{byte:02x}" for byte in RAW),
    "JSON": json.dumps({"password": PASSWORD}),
    "JSON, not ASCII": json.dumps({"password": PASSWORD}, ensure_ascii=False),
    "JSON in JSON": json.dumps(json.dumps({"password": PASSWORD})),
    "HTML": html.escape(PASSWORD),
    "HTML, no quotes": html.escape(PASSWORD, quote=False),
    "HTML, as Jinja escapes": html.escape(PASSWORD).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "repr": repr(PASSWORD),
    "repr in a list": repr([PASSWORD]),
    "ascii": ascii(PASSWORD),
    "repr of bytes": repr(RAW),
    "shell": shlex.quote(PASSWORD),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_a_secret_is_taken_out(form):
    clean, count = Redactor([PASSWORD]).text(f"before {form} after")
    assert count >= 1
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    for length in range(8, len(PASSWORD)):
        assert PASSWORD[:length] not in clean
    assert form[2:-2] not in clean


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_secret_split_across_prints_is_taken_out_live(form, size):
    stream = Redactor([PASSWORD])
    outputs = Outputs(stream, 100_000)
    text = f"before {form} after"
    shown = ""
    for at in range(0, len(text), size):
        outputs.take({"msg_type": "stream", "content": {"name": "stdout", "text": text[at : at + size]}})
        shown += "".join(output["text"] for output, _ in outputs.live())
    shown += "".join(output["text"] for output, _ in outputs.live(last=True))
    final, count = outputs.final()
    assert MARK in shown
    assert count >= 1
    assert shown == final[0]["text"] == Redactor([PASSWORD]).text(text)[0]


def test_each_line_of_a_key_is_a_secret_but_not_its_header():
    redactor = Redactor([PEM])
    assert redactor.text("x AQEFAASCBKcwggSjAgEAAoIB y") == (f"x {MARK} y", 1)
    assert redactor.text("-----BEGIN PRIVATE KEY-----")[1] == 0
    assert MARK in redactor.text(json.dumps({"key": PEM}))[0]
    assert "MIIE" not in redactor.text(json.dumps({"key": PEM}))[0]


def test_what_is_shorter_than_eight_characters_is_left_alone():
    assert Redactor(["secret", ""]).text("no secret here") == ("no secret here", 0)


def test_signs_that_mean_something_to_regular_expressions_are_literal():
    secret = "a+++b(c[d\\e*{2}$^|."
    assert Redactor([secret]).text(f"<{secret}>") == (f"<{MARK}>", 1)


@pytest.mark.parametrize(
    "token",
    [
        "ghp_" + "a1B2" * 9,
        "xoxb-123456789012-abcdefABCDEF",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJydW5ib29rIn0.c2lnbmF0dXJlLWhlcmU",
        "hvs.CAESIJ1234567890abcdefgh",
    ],
)
def test_tokens_of_known_formats_are_taken_out_whoever_owns_them(token):
    assert Redactor([]).text(f"token={token}\n") == (f"token={MARK}\n", 1)


@pytest.mark.parametrize(
    "text",
    ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "eyJ is how they begin", "AKIA", "x" * 999],
)
def test_harmless_text_stays(text):
    assert Redactor([PASSWORD]).text(text) == (text, 0)


def test_two_tokens_side_by_side_are_both_taken_out():
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJydW5ib29rIn0.c2lnbmF0dXJlLWhlcmU"
    assert Redactor([]).text(f"x-{token} a.b.{token}!") == (f"x-{MARK} a.b.{MARK}!", 2)
    assert Redactor([]).text(f"eyJ-short.{token}") == (f"eyJ-short.{MARK}", 1)


@pytest.mark.parametrize(
    "begun",
    ["eyJ-", "eyJ.", "-eyJ-", ".eyJ!", "eyJ12345678.", "gho_", "hvs.", "xoxb-", "github_pat_", "glpat-", "AKIA"],
)
def test_a_text_of_tokens_that_only_begin_takes_no_longer_than_any_other(begun):
    # It is searched in the one thread that serves all kernels. Of some of these a megabyte took minutes.
    text = begun * (200_000 // len(begun)) + "!"
    since = time.process_time()
    Redactor([PASSWORD]).spans(text)
    stream = Stream(Redactor([PASSWORD]))
    for at in range(0, len(text), 4096):
        stream.feed(text[at : at + 4096])
    assert time.process_time() - since < 1


def test_a_display_of_many_numbers_holds_nobody_up():
    numbers = [0] * 600_000
    since = time.process_time()
    assert Redactor([PASSWORD]).value(numbers) == (numbers, 0)
    assert time.process_time() - since < 1  # it took two
    assert Redactor(["1234567.5"]).value([1234567.5, True, 1]) == ([MARK, True, 1], 1)


def test_a_growing_text_is_held_back_only_where_it_may_become_a_secret():
    redactor = Redactor([PASSWORD, PEM])
    for shown in ("all of this is shown", "4 of 6 cells\n", "eyJ"[:2]):
        assert redactor.held(shown, []) >= len(shown) - 2
    text = "password: " + PASSWORD[:6]
    assert redactor.held(text, redactor.spans(text)) == len("password: ")


def test_a_short_form_waits_while_it_may_be_the_beginning_of_a_longer_one():
    long = "AQEFAASCBKcw\nggSjAgEAAoIB"
    outputs = Outputs(Redactor([long]), 1000)
    shown = ""
    for piece in ("AQEFAASCBKcw", "\nggSj", "AgEAAoIB", " end"):
        outputs.take({"msg_type": "stream", "content": {"name": "stdout", "text": piece}})
        shown += "".join(output["text"] for output, _ in outputs.live())
    shown += "".join(output["text"] for output, _ in outputs.live(last=True))
    assert shown == f"{MARK} end"


@given(st.text(), st.text(), st.lists(st.integers(0, 60), max_size=8))
def test_no_way_of_cutting_a_stream_shows_a_secret(before, after, cuts):
    secret = "hunter2hunter2!"
    redactor = Redactor([secret])
    text = before + secret + after
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    outputs = Outputs(redactor, 100_000)
    shown = ""
    for start, end in itertools.pairwise(places):
        outputs.take({"msg_type": "stream", "content": {"name": "stdout", "text": text[start:end]}})
        shown += "".join(output["text"] for output, _ in outputs.live())
    shown += "".join(output["text"] for output, _ in outputs.live(last=True))
    assert secret not in shown
    assert MARK in shown


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(PASSWORD),
        *(sign.join(PASSWORD) for sign in "\0\u034f\u061c\u115f\u180b\u200b\u206a\u3164\ufe0f\ufff9\U000e0020"),
        " ".join(PASSWORD.encode().hex()[at : at + 2] for at in range(0, 2 * len(RAW), 2)),
        PASSWORD[:9] + "\x1b[31m" + PASSWORD[9:] + "\x1b[0m",
        PASSWORD[:9] + "\u200b" + PASSWORD[9:],
        "\n".join(base64.b64encode(b"some text before it: " + RAW).decode()[at : at + 9] for at in range(0, 60, 9)),
    ],
)
def test_a_secret_spread_out_by_spaces_lines_or_colours_withholds_the_cell(run, text):
    ran = run(f"print({text!r})", "print('on')", secrets=(PASSWORD,))
    assert "withheld" in ran.text("c0", "stderr")
    assert ran.text("c0") == ""
    assert ran.ended["c0"].redacted >= 1
    assert ran.text("c1") == "on\n"


def test_a_secret_spread_over_outputs_withholds_the_cell(run):
    ran = run(f"print({PASSWORD[:9]!r}, end='')\ndisplay(1)\nprint({PASSWORD[9:]!r}, end='')", secrets=(PASSWORD,))
    assert PASSWORD[9:] not in str(ran.ended["c0"].outputs)
    assert PASSWORD[:9] not in str(ran.ended["c0"].outputs)


def test_every_place_of_an_output_is_searched(run):
    ran = run(
        f"p = {PASSWORD!r}\ndisplay({{'application/json': {{p: [p, {{'a': p}}]}}, 'text/html': f'<b>{{p}}</b>'}},"
        " raw=True, metadata={'m': p})\np",
        f"raise ValueError({PASSWORD!r})",
        f"import sys; print({PASSWORD!r}, file=sys.stderr)",
        f"import subprocess; subprocess.run(['echo', {PASSWORD!r}])",
        "12345678",
        "display({'application/json': {'pin': 12345678}, 'text/plain': ''}, raw=True)",
        secrets=(PASSWORD, "12345678"),
    )
    assert all(end.redacted >= 1 for end in ran.ended.values())
    told = json.dumps([[*end.outputs, end.reason] for end in ran.ended.values()], ensure_ascii=False)
    told += json.dumps(ran.live, ensure_ascii=False)
    assert json.dumps(PASSWORD, ensure_ascii=False)[1:-1] not in told
    assert PASSWORD[:8] not in told
    assert "12345678" not in told
    assert ran.ended["c1"].reason == f"ValueError: {MARK}"


@pytest.mark.parametrize("text", [PASSWORD, " ".join(PASSWORD), "x" * 1980 + PASSWORD, "x" * 3985 + PASSWORD])
def test_the_reason_of_a_failure_holds_no_secret_and_no_part_of_one(run, text):
    ran = run(f"raise ValueError({text!r})", secrets=(PASSWORD,))
    reason = ran.ended["c0"].reason
    assert reason.startswith(("ValueError", "(withheld"))
    assert len(reason) <= 2010
    assert PASSWORD[:4] not in reason
    assert " ".join(PASSWORD)[:9] not in reason


def test_output_that_cannot_be_searched_is_withheld():
    redactor = Redactor([PASSWORD])
    redactor._plain = object()  # broken: has none of the methods
    outputs = Outputs(redactor, 1000)
    outputs.take({"msg_type": "stream", "content": {"name": "stdout", "text": PASSWORD}})
    assert outputs.live() == []
    final, _ = outputs.final()
    assert PASSWORD not in str(final)
    assert "withheld" in final[0]["text"]


def test_a_limit_that_cuts_a_secret_leaves_none_of_it():
    outputs = Outputs(Redactor([PASSWORD]), 15)
    outputs.take({"msg_type": "stream", "content": {"name": "stdout", "text": f"password {PASSWORD}"}})
    final, _ = outputs.final()
    assert final[0]["text"] == "password "
    assert "left out" in final[1]["text"]


def test_a_redactor_shows_no_secret_of_its_own():
    assert PASSWORD not in repr(Redactor([PASSWORD]))
