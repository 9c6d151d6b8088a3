"""The command line from somebody's own machine: signed in at the independent provider, at work on the whole service."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from whole_stage import DIAGNOSIS, until

pytestmark = pytest.mark.identity


class Machine:
    """Somebody's machine, with a folder for their configuration and nothing else of the service."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.url = url
        self.started: list[subprocess.Popen[str]] = []

    def environment(self, **more: str) -> dict[str, str]:
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.home), "RUNBOOKS_URL": self.url, "TZ": "UTC"}
        return {**kept, **more}

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "runbooks_app.main", *arguments],
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.started.append(process)
        return process

    def off(self) -> None:
        for process in self.started:
            with process:
                process.kill()

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        told, complained = process.communicate(timeout=90)
        return subprocess.CompletedProcess(arguments, process.returncode, told, complained)

    def at_terminal(self, *arguments: str, typed: str) -> tuple[int, str]:
        """Exit code, and all that a terminal shows of the command, for somebody who types this."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "runbooks_app.main", *arguments]
        environment = self.environment(TERM="xterm", COLUMNS="120")
        with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            os.write(ours, typed.encode())
            shown = b""
            with contextlib.suppress(OSError):  # Linux tells the end of a terminal as an error
                while part := os.read(ours, 65_536):
                    shown += part
        os.close(ours)
        return process.returncode, shown.decode()

    def json(self, *arguments: str) -> dict:
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def file(self) -> Path:
        (found,) = (self.home / ".config" / "runbooks").glob("*.json")
        return found

    def kept(self) -> dict:
        return json.loads(self.file.read_text())

    def expire(self) -> None:
        """Its access token has expired: what a while would do."""
        self.file.write_text(json.dumps(self.kept() | {"expires_at": 1}))


@pytest.fixture(scope="module", autouse=True)
def _registered(node):
    node.device()


@pytest.fixture
def machine(tmp_path, company):
    made = Machine(tmp_path, company.url)
    yield made
    made.off()


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Folders with what keeps people signed in: a sign-in takes the provider's five seconds."""
    return tmp_path_factory.mktemp("sessions")


@pytest.fixture
def signed_in(machine, node, sessions):
    """`signed_in("ana")` is the machine with Ana signed in, as once before; or `anew`, where her session is to end."""

    def sign_in(sub: str, *, anew: bool = False) -> Machine:
        config = machine.home / ".config"
        if not anew:
            if not (sessions / sub).exists():
                shutil.copytree(sign_in(sub, anew=True).home / ".config", sessions / sub)
                return machine
            shutil.copytree(sessions / sub, config)
            return machine
        process = machine.start("login")
        lines = [process.stdout.readline() for _ in range(4)]
        address = re.search(r"open (http\S+)", lines[3]).group(1)
        node.enter(address, sub)
        told, complained = process.communicate(timeout=60)
        assert process.returncode == 0, complained
        assert f"Signed in at {machine.url}" in told
        return machine

    return sign_in


