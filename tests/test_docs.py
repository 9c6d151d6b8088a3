"""The documents say what the code says: settings, states, commands, links."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from runbooks_app.alerting import read_alerting
from runbooks_app.alerting.reading import KINDS
from runbooks_app.connections import PROVIDERS, read_connections
from runbooks_app.core import asking, kernel_limits, proposal, run
from runbooks_app.core.audit import GENESIS, Entry, Event, canonical, entry_hash
from runbooks_app.core.people import Actor
from runbooks_app.main.cli import app
from runbooks_app.oncall import read_oncall
from runbooks_app.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text(name):
    return (ROOT / name).read_text()


def between(page, start, end):
    found = re.search(rf"<!-- {start} -->\n(.*?)\n<!-- {end} -->", page, re.DOTALL)
    assert found, f"no part between {start} and {end}"
    return found.group(1)


def blocks(page, kind):
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


def commands():
    """Every command by its words, such as `audit verify`, with the options that it takes."""
    found = {}

    def walk(command, words):
        found[" ".join(words)] = {option for param in command.params for option in param.opts}
        for name, child in getattr(command, "commands", {}).items():
            walk(child, [*words, name])

    walk(typer.main.get_command(app), [])
    return found


def test_the_table_of_settings_is_what_the_command_prints():
    printed = CliRunner().invoke(app, ["settings", "--markdown"]).output.strip()
    assert between(text("docs/operating.md"), "settings", "/settings") == printed


def test_the_table_of_limits_is_the_codes():
    lines = ["| limit | of what | default | ceiling |", "|---|---|---|---|"]
    for name, limit in kernel_limits.KNOWN.items():
        lines.append(f"| `{name}` | {limit.meaning} | {limit.tell(limit.default)} | {limit.tell(limit.ceiling)} |")
    assert between(text("docs/operating.md"), "limits", "/limits") == "\n".join(lines)


def test_the_table_of_providers_is_the_codes():
    lines = ["| provider | of | option | default | |", "|---|---|---|---|---|"]
    for name, row in PROVIDERS.items():
        for key, option in row.options.items():
            needed = {None: "needed", "": ""}.get(option.default, f"`{option.default}`")
            default = "follows" if callable(option.default) else needed
            lines.append(f"| `{name}` | {', '.join(option.kinds or row.kinds)} | `{key}` | {default} | {option.help} |")
    assert between(text("docs/operating.md"), "providers", "/providers") == "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "transitions"),
    [
        ("run", run.TRANSITIONS),
        ("proposal", proposal.TRANSITIONS),
        ("verification", proposal.VERIFICATION_TRANSITIONS),
    ],
)
def test_the_table_of_states_is_the_codes(name, transitions):
    lines = ["| state | may become |", "|---|---|"]
    states = type(next(iter(transitions)))
    for state in states:
        following = ", ".join(f"`{after}`" for after in states if after in transitions[state]) or "—"
        lines.append(f"| `{state}` | {following} |")
    assert between(text("docs/architecture.md"), name, f"/{name}") == "\n".join(lines)


@WRITTEN
def test_every_command_that_is_named_exists(page):
    known = commands()
    written = re.sub(r"\\\n\s*", " ", page.read_text())
    named = [line for block in blocks(written, "sh") for line in block.splitlines() if not line.startswith("#")]
    named += re.findall(r"`([^`\n]*runbooks [^`\n]*)`", written)
    for line in named:
        found = re.search(r"(?:^|[\s/])runbooks ((?:[a-z]+ ?)+)(.*)", line)
        if not found or "/runbook " in line:
            continue
        words, rest = found.group(1).split(), found.group(2)
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
        assert name is not None, f"{page.name}: {line}"
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
            assert option in known[name], f"{page.name}: {line}: {option}"


@WRITTEN
def test_every_link_leads_somewhere(page):
    written = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", written) + re.findall(r'src="([^"]+)"', written):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name}: {target}"


@WRITTEN
def test_every_file_of_ours_that_is_named_exists(page):
    for path in re.findall(r"`((?:runbooks_app|runbook_library|deploy|docs|tests|core)/[\w./-]*)`", page.read_text()):
        here = ROOT / ("runbooks_app/" + path if path.startswith("core/") else path)
        assert here.exists() or path == "runbook_library/disk-full.ipynb", f"{page.name}: {path}"


@WRITTEN
def test_every_setting_that_is_named_exists(page):
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {PREFIX + "CONFIG", PREFIX + "KIT_CONNECTIONS"}
    assert set(re.findall(r"RUNBOOKS_[A-Z_]+[A-Z]", page.read_text())) <= known


@WRITTEN
def test_nothing_of_one_machine_stands_in_it(page):
    written = page.read_text()
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", written)
    assert not re.search(r"pypi|files\.pythonhosted|registry\.|simple/", written)


def test_the_settings_and_connections_of_the_readme_can_be_read(tmp_path):
    connections, settings = blocks(text("README.md"), "toml")
    (tmp_path / "connections.toml").write_text(connections)
    assert list(read_connections(tmp_path / "connections.toml")) == ["orders-db"]
    assert Settings(**tomllib.loads(settings)).oidc_client_id == "runbooks"


def test_the_connections_of_the_operators_page_can_be_read(tmp_path):
    shown = {}
    for block in blocks(text("docs/operating.md"), "toml"):
        if not block.startswith(("[group.", "[source.", "[orders]")):
            (tmp_path / "connections.toml").write_text(block)
            shown |= read_connections(tmp_path / "connections.toml")
    assert {"static", "vault", "aws"} <= {connection.diagnose.provider for connection in shown.values()}
    assert shown["prometheus"].remediates


def test_the_on_call_file_of_the_operators_page_can_be_read(tmp_path):
    (block,) = [block for block in blocks(text("docs/operating.md"), "toml") if block.startswith("[group.")]
    (tmp_path / "oncall.toml").write_text(block)
    shown = read_oncall(tmp_path / "oncall.toml")
    assert [service.name for service in shown.pages(("database", "payments"))] == ["pagerduty", "opsgenie"]


def test_the_alerts_file_and_the_catalogue_of_the_operators_page_can_be_read(tmp_path):
    shown = blocks(text("docs/operating.md"), "toml")
    for name, begin in (("alerts", "[source."), ("catalogue", "[orders]")):
        (block,) = [block for block in shown if block.startswith(begin)]
        (tmp_path / f"{name}.toml").write_text(block)
    found = read_alerting(tmp_path / "alerts.toml", tmp_path / "catalogue.toml")
    assert [rule.runbook for rule in found.rules] == ["db-latency"]
    kinds = re.findall(r"^\| `(\w+)` \| (?:`token_file`|`secret_file)", text("docs/operating.md"), re.MULTILINE)
    assert kinds == list(KINDS)


def test_the_script_for_verifying_finds_what_was_altered(tmp_path):
    (script,) = blocks(text("docs/audit.md"), "python")
    assert len(script.splitlines()) <= 25
    (tmp_path / "verify.py").write_text(script)
    lines, previous = [], GENESIS
    for seq, event in enumerate(Event, 1):
        body = canonical({"reason": f"€ \u2028 {event}", "seconds": 1.5, "done": True, "of": [1, None]})
        entry = Entry(
            seq, f"2026-01-02T03:04:{seq:02}.000000Z", '{"name":"Ana"}', event, '{"run":"x"}', body, previous, ""
        )
        previous = entry_hash(entry)
        lines.append(json.dumps({**entry.as_json(), "hash": previous}))

    def verified(changed):
        (tmp_path / "trail.jsonl").write_text("\n".join(changed) + "\n")
        command = [sys.executable, tmp_path / "verify.py", tmp_path / "trail.jsonl"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert verified(lines).stdout == f"{len(lines)} entries hold; the last hash is {previous}\n"
    assert verified([lines[0], lines[1].replace("Ana", "Ann"), *lines[2:]]).stderr == "entry 2 was altered\n"
    assert verified([lines[0], *lines[2:]]).stderr == "entry 2 is missing\n"


@WRITTEN
def test_its_python_is_python(page):
    for block in blocks(page.read_text(), "python"):
        ast.parse(block)


def test_the_identity_of_asks_is_told_as_it_is():
    subject = f"runbook:{asking.RUNBOOK_ID}:env:ENVIRONMENT:stage:diagnose"
    assert f"`{subject}`" in text("docs/security.md")


def test_the_trails_document_names_every_kind_of_actor():
    said = str(Actor.__doc__).partition("`kind` is ")[2].partition(". ")[0]
    kinds = re.findall(r"`([a-z]+)`", said)
    assert len(kinds) >= 8
    line = next(line for line in text("docs/audit.md").splitlines() if line.startswith("| `actor`"))
    assert [kind for kind in kinds if f"`{kind}`" not in line] == []
