"""`/`: what waits for me, what goes on, the library."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from page_stories import LIBRARY

from runbooks_app.store.database import transaction
from runbooks_app.web.pages import now_view


def test_a_proposal_that_waits_for_me_stands_first(story, dev):
    _, proposal_id = story.diagnosed()
    page = dev.get("/")
    assert page.status == 200
    assert page.html.index("Waits for you") < page.html.index(">Runbooks</h2>")
    mine = page.html[page.html.index("Waits for you") : page.html.index(">Runbooks</h2>")]
    assert f"/proposals/{proposal_id}" in mine
    assert page.title.startswith("◇ ")


def test_of_very_many_that_wait_for_others_the_first_are_shown_and_the_rest_is_counted(story, anna, monkeypatch):
    monkeypatch.setattr(now_view, "MOST_OTHERS", 1)
    story.diagnosed()
    story.diagnosed()
    page = anna.get("/")
    assert page.html.count('class="countdown"') == 1
    assert re.search(r"and \d+ further proposals? waits? for others", page.text)
    monkeypatch.setattr(now_view, "COUNTED", 2)
    assert "and more than 1 further proposal waits for others" in anna.get("/").text


def test_who_asked_finds_it_among_what_goes_on_and_not_as_theirs(story, anna):
    with transaction(story.service.engine) as tx:  # what other stories left behind would fill the list
        tx.execute("UPDATE proposals SET state = 'expired' WHERE state = 'proposed'")
    _, proposal_id = story.diagnosed()
    page = anna.get("/")
    assert "Waits for you" not in page.text
    assert f"/proposals/{proposal_id}" in page.html


def test_once_approved_by_me_it_waits_no_longer_for_me(story, dev):
    _, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    assert f"/proposals/{proposal_id}" not in dev.get("/").html


def test_a_run_that_goes_on_is_told_with_its_state(story, anna):
    run_id = story.request()
    page = anna.get("/")
    assert f"/runs/{run_id}" in page.html
    assert "queued" in page.text


def test_words_in_the_search_filter_the_library_without_script(anna):
    assert "Database latency" in anna.get("/?q=latency+postgresql").text
    none = anna.get("/?q=%3Cb%3Ekafka")
    assert "No runbook has “<b>kafka”" in none.text
    assert "<b>kafka" not in none.html


@pytest.mark.pages
def test_while_one_types_the_list_alone_is_sent(anna):
    typed = {"HX-Request": "true", "HX-Target": "div#found"}
    answer = anna.client.get("/?q=latency", headers=typed).text
    assert answer.lstrip().startswith('<div id="found"')
    assert "Database latency" in answer
    assert "<html" not in answer
    assert "<html" in anna.get("/?q=latency").html


@pytest.mark.pages
def test_enter_in_the_search_leads_to_the_only_runbook_that_is_found(anna):
    answer = anna.get("/?q=latency&open=only")
    assert (answer.status, answer.headers["Location"]) == (303, "/runbooks/db-latency")
    assert anna.get("/?q=kafka&open=only").status == 200


class TestALibraryWithABrokenRunbook:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, Any]:
        folder = tmp_path / "library"
        folder.mkdir()
        shutil.copy(LIBRARY / "db-latency.ipynb", folder)
        (folder / "disk-full.ipynb").write_text("{")
        return {"library": folder}

    def test_it_is_listed_with_its_errors_and_the_others_work(self, anna):
        page = anna.get("/")
        assert "1 runbook cannot be used" in page.text
        assert "disk-full" in page.text
        assert "/runbooks/db-latency" in page.html

    def test_its_own_page_says_what_is_wrong(self, anna):
        page = anna.get("/runbooks/disk-full")
        assert "disk-full cannot be used" in page.text
        assert "read again by itself" in page.text


class TestAnEmptyLibrary:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, Any]:
        (tmp_path / "empty").mkdir()
        return {"library": tmp_path / "empty"}

    def test_it_says_what_to_do_next(self, anna):
        assert "runbooks new disk-full" in anna.get("/").text


class TestDiagnoseOnly:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"remediation": "off"}

    def test_every_page_says_so(self, anna):
        for path in ("/", "/incidents", "/runbooks/db-latency", "/nowhere"):
            assert "Diagnose only" in anna.get(path).text

    def test_an_approver_can_deny_and_not_approve(self, story, dev):
        _, proposal_id = story.diagnosed()
        page = dev.get(f"/proposals/{proposal_id}")
        assert 'value="deny"' in page.html
        assert 'value="approve"' not in page.html


class TestSandboxOff:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"sandbox": "off"}

    @pytest.mark.kernels
    def test_every_page_says_so(self, anna):
        for path in ("/", "/incidents", "/runbooks/db-latency", "/nowhere"):
            assert "The sandbox is off." in anna.get(path).text


@pytest.mark.kernels
def test_with_the_sandbox_on_no_page_speaks_of_it(anna):
    assert "sandbox is off" not in anna.get("/").text


def test_every_page_names_the_installation_and_the_person_and_lets_them_out(anna):
    page = anna.get("/")
    assert "tests" in page.text
    assert "Anna Weber" in page.text
    assert '<form method="post" action="/logout">' in page.html


def test_no_page_has_inline_script_or_style_or_another_host(story, dev, anna, audi):
    run_id, proposal_id = story.diagnosed()
    pages = [
        anna.get(path)
        for path in (
            "/",
            "/runbooks/db-latency",
            f"/runs/{run_id}",
            f"/runs/{run_id}/propose/cancel-query",
            "/incidents",
        )
    ]
    pages += [dev.get(f"/proposals/{proposal_id}"), audi.get("/audit"), audi.get("/audit/1"), anna.get("/nowhere")]
    for page in pages:
        assert "<script>" not in page.html
        assert " style=" not in page.html
        assert " onclick=" not in page.html
        assert 'src="http' not in page.html
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
