"""Redaction of text that streams: however it is cut, in the run, live and in the file beside it."""

from __future__ import annotations

import base64
import random
import resource
from pathlib import Path

import pytest
from kernels.segments import PASSWORD, Ran, code, segment
from kernels.test_redaction import FORMS, PEM

from runbooks_app.kernels.outputs import Outputs
from runbooks_app.kernels.redaction import MARK, Redactor, Spread, Stream
from runbooks_app.kernels.spool import Spool

pytestmark = pytest.mark.kernels

TOKENS = {
    "GitHub": "ghp_" + "a1B2" * 9,
    "GitHub, fine": "github_pat_" + "A1b2" * 8,
    "GitLab": "glpat-" + "x1Y2" * 5,
    "Slack": "xoxb-123456789012-abcdefABCDEF",
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "JSON web token": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJydW5ib29rIn0.c2lnbmF0dXJlLWhlcmU",
    "Vault": "hvs.CAESIJ1234567890abcdefgh",
}
WORDS = ("session", "4711", "waits", "on", "naïve", "☃", "eyJ", "ghp", "AKI", "xox", "hv", "k7", "\n\t0", "é<x>")


def harmless(chance: random.Random, length: int) -> str:
    text = ""
    while len(text) < length:
        text += chance.choice(WORDS) + chance.choice((" ", "\n", ", "))
    return text


@pytest.mark.parametrize("seed", range(400))
def test_every_form_is_taken_out_however_the_stream_is_cut(seed, tmp_path):
    chance = random.Random(seed)  # noqa: S311  the same cuts every time
    secrets = [PASSWORD, PEM, *(base64.b85encode(chance.randbytes(20)).decode() for _ in range(8))]
    redactor = Redactor(secrets)
    forms = [*FORMS.values(), *TOKENS.values(), *secrets[2:]]
    hidden = [forms[seed % len(forms)], chance.choice(forms)]
    text = "".join(f"{harmless(chance, chance.choice((0, 30, 3000, 20_000)))} {form} " for form in hidden) + "end"
    pieces, at = [], 0
    sizes = chance.choice(((1, 2, 3), (5, 20, 80), (1, 500, 5000), (65536,)))
    while at < len(text):
        size = chance.choice(sizes) if len(text) < 9_000 else max(1000, chance.choice(sizes))
        pieces.append(text[at : at + size])
        at += size
    expected, places = redactor.text(text)
    assert places >= len(hidden)
    assert MARK in expected
    whole = Outputs(redactor, 1_000_000)
    short = Outputs(redactor, 50, lambda: Spool(redactor, tmp_path, 1_000_000))
    live = ""
    for piece in pieces:
        for outputs in (whole, short):
            outputs.take({"msg_type": "stream", "content": {"name": "stdout", "text": piece}})
        live += "".join(output["text"] for output, _ in whole.live())
    live += "".join(output["text"] for output, _ in whole.live(last=True))
    assert live == expected
    assert "".join(output["text"] for output in whole.final()[0]) == expected
    inline = "".join(output["text"] for output in short.final()[0] if output["name"] == "stdout")
    assert short.rest.file.read().decode() == expected
    assert len(inline) <= 60
    assert expected.startswith(inline.removesuffix(MARK))


def test_a_token_that_is_cut_within_its_first_letters_is_taken_out():
    for token in TOKENS.values():
        for at in range(1, len(token)):
            stream = Stream(Redactor([]))
            shown = stream.feed(f"token: {token[:at]}") + stream.feed(f"{token[at:]} end") + stream.finish()
            assert shown == f"token: {MARK} end"


@pytest.mark.parametrize("between", [" ", "\n" * 70_000, "\x1b[31m", " \u200b\t", "\x1b]0;title\x07"])
@pytest.mark.parametrize("size", [1, 3, 1000, 65536])
def test_a_secret_that_is_spread_over_pieces_is_found(between, size):
    spread = Spread(Redactor([PASSWORD]))
    text = "x" * 300 + between.join(PASSWORD[at : at + 5] for at in range(0, len(PASSWORD), 5)) + "y" * 300
    for at in range(0, len(text), size if len(text) < 10_000 else max(size, 1000)):
        spread.feed(text[at : at + (size if len(text) < 10_000 else max(size, 1000))])
    assert spread.found


def test_a_secret_spread_out_beyond_the_limit_withholds_the_cell_and_its_file(run):
    ran = run(f"print('x' * 20_000)\nprint({' '.join(PASSWORD)!r})", "print(1)", secrets=(PASSWORD,), output=10_000)
    assert "withheld" in ran.text("c0", "stderr")
    assert ran.text("c0") == ""
    assert ran.ended["c0"].rest is None
    assert ran.text("c1") == "1\n"


def test_a_secret_spread_over_both_streams_withholds_the_file(run):
    half = len(PASSWORD) // 2
    ran = run(
        f"import sys\nprint('x' * 20_000)\nprint({PASSWORD[:half]!r}, end='')\n"
        f"print({PASSWORD[half:]!r}, end='', file=sys.stderr)",
        secrets=(PASSWORD,),
        output=10_000,
    )
    assert ran.ended["c0"].rest is None


def test_the_file_holds_no_secret_and_counts_what_it_took_out(run):
    ran = run(f"for n in range(5000): print(n, {PASSWORD!r})", secrets=(PASSWORD,), output=10_000)
    assert ran.ended["c0"].rest.file.read().decode() == "".join(f"{n} {MARK}\n" for n in range(5000))
    assert ran.ended["c0"].redacted == 5000


def test_nothing_of_the_librarys_own_texts_is_taken_for_a_secret():
    redactor = Redactor(["correct-horse-battery", "0123456789abcdef0123456789abcdef", PEM])
    library = Path(__file__).parents[2] / "runbook_library"
    texts = [path.read_text() for suffix in ("ipynb", "py") for path in sorted(library.rglob(f"*.{suffix}"))]
    assert len(texts) > 5
    for text in texts:
        assert redactor.text(text) == (text, 0)
        assert not redactor.smuggled(text)


def test_a_flood_of_60_megabytes_leaves_the_workers_memory_as_it_is(engine):
    """Of the process that runs the engine; the run's limits are the usual ones."""
    list(engine.run(segment("print('x' * 3_000_000)", output=1_000_000, output_total=100_000_000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flood = code("c0", "for n in range(60_000): print(f'{n:999}')", timeout=100)
    events = list(engine.run(segment(flood, output=1_000_000, output_total=100_000_000, timeout=120)))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    rest = Ran(events).ended["c0"].rest
    assert (rest.size, rest.lost) == (60_000_000, 0)
    assert grown < 20_000_000
