"""Tables of TOML files: what is wrong is named with its mend, and reading goes on."""

from __future__ import annotations

import pytest

from runbooks_app.core.tables import Table


@pytest.fixture
def problems():
    return []


@pytest.fixture
def table(problems):
    def read(fields, where="orders-db"):
        return Table(where, fields, problems)

    return read


def told(problems):
    return [(problem.where, problem.message, problem.fix) for problem in problems]


def test_what_is_right_is_read_without_a_word(table, problems):
    read = table({"host": "db.internal", "port": 5432, "kind": "postgres", "tls": False, "inner": {"role": "reader"}})
    read.only(("host", "port", "kind", "tls", "inner"))
    assert read.text("host") == "db.internal"
    assert read.text("database", "orders") == "orders"
    assert read.number("port", 1, 1, 65535) == 5432
    assert read.number("timeout", 5, 1, 60) == 5
    assert read.choice("kind", ("http", "postgres")) == "postgres"
    assert read.choice("mode", ("a", "b"), "b") == "b"
    assert read.flag("tls", default=True) is False
    assert read.flag("verify", default=True) is True
    assert read.inner("inner").text("role") == "reader"
    assert problems == []


def test_what_is_no_table_is_told_by_its_name(table, problems):
    assert table("postgres://db").text("host", "x") == "x"
    assert told(problems) == [("orders-db", "must be a table.", "Write [orders-db] and its settings below.")]


def test_a_table_within_one_is_named_by_its_whole_path(table, problems):
    table({"diagnose": {}}).inner("diagnose").text("role", fix="Name one.")
    assert told(problems) == [("orders-db.diagnose.role", "is missing.", "Name one.")]


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("prot", "Did you mean port?"),
        ("zzz", "Known here: port, host."),
        ("password", "Secrets never stand in this file: name a file of mode 0600 by password_file."),
    ],
)
def test_a_key_that_nobody_reads_is_refused_with_what_may_have_been_meant(table, problems, key, fix):
    table({key: "x"}).only(("port", "host"))
    assert told(problems) == [(f"orders-db.{key}", "is not known here.", fix)]


def test_a_secret_in_the_file_leads_to_the_setting_that_names_its_file(table, problems):
    table({"token": "x"}).only(("url", "token_file"))
    assert problems[0].fix.endswith("by token_file.")


@pytest.mark.parametrize("value", [5, "", "  ", "two\nlines", "bell\a", ["x"]])
def test_a_text_is_one_line_that_says_something(table, problems, value):
    assert table({"host": value}).text("host") == ""
    assert told(problems) == [("orders-db.host", "must be a text of one line.", "")]


@pytest.mark.parametrize(("fields", "message"), [({}, "is missing."), ({"kind": "mysql"}, "is not known.")])
def test_a_choice_is_one_of_the_words(table, problems, fields, message):
    assert table(fields).choice("kind", ("http", "postgres")) == ""
    assert told(problems) == [("orders-db.kind", message, "Write one of: http, postgres.")]


@pytest.mark.parametrize("value", [True, "5", 5.0, 0, 61])
def test_a_number_is_whole_and_within_its_bounds(table, problems, value):
    assert table({"timeout": value}).number("timeout", 5, 1, 60) == 5
    assert told(problems) == [("orders-db.timeout", "must be a whole number from 1 to 60.", "")]


@pytest.mark.parametrize("value", ["true", 1, None])
def test_a_flag_is_true_or_false_and_no_text(table, problems, value):
    assert table({"tls": value}).flag("tls", default=True) is True
    assert told(problems) == [("orders-db.tls", "must be true or false, without quotes.", "")]


@pytest.mark.parametrize("value", ["database", [], ["a", "a"], ["a", ""], ["a", 5]])
def test_a_list_of_texts_has_each_of_them_once(table, problems, value):
    read = table({"approvers": value})
    assert read.texts("approvers", ("x",)) == ("x",)
    assert told(problems) == [("orders-db.approvers", 'must be a list of different texts, as in ["database"].', "")]


def test_a_list_that_is_not_named_is_the_usual_one(table, problems):
    assert table({}).texts("approvers", ("x",)) == ("x",)
    assert table({"approvers": ["a", "b"]}).texts("approvers", ()) == ("a", "b")
    assert problems == []
