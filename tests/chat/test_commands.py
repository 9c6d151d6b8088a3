"""What is typed after `/runbook`, phones and hostile people included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.chat.commands import MAX_LENGTH, Command, Verb, parse, tell
from runbooks_app.core.errors import InvalidInput

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(lambda name: name not in set(Verb))
KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40).filter(
    # What Slack does to a text on its way is undone by `parse`; `tell` writes what a person would type.
    lambda value: "&" not in value and "<" not in value and "\u00a0" not in value and "\u202f" not in value
)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", Command(Verb.LIST)),
        ("  list ", Command(Verb.LIST)),
        ("HELP", Command(Verb.HELP)),
        ("?", Command(Verb.HELP)),
        ("help db-latency", Command(Verb.HELP, text="db-latency")),
        ("status", Command(Verb.STATUS)),
        ("cancel", Command(Verb.CANCEL)),
        ("cancel 42", Command(Verb.CANCEL, text="42")),
        ("postmortem", Command(Verb.POSTMORTEM)),
        ("note  blocked deploys until 04:00", Command(Verb.NOTE, text="blocked deploys until 04:00")),
        ('note "quoted whole"', Command(Verb.NOTE, text="quoted whole")),
        ("note #12 deploys are blocked", Command(Verb.NOTE, text="deploys are blocked", incident=12)),
        ("note 12 deploys", Command(Verb.NOTE, text="12 deploys")),
        ("note #12a", Command(Verb.NOTE, text="#12a")),
        ("incident", Command(Verb.INCIDENT)),
        ("incident “Checkout is slow”", Command(Verb.INCIDENT, text="Checkout is slow")),
        ("incident #12", Command(Verb.INCIDENT, text="#12")),
        ("attach #12", Command(Verb.ATTACH, incident=12)),
        ("attach abcdefghijklmnop", Command(Verb.ATTACH, text="abcdefghijklmnop")),
        ("attach #12 abcdefghijklmnop", Command(Verb.ATTACH, text="abcdefghijklmnop", incident=12)),
        ("attach <https://r.example/runs/abcdefghijklmnop#cell-x>", Command(Verb.ATTACH, text="abcdefghijklmnop")),
        ("close", Command(Verb.CLOSE)),
        ("close #12", Command(Verb.CLOSE, incident=12)),
        ("close #12 a migration held a lock", Command(Verb.CLOSE, text="a migration held a lock", incident=12)),
        ("close a migration held a lock", Command(Verb.CLOSE, text="a migration held a lock")),
        ("note it's “odd”", Command(Verb.NOTE, text="it's “odd”")),
        ("db-latency", Command(Verb.RUN, "db-latency")),
        ("DB-Latency", Command(Verb.RUN, "db-latency")),
        ("db-latency ?", Command(Verb.FORM, "db-latency")),
        ("db-latency service=orders ?", Command(Verb.FORM, "db-latency", (("service", "orders"),))),
        ("db-latency ? service=orders", Command(Verb.FORM, "db-latency", (("service", "orders"),))),
        ("db-latency service=orders", Command(Verb.RUN, "db-latency", (("service", "orders"),))),
        ("db-latency\nservice=orders", Command(Verb.RUN, "db-latency", (("service", "orders"),))),
        ("db-latency\u00a0service=orders", Command(Verb.RUN, "db-latency", (("service", "orders"),))),
    ],
)
def test_a_command_is_read_as_it_was_meant(typed, meant):
    assert parse(typed) == meant


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ('n="a b"', "a b"),
        ("n='a b'", "a b"),
        ("n=“a b”", "a b"),
        ("n=„a b“", "a b"),
        ("n=\u2018a b\u2019", "a b"),
        ("n=don't", "don't"),
        ("n=don\u2019t", "don\u2019t"),
        ('n="say \\"hi\\" now"', 'say "hi" now'),
        ('n=""', ""),
        ("n=", ""),
        ("n=a=b", "a=b"),
        ("n=C:\\temp", "C:\\temp"),
        ('n="it\'s"', "it's"),
        ("n=a&amp;b", "a&b"),
        ("n=&lt;b&gt;", "<b>"),
        ("n=&amp;lt;", "&lt;"),
        ("n=<https://x.example/a?b=1&amp;c=2>", "https://x.example/a?b=1&c=2"),
        ("n=<http://x.example|x.example>", "http://x.example"),
        ("n=<mailto:ana@x.example|ana@x.example>", "ana@x.example"),
        ("n=<@U123|ana>", "@ana"),
        ("n=<#C123|orders>", "#orders"),
        ("n=__import__('os').system('id')", "__import__('os').system('id')"),
        ("n='; DROP TABLE runs; --'", "; DROP TABLE runs; --"),
        ("n=$(id)", "$(id)"),
        ("n=${jndi:ldap://x}", "${jndi:ldap://x}"),
    ],
)
def test_values_keep_what_was_meant(typed, value):
    assert parse(f"db-latency {typed}").given == {"n": value}


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("../../etc/passwd", "first word is the name"),
        ("<@U123>", "first word is the name"),
        ("a" * 200, "first word is the name"),
        ('db-latency n="a b', "never closed"),
        ("db-latency n=“a b", "never closed"),
        ("db-latency orders", "is not a parameter"),
        ("db-latency service = orders", "is not a parameter"),
        ("db-latency 1x=2", "is not a parameter"),
        ("db-latency a=1 a=2", "given twice"),
        ("note", "needs its text"),
        ("note #12", "needs its text"),
        ("attach", "Say what is attached"),
        ("attach #1 #2", "Say what is attached"),
        ("attach abc def", "Say what is attached"),
        ("list all of them", "takes nothing"),
        ("cancel a b", "at most one word"),
        ("db-latency n=a\x00b", "control character"),
        ("db-latency n=\ud800", "control character"),
        ("db-latency n=" + "x" * 1_000_000, "longer than"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_mend(typed, told):
    with pytest.raises(InvalidInput, match=told):
        parse(typed)


def test_every_point_at_fault_is_named():
    with pytest.raises(InvalidInput) as caught:
        parse("db-latency orders a=1 a=2")
    assert [problem.where for problem in caught.value.problems] == ["orders", "a"]
    assert all(problem.fix for problem in caught.value.problems)


@given(st.text(max_size=MAX_LENGTH + 10))
def test_any_text_is_a_command_or_refused(text):
    try:
        command = parse(text)
    except InvalidInput:
        return
    assert command.verb in Verb


@given(st.sampled_from([Verb.RUN, Verb.FORM]), NAMES, st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_corrected_command_reads_as_what_it_tells(verb, name, arguments):
    command = Command(verb, name, tuple(arguments.items()))
    assert parse(tell(command)) == command


@pytest.mark.parametrize("command", [Command(Verb.LIST), Command(Verb.FORM, "x"), Command(Verb.NOTE, text="a b")])
def test_every_kind_of_command_can_be_told(command):
    assert parse(tell(command)) == command
