"""Which requests a rule lets through, whatever a server takes their path for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.http_rules import MOST_DECODED, READ_ALL, Rule, permits, read_rule, readings, reads_only

QUERY = (read_rule("GET /api/v1/*"), read_rule("POST /api/v1/query"), read_rule("GET /label/*/values"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/query"),
        ("HEAD", "/api/v1/query"),
        ("GET", "/api/v1/a/b/c"),
        ("GET", "/api/v1/"),
        ("POST", "/api/v1/query"),
        ("GET", "/label/job/values"),
        ("GET", "/api/v1/a%20b"),
        ("GET", "/api/v1/a%2Fb"),
        ("GET", "/api/v1/caf%C3%A9"),
        ("GET", "/api/v1/100%25"),
        ("GET", "/api/v1/..."),
    ],
)
def test_what_the_rules_name_is_let_through(method, path):
    assert permits(QUERY, method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/queries"),
        ("POST", "/api/v1/query/"),
        ("HEAD", "/"),
        ("GET", "/api/v1"),
        ("GET", "/api/v2/query"),
        ("GET", "/label/a/b/values"),
        ("GET", "/label/values"),
        ("get", "/api/v1/query"),
        ("DELETE", "/api/v1/query"),
        ("POST", "/api/v1/query%2Fdelete"),
        ("POST", "/api/v1/query%252Fdelete"),
        ("GET", "/label/a%2Fb/values"),
        ("POST", "/api/v1/query;delete"),
        ("GET", "/api;x/v1/query"),
    ],
)
def test_what_they_do_not_name_is_not(method, path):
    assert not permits(QUERY, method, path)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/../admin",
        "/api/v1/./query",
        "/api/v1/%2e%2e/admin",
        "/api/v1/%c0%ae%c0%ae/admin",
        "/api/v1/%2E./admin",
        "/api/v1/..%2fadmin",
        "/api/v1/%252e%252e/admin",
        "/api/v1/%25252e%25252e/admin",
        "/api/v1/..;/admin",
        "/api/v1/..;x=y/admin",
        "/api/v1/..",
        "//api/v1/query",
        "/api//v1",
        "/api/v1/%2F/admin",
        "/api/v1/;x/y",
        "/api/v1/a\\..\\b",
        "/api/v1/%5c..%5cadmin",
        "/api/v1/%00",
        "/api/v1/%0d%0aX:y",
        "/api/v1/%",
        "/api/v1/%zz",
        "/api/v1/a b",
        "/api/v1/é",
        "/api/v1/a#b",
        "api/v1",
        "",
        "*",
        "http://elsewhere/api/v1/query",
        "/api/v1/%2525252525252e",
    ],
)
def test_a_path_that_may_lead_elsewhere_is_refused_whatever_the_rules(path):
    with pytest.raises(InvalidInput):
        permits((Rule("GET", "/*"), *QUERY), "GET", path)


def test_everything_below_the_url_can_be_read_where_nothing_else_is_said():
    assert permits(READ_ALL, "GET", "/")
    assert permits(READ_ALL, "HEAD", "/a/b")
    assert not permits(READ_ALL, "POST", "/")
    assert not permits((), "GET", "/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GET",
        "GET ",
        "/api",
        "get /api",
        "GET api",
        "GET /a*",
        "GET /a//b",
        "GET /a/../b",
        "GET /a b",
        "* /",
        7,
        None,
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_with_its_mend(text):
    with pytest.raises(InvalidInput, match=r"/api/v1/\*|plainly"):
        read_rule(text)


@pytest.mark.parametrize(
    ("rule", "reads"),
    [
        ("GET /*", True),
        ("HEAD /a", True),
        ("POST /api/v1/query", True),
        ("POST /*/_search", True),
        ("POST /*", False),
        ("POST /api/*", False),
        ("PUT /a", False),
        ("DELETE /a", False),
    ],
)
def test_diagnosing_reads_and_names_each_endpoint_that_takes_a_post(rule, reads):
    assert reads_only(read_rule(rule)) is reads


@given(st.text(alphabet="/.%25eEfFaA;\\2~b", max_size=24))
def test_what_is_let_through_leads_nowhere_else_however_often_it_is_decoded(text):
    from urllib.parse import unquote

    path = "/api/v1/" + text
    try:
        found = readings(path)
    except InvalidInput:
        return
    for reading in (path, unquote(path), unquote(unquote(path)), unquote(unquote(unquote(path)))):
        assert reading in found
        assert reading.startswith("/api/v1/")
        assert not {".", ".."} & {segment.split(";")[0] for segment in reading.split("/")}


def test_a_path_may_be_escaped_so_many_times_and_no_more():
    def escaped(times):
        return "/api/%" + "25" * (times - 1) + "41"

    assert readings(escaped(MOST_DECODED))[-1] == "/api/A"
    with pytest.raises(InvalidInput, match="too many times"):
        readings(escaped(MOST_DECODED + 1))


@pytest.mark.parametrize("written", ["GET /api/v1/*", "POST /-/reload"])
def test_a_rule_is_told_as_it_is_written(written):
    assert str(read_rule(written)) == written
