"""PagerDuty and Opsgenie, as they answer when all is well and when nothing is."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
from oncall.paging import GENIE_KEY, REST_TOKEN, ROUTING_KEY, hangs, paging, says

from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.oncall import pagers
from runbooks_app.oncall.opsgenie import Opsgenie
from runbooks_app.oncall.pagerduty import PagerDuty
from runbooks_app.oncall.pagers import Page

pytestmark = pytest.mark.chat

CLASSES = {"pagerduty": PagerDuty, "opsgenie": Opsgenie}
SECRETS = (REST_TOKEN, ROUTING_KEY, GENIE_KEY)
PAGE = Page(
    "End session 4711 on orders-db waits for approval",
    {"runbook": "db-latency"},
    "https://runbooks.example.com/proposals/p1",
    "runbooks production",
    urgent=True,
)


@pytest.fixture(params=CLASSES)
def pages(request):
    with paging(request.param) as running:
        yield running


@pytest.fixture
def pager(pages, tmp_path):
    return CLASSES[pages.kind](pages.service(tmp_path))


def test_a_page_is_open_until_it_is_resolved(pages, pager):
    pager.page("runbooks-p1", PAGE)
    pager.page("runbooks-p1", PAGE)
    assert list(pages.open) == ["runbooks-p1"]
    pager.resolve("runbooks-p1")
    assert not pages.open


def test_what_was_never_open_may_be_resolved(pages, pager):
    pager.resolve("runbooks-p1")
    assert not pages.open


def test_a_page_says_what_waits_how_urgent_it_is_and_where_to_decide(pages, pager):
    pager.page("runbooks-p1", PAGE)
    sent = pages.open["runbooks-p1"]
    if pages.kind == "pagerduty":
        assert sent["payload"]["summary"] == PAGE.summary
        assert (sent["payload"]["severity"], sent["links"][0]["href"]) == ("critical", PAGE.link)
    else:
        assert (sent["message"], sent["priority"], sent["details"]["decide"]) == (PAGE.summary, "P1", PAGE.link)
    pager.page("runbooks-p2", replace(PAGE, urgent=False))
    calm = pages.open["runbooks-p2"]
    assert (calm["priority"] if pages.kind == "opsgenie" else calm["payload"]["severity"]) in {"P3", "warning"}


def test_a_page_is_within_the_limits_however_long_its_text_is(pages, pager):
    pager.page("k" * 2000, replace(PAGE, summary="ü\n\x00😀" * 5000, source="s" * 999))
    assert len(pages.open) == 1


def test_opsgenie_alerts_the_team_that_is_named(tmp_path):
    with paging("opsgenie") as pages:
        Opsgenie(pages.service(tmp_path, team="DBAs")).page("k", PAGE)
        assert pages.open["k"]["responders"] == [{"type": "team", "name": "DBAs"}]


def test_the_schedule_says_who_is_on_call(pages, pager):
    pages.on_call["PS 1/&?"] = ["Ana@Example.com", "ben@example.com"]
    assert pager.who("PS 1/&?") == {"ana@example.com", "ben@example.com"}


def test_names_that_are_no_addresses_are_left_out(pages, pager):
    hostile = ["<!channel>", "a@b@c", "x@y.example\n", "", None, 3, {"a": 1}, "'; DROP TABLE people;--", "ok@y.example"]
    pages.on_call["S"] = hostile
    assert pager.who("S") == {"ok@y.example"}


def test_of_a_schedule_without_end_some_are_taken(pages, pager):
    pages.on_call["S"] = [f"p{number}@y.example" for number in range(1000)]
    assert len(pager.who("S")) == pagers.MOST_ON_CALL


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(pages, pager, status):
    for ask in (lambda: pager.page("k", PAGE), lambda: pager.resolve("k"), lambda: pager.who("S")):
        pages.spell.append(says(status, Retry_After="1"))
        with pytest.raises(Unavailable, match=str(status)):
            ask()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_not_pass_is_told_with_its_mend_and_without_the_secret(pages, pager, status):
    key = ROUTING_KEY if pages.kind == "pagerduty" else GENIE_KEY
    token = REST_TOKEN if pages.kind == "pagerduty" else GENIE_KEY
    for ask, secret in ((lambda: pager.page("k", PAGE), key), (lambda: pager.who("S"), token)):
        pages.spell.append(says(status, json.dumps({"message": f"no {secret}", "errors": [secret, 3]}).encode()))
        with pytest.raises(Misconfigured, match=rf"{status} \(no .*\[service\.pd\]") as told:
            ask()
        assert secret not in str(told.value)


@pytest.mark.parametrize(
    "lie", [says(200), says(202), says(202, b"<html>"), says(202, b'{"status": "nope"}'), says(204), says(202, b"[]")]
)
def test_an_answer_that_does_not_say_that_it_was_taken_is_none(pages, pager, lie):
    for ask in (lambda: pager.page("k", PAGE), lambda: pager.who("S")):
        pages.spell.append(lie)
        with pytest.raises(Unavailable, match="but not"):
            ask()


def test_a_redirect_is_not_followed(pages, pager):
    with paging(pages.kind) as elsewhere:
        pages.spell.append(says(307, Location=f"{elsewhere.url}/v2/enqueue"))
        with pytest.raises(Misconfigured, match="redirect"):
            pager.page("k", PAGE)
        assert not elsewhere.seen


def test_an_answer_without_end_is_not_read(pages, pager):
    pages.spell.append(says(202, b"x" * 2_000_000))
    with pytest.raises(Unavailable, match="KiB"):
        pager.page("k", PAGE)


def test_who_hangs_is_left_in_time(pages, pager, monkeypatch):
    monkeypatch.setattr(pagers, "SECONDS", 0.3)
    over = threading.Event()
    pages.spell.append(hangs(over))
    with pytest.raises(Unavailable, match=r"did not answer within 0\.3 s"):
        pager.page("k", PAGE)
    over.set()


def test_who_is_away_is_told_without_a_secret(pager):
    gone = type(pager)(replace(pager.service, url="http://127.0.0.1:1", events_url="http://127.0.0.1:1"))
    with pytest.raises(Unavailable, match="could not be reached") as told:
        gone.page("k", PAGE)
    assert not any(secret in repr(told.value) for secret in SECRETS)
    assert not any(secret in repr(pager) for secret in SECRETS)


@pytest.mark.parametrize("content", ["", "two words", "\x00" * 8, "kéy"])
def test_a_file_that_holds_no_secret_is_told_by_its_setting(pager, content):
    for path in pager.service.files.values():
        path.write_text(content)
    with pytest.raises(Misconfigured, match=r"\[service\.pd\] \w+_file: .*must hold the secret"):
        pager.page("k", PAGE)


def test_a_file_that_is_gone_is_told_by_its_setting(pager):
    for path in pager.service.files.values():
        path.unlink()
    with pytest.raises(Misconfigured, match=r"\[service\.pd\] \w+_file: .*cannot be read"):
        pager.who("S")


def test_a_new_key_counts_at_once(pages, pager):
    path = list(pager.service.files.values())[-1]
    right = path.read_text()
    path.write_text("0" * 32)
    if pages.kind == "opsgenie":
        with pytest.raises(Misconfigured, match="403"):
            pager.page("k", PAGE)
    path.write_text(right)
    pager.page("k", PAGE)
    assert list(pages.open) == ["k"]