def test_somebody_signs_in_by_a_code_in_any_browser(machine, node):
    process = machine.start("login")
    address = process.stdout.readline().split()
    code = process.stdout.readline().split()
    assert (address[0], code[0]) == ("Open", "Enter")
    node.enter(address[1], "ana", code=code[1])
    told, complained = process.communicate(timeout=60)
    assert process.returncode == 0, complained
    assert re.search(rf"Signed in at {machine.url} as Ana \(approver:sre, .*responder\)\.$", told)
    assert stat.S_IMODE(machine.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(machine.file.parent.stat().st_mode) == 0o700
    kept = machine.kept()
    assert set(kept) >= {"access_token", "refresh_token"}
    assert "id_token" not in kept
    for token in (kept["access_token"], kept["refresh_token"]):
        assert token not in told + complained


def test_somebody_who_refuses_in_the_browser_is_not_signed_in(machine, node):
    process = machine.start("login")
    address = process.stdout.readline().split()[1]
    node.enter(address, "ana", code=process.stdout.readline().split()[1], refuse=True)
    _, complained = process.communicate(timeout=60)
    assert (process.returncode, "refused in the browser" in complained) == (1, True)
    assert not list((machine.home / ".config" / "runbooks").glob("*.json"))


def test_whoever_is_not_signed_in_is_told_how(machine):
    done = machine("list")
    assert done.returncode == 3
    assert f"runbooks login --url {machine.url}" in done.stderr


def test_somebody_lists_shows_runs_and_notes(signed_in, colleague):
    ana = signed_in("ana")
    assert [line.split("\t")[0] for line in ana("list").stdout.splitlines()][:1] == ["db-latency"]
    assert "runbooks run db-latency" in ana("show", "db-latency").stdout
    done = ana("run", "db-latency", "database=orders-db", "--wait")
    assert done.returncode == 0, done.stderr
    assert "db-latency  diagnosed" in done.stdout
    (made, *_) = ana.json("list", "runs", "--limit", "1")["runs"]
    assert made["requested_by"]["name"] == "Ana"
    assert "diagnosed" in ana("show", made["id"]).stdout
    incident = str(made["incident"])
    assert ana("note", incident, "blocked", "deploys").returncode == 0
    assert "  blocked deploys" in ana("show", incident).stdout
    assert ana("postmortem", incident).stdout.startswith("# ")
    notebook = ana.home / "incident.ipynb"
    assert ana("postmortem", incident, "--format", "ipynb", "-o", str(notebook)).returncode == 0
    assert json.loads(notebook.read_text())["nbformat"] == 4
    entries = colleague("otto").api("/audit?event=note.added&limit=1")["entries"]
    assert entries[0]["actor"]["signed_in"]["surface"] == "cli"
    assert entries[0]["actor"]["signed_in"]["client_id"] == "runbooks-cli"


def test_a_run_is_stopped(signed_in, company_drill):
    ana = signed_in("ana")
    with company_drill.held(DIAGNOSIS):
        made = ana.json("run", "drill")
        company_drill.comes_to(DIAGNOSIS)
        waits = ana.start("run", "drill", "--wait")
        assert "being stopped" in ana("cancel", made["id"]).stdout
        until("the run to be cancelled", lambda: ana.json("show", made["id"])["state"] == "cancelled")
        going = {"queued", "diagnosing"}
        (other,) = until(
            "the other run", lambda: [r["id"] for r in ana.json("list", "runs")["runs"] if r["state"] in going]
        )
        ana("cancel", other)
        told, _ = waits.communicate(timeout=60)
    assert (waits.returncode, "cancelled" in told) == (1, True)


def test_what_is_misspelt_or_missing_is_told_with_what_was_meant(signed_in):
    ana = signed_in("ana")
    done = ana("run", "db-latncy")
    assert (done.returncode, "Did you mean db-latency?" in done.stderr) == (2, True)
    done = ana("run", "db-latency", "databse=orders-db")
    assert (done.returncode, "Did you mean database?" in done.stderr) == (2, True)
    assert ana("show", "999999").returncode == 2
    assert ana("cancel", "aaaaaaaaaaaaaaaa").returncode == 2


def test_high_risk_sends_an_approver_to_the_page_and_may_be_denied_at_once(signed_in, colleague, company_drill):
    proposal, word = company_drill.proposed(colleague("ana"))
    ben = signed_in("ben")
    for more in ((), ("--digest", proposal["digest"])):
        done = ben("approve", proposal["id"], *more)
        assert done.returncode == 3, done.stderr
        assert f"{ben.url}/proposals/{proposal['id']}" in done.stderr
    assert "INSERT INTO drill_words" in ben("show", proposal["id"]).stdout
    done = ben("deny", proposal["id"], "--reason", "not now")
    assert (done.returncode, "denied" in done.stdout) == (0, True)
    assert company_drill.written(word) == 0


@pytest.fixture
def errand(company, company_drill):
    """`errand(person)` gives a low-risk proposal that this person asked for, and the word that it writes."""
    path = company.library / "errand.ipynb"
    runbook = json.loads((company.library / "drill.ipynb").read_text())
    for cell in runbook["cells"]:
        cell["source"] = "".join(cell["source"]).replace('risk="high"', 'risk="low"')
    runbook["metadata"]["runbook"] |= {"id": str(uuid.uuid4()), "title": "Errand"}
    path.write_text(json.dumps(runbook))

    def ask(person):
        word = f"word-{uuid.uuid4().hex[:8]}"
        answer = person.ask("/runs", runbook="errand", parameters={"database": "orders-db", "word": word})
        assert answer.status_code == 201, answer.text
        (proposal,) = person.run(answer.json()["id"])["proposals"]
        return proposal, word

    yield ask
    path.unlink()


def test_low_risk_is_approved_at_a_terminal_by_whoever_was_shown_it(signed_in, colleague, errand, company_drill):
    ana = colleague("ana")
    proposal, word = errand(ana)
    ben = signed_in("ben")
    code, shown = ben.at_terminal("approve", proposal["id"], typed="n\n")
    assert (code, "Nothing was decided" in shown) == (1, True)
    for part in (word, "orders_operator", "INSERT INTO drill_words", proposal["digest"], "Ana"):
        assert part in shown
    code, shown = ben.at_terminal("approve", proposal["id"], "--reason", "seen it", typed="y\n")
    assert (code, "approved" in shown) == (0, True), shown
    assert ana.verified(proposal["id"])["verification"] == "verified"
    assert company_drill.written(word) == 1
    (decision,) = ana.api(f"/proposals/{proposal['id']}")["decisions"]
    assert (decision["by"], decision["reason"]) == ("Ben", "seen it")
    code, shown = ben.at_terminal("approve", proposal["id"], typed="y\n")
    assert (code, "can no longer" in shown or "has started" in shown) == (1, True), shown


def test_a_script_approves_low_risk_by_digest_and_no_other_proposal_by_it(signed_in, colleague, errand, company_drill):
    proposal, word = errand(colleague("ana"))
    ben = signed_in("ben")
    assert ben("approve", proposal["id"]).returncode == 2
    assert ben("approve", proposal["id"], "--digest", "0" * 64).returncode == 1
    done = ben("approve", proposal["id"], "--digest", proposal["digest"])
    assert (done.returncode, "approved" in done.stdout) == (0, True), done.stderr
    until("the word to be written", lambda: company_drill.written(word) == 1)


def test_nobody_decides_from_a_terminal_on_what_they_asked_for(signed_in, colleague, company_drill):
    proposal, _ = company_drill.proposed(colleague("ben"))
    ben = signed_in("ben")
    done = ben("deny", proposal["id"], "--reason", "I changed my mind")
    assert (done.returncode, "You asked for this" in done.stderr) == (1, True)


def test_whoever_may_not_is_told_which_role_would(signed_in):
    otto = signed_in("otto")
    done = otto("run", "db-latency")
    assert (done.returncode, "that takes the role responder" in done.stderr) == (1, True)


def test_an_expired_token_is_renewed_and_commands_at_once_lose_nothing(signed_in):
    """The provider rotates refresh tokens: one that is used twice ends the whole session there."""
    ana = signed_in("ana", anew=True)
    first = ana.kept()["refresh_token"]
    for _ in range(2):
        ana.expire()
        with ThreadPoolExecutor(5) as pool:
            done = list(pool.map(lambda _: ana("list"), range(5)))
        assert [one.returncode for one in done] == [0] * 5, [one.stderr for one in done]
    assert ana.kept()["refresh_token"] != first
    assert ana("list").returncode == 0


def test_after_signing_out_neither_token_is_there_and_the_provider_takes_the_refresh_token_no_more(signed_in, node):
    ana = signed_in("ana", anew=True)
    kept, file = ana.kept(), ana.file
    done = ana("logout")
    assert (done.returncode, done.stdout) == (0, f"Signed out of {ana.url}.\n")
    assert not file.exists()
    form = {"grant_type": "refresh_token", "refresh_token": kept["refresh_token"], "client_id": kept["client_id"]}
    told = httpx.post(kept["token_endpoint"], data=form, trust_env=False)
    assert told.json()["error"] == "invalid_grant"
    assert ana("list").returncode == 3


def test_a_session_that_ended_at_the_provider_leads_to_a_new_sign_in(signed_in, node):
    ana = signed_in("ana", anew=True)
    kept = ana.kept()
    form = {"token": kept["refresh_token"], "client_id": kept["client_id"]}
    httpx.post(kept["revocation_endpoint"], data=form, trust_env=False)
    ana.expire()
    done = ana("list")
    assert (done.returncode, "has ended" in done.stderr) == (3, True)
    assert not list((ana.home / ".config" / "runbooks").glob("*.json"))


def test_after_the_provider_changed_its_keys_the_command_line_goes_on(signed_in, node):
    ana = signed_in("ana", anew=True)
    assert ana("list").returncode == 0
    node.rotate()
    ana.expire()
    until("the new key to be known", lambda: ana("list").returncode == 0)
