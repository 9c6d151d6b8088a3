"""Other chats that are away, hang, refuse or lead elsewhere: nothing is lost, no other waits, no address is told."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest
from service_database import APP_PASSWORD
from worker.chats import TOKEN, at_once, places, tell

from runbooks_app.chat import elsewhere as chat
from runbooks_app.chat.elsewhere import read_places
from runbooks_app.core.errors import Misconfigured
from runbooks_app.main import doctor
from runbooks_app.settings import Settings
from runbooks_app.store.database import reading
from runbooks_app.worker import elsewhere

pytestmark = [
    pytest.mark.chat,
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # one of apprise's services
]


def test_a_place_that_is_away_holds_up_no_other_and_hears_all_of_it_later(told, mail, teams):
    mail.answers = 503
    told.diagnosed(name="rows")
    tell(told)
    assert (mail.got, len(teams.got)) == ([], 2)
    assert [(row.tries, row.trouble) for row in places(told)] == [(0, ""), (1, "failure")]
    mail.answers = 200
    tell(told)
    assert mail.got == []  # it waits a little
    at_once(told)
    tell(told)
    assert mail.got == teams.got
    assert [(row.tries, row.trouble) for row in places(told)] == [(0, ""), (0, "")]
    assert len(teams.got) == 2


def test_a_place_that_hangs_is_left_alone_and_holds_up_no_other(told, mail, teams, monkeypatch):
    monkeypatch.setattr(chat, "PATIENCE", 3)
    mail.hangs = threading.Event()
    told.diagnosed(name="rows")
    tell(told)
    mail.hangs.set()
    assert len(teams.got) == 2
    assert [row.trouble for row in places(told)] == ["", "timeout"]


def test_what_a_place_never_takes_is_passed_over_in_the_end(told, mail, caplog):
    mail.answers = 400
    told.diagnosed(name="rows")
    for _ in range(elsewhere.MOST_TRIES):
        at_once(told)
        tell(told)
    assert "was tried for hours" in caplog.text
    mail.answers = 200
    at_once(told)
    tell(told)
    assert len(mail.got) == 1


def test_one_worker_at_a_time_tells_a_place(told, mail):
    told.diagnosed(name="rows")
    mail.hangs, mail.asked = threading.Event(), threading.Event()
    thread = threading.Thread(target=tell, args=(told,))
    thread.start()
    assert mail.asked.wait(10)
    tell(replace(told, worker=replace(told.worker, name="w2")))
    mail.hangs.set()
    thread.join()
    assert len(mail.got) == 2


def test_a_redirect_is_not_followed(told, mail):
    mail.answers = 302
    told.diagnosed(name="rows")
    tell(told)
    assert mail.got == []
    assert [row.trouble for row in places(told)] == ["", "failure"]


def test_no_address_is_logged_stored_or_shown(told, mail, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("apprise", "urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    mail.answers = 500
    told.diagnosed(name="rows")
    tell(told)
    mail.answers = 200
    at_once(told)
    tell(told)
    assert len(mail.got) == 2
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(told.worker)
    with reading(told.service.engine) as tx:
        names = list(tx.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars())
        held = "".join(str(tx.execute(f"SELECT * FROM {name}").all()) for name in names)
    assert TOKEN not in held


def test_a_line_that_is_no_address_stops_the_start_unquoted():
    with pytest.raises(Misconfigured) as refused:
        read_places(f"# ours\njson://127.0.0.1/ok\nnonsense://{TOKEN}\n{TOKEN}\n")
    assert [problem.where for problem in refused.value.problems] == ["line 3", "line 4"]
    assert TOKEN not in str(refused.value)


def test_doctor_names_the_places_that_take_nothing_and_no_address(told, mail, teams, tmp_path):
    addresses, password = tmp_path / "notify", tmp_path / "password"
    addresses.write_text(f"{mail.address()}\n{teams.address()}\n")
    password.write_text(APP_PASSWORD)
    url = told.database.server.url("runbooks_app", told.database.name)
    settings = Settings(database_url=url, database_password_file=password, notify_urls_file=addresses)
    places = read_places(addresses.read_text())
    told = replace(told, worker=replace(told.worker, elsewhere=places))
    tell(told)
    assert doctor.other_chats(settings) == "JSON, line 1, JSON, line 2"
    mail.answers = 500
    told.diagnosed(name="rows")
    tell(told)
    with pytest.raises(Misconfigured) as found:
        doctor.other_chats(settings)
    assert [problem.where for problem in found.value.problems] == ["JSON, line 1"]
    assert "took nothing, 1 time in a row (failure)" in str(found.value)
    addresses.write_text(f"{mail.address()}\nnonsense://{TOKEN}\n")
    with pytest.raises(Misconfigured, match="line 2") as found:
        doctor.other_chats(settings)
    assert TOKEN not in str(found.value)
    assert doctor.other_chats(Settings()) == "none is named"
